//! Weights of the expert and of the correct rollouts of one problem: the two profiles' rules.

use crate::advantages::soft_advantages;
use crate::interval::jeffreys_mean;
use crate::rewards::{difficulty_ratio, expert_reward, group_rewards};
use crate::solvability::SolvabilityParams;
use rasft_types::Fallback;

/// Weight of an expert that stands alone (algorithm.md §9).
pub const EXPERT_ALONE: f64 = 1.0;

/// What is counted of a problem's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All samples.
    pub n_samples: usize,
    /// Verified correct among all samples.
    pub n_verified: usize,
    /// Unique samples (k_total).
    pub n_unique: usize,
    /// Unique samples that passed every filter.
    pub n_usable: usize,
    /// Usable samples that are correct (k_pos).
    pub n_correct: usize,
    /// Wrong usable samples kept for the statistics.
    pub n_negatives: usize,
}

/// The statistics of a problem's group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStats {
    /// ρ of [`difficulty_ratio`].
    pub difficulty_ratio: f64,
    /// r_E of [`expert_reward`].
    pub expert_reward: f64,
    /// Expert, correct rollouts, kept negatives; empty if no sample is usable.
    pub rewards: Vec<f64>,
    /// Soft advantages, same order; `None` if the rewards do not differ.
    pub advantages: Option<Vec<f32>>,
}

/// Weights of a problem's trajectories.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Of the expert.
    pub expert: f64,
    /// Of each correct rollout, in order; empty if the expert stands alone.
    pub rollouts: Vec<f64>,
    /// Why it does, if it does.
    pub fallback: Fallback,
}

impl Weights {
    fn expert_alone(fallback: Fallback) -> Self {
        Self { expert: EXPERT_ALONE, rollouts: Vec::new(), fallback }
    }
}

/// Rewards and soft advantages of a problem's group.
///
/// # Source
/// algorithm.md §8–§9.
pub fn group_stats(counts: &Counts, params: &SolvabilityParams) -> GroupStats {
    let ratio = difficulty_ratio(counts.n_correct, counts.n_unique);
    let expert = expert_reward(ratio, params);
    let rewards = match counts.n_usable {
        0 => Vec::new(),
        _ => group_rewards(expert, counts.n_correct, counts.n_negatives, params),
    };
    let advantages = soft_advantages(&rewards, params.adv_alpha);
    GroupStats { difficulty_ratio: ratio, expert_reward: expert, rewards, advantages }
}

/// The weights of profile `reference`.
///
/// With `s = 1/(1+k_pos)`: expert `A_0·s`; rollout j `min(cap, max(floor, A_j·s))·coef`. The expert stands alone with weight 1 if
/// nothing is usable, if the group has no advantages, or if no usable sample is correct — named in this order.
///
/// # Shapes
/// `stats.advantages` (1 + k_pos + negatives,); k_pos rollout weights; f64 arithmetic on the f32 advantages.
///
/// # Source
/// algorithm.md §9. The cap wins over a greater floor.
pub fn reference(counts: &Counts, stats: &GroupStats, params: &SolvabilityParams) -> Weights {
    if counts.n_samples == 0 {
        return Weights::expert_alone(Fallback::NotSelected);
    }
    if counts.n_usable == 0 {
        return Weights::expert_alone(Fallback::NoUsable);
    }
    let Some(advantages) = &stats.advantages else { return Weights::expert_alone(Fallback::ZeroVariance) };
    if counts.n_correct == 0 {
        return Weights::expert_alone(Fallback::NoCorrect);
    }
    let share = 1.0 / (1 + counts.n_correct) as f64;
    let rollout = |a: &f32| {
        let weight = f64::from(*a) * share;
        params.rollout_cap.min(params.rollout_floor.max(weight)) * params.rollout_coef
    };
    Weights {
        expert: f64::from(advantages[0]) * share,
        rollouts: advantages[1..=counts.n_correct].iter().map(rollout).collect(),
        fallback: Fallback::None,
    }
}

/// The weights of profile `calibrated`.
///
/// With v correct of n samples, `s̃ = (v+½)/(n+1)`, k usable correct samples and floor w₀: `λ = (1−w₀)·s̃` if k > 0, else 0; expert
/// `1−λ`, each of the k rollouts `λ/k`. The total is 1. A problem that was not rolled out has expert 1.
///
/// # Source
/// algorithm.md Part A (calibrated).
pub fn calibrated(counts: &Counts, expert_weight_min: f64) -> Weights {
    if counts.n_samples == 0 {
        return Weights::expert_alone(Fallback::NotSelected);
    }
    if counts.n_correct == 0 {
        return Weights::expert_alone(if counts.n_usable == 0 { Fallback::NoUsable } else { Fallback::NoCorrect });
    }
    let lambda = (1.0 - expert_weight_min) * jeffreys_mean(counts.n_verified, counts.n_samples);
    Weights {
        expert: 1.0 - lambda,
        rollouts: vec![lambda / counts.n_correct as f64; counts.n_correct],
        fallback: Fallback::None,
    }
}

//! The whole `solvability` row of a problem from its verdicts.

use crate::error::{MethodError, ordered, require};
use crate::interval::jeffreys;
use crate::profile::Profile;
use crate::rewards::keep_negatives;
use crate::weights::{Counts, calibrated, group_stats, reference};
use rasft_types::{Fallback, Solvability};
use serde::{Deserialize, Serialize};

/// Everything that the weights depend on besides the verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SolvabilityParams {
    /// Which rule makes the weights.
    pub profile: Profile,
    /// r_E when every unique sample is usable and correct.
    pub expert_reward_min: f64,
    /// r_E when none is.
    pub expert_reward_max: f64,
    /// Reward of a correct rollout.
    pub pos_reward: f64,
    /// Reward of a wrong rollout.
    pub neg_reward: f64,
    /// Wrong rollouts that take part in the statistics, at most.
    pub max_negative_keep: usize,
    /// Slope of the soft advantage.
    pub adv_alpha: f64,
    /// Factor on rollout weights, applied last.
    pub rollout_coef: f64,
    /// Smallest rollout weight before the factor.
    pub rollout_floor: f64,
    /// Greatest rollout weight before the factor.
    pub rollout_cap: f64,
    /// w₀ of profile `calibrated`: what the expert keeps of a problem that is solved every time.
    pub expert_weight_min: f64,
}

impl Default for SolvabilityParams {
    /// The values of the reference's command (algorithm.md §15) and w₀ = ¼ (Part A).
    fn default() -> Self {
        Self {
            profile: Profile::Reference,
            expert_reward_min: 1.0,
            expert_reward_max: 3.0,
            pos_reward: 1.0,
            neg_reward: 0.0,
            max_negative_keep: 3,
            adv_alpha: 0.4,
            rollout_coef: 0.25,
            rollout_floor: 0.02,
            rollout_cap: 0.15,
            expert_weight_min: 0.25,
        }
    }
}

impl SolvabilityParams {
    /// Checks that every number is finite, w₀ lies in [0, 1] and the expert's rewards are not crossed.
    ///
    /// A negative `adv_alpha` and a cap below the floor are allowed: the reference defines both.
    ///
    /// # Errors
    /// [`MethodError::OutOfRange`], [`MethodError::Crossed`].
    pub fn validate(&self) -> Result<(), MethodError> {
        let finite = [
            ("expert_reward_min", self.expert_reward_min),
            ("expert_reward_max", self.expert_reward_max),
            ("pos_reward", self.pos_reward),
            ("neg_reward", self.neg_reward),
            ("adv_alpha", self.adv_alpha),
            ("rollout_coef", self.rollout_coef),
            ("rollout_floor", self.rollout_floor),
            ("rollout_cap", self.rollout_cap),
        ];
        for (name, value) in finite {
            require(value.is_finite(), name, value, "a finite number")?;
        }
        let w0 = self.expert_weight_min;
        require((0.0..=1.0).contains(&w0), "expert_weight_min", w0, "a number from 0 to 1")?;
        ordered("expert_reward_min", self.expert_reward_min, "expert_reward_max", self.expert_reward_max)
    }
}

/// One rollout of a problem with its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its id.
    pub rollout_id: &'a str,
    /// Its text, for the similarity of negatives to positives.
    pub text: &'a str,
    /// Verified correct.
    pub correct: bool,
    /// Passed every text filter.
    pub usable: bool,
    /// Duplicates an earlier sample; never usable then, whatever `usable` says.
    pub duplicate: bool,
}

/// The row of a problem: what its samples say of solvability, and the weights that follow under `params.profile`.
///
/// `solvability = n_verified/n_samples` counts every sample; k_pos and k_total count unique ones. The group's columns (ratio,
/// rewards, advantages) are the reference's under both profiles; only weights, trained rollouts and fall-back depend on the profile.
/// Without usable samples the group is empty; without samples solvability is NaN and the fall-back `not_selected`.
///
/// # Shapes
/// `samples` in order of their index; `rollout_weights` and `rollout_ids` of equal length, in that order.
///
/// # Source
/// algorithm.md §6–§9 (reference), Part A (calibrated).
pub fn solvability(problem_id: &str, samples: &[Sample<'_>], params: &SolvabilityParams) -> Solvability {
    let usable = || samples.iter().filter(|s| s.usable && !s.duplicate);
    let positives: Vec<&Sample<'_>> = usable().filter(|s| s.correct).collect();
    let negatives: Vec<&str> = usable().filter(|s| !s.correct).map(|s| s.text).collect();
    let positive_texts: Vec<&str> = positives.iter().map(|s| s.text).collect();
    let counts = Counts {
        n_samples: samples.len(),
        n_verified: samples.iter().filter(|s| s.correct).count(),
        n_unique: samples.iter().filter(|s| !s.duplicate).count(),
        n_usable: positives.len() + negatives.len(),
        n_correct: positives.len(),
        n_negatives: keep_negatives(&positive_texts, &negatives, params.max_negative_keep).len(),
    };
    let stats = group_stats(&counts, params);
    let weights = match params.profile {
        Profile::Reference => reference(&counts, &stats, params),
        Profile::Calibrated => calibrated(&counts, params.expert_weight_min),
    };
    let trained = if weights.fallback == Fallback::None { &positives[..] } else { &[] };
    let (low, high) = jeffreys(counts.n_verified as u32, counts.n_samples as u32);
    Solvability {
        problem_id: problem_id.to_owned(),
        n_samples: counts.n_samples as u32,
        n_verified: counts.n_verified as u32,
        solvability: counts.n_verified as f64 / counts.n_samples as f64,
        solvability_low: low,
        solvability_high: high,
        n_unique: counts.n_unique as u32,
        n_usable: counts.n_usable as u32,
        n_correct: counts.n_correct as u32,
        difficulty_ratio: stats.difficulty_ratio,
        expert_reward: stats.expert_reward,
        group_rewards: stats.rewards,
        group_advantages: stats.advantages.map(|a| a.into_iter().map(f64::from).collect()),
        expert_weight: weights.expert,
        rollout_weights: weights.rollouts,
        rollout_ids: trained.iter().map(|s| s.rollout_id.to_owned()).collect(),
        fallback: weights.fallback,
    }
}

#[cfg(test)]
mod tests;

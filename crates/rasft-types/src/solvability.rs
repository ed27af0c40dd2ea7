//! `solvability` rows.

use crate::words::word_enum;
use serde::{Deserialize, Serialize};

word_enum! {
    /// Why a problem trains on its expert alone.
    Fallback {
        /// It does not: rollouts take part.
        None = "none",
        /// No rollout passed the filters.
        NoUsable = "no_usable",
        /// All group rewards are equal.
        ZeroVariance = "zero_variance",
        /// No usable rollout is correct.
        NoCorrect = "no_correct",
        /// The problem was not rolled out.
        NotSelected = "not_selected",
    }
}

/// How well the policy solves a problem, and the weights that follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solvability {
    /// The problem.
    pub problem_id: String,
    /// Rollouts sampled.
    pub n_samples: u32,
    /// Rollouts verified correct, whatever the text filters say.
    pub n_verified: u32,
    /// `n_verified / n_samples`; NaN without samples.
    pub solvability: f64,
    /// Lower end of the 95 % Jeffreys interval.
    pub solvability_low: f64,
    /// Upper end of the 95 % Jeffreys interval.
    pub solvability_high: f64,
    /// Rollouts left after de-duplication (k_total).
    pub n_unique: u32,
    /// Unique rollouts that pass every filter.
    pub n_usable: u32,
    /// Usable rollouts that are correct (k_pos).
    pub n_correct: u32,
    /// ρ = 1 − n_correct / n_unique.
    pub difficulty_ratio: f64,
    /// Reward of the expert in the group.
    pub expert_reward: f64,
    /// Expert, then correct rollouts in order, then kept negatives.
    pub group_rewards: Vec<f64>,
    /// Soft advantages of the group; null if it has none.
    pub group_advantages: Option<Vec<f64>>,
    /// Weight of the expert trajectory.
    pub expert_weight: f64,
    /// Weights of the trained rollouts.
    pub rollout_weights: Vec<f64>,
    /// The trained rollouts, same order.
    pub rollout_ids: Vec<String>,
    /// Why the expert stands alone, if it does.
    pub fallback: Fallback,
}

//! `solvability`: how well the policy solves each problem, and the weights that follow.

use crate::table::table;
use rasft_types::{Fallback, Solvability};

table! {
    Solvability => "solvability" / 1, "Solvability of each problem, group rewards and trajectory weights.";
    problem_id: String, "the problem";
    n_samples: u32 = 0, "rollouts sampled";
    n_verified: u32 = 0, "rollouts verified correct, whatever the text filters say";
    solvability: f64 = f64::NAN, "n_verified / n_samples; NaN without samples";
    solvability_low: f64 = f64::NAN, "lower end of the 95 % Jeffreys interval";
    solvability_high: f64 = f64::NAN, "upper end of the 95 % Jeffreys interval";
    n_unique: u32 = 0, "rollouts left after de-duplication (k_total)";
    n_usable: u32 = 0, "unique rollouts that pass every filter";
    n_correct: u32 = 0, "usable rollouts that are correct (k_pos)";
    difficulty_ratio: f64 = f64::NAN, "1 - n_correct / n_unique";
    expert_reward: f64 = f64::NAN, "reward of the expert in the group";
    group_rewards: Vec<f64> = Vec::new(), "expert, then correct rollouts in order, then kept negatives";
    group_advantages: Option<Vec<f64>> = None, "soft advantages of the group; null if it has none";
    expert_weight: f64, "weight of the expert trajectory";
    rollout_weights: Vec<f64>, "weights of the trained rollouts";
    rollout_ids: Vec<String>, "the trained rollouts, same order";
    fallback: Fallback = Fallback::None, "none|no_usable|zero_variance|no_correct|not_selected: why the expert stands alone";
}

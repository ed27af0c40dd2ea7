//! Parameters of golden files.

use crate::common::{f64, usize};
use rasft_method::SolvabilityParams;
use serde_json::Value;

/// The reference's group parameters under their names there.
pub fn group_params(p: &Value) -> SolvabilityParams {
    SolvabilityParams {
        max_negative_keep: usize(&p["max_negative_keep"]),
        expert_reward_max: f64(&p["expert_reward_max"]),
        expert_reward_min: f64(&p["expert_reward_min"]),
        pos_reward: f64(&p["pos_reward"]),
        neg_reward: f64(&p["neg_reward"]),
        adv_alpha: f64(&p["adv_alpha"]),
        rollout_coef: f64(&p["rollout_adv_coef"]),
        rollout_floor: f64(&p["rollout_adv_floor"]),
        rollout_cap: f64(&p["rollout_adv_cap"]),
        ..SolvabilityParams::default()
    }
}

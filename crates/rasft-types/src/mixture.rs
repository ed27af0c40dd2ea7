//! `mixture` rows.

use crate::words::word_enum;
use serde::{Deserialize, Serialize};

use crate::problem::Route;

word_enum! {
    /// Who wrote a trajectory.
    TrajectorySource {
        /// The expert.
        Expert = "expert",
        /// The policy itself.
        Rollout = "rollout",
    }
}

/// One weighted training trajectory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixtureRow {
    /// 32 hex digits.
    pub trajectory_id: String,
    /// The problem.
    pub problem_id: String,
    /// Expert or rollout.
    pub source: TrajectorySource,
    /// The rollout, if it is one.
    pub rollout_id: Option<String>,
    /// Window class of the problem.
    pub route: Route,
    /// Round of the experiment.
    pub round: u32,
    /// The advantage that scales this trajectory's loss.
    pub weight: f64,
    /// The templated prompt.
    pub prompt_text: String,
    /// The response.
    pub response_text: String,
    /// Prompt, response and end-of-sequence tokens.
    pub input_ids: Vec<u32>,
    /// Leading tokens of `input_ids` that are not trained on.
    pub prompt_len: u32,
    /// The response was cut to fit.
    pub truncated: bool,
    /// Mean log-probability per response token under the frozen reference, nats.
    pub ref_logprob: f32,
    /// Training order.
    pub order: u64,
    /// Log-probability of each response token under the policy that sampled it, nats; only for `grpo`.
    pub old_logprobs: Option<Vec<f32>>,
}

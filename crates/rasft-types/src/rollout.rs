//! `rollouts` rows.

use crate::words::word_enum;
use serde::{Deserialize, Serialize};

word_enum! {
    /// Why generation ended.
    FinishReason {
        /// An end-of-sequence token or a stop string.
        Stop = "stop",
        /// The token limit.
        Length = "length",
        /// The engine could not produce a completion.
        Error = "error",
    }
}

/// One sampled completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// 32 hex digits: blake3-128 of problem id, policy id, sampling parameters, seed and sample index.
    pub rollout_id: String,
    /// The problem.
    pub problem_id: String,
    /// 0-based index among the samples of this problem.
    pub sample_index: u32,
    /// Content hash of the policy.
    pub policy_id: String,
    /// Round of the experiment.
    pub round: u32,
    /// Tokens of the templated prompt.
    pub prompt_tokens: u32,
    /// Text of the completion without special tokens.
    pub completion: String,
    /// Completion tokens, with the end-of-sequence token when one was sampled.
    pub token_ids: Vec<u32>,
    /// Log-probability of each chosen token under the untempered policy, nats.
    pub token_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

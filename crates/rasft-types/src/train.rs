//! `metrics` rows.

use serde::{Deserialize, Serialize};

/// What one optimizer step did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepMetrics {
    /// 1-based optimizer step, counted over all rounds.
    pub step: u64,
    /// The objective, as normalised.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Mean clipped ratio over sequences: reference over policy, for `grpo` policy over sampler.
    pub mean_ratio: f64,
    /// Share of sequences, for `grpo` of their tokens, whose ratio was clipped from below.
    pub clip_low_fraction: f64,
    /// Share of sequences, for `grpo` of their tokens, whose ratio was clipped from above.
    pub clip_high_fraction: f64,
    /// Mean probability of the target tokens.
    pub mean_token_prob: f64,
    /// All tokens.
    pub tokens: u64,
    /// Response tokens.
    pub response_tokens: u64,
    /// Sequences.
    pub sequences: u64,
}

//! Sums for the metrics of one step.

use crate::batch::Trajectory;
use crate::objectives::SequenceTerms;
use rasft_types::StepMetrics;

/// What one step has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The objective, as normalised.
    pub loss: f64,
    /// Tokens the objective takes its mean over.
    pub counted: usize,
    /// Response tokens.
    pub response_tokens: usize,
    tokens: usize,
    sequences: usize,
    ratio: f64,
    clipped_low: f64,
    clipped_high: f64,
    sum_prob: f64,
}

impl Tally {
    /// Adds the value of a sequence over the divisor, and counts it.
    pub fn sequence(&mut self, trajectory: &Trajectory, terms: &SequenceTerms, logprobs: &[f32], divisor: f64) {
        self.loss += terms.loss / divisor;
        self.counted += terms.counted;
        self.response_tokens += logprobs.len();
        self.tokens += trajectory.input_ids.len();
        self.sequences += 1;
        self.ratio += terms.clipped_ratio;
        self.clipped_low += terms.clipped_low;
        self.clipped_high += terms.clipped_high;
        self.sum_prob += terms.sum_prob;
    }

    /// The row of the metrics table.
    pub fn metrics(&self, step: u64, grad_norm: f64, learning_rate: f64) -> StepMetrics {
        let per_sequence = |sum: f64| sum / self.sequences.max(1) as f64;
        StepMetrics {
            step,
            loss: self.loss,
            grad_norm,
            learning_rate,
            mean_ratio: per_sequence(self.ratio),
            clip_low_fraction: per_sequence(self.clipped_low),
            clip_high_fraction: per_sequence(self.clipped_high),
            mean_token_prob: self.sum_prob / self.response_tokens.max(1) as f64,
            tokens: self.tokens as u64,
            response_tokens: self.response_tokens as u64,
            sequences: self.sequences as u64,
        }
    }
}

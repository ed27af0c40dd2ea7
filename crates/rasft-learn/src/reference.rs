//! Mean log-probability of responses under a decoder, without gradients: difficulty and the frozen reference.

use crate::batch::{MicroBatching, Trajectory, micro_batches};
use crate::trainer::{Forward, forward};
use crate::LearnError;
use rasft_model::Decoder;

/// Score of one sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceScore {
    /// Mean log-probability per response token, nats.
    pub mean_logprob: f32,
    /// Response tokens.
    pub n_tokens: usize,
}

/// Scores trajectories, `batch_tokens` at a time. Rows do not influence each other.
///
/// # Errors
/// The decoder fails, or a token is not in its vocabulary.
pub fn score(decoder: &Decoder, trajectories: &[Trajectory], batch_tokens: usize) -> Result<Vec<SequenceScore>, LearnError> {
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    let mut scores = Vec::with_capacity(all.len());
    for batch in micro_batches(&all, MicroBatching::Tokens(batch_tokens)) {
        let Forward { values, lens, .. } = forward(decoder, batch)?;
        let mut rest = values.as_slice();
        for n_tokens in lens {
            let (of_sequence, behind) = rest.split_at(n_tokens);
            rest = behind;
            let sum: f64 = of_sequence.iter().map(|lp| f64::from(*lp)).sum();
            scores.push(SequenceScore { mean_logprob: (sum / n_tokens.max(1) as f64) as f32, n_tokens });
        }
    }
    Ok(scores)
}

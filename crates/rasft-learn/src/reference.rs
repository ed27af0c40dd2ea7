//! Mean log-probability of responses under a decoder, without gradients: difficulty and the frozen reference.
//!
//! Invariant: a score depends on its own trajectory alone, bit for bit, whatever the batch.

use crate::LearnError;
use crate::batch::{MicroBatching, Trajectory, micro_batches};
use crate::forward::{Rows, forward};
use rasft_model::Decoder;

/// Score of one sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceScore {
    /// Mean log-probability per response token, nats.
    pub mean_logprob: f32,
    /// Response tokens.
    pub n_tokens: usize,
}

/// Scores trajectories, `batch_tokens` at a time: `ℓ = Σ_t log p(y_t) / n`, summed in f64.
///
/// # Errors
/// A trajectory without prompt or response (named by its row), one longer than the model allows, a token that is not in
/// the vocabulary, or the decoder fails.
///
/// # Source
/// algorithm.md §1 and §11 (ℓ_θ, ℓ_ref).
pub fn score(
    decoder: &Decoder,
    trajectories: &[Trajectory],
    batch_tokens: usize,
) -> Result<Vec<SequenceScore>, LearnError> {
    trajectories.iter().enumerate().try_for_each(|(row, t)| t.check_prompt(row))?;
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    let mut scores = Vec::with_capacity(all.len());
    for batch in micro_batches(&all, MicroBatching::Tokens(batch_tokens)) {
        let rows = Rows::of(batch)?;
        let forward = forward(decoder, &rows, None)?;
        scores.extend(rows.by_sequence(&forward.values).map(|logprobs| {
            let sum: f64 = logprobs.iter().map(|lp| f64::from(*lp)).sum();
            SequenceScore { mean_logprob: (sum / logprobs.len() as f64) as f32, n_tokens: logprobs.len() }
        }));
    }
    Ok(scores)
}

//! Trajectories, their order, and how an optimizer step is cut into micro-batches.

use crate::LearnError;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One sequence to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// For messages.
    pub id: String,
    /// Prompt, response and EOS.
    pub input_ids: Vec<u32>,
    /// Leading tokens that are not trained on.
    pub prompt_len: usize,
    /// Weight of the sequence's loss.
    pub weight: f64,
    /// Mean log-probability per response token under the frozen reference, nats.
    pub ref_logprob: f32,
}

impl Trajectory {
    /// Tokens that are trained on.
    pub fn response_len(&self) -> usize {
        self.input_ids.len() - self.prompt_len
    }
}

/// Refuses trajectories that cannot be trained on.
///
/// # Errors
/// Names the first row that is wrong, and how to mend it.
pub fn check_trajectories(rows: &[Trajectory], vocab_size: usize, needs_reference: bool) -> Result<(), LearnError> {
    for (row, t) in rows.iter().enumerate() {
        let fail = |detail: String, hint| Err(LearnError::Trajectory { row, id: t.id.clone(), detail, hint });
        if let Some(id) = t.input_ids.iter().find(|id| **id as usize >= vocab_size) {
            return fail(
                format!("token {id} is beyond the model's vocabulary of {vocab_size}"),
                "the mixture was made with another tokenizer: run `rasft-score mixture --model` with this model",
            );
        }
        if t.prompt_len == 0 || t.prompt_len >= t.input_ids.len() {
            return fail(
                format!("prompt_len is {}, expected 1 to {} (it has {} tokens)", t.prompt_len, t.input_ids.len().saturating_sub(1), t.input_ids.len()),
                "a trajectory needs at least one prompt token and one response token",
            );
        }
        if !t.weight.is_finite() {
            return fail(format!("weight is {}", t.weight), "weights must be finite numbers");
        }
        if needs_reference && !t.ref_logprob.is_finite() {
            return fail(
                format!("ref_logprob is {}", t.ref_logprob),
                "objective rasft needs it: run `rasft-score mixture` with --reference",
            );
        }
    }
    Ok(())
}

/// In which order trajectories are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they come, over and over.
    AsGiven,
    /// Shuffled anew in every epoch, by (seed, epoch).
    Shuffled {
        /// The seed.
        seed: u64,
    },
}

impl Order {
    /// Row trained at `position`, counted over all epochs, of `n` rows. Positions are asked for in ascending order, so
    /// the caller keeps the permutation of the epoch it is in.
    pub fn epoch(self, epoch: u64, n: usize) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..n).collect();
        if let Self::Shuffled { seed } = self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch);
            // Fisher–Yates with 64-bit multiplication; its bias is below n / 2^64.
            for i in (1..n).rev() {
                let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
                rows.swap(i, j);
            }
        }
        rows
    }
}

/// How an optimizer step is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicroBatching {
    /// As many sequences as fit this many tokens, at least one.
    Tokens(usize),
    /// This many sequences.
    Sequences(usize),
}

/// Cuts the sequences of an optimizer step into micro-batches, in order.
pub fn micro_batches<'a, 'b>(step: &'b [&'a Trajectory], cut: MicroBatching) -> Vec<&'b [&'a Trajectory]> {
    match cut {
        MicroBatching::Sequences(n) => step.chunks(n.max(1)).collect(),
        MicroBatching::Tokens(budget) => {
            let (mut out, mut start, mut tokens) = (Vec::new(), 0, 0);
            for (i, t) in step.iter().enumerate() {
                if i > start && tokens + t.input_ids.len() > budget {
                    out.push(&step[start..i]);
                    (start, tokens) = (i, 0);
                }
                tokens += t.input_ids.len();
            }
            if start < step.len() {
                out.push(&step[start..]);
            }
            out
        }
    }
}

//! Trajectories, their order, and how an optimizer step is cut into micro-batches.
//!
//! Invariant: which sequences an optimizer step holds, and in which order, depends on the rows, the order and the batch
//! size alone, never on how the step is cut. Absent on purpose: reordering by length (it would change `micro-batch`
//! normalisation) and padding.

use crate::LearnError;
use crate::objectives::{Objective, Sequence};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rasft_model::DecoderConfig;

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
    /// Log-probability of each response token under the policy that sampled it, nats; empty unless `grpo` needs it.
    pub old_logprobs: Vec<f32>,
}

impl Trajectory {
    /// What an objective sees of it, with the log-probabilities of its response tokens under the policy.
    pub(crate) fn seen<'a>(&'a self, logprobs: &'a [f32]) -> Sequence<'a> {
        Sequence { logprobs, weight: self.weight, ref_logprob: self.ref_logprob, old_logprobs: &self.old_logprobs }
    }

    /// Tokens that are trained on.
    pub fn response_len(&self) -> usize {
        self.input_ids.len().saturating_sub(self.prompt_len)
    }

    pub(crate) fn check_prompt(&self, row: usize) -> Result<(), LearnError> {
        let n = self.input_ids.len();
        if self.prompt_len >= 1 && self.prompt_len < n {
            return Ok(());
        }
        let last = n.saturating_sub(1);
        let detail = format!("prompt_len is {}, expected 1 to {last} (it has {n} tokens)", self.prompt_len);
        let hint = "a trajectory needs at least one prompt token and one response token";
        Err(LearnError::Trajectory { row, id: self.id.clone(), detail, hint })
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
        t.check_prompt(row)?;
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

/// [`check_trajectories`] against a model and an objective, the lengths included.
///
/// # Errors
/// Names the first row that is wrong, and how to mend it.
pub fn check_against(rows: &[Trajectory], config: &DecoderConfig, objective: Objective) -> Result<(), LearnError> {
    check_trajectories(rows, config.vocab_size, objective.needs_reference())?;
    if objective.needs_behaviour() {
        rows.iter().enumerate().try_for_each(|(row, t)| check_behaviour(row, t))?;
    }
    let limit = config.max_position_embeddings;
    // The last token is only predicted, never read.
    match rows.iter().position(|t| t.input_ids.len() > limit + 1) {
        None => Ok(()),
        Some(row) => Err(LearnError::Trajectory {
            row,
            id: rows[row].id.clone(),
            detail: format!("{} tokens exceed the model's max_position_embeddings {limit}", rows[row].input_ids.len()),
            hint: "make the mixture with a lower --max-length",
        }),
    }
}

fn check_behaviour(row: usize, t: &Trajectory) -> Result<(), LearnError> {
    let (n, found) = (t.response_len(), t.old_logprobs.len());
    let detail = if found != n {
        format!("old_logprobs has {found} entries for {n} response tokens")
    } else if let Some(lp) = t.old_logprobs.iter().find(|lp| !lp.is_finite()) {
        format!("old_logprobs holds {lp}")
    } else {
        return Ok(());
    };
    let hint = "objective grpo needs them: make the mixture with `rasft-score mixture --for grpo`";
    Err(LearnError::Trajectory { row, id: t.id.clone(), detail, hint })
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
    /// The rows of one epoch, a permutation of `0..n`.
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

/// Walks through the rows epoch after epoch.
#[derive(Debug, Clone)]
pub struct Cursor {
    order: Order,
    consumed: u64,
    /// The epoch that `rows` belong to.
    epoch: u64,
    rows: Vec<usize>,
}

impl Cursor {
    /// A cursor over `n_rows` rows of which `consumed`, counted over all epochs, are done.
    ///
    /// # Errors
    /// There are no rows.
    pub fn new(order: Order, n_rows: usize, consumed: u64) -> Result<Self, LearnError> {
        if n_rows == 0 {
            return Err(LearnError::Parameter("there are no trajectories to train on".into()));
        }
        let epoch = consumed / n_rows as u64;
        Ok(Self { order, consumed, epoch, rows: order.epoch(epoch, n_rows) })
    }

    /// Rows handed out so far, counted over all epochs.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next `n` rows.
    pub fn take(&mut self, n: usize) -> Vec<usize> {
        (0..n).map(|_| self.next_row()).collect()
    }

    fn next_row(&mut self) -> usize {
        let n = self.rows.len() as u64;
        let epoch = self.consumed / n;
        if epoch != self.epoch {
            (self.epoch, self.rows) = (epoch, self.order.epoch(epoch, self.rows.len()));
        }
        let row = self.rows[(self.consumed % n) as usize];
        self.consumed += 1;
        row
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n_tokens: usize) -> Trajectory {
        Trajectory {
            id: format!("t{n_tokens}"),
            input_ids: vec![1; n_tokens],
            prompt_len: 1,
            weight: 1.0,
            ref_logprob: -1.0,
            old_logprobs: Vec::new(),
        }
    }

    #[test]
    fn rows_cycle_in_order() {
        let mut cursor = Cursor::new(Order::AsGiven, 3, 2).unwrap();
        assert_eq!(cursor.take(5), [2, 0, 1, 2, 0]);
        assert_eq!(cursor.consumed(), 7);
        assert!(Cursor::new(Order::AsGiven, 0, 0).is_err());
    }

    #[test]
    fn shuffled_epochs_are_permutations_that_differ_and_repeat_by_seed() {
        let order = Order::Shuffled { seed: 7 };
        let mut cursor = Cursor::new(order, 50, 0).unwrap();
        let (first, second) = (cursor.take(50), cursor.take(50));
        assert_ne!(first, second);
        for epoch in [&first, &second] {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert_ne!(first, Order::Shuffled { seed: 8 }.epoch(0, 50));
        // A cursor set down in the middle goes on as one that walked there.
        assert_eq!(Cursor::new(order, 50, 60).unwrap().take(40), second[10..]);
    }

    #[test]
    fn micro_batches_tile_the_step_within_the_budget() {
        let rows = [3, 4, 9, 1, 1, 1].map(row);
        let step: Vec<&Trajectory> = rows.iter().collect();
        let lens = |cut| micro_batches(&step, cut).iter().map(|m| m.len()).collect::<Vec<_>>();
        assert_eq!(lens(MicroBatching::Tokens(7)), [2, 1, 3]);
        assert_eq!(lens(MicroBatching::Tokens(1)), [1; 6]);
        assert_eq!(lens(MicroBatching::Tokens(1000)), [6]);
        assert_eq!(lens(MicroBatching::Sequences(4)), [4, 2]);
    }

    #[test]
    fn wrong_rows_are_named() {
        let check = |change: fn(&mut Trajectory), part: &str| {
            let mut rows = vec![row(4), row(5)];
            change(&mut rows[1]);
            let message = check_trajectories(&rows, 8, true).unwrap_err().to_string();
            assert!(message.contains("trajectory 1 (t5)") && message.contains(part), "{message}");
        };
        check(|t| t.input_ids[2] = 8, "token 8");
        check(|t| t.prompt_len = 0, "prompt_len is 0, expected 1 to 4");
        check(|t| t.prompt_len = 5, "prompt_len is 5, expected 1 to 4");
        check(|t| t.weight = f64::NAN, "weight is NaN");
        check(|t| t.ref_logprob = f32::NEG_INFINITY, "ref_logprob is -inf");
        let mut rows = vec![row(4)];
        rows[0].ref_logprob = f32::NAN;
        assert!(check_trajectories(&rows, 8, false).is_ok());
    }
}

//! From trajectories to log-probabilities of their response tokens.
//!
//! Sequences lie end to end without padding; the output projection sees only rows that predict a response token.

use crate::LearnError;
use crate::batch::Trajectory;
use candle_core::Tensor;
use rasft_model::{Decoder, Dropout, Packed, Predictions};

/// What a decoder says of the response tokens of a micro-batch, sequence after sequence.
pub(crate) struct Forward {
    /// Hidden states that predict them, (N, D).
    pub hidden: Tensor,
    /// Their log-probabilities, (N), nats; with gradient if the decoder is trainable.
    pub logprobs: Tensor,
    /// The same, detached.
    pub values: Vec<f32>,
}

/// A packed micro-batch and what is to be predicted from it.
pub(crate) struct Rows {
    pub packed: Packed,
    pub predictions: Predictions,
    /// Response tokens per sequence.
    lens: Vec<usize>,
    /// Per sequence its place in the step, for dropout.
    places: Vec<u64>,
}

impl Rows {
    /// Lays the sequences end to end.
    pub fn of(part: &[&Trajectory]) -> Result<Self, LearnError> {
        let mut packed = Packed::new();
        let (mut rows, mut targets, mut lens) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, trajectory) in part.iter().enumerate() {
            trajectory.check_prompt(slot)?;
            let ids = &trajectory.input_ids;
            let start = packed.len();
            // The last token predicts nothing.
            packed.push(&ids[..ids.len() - 1], 0, slot);
            rows.extend((trajectory.prompt_len - 1..ids.len() - 1).map(|t| (start + t) as u32));
            targets.extend_from_slice(&ids[trajectory.prompt_len..]);
            lens.push(trajectory.response_len());
        }
        let places = (0..part.len() as u64).collect();
        Ok(Self { packed, predictions: Predictions { rows, targets }, lens, places })
    }

    /// The same rows, the first of which is sequence `first` of its step.
    pub fn starting_at(mut self, first: usize) -> Self {
        self.places.iter_mut().for_each(|place| *place += first as u64);
        self
    }

    /// Per sequence its place in the step, for dropout.
    pub fn places(&self) -> &[u64] {
        &self.places
    }

    /// Values of the response tokens, sequence by sequence.
    pub fn by_sequence<'a>(&'a self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        let mut rest = values;
        self.lens.iter().map(move |n| {
            let (of_sequence, behind) = rest.split_at(*n);
            rest = behind;
            of_sequence
        })
    }

    /// Hidden states that predict response tokens, (N, D).
    pub fn hidden(&self, decoder: &Decoder) -> Result<Tensor, LearnError> {
        self.predicting(decoder.hidden(&self.packed)?)
    }

    /// The same with the dropout of an adapter.
    fn hidden_with_dropout(&self, decoder: &Decoder, dropout: Dropout) -> Result<Tensor, LearnError> {
        self.predicting(decoder.hidden_with_dropout(&self.packed, dropout, &self.places)?)
    }

    /// (T, D) → (N, D).
    fn predicting(&self, hidden: Tensor) -> Result<Tensor, LearnError> {
        let rows = Tensor::new(self.predictions.rows.as_slice(), hidden.device())?;
        Ok(hidden.index_select(&rows, 0)?)
    }
}

/// Runs the packed sequences and looks only at the rows that predict response tokens.
pub(crate) fn forward(decoder: &Decoder, rows: &Rows, dropout: Option<Dropout>) -> Result<Forward, LearnError> {
    let hidden = match dropout {
        Some(dropout) => rows.hidden_with_dropout(decoder, dropout)?,
        None => rows.hidden(decoder)?,
    };
    let logprobs = decoder.token_logprobs(&hidden, &rows.predictions.targets)?;
    let values = logprobs.to_vec1::<f32>()?;
    Ok(Forward { hidden, logprobs, values })
}

//! The passes of training, of all weights or of an adapter beside frozen ones, in f32 or over bf16 weights, written out over
//! the kernels: a forward pass that keeps what its backward pass needs, and the backward pass, which adds every gradient to
//! a sum of the caller's. What does not train has no sum and costs none.
//!
//! It computes what [`Decoder::hidden`], [`Decoder::token_logprobs`] and candle's `backward` compute, which stay the path on
//! other devices and the oracle in tests: log-probabilities have the same bits, gradients agree to rounding. What it
//! leaves out is their cost: a graph, zeroed memory for every gradient, and a second copy of all gradients.
//! Invariants: the bits of gradients depend neither on the number of threads nor on [`Activations`].
//! Absent on purpose: losses.

use std::ops::Range;

use candle_core::DType;

use super::shared_rows::SharedRows;
use super::{Decoder, Trainable};
use crate::error::ModelError;
use crate::lora::{Dropout, Masks};
use crate::ops::kernels::{
    Start, Vocabulary, Weight, add_gradients_of_norm, affine_into, cross_entropy, cross_entropy_gradients, gather_rows,
    input_gradient, normalise, scatter_add_rows, weight_gradient,
};
use crate::packed::Packed;
use crate::pool::Pool;
use crate::threads::awake;

mod block;
mod low_rank;
mod map;
mod roles;

use block::Inner;
use roles::{locked, sums as by_role, weights};

/// What a forward pass keeps of each block for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// All that the backward pass reads.
    #[default]
    Kept,
    /// The block's input; the rest is computed again, which costs up to a third more time and saves most of the memory
    /// (gradient checkpointing).
    Recomputed,
}

/// Whether gradients are the first of their sums or go on top of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    /// Whatever the sums hold is overwritten, which saves clearing them.
    Begin,
    /// They are added to.
    Continue,
}

impl Sums {
    /// How a product that makes a whole gradient starts.
    fn start(self) -> Start {
        match self {
            Self::Begin => Start::Zero,
            Self::Continue => Start::Kept,
        }
    }

    /// A sum that is added to bit by bit.
    fn ready(self, sum: &mut [f32]) {
        if self == Self::Begin {
            sum.fill(0.0);
        }
    }
}

/// The part of a loss that looks at whole distributions: replaces the logits of a range of predictions, (rows, V), by
/// `∂L/∂logits`.
pub type LogitGradients<'a> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), ModelError> + Send + 'a;

/// Predictions whose logits exist at one time for [`LogitGradients`].
pub const LOGIT_ROWS: usize = 128;

/// Which rows of a batch predict what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Rows of the batch, N of them.
    pub rows: Vec<u32>,
    /// The token each is to predict, N.
    pub targets: Vec<u32>,
}

/// A forward pass that can be differentiated once.
#[derive(Debug)]
pub struct Recording {
    computed: SharedRows,
    /// Their rows are those of `computed`, not of the caller's batch.
    predictions: Predictions,
    dropped: Option<Dropped>,
    blocks: Vec<Kept>,
    /// What the final norm makes `hidden` of, (N, D).
    last: Vec<f32>,
    hidden: Vec<f32>,
    logprobs: Vec<f32>,
}

/// The dropout of one forward pass.
#[derive(Debug)]
struct Dropped {
    p: f64,
    dropout: Dropout,
    /// Per sequence its place in the step.
    rows: Vec<u64>,
}

impl Dropped {
    fn masks<'a>(&'a self, batch: &'a Packed) -> Masks<'a> {
        Masks { p: self.p, dropout: self.dropout, rows: &self.rows, spans: &batch.spans }
    }
}

#[derive(Debug)]
struct Kept {
    x: Vec<f32>,
    inner: Option<Inner>,
}

impl Recording {
    /// Log-probabilities of the targets, (N), nats.
    pub fn logprobs(&self) -> &[f32] {
        &self.logprobs
    }

    /// Rows that were computed: fewer than the batch has where sequences begin alike.
    pub fn n_rows(&self) -> usize {
        self.computed.rows.len()
    }

    /// Hidden states after the final norm, (N, D), row by row.
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }
}

impl Decoder {
    /// Whether [`Decoder::record`] works: all weights train or an adapter does, on the CPU.
    #[must_use]
    pub fn can_record(&self) -> bool {
        let f32_on_cpu = |var: &candle_core::Var| var.device().is_cpu() && var.dtype() == DType::F32;
        self.trainable() == Trainable::Yes && self.parameters.iter().all(|(_, var)| f32_on_cpu(var))
    }

    /// Log-probabilities of the targets, with what [`Decoder::backward`] needs. `dropout` is the adapter's, if it has one,
    /// and names per sequence of the batch its place in the step.
    ///
    /// # Errors
    /// As [`Decoder::hidden`] and [`Decoder::token_logprobs`]; the decoder is not trainable on the CPU; there is not one
    /// place per sequence.
    ///
    /// # Source
    /// algorithm.md §11.
    pub fn record(
        &self,
        batch: &Packed,
        predictions: Predictions,
        activations: Activations,
        dropout: Option<(Dropout, &[u64])>,
        pool: &mut Pool,
    ) -> Result<Recording, ModelError> {
        self.check_whole(batch)?;
        self.check_predictions(batch, &predictions)?;
        let mut dropped = None;
        if let (Some(p), Some((dropout, rows))) =
            (self.adapter().map(|lora| lora.dropout).filter(|p| *p > 0.0), dropout)
        {
            self.check_dropout(batch, rows)?;
            dropped = Some(Dropped { p, dropout, rows: rows.to_vec() });
        }
        awake(|| self.record_here(batch, predictions, activations, dropped, pool))
    }

    fn record_here(
        &self,
        batch: &Packed,
        predictions: Predictions,
        activations: Activations,
        dropped: Option<Dropped>,
        pool: &mut Pool,
    ) -> Result<Recording, ModelError> {
        let locked = locked(self)?;
        let masks = dropped.as_ref().map(|dropped| dropped.masks(batch));
        let w = weights(self, &locked, masks.as_ref())?;
        let d = self.config.hidden_size;
        // Dropout draws for every sequence by itself.
        let computed = if dropped.is_some() { SharedRows::apart(batch) } else { SharedRows::of(batch) };
        let Predictions { rows, targets } = predictions;
        let rows = rows.iter().map(|row| computed.row_of[*row as usize]).collect();
        let predictions = Predictions { rows, targets };
        let mut x = pool.take(computed.rows.len() * d);
        gather_rows(w.embedding, &computed.rows.ids, &mut x);
        let mut blocks = Vec::with_capacity(w.blocks.len());
        self.with_shared_rows(&computed, |place| {
            for w in &w.blocks {
                let inner = Inner::forward(place, w, &x, pool);
                let y = inner.output(w, pool);
                let inner = match activations {
                    Activations::Kept => Some(inner),
                    Activations::Recomputed => {
                        inner.give_back(pool);
                        None
                    }
                };
                blocks.push(Kept { x: std::mem::replace(&mut x, y), inner });
            }
        })?;
        let mut last = pool.take(predictions.rows.len() * d);
        gather_rows(Weight::F32(&x), &predictions.rows, &mut last);
        pool.give([x]);
        let mut hidden = pool.take(last.len());
        normalise(&last, &w.norm.widened(), self.config.rms_norm_eps as f32, &mut hidden);
        let vocabulary = Vocabulary::Stored(w.head.unwrap_or(w.embedding));
        let logprobs = cross_entropy(&hidden, vocabulary, d, &predictions.targets);
        Ok(Recording { computed, predictions, dropped, blocks, last, hidden, logprobs })
    }

    /// Adds the gradient of `L` to `into`, one sum per parameter in the order of [`Decoder::parameters`].
    ///
    /// # Shapes
    /// `dlogprobs` `∂L/∂logprobs` (N); `of_logits` what else of `L` there is, from the first prediction to the last.
    ///
    /// # Errors
    /// Lengths that do not fit, or `of_logits` failed: the sums then hold a part.
    pub fn backward(
        &self,
        recording: Recording,
        dlogprobs: &[f32],
        of_logits: Option<&mut LogitGradients<'_>>,
        (into, sums): (&mut [Vec<f32>], Sums),
        pool: &mut Pool,
    ) -> Result<(), ModelError> {
        let sized = into.len() == self.parameters.len()
            && into.iter().zip(&self.parameters).all(|(sum, (_, var))| sum.len() == var.elem_count());
        let n = recording.logprobs.len();
        if !sized || dlogprobs.len() != n {
            return Err(ModelError::Request(format!(
                "backward: gradients do not fit {n} predictions and the parameters"
            )));
        }
        awake(|| self.backward_here(recording, dlogprobs, of_logits, (into, sums), pool))
    }

    fn backward_here(
        &self,
        recording: Recording,
        dlogprobs: &[f32],
        of_logits: Option<&mut LogitGradients<'_>>,
        (into, sums): (&mut [Vec<f32>], Sums),
        pool: &mut Pool,
    ) -> Result<(), ModelError> {
        let Recording { computed, predictions, dropped, blocks, last, hidden, logprobs } = recording;
        let locked = locked(self)?;
        let masks = dropped.as_ref().map(|dropped| dropped.masks(&computed.rows));
        let w = weights(self, &locked, masks.as_ref())?;
        let mut g = by_role(self, into)?;
        let (d, eps) = (self.config.hidden_size, self.config.rms_norm_eps as f32);
        let head = w.head.unwrap_or(w.embedding);
        let head_sum = g.head.as_mut().unwrap_or(&mut g.embedding).as_deref_mut().unwrap_or_default();
        let rows = [&hidden, &logprobs, dlogprobs];
        let mut dh = cross_entropy_gradients(rows, head, &predictions.targets, d, head_sum, sums.start());
        if let Some(of_logits) = of_logits {
            let v = self.config.vocab_size;
            let mut logits = vec![0f32; v * LOGIT_ROWS.min(logprobs.len())];
            for (i, (h, dh)) in hidden.chunks(LOGIT_ROWS * d).zip(dh.chunks_mut(LOGIT_ROWS * d)).enumerate() {
                let (from, rows) = (i * LOGIT_ROWS, h.len() / d);
                let logits = &mut logits[..rows * v];
                affine_into(h, head, None, v, d, logits);
                of_logits(from..from + rows, logits)?;
                if !head_sum.is_empty() {
                    weight_gradient(logits, h, v, d, head_sum, Start::Kept);
                }
                input_gradient(logits, head, v, d, dh, Start::Kept);
            }
        }
        let mut dlast = pool.take(last.len());
        dlast.fill(0.0);
        if let Some(dw) = &mut g.norm {
            sums.ready(dw);
        }
        add_gradients_of_norm(&last, &w.norm.widened(), eps, &dh, &mut dlast, g.norm);
        let mut dx = pool.take(computed.rows.len() * d);
        dx.fill(0.0);
        scatter_add_rows(&predictions.rows, &dlast, &mut dx);
        pool.give([dlast, last, hidden]);
        self.with_shared_rows(&computed, |place| {
            let layers = w.blocks.iter().zip(&mut g.blocks).zip(blocks);
            for ((w, g), Kept { x, inner }) in layers.rev() {
                let inner = inner.unwrap_or_else(|| Inner::forward(place, w, &x, pool));
                inner.backward(place, w, (g, sums), &x, &mut dx, pool);
                pool.give([x]);
            }
        })?;
        if let Some(sum) = g.embedding {
            if g.head.is_some() {
                sums.ready(sum);
            }
            scatter_add_rows(&computed.rows.ids, &dx, sum);
        }
        pool.give([dx]);
        Ok(())
    }

    fn check_predictions(&self, batch: &Packed, predictions: &Predictions) -> Result<(), ModelError> {
        let Predictions { rows, targets } = predictions;
        if rows.len() != targets.len() {
            let (n, m) = (rows.len(), targets.len());
            return Err(ModelError::Request(format!("{n} rows predict {m} targets")));
        }
        if let Some(row) = rows.iter().find(|row| **row as usize >= batch.len()) {
            return Err(ModelError::Request(format!("row {row} predicts, the batch has {}", batch.len())));
        }
        self.check_targets(targets)
    }
}

//! One optimizer step: forward and backward over micro-batches, clip, update.

use crate::batch::{MicroBatching, Trajectory, micro_batches};
use crate::grads::accumulate;
use crate::objectives::{Objective, sequence_terms};
use crate::optim::{AdamW, AdamWParams, clip_factor, global_norm};
use crate::schedule::Schedule;
use crate::LearnError;
use candle_core::Tensor;
use rasft_model::{Decoder, Packed};
use rasft_types::StepMetrics;

/// What the sum of weighted token losses is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalization {
    /// Response tokens of the whole optimizer step, so the gradient does not depend on how it was cut.
    Global,
    /// Response tokens of each micro-batch, then the number of micro-batches (algorithm.md §10–§12).
    MicroBatch,
}

/// Parameters of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainerParams {
    /// What is minimised.
    pub objective: Objective,
    /// What losses are divided by.
    pub normalization: Normalization,
    /// How steps are cut.
    pub micro_batching: MicroBatching,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its schedule.
    pub schedule: Schedule,
    /// Clip of the global gradient norm.
    pub max_grad_norm: f64,
    /// The optimizer.
    pub adamw: AdamWParams,
}

/// A trainable decoder with its optimizer.
pub struct Trainer {
    decoder: Decoder,
    params: TrainerParams,
    optimizer: AdamW,
    sums: Vec<Vec<f32>>,
}

impl Trainer {
    /// A trainer with zero moments.
    pub fn new(decoder: Decoder, params: TrainerParams) -> Self {
        let sizes: Vec<usize> = decoder.parameters().iter().map(|(_, var)| var.elem_count()).collect();
        let optimizer = AdamW::new(&sizes, params.adamw);
        let sums = sizes.iter().map(|n| vec![0.0; *n]).collect();
        Self { decoder, params, optimizer, sums }
    }

    /// Goes on with the moments and the step of an earlier run.
    pub fn restore(&mut self, optimizer: AdamW) {
        self.optimizer = optimizer;
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// One optimizer step over `batch`.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, in which case nothing was updated; or the decoder failed.
    pub fn step(&mut self, batch: &[&Trajectory]) -> Result<StepMetrics, LearnError> {
        self.sums.iter_mut().for_each(|sum| sum.fill(0.0));
        let step = self.optimizer.step + 1;
        let micro = micro_batches(batch, self.params.micro_batching);
        let mut tally = Tally::default();
        for part in &micro {
            let of_part: usize = part.iter().map(|t| t.response_len()).sum();
            let divisor = match self.params.normalization {
                Normalization::Global => batch.iter().map(|t| t.response_len()).sum::<usize>() as f64,
                Normalization::MicroBatch => of_part.max(1) as f64 * micro.len() as f64,
            };
            self.micro_step(part, divisor.max(1.0), &mut tally)?;
        }
        let norm = global_norm(&self.sums);
        let not_finite = |what| LearnError::NotFinite { step, what, ids: batch.iter().map(|t| t.id.clone()).collect() };
        if !tally.loss.is_finite() {
            return Err(not_finite("loss"));
        }
        if !norm.is_finite() {
            return Err(not_finite("gradient norm"));
        }
        let lr = self.params.learning_rate * self.params.schedule.multiplier(self.optimizer.step);
        let scale = clip_factor(norm, self.params.max_grad_norm);
        self.optimizer.update(self.decoder.parameters(), &self.sums, scale, lr)?;
        Ok(tally.metrics(step, norm, lr, batch))
    }

    fn micro_step(&mut self, part: &[&Trajectory], divisor: f64, tally: &mut Tally) -> Result<(), LearnError> {
        let Forward { logprobs, values, lens } = forward(&self.decoder, part)?;
        let mut coefficients = Vec::with_capacity(values.len());
        let mut rest = values.as_slice();
        for (trajectory, n) in part.iter().zip(lens) {
            let (of_sequence, behind) = rest.split_at(n);
            rest = behind;
            let terms = sequence_terms(self.params.objective, of_sequence, trajectory.weight, trajectory.ref_logprob);
            tally.sequence(&terms, of_sequence, divisor);
            coefficients.extend(terms.coefficients.iter().map(|c| (-f64::from(*c) / divisor) as f32));
        }
        // L = Σ c·CE/n = Σ (−c/n)·log p
        let coefficients = Tensor::new(coefficients, logprobs.device())?;
        let loss = (logprobs * coefficients)?.sum_all()?;
        let mut grads = loss.backward()?;
        accumulate(&mut self.sums, self.decoder.parameters(), &mut grads)
    }
}

/// Log-probabilities of the response tokens of a micro-batch, sequence after sequence.
pub(crate) struct Forward {
    /// (N), with gradient if the decoder is trainable.
    pub logprobs: Tensor,
    /// The same, detached.
    pub values: Vec<f32>,
    /// Response tokens per sequence.
    pub lens: Vec<usize>,
}

/// Runs the packed sequences and looks only at the rows that predict response tokens.
pub(crate) fn forward(decoder: &Decoder, part: &[&Trajectory]) -> Result<Forward, LearnError> {
    let mut packed = Packed::new();
    let (mut rows, mut targets, mut lens) = (Vec::new(), Vec::new(), Vec::new());
    for (slot, trajectory) in part.iter().enumerate() {
        let ids = &trajectory.input_ids;
        let start = packed.len();
        // The last token predicts nothing.
        packed.push(&ids[..ids.len() - 1], 0, slot);
        rows.extend((trajectory.prompt_len - 1..ids.len() - 1).map(|t| (start + t) as u32));
        targets.extend_from_slice(&ids[trajectory.prompt_len..]);
        lens.push(trajectory.response_len());
    }
    let hidden = decoder.hidden(&packed)?;
    let rows = Tensor::new(rows, hidden.device())?;
    let logprobs = decoder.token_logprobs(&hidden.index_select(&rows, 0)?, &targets)?;
    let values = logprobs.to_vec1::<f32>()?;
    Ok(Forward { logprobs, values, lens })
}

/// Sums for the metrics of one step.
#[derive(Default)]
struct Tally {
    loss: f64,
    ratio: f64,
    clipped_low: u64,
    clipped_high: u64,
    sum_prob: f64,
}

impl Tally {
    fn sequence(&mut self, terms: &crate::SequenceTerms, logprobs: &[f32], divisor: f64) {
        let weighted = terms.coefficients.iter().zip(logprobs).map(|(c, lp)| -f64::from(*c) * f64::from(*lp));
        self.loss += weighted.sum::<f64>() / divisor;
        self.ratio += terms.clipped_ratio;
        self.clipped_low += u64::from(terms.clipped_ratio > terms.ratio);
        self.clipped_high += u64::from(terms.clipped_ratio < terms.ratio);
        self.sum_prob += terms.sum_prob;
    }

    fn metrics(&self, step: u64, grad_norm: f64, learning_rate: f64, batch: &[&Trajectory]) -> StepMetrics {
        let sequences = batch.len() as u64;
        let response_tokens: u64 = batch.iter().map(|t| t.response_len() as u64).sum();
        let per_sequence = |sum: f64| sum / sequences.max(1) as f64;
        StepMetrics {
            step,
            loss: self.loss,
            grad_norm,
            learning_rate,
            mean_ratio: per_sequence(self.ratio),
            clip_low_fraction: per_sequence(self.clipped_low as f64),
            clip_high_fraction: per_sequence(self.clipped_high as f64),
            mean_token_prob: self.sum_prob / response_tokens.max(1) as f64,
            tokens: batch.iter().map(|t| t.input_ids.len() as u64).sum(),
            response_tokens,
            sequences,
        }
    }
}

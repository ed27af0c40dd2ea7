//! One optimizer step: forward and backward over micro-batches, clip, update.
//!
//! Invariant: a step that fails changes neither parameters nor moments. Absent on purpose: which sequences make a step
//! (`run`), files (`checkpoint`), and a second model unless the objective has a divergence.

use crate::LearnError;
use crate::batch::{MicroBatching, Trajectory, micro_batches};
use crate::forward::Rows;
use crate::kl::Divergence;
use crate::objectives::{Objective, Sequence, SequenceTerms, mean_terms, n_counted, sequence_terms, token_gradients};
use crate::optim::{AdamW, AdamWParams, clip_factor, global_norm};
use crate::pass::Pass;
use crate::schedule::Schedule;
use crate::tally::Tally;
use rasft_model::{Activations, Decoder, Dropout, Pool, Sums};
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
    /// What is kept between forward and backward pass; the results are the same.
    pub activations: Activations,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Its schedule.
    pub schedule: Schedule,
    /// Clip of the global gradient norm; infinity for none.
    pub max_grad_norm: f64,
    /// The optimizer.
    pub adamw: AdamWParams,
}

impl TrainerParams {
    /// Refuses parameters out of range.
    ///
    /// # Errors
    /// Names the first parameter that is wrong.
    pub fn check(&self) -> Result<(), LearnError> {
        self.objective.check()?;
        self.adamw.check()?;
        if !(self.learning_rate >= 0.0 && self.learning_rate.is_finite()) {
            let detail = format!("the learning rate is {}: expected a finite number from 0 on", self.learning_rate);
            return Err(LearnError::Parameter(detail));
        }
        if self.max_grad_norm.is_nan() || self.max_grad_norm <= 0.0 {
            let detail = format!("the clip of the gradient norm is {}: expected a number above 0", self.max_grad_norm);
            return Err(LearnError::Parameter(detail));
        }
        Ok(())
    }
}

/// A trainable decoder with its optimizer.
#[derive(Debug)]
pub struct Trainer {
    decoder: Decoder,
    reference: Option<Decoder>,
    params: TrainerParams,
    optimizer: AdamW,
    sums: Vec<Vec<f32>>,
    pool: Pool,
    /// Seed of an adapter's dropout.
    seed: u64,
}

impl Trainer {
    /// A trainer with zero moments.
    pub fn new(decoder: Decoder, params: TrainerParams) -> Self {
        let sizes: Vec<usize> = decoder.parameters().iter().map(|(_, var)| var.elem_count()).collect();
        let optimizer = AdamW::new(&sizes, params.adamw);
        let sums = sizes.iter().map(|n| vec![0.0; *n]).collect();
        Self { decoder, reference: None, params, optimizer, sums, pool: Pool::default(), seed: 0 }
    }

    /// Adds the frozen reference that an objective with a divergence compares with.
    ///
    /// # Errors
    /// Its vocabulary is another one.
    pub fn with_reference(mut self, reference: Decoder) -> Result<Self, LearnError> {
        let (ours, theirs) = (self.decoder.config().vocab_size, reference.config().vocab_size);
        if ours != theirs {
            let detail = format!("the reference has a vocabulary of {theirs}, the policy of {ours}");
            return Err(LearnError::Parameter(detail));
        }
        self.reference = Some(reference);
        Ok(self)
    }

    /// Sets the seed of an adapter's dropout, whose masks follow from it, the step and the place in the step.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
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

    /// The parameters of training.
    pub fn params(&self) -> &TrainerParams {
        &self.params
    }

    /// Gradients of the last step before clipping, flattened, by parameter name; zeros before the first step.
    pub fn gradients(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.decoder.parameters().iter().zip(&self.sums).map(|((name, _), sum)| (name.as_str(), sum.as_slice()))
    }

    /// One optimizer step over `batch`:
    ///
    /// ```text
    /// L = Σ_bt (c_bt·CE_bt + λ·KL_bt) / n,   g = ∂L/∂θ,   θ ← AdamW(θ, g · min(1, max/(‖g‖+1e-6)))
    /// ```
    ///
    /// with `θ` the f32 master copy where the weights of the passes are bf16, which become `θ` rounded;
    /// `n` the tokens the objective counts, in the step (`global`) or in the micro-batch times the number of
    /// micro-batches (`micro-batch`).
    ///
    /// # Errors
    /// A loss or gradient that is not finite, an unusable parameter or trajectory (its place in the step is named), or
    /// the decoder failed. Nothing was updated then.
    ///
    /// # Source
    /// algorithm.md §10–§12 and Part A 7.
    pub fn step(&mut self, batch: &[&Trajectory]) -> Result<StepMetrics, LearnError> {
        self.params.check()?;
        if batch.is_empty() {
            return Err(LearnError::Parameter("an optimizer step needs at least one sequence".into()));
        }
        let mut tally = self.gradients_of(batch, self.params.objective)?;
        if tally.counted == 0 {
            // `profit` found no token to train on.
            tally = self.gradients_of(batch, Objective::Sft)?;
        }
        // The sums are per response token of the step; `profit` takes the mean over the tokens that it counts.
        let per_counted = match self.params.normalization {
            Normalization::Global => tally.response_tokens as f64 / tally.counted as f64,
            Normalization::MicroBatch => 1.0,
        };
        tally.loss *= per_counted;
        let norm = global_norm(&self.sums) * per_counted;
        let step = self.optimizer.step + 1;
        for (what, value) in [("loss", tally.loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                let ids = batch.iter().map(|t| t.id.clone()).collect();
                return Err(LearnError::NotFinite { step, what, ids });
            }
        }
        let lr = self.params.learning_rate * self.params.schedule.multiplier(self.optimizer.step);
        let scale = clip_factor(norm, self.params.max_grad_norm) * per_counted;
        self.optimizer.update(self.decoder.parameters(), &self.sums, scale, lr)?;
        self.decoder.round_weights()?;
        Ok(tally.metrics(step, norm, lr))
    }

    /// Leaves the gradients of the step in `sums`.
    fn gradients_of(&mut self, batch: &[&Trajectory], objective: Objective) -> Result<Tally, LearnError> {
        let micro = micro_batches(batch, self.params.micro_batching);
        let n_tokens: usize = batch.iter().map(|t| t.response_len()).sum();
        let mut tally = Tally::default();
        let (mut first, mut sums) = (0, Sums::Begin);
        for part in &micro {
            let divisor = match self.params.normalization {
                Normalization::Global => Divisor::Fixed(n_tokens as f64),
                Normalization::MicroBatch => Divisor::Counted { n_micro: micro.len() as f64 },
            };
            self.micro_step(part, first, objective, divisor, sums, &mut tally)?;
            (first, sums) = (first + part.len(), Sums::Continue);
        }
        Ok(tally)
    }

    fn micro_step(
        &mut self,
        part: &[&Trajectory],
        first: usize,
        objective: Objective,
        divisor: Divisor,
        sums: Sums,
        tally: &mut Tally,
    ) -> Result<(), LearnError> {
        let rows = Rows::of(part)?.starting_at(first);
        let dropout = Dropout { seed: self.seed, step: self.optimizer.step };
        let pass = Pass::of(&self.decoder, &rows, dropout, self.params.activations, &mut self.pool)?;
        let sequences: Vec<Sequence<'_>> =
            part.iter().zip(rows.by_sequence(pass.logprobs())).map(|(t, logprobs)| t.seen(logprobs)).collect();
        let (terms, divisor) = match divisor {
            Divisor::Fixed(n) => {
                let of = |s: &Sequence<'_>| sequence_terms(objective, s);
                (sequences.iter().map(of).collect::<Vec<SequenceTerms>>(), n)
            }
            Divisor::Counted { n_micro } => {
                let terms = mean_terms(objective, &sequences);
                let n = n_counted(&terms) as f64 * n_micro;
                (terms, n)
            }
        };
        for ((trajectory, terms), sequence) in part.iter().zip(&terms).zip(&sequences) {
            tally.sequence(trajectory, terms, sequence.logprobs, divisor);
        }
        let mut divergence = None;
        if let Some(kl_weight) = objective.kl_weight() {
            let reference = self.reference.as_ref().ok_or_else(|| {
                LearnError::Parameter("this objective compares with a reference model: give --reference".into())
            })?;
            divergence = Some(Divergence::of(&rows, reference, kl_weight / divisor)?);
        }
        let dlogprobs = token_gradients(&terms, divisor);
        let into = (self.sums.as_mut_slice(), sums);
        pass.backward(&self.decoder, &dlogprobs, divergence.as_mut(), into, &mut self.pool)?;
        tally.loss += divergence.map_or(0.0, |divergence| divergence.loss);
        Ok(())
    }
}

/// What a micro-batch's losses are divided by.
#[derive(Clone, Copy)]
enum Divisor {
    /// A number known before the forward pass.
    Fixed(f64),
    /// The tokens the objective counts in the micro-batch, times the number of micro-batches.
    Counted { n_micro: f64 },
}

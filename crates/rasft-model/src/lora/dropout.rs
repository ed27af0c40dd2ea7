//! Dropout that repeats: a mask depends on the seed, the row it is for, the module and the place in it, on nothing else.
//!
//! So a run gives the same bytes whatever the micro-batches, the number of threads or the restarts.

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rayon::prelude::*;

use crate::packed::Span;

/// What is dropped in one training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropout {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step.
    pub step: u64,
}

/// The masks of one batch.
#[derive(Debug)]
pub(crate) struct Masks<'a> {
    /// Probability of a zero.
    pub p: f64,
    /// Seed and step.
    pub dropout: Dropout,
    /// Per span: which sequence of the step it is.
    pub rows: &'a [u64],
    /// Where the sequences lie.
    pub spans: &'a [Span],
}

impl Masks<'_> {
    /// x (T, K) with each element zeroed with probability p and the others divided by 1 − p.
    pub fn apply(&self, x: &Tensor, module: &str) -> candle_core::Result<Tensor> {
        let (n_tokens, width) = x.dims2()?;
        let mut mask = vec![0f32; n_tokens * width];
        let mut parts = Vec::with_capacity(self.spans.len());
        let mut rest = mask.as_mut_slice();
        for (span, row) in self.spans.iter().zip(self.rows) {
            let (part, behind) = rest.split_at_mut(span.len * width);
            parts.push((part, *row));
            rest = behind;
        }
        parts.into_par_iter().for_each(|(part, row)| self.fill(part, row, module));
        x * Tensor::from_vec(mask, (n_tokens, width), x.device())?
    }

    fn fill(&self, part: &mut [f32], row: u64, module: &str) {
        let mut hasher = blake3::Hasher::new();
        for number in [self.dropout.seed, self.dropout.step, row] {
            hasher.update(&number.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(*hasher.update(module.as_bytes()).finalize().as_bytes());
        let below = (self.p * (1u64 << 32) as f64) as u64;
        let kept = (1.0 / (1.0 - self.p)) as f32;
        for value in part {
            *value = if u64::from(rng.next_u32()) < below { 0.0 } else { kept };
        }
    }
}

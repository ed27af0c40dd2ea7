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

/// Rows of a sequence that one task fills; any number gives the same mask.
const ROWS: usize = 64;

impl Masks<'_> {
    /// x (T, K) with each element zeroed with probability p and the others divided by 1 − p.
    pub fn apply(&self, x: &Tensor, module: &str) -> candle_core::Result<Tensor> {
        let (n_tokens, width) = x.dims2()?;
        let mut mask = vec![0f32; n_tokens * width];
        self.fill(&mut mask, module);
        x * Tensor::from_vec(mask, (n_tokens, width), x.device())?
    }

    /// What the inputs of a module are multiplied by, (T, K): 0 or 1 / (1 − p).
    pub fn fill(&self, mask: &mut [f32], module: &str) {
        let width = mask.len() / self.spans.iter().map(|span| span.len).sum::<usize>().max(1);
        let mut tasks = Vec::new();
        let mut rest = mask;
        for (span, row) in self.spans.iter().zip(self.rows) {
            let (part, behind) = rest.split_at_mut(span.len * width);
            tasks.extend(part.chunks_mut((ROWS * width).max(1)).enumerate().map(|(nth, part)| (part, *row, nth)));
            rest = behind;
        }
        tasks.into_par_iter().for_each(|(part, row, nth)| self.fill_from(part, row, module, nth * ROWS * width));
    }

    /// A part of the mask of one sequence, from its value `first` on.
    fn fill_from(&self, part: &mut [f32], row: u64, module: &str, first: usize) {
        let mut hasher = blake3::Hasher::new();
        for number in [self.dropout.seed, self.dropout.step, row] {
            hasher.update(&number.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(*hasher.update(module.as_bytes()).finalize().as_bytes());
        rng.set_word_pos(first as u128);
        let below = (self.p * (1u64 << 32) as f64) as u32;
        let kept = (1.0 / (1.0 - self.p)) as f32;
        // A word of the stream in the place of each value: taking them one by one costs more than making them.
        let words: &mut [u32] = bytemuck::cast_slice_mut(part);
        rng.fill_bytes(bytemuck::cast_slice_mut(words));
        for word in words {
            *word = if u32::from_le(*word) < below { 0.0 } else { kept }.to_bits();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each value belongs to one word of its sequence's stream, however the mask was cut.
    #[test]
    fn a_mask_is_one_stream_per_sequence() {
        let spans = [Span { start: 0, len: 3, past: 0, slot: 0 }, Span { start: 3, len: 150, past: 0, slot: 1 }];
        let masks = Masks { p: 0.4, dropout: Dropout { seed: 3, step: 9 }, rows: &[7, 8], spans: &spans };
        let width = 5;
        let mut mask = vec![f32::NAN; 153 * width];
        masks.fill(&mut mask, "m");
        let mut expected = vec![f32::NAN; 153 * width];
        let (first, second) = expected.split_at_mut(3 * width);
        masks.fill_from(first, 7, "m", 0);
        masks.fill_from(second, 8, "m", 0);
        assert_eq!(mask, expected);
        let key = blake3::hash(&[&[3u64, 9, 8].map(u64::to_le_bytes).concat()[..], b"m"].concat());
        let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
        assert!(mask[15..].iter().all(|x| (*x == 0.0) == (f64::from(rng.next_u32()) < 0.4 * 2f64.powi(32))));
        assert!(mask.iter().all(|x| *x == 0.0 || *x == (1.0f64 / 0.6) as f32) && mask[..15] != mask[15..30]);
    }
}

//! From logits to a token: a pure function of the logits, the sample's own history and its own random stream.

mod candidates;
mod softmax;

pub use softmax::logprob;

use crate::SamplingParams;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The random stream of one sample: ChaCha8 keyed by blake3 over seed, problem and sample index.
///
/// One draw per token, greedy or not, so the stream's position is the token's index.
#[must_use]
pub fn sample_rng(seed: u64, problem_id: &str, sample_index: u32) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(problem_id.len() as u64).to_le_bytes());
    hasher.update(problem_id.as_bytes());
    hasher.update(&sample_index.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Room to work in, one per thread; what is in it never matters.
#[derive(Debug, Default)]
pub struct Scratch {
    scores: Vec<f32>,
    weights: Vec<f32>,
    sums: Vec<f64>,
    keys: Vec<u64>,
}

/// Chooses tokens for one sample; remembers which tokens the repetition penalty falls on.
#[derive(Debug, Clone)]
pub struct Sampler {
    rng: ChaCha8Rng,
    /// Sorted ids of tokens in the prompt or the completion; empty without a penalty.
    seen: Vec<u32>,
    n_chosen: u32,
}

impl Sampler {
    /// A sampler for one sample of a prompt.
    #[must_use]
    pub fn new(rng: ChaCha8Rng, prompt: &[u32], params: &SamplingParams) -> Self {
        let mut seen = Vec::new();
        if params.repetition_penalty != 1.0 {
            seen.extend_from_slice(prompt);
            seen.sort_unstable();
            seen.dedup();
        }
        Self { rng, seen, n_chosen: 0 }
    }

    /// The next token, and its log-probability under the softmax of the logits as they came: untempered, unfiltered and
    /// unpenalised; nats. Ties go to the lowest id.
    ///
    /// # Shapes
    /// logits (V).
    ///
    /// # Errors
    /// `None` when a logit is not finite, or nothing is left to choose from.
    pub fn next(&mut self, logits: &[f32], params: &SamplingParams, scratch: &mut Scratch) -> Option<(u32, f32)> {
        let largest = softmax::finite_max(logits)?;
        let uniform = unit_interval(self.rng.next_u64());
        let Scratch { scores, weights, sums, keys } = scratch;
        let (scores, best) = if self.adjusts(params) {
            scores.clear();
            scores.extend_from_slice(logits);
            self.adjust(scores, params);
            (scores.as_slice(), softmax::max(scores))
        } else {
            (logits, largest)
        };
        if !best.is_finite() {
            return None;
        }
        let token = if params.is_greedy() {
            scores.iter().position(|z| *z == best)? as u32
        } else {
            softmax::weigh(scores, best, params.temperature, weights, sums);
            candidates::draw(weights, sums, params, uniform, keys)
        };
        self.remember(token, params);
        Some((token, softmax::logprob_below(logits, largest, token)))
    }

    /// Whether a score may differ from its logit.
    fn adjusts(&self, params: &SamplingParams) -> bool {
        !self.seen.is_empty() || self.n_chosen < params.min_new_tokens
    }

    /// Rules out the end of the sequence while it is too early, and applies the repetition penalty.
    fn adjust(&self, scores: &mut [f32], params: &SamplingParams) {
        let penalty = params.repetition_penalty as f32;
        for &id in &self.seen {
            if let Some(z) = scores.get_mut(id as usize) {
                *z = if *z > 0.0 { *z / penalty } else { *z * penalty };
            }
        }
        if self.n_chosen < params.min_new_tokens {
            for &id in &params.eos_ids {
                if let Some(z) = scores.get_mut(id as usize) {
                    *z = f32::NEG_INFINITY;
                }
            }
        }
    }

    fn remember(&mut self, token: u32, params: &SamplingParams) {
        self.n_chosen += 1;
        if params.repetition_penalty != 1.0
            && let Err(place) = self.seen.binary_search(&token)
        {
            self.seen.insert(place, token);
        }
    }
}

/// 53 random bits as a number in [0, 1).
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;

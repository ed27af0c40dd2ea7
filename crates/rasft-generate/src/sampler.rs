//! From logits to a token.

use crate::SamplingParams;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The random stream of one sample: ChaCha8 keyed by blake3 over seed, problem and sample index. One draw per token, so
/// the stream's position is the token's index.
pub fn sample_rng(seed: u64, problem_id: &str, sample_index: u32) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(problem_id.len() as u64).to_le_bytes());
    hasher.update(problem_id.as_bytes());
    hasher.update(&sample_index.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Log-probability of `token` under the untempered, unfiltered softmax of `logits`:
/// `log p = z_token − m − ln Σ_v exp(z_v − m)`, `m = max z`.
///
/// # Shapes
/// logits (V), nats. The sum is in f64. NaN when the logits are not finite.
pub fn logprob(logits: &[f32], token: u32) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|z| f64::from(z - max).exp()).sum();
    (f64::from(logits[token as usize] - max) - sum.ln()) as f32
}

/// Chooses tokens for one sample; remembers which tokens the repetition penalty falls on.
#[derive(Debug, Clone)]
pub struct Sampler {
    rng: ChaCha8Rng,
    /// Sorted ids of tokens in the prompt or the completion.
    seen: Vec<u32>,
    n_chosen: u32,
}

impl Sampler {
    /// A sampler for one sample of a prompt.
    pub fn new(rng: ChaCha8Rng, prompt: &[u32], params: &SamplingParams) -> Self {
        let mut seen = Vec::new();
        if params.repetition_penalty != 1.0 {
            seen.extend_from_slice(prompt);
            seen.sort_unstable();
            seen.dedup();
        }
        Self { rng, seen, n_chosen: 0 }
    }

    /// The next token and its log-probability under the untempered policy, nats.
    ///
    /// Ties go to the lowest id. `None` when a logit is not finite.
    pub fn next(&mut self, logits: &[f32], params: &SamplingParams) -> Option<(u32, f32)> {
        if !logits.iter().all(|z| z.is_finite()) {
            return None;
        }
        // One draw per token, also when greedy, so that the stream's position never depends on the parameters.
        let draw = unit_interval(self.rng.next_u64());
        let scores = self.penalised(logits, params);
        let token = if params.temperature == 0.0 { argmax(&scores) } else { draw_token(&scores, params, draw) };
        self.n_chosen += 1;
        if params.repetition_penalty != 1.0
            && let Err(place) = self.seen.binary_search(&token)
        {
            self.seen.insert(place, token);
        }
        Some((token, logprob(logits, token)))
    }

    fn penalised(&self, logits: &[f32], params: &SamplingParams) -> Vec<f32> {
        let mut scores = logits.to_vec();
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
        scores
    }
}

/// 53 random bits as a number in [0, 1).
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn argmax(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (i, z) in scores.iter().enumerate() {
        if *z > scores[best] {
            best = i;
        }
    }
    best as u32
}

/// A candidate: unnormalised probability relative to the most likely token, and its id.
type Candidate = (f64, u32);

/// Draws from softmax(scores / temperature), restricted by min-p, then top-k, then top-p.
fn draw_token(scores: &[f32], params: &SamplingParams, draw: f64) -> u32 {
    let temperature = params.temperature as f32;
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max) / temperature;
    let mut candidates: Vec<Candidate> =
        scores.iter().enumerate().map(|(i, z)| (f64::from(z / temperature - max).exp(), i as u32)).collect();
    if params.min_p > 0.0 {
        candidates.retain(|(p, _)| *p >= params.min_p);
    }
    if params.top_k > 0 && (params.top_k as usize) < candidates.len() {
        let k = params.top_k as usize;
        candidates.select_nth_unstable_by(k - 1, most_likely_first);
        candidates.truncate(k);
        candidates.sort_unstable_by_key(|(_, id)| *id);
    }
    if params.top_p < 1.0 {
        candidates = nucleus(candidates, params.top_p);
    }
    let total: f64 = candidates.iter().map(|(p, _)| p).sum();
    let mut rest = draw * total;
    for (p, id) in &candidates {
        rest -= p;
        if rest < 0.0 {
            return *id;
        }
    }
    // Rounding may leave a crumb: the last candidate with any probability takes it.
    candidates.iter().rev().find(|(p, _)| *p > 0.0).map_or(0, |(_, id)| *id)
}

/// The smallest set of most likely candidates whose probability reaches `top_p`.
fn nucleus(mut candidates: Vec<Candidate>, top_p: f64) -> Vec<Candidate> {
    let target = top_p * candidates.iter().map(|(p, _)| p).sum::<f64>();
    // Most of the mass sits in few tokens: sort only as many as it takes, doubling.
    let (mut sorted, mut mass, mut kept) = (0, 0.0, 0);
    while kept < candidates.len() {
        if kept == sorted {
            let upto = (sorted * 2).max(64).min(candidates.len());
            if upto < candidates.len() {
                candidates[sorted..].select_nth_unstable_by(upto - sorted - 1, most_likely_first);
            }
            candidates[sorted..upto].sort_unstable_by(most_likely_first);
            sorted = upto;
        }
        mass += candidates[kept].0;
        kept += 1;
        if mass >= target {
            break;
        }
    }
    candidates.truncate(kept);
    candidates
}

fn most_likely_first(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

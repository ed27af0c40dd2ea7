//! How much memory a run takes, known before the first step.

use crate::batch::{MicroBatching, Trajectory};
use rasft_model::{Activations, DecoderConfig, LOGIT_ROWS};

/// Bytes of an f32.
const F32: u64 = 4;
/// Bytes of a bf16.
const BF16: u64 = 2;

/// Bytes, by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// All weights, frozen ones, the reference's and the master copy of rounded ones included.
    pub weights: u64,
    /// Gradients of what trains.
    pub gradients: u64,
    /// First and second moments of what trains.
    pub moments: u64,
    /// Activations kept for the backward pass of the largest micro-batch.
    pub activations: u64,
    /// Logits that exist at one time, for a divergence from a reference.
    pub logits: u64,
    /// Tokens of that micro-batch.
    pub tokens: u64,
}

/// Scalars in memory, by how they are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scalars {
    /// What trains, all in f32.
    pub trained: u64,
    /// Weights that do not train, in f32.
    pub frozen: u64,
    /// Weights in bf16: frozen ones, or roundings of what trains.
    pub half: u64,
}

impl MemoryNeed {
    /// Weights, gradients and moments as they are held all the time; activations as the largest micro-batch may keep
    /// them.
    ///
    /// Kept are, per layer and token, two vectors of the hidden size, two of q's, two of k's and two of the MLP's (two
    /// more of q's and k's where those have norms); recomputed, one of the hidden size, and one layer as if kept. An
    /// adapter keeps nothing of its own. Rows that sequences share count for each of them, which covers the keys and values
    /// that are copied for them; when activations are recomputed, copies of one layer may come on top. These are
    /// the passes of the CPU; candle's graph on other devices keeps more.
    ///
    /// # Shapes
    /// `scalars` of all models in memory; activations of `tokens`.
    pub fn of(config: &DecoderConfig, scalars: Scalars, tokens: u64, activations: Activations) -> Self {
        let (d, q, kv, ff) = (config.hidden_size, config.q_dim(), config.kv_dim(), config.intermediate_size);
        let norms = if config.qk_norm { q + kv } else { 0 };
        let kept = 2 * (d + q + kv + ff) + norms;
        let per_token = match activations {
            Activations::Kept => kept * config.n_layers,
            Activations::Recomputed => d * config.n_layers + kept,
        };
        Self {
            weights: F32 * (scalars.trained + scalars.frozen) + BF16 * scalars.half,
            gradients: F32 * scalars.trained,
            moments: 2 * F32 * scalars.trained,
            activations: F32 * tokens * per_token as u64,
            logits: 0,
            tokens,
        }
    }

    /// The same with what a divergence takes, for some predictions at a time: logits of policy and reference, and the
    /// gradient of the former laid out for a product.
    #[must_use]
    pub fn with_divergence(self, config: &DecoderConfig) -> Self {
        let logits = F32 * 3 * self.tokens.min(LOGIT_ROWS as u64) * config.vocab_size as u64;
        Self { logits, ..self }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.activations + self.logits
    }
}

/// Most tokens that one micro-batch of these rows can hold.
pub fn largest_micro_batch(rows: &[Trajectory], cut: MicroBatching, batch_size: usize) -> u64 {
    let mut lens: Vec<u64> = rows.iter().map(|t| t.input_ids.len() as u64).collect();
    lens.sort_unstable_by(|a, b| b.cmp(a));
    let longest = |n: usize| lens.iter().cycle().take(if lens.is_empty() { 0 } else { n }).sum::<u64>();
    match cut {
        MicroBatching::Sequences(n) => longest(n.min(batch_size)),
        MicroBatching::Tokens(budget) => longest(batch_size).min(longest(1).max(budget as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn activations_and_logits_are_counted() {
        let json = serde_json::json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
            "vocab_size": 61, "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "tie_word_embeddings": true
        });
        let config = DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
        let scalars = Scalars { trained: 1, frozen: 0, half: 0 };
        let of = |tokens, activations| MemoryNeed::of(&config, scalars, tokens, activations);
        let (kept, recomputed) = (of(10, Activations::Kept), of(10, Activations::Recomputed));
        // q as wide as the hidden size, k half of that.
        assert_eq!(kept.activations, 4 * 10 * 2 * 2 * (32 + 32 + 16 + 48));
        assert_eq!(recomputed.activations, 4 * 10 * (2 * 32 + 2 * (32 + 32 + 16 + 48)));
        let long = of(1000, Activations::Kept).with_divergence(&config);
        assert_eq!([kept.logits, long.logits], [0, 4 * 3 * 128 * 61]);
        assert_eq!(kept.with_divergence(&config).total(), kept.total() + 4 * 3 * 10 * 61);
    }

    #[test]
    fn the_largest_micro_batch_follows_the_cut() {
        let row = |n: usize| Trajectory {
            id: String::new(),
            input_ids: vec![0; n],
            prompt_len: 1,
            weight: 1.0,
            ref_logprob: 0.0,
            old_logprobs: Vec::new(),
        };
        let rows = [row(3), row(9), row(5)];
        assert_eq!(largest_micro_batch(&rows, MicroBatching::Sequences(2), 8), 14);
        assert_eq!(largest_micro_batch(&rows, MicroBatching::Sequences(8), 1), 9);
        assert_eq!(largest_micro_batch(&rows, MicroBatching::Tokens(4), 8), 9);
        assert_eq!(largest_micro_batch(&rows, MicroBatching::Tokens(12), 8), 12);
        assert_eq!(largest_micro_batch(&rows, MicroBatching::Tokens(1000), 2), 14);
        assert_eq!(largest_micro_batch(&[], MicroBatching::Sequences(2), 8), 0);
    }
}

//! A differentiable pass over one micro-batch, by whichever way the decoder has.
//!
//! On the CPU it is recorded and differentiated by the decoder's own passes; on other devices it goes through candle's
//! graph. Both take `∂L/∂log p`, which is all an objective has to say, and add to the same sums.

use crate::LearnError;
use crate::forward::{Forward, Rows, forward};
use crate::grads::{accumulate, clear};
use crate::kl::Divergence;
use candle_core::Tensor;
use rasft_model::{Activations, Decoder, Dropout, LogitGradients, Pool, Recording, Sums};
use std::ops::Range;

/// A forward pass and what its backward pass needs.
pub(crate) enum Pass {
    Recorded(Box<Recording>),
    Graph(Forward),
}

impl Pass {
    /// Runs the forward pass; `dropout` is an adapter's.
    pub fn of(
        decoder: &Decoder,
        rows: &Rows,
        dropout: Dropout,
        activations: Activations,
        pool: &mut Pool,
    ) -> Result<Self, LearnError> {
        if !decoder.can_record() {
            return Ok(Self::Graph(forward(decoder, rows, Some(dropout))?));
        }
        let dropout = Some((dropout, rows.places()));
        let recording = decoder.record(&rows.packed, rows.predictions.clone(), activations, dropout, pool)?;
        Ok(Self::Recorded(Box::new(recording)))
    }

    /// Log-probabilities of the response tokens, (N), nats.
    pub fn logprobs(&self) -> &[f32] {
        match self {
            Self::Recorded(recording) => recording.logprobs(),
            Self::Graph(forward) => &forward.values,
        }
    }

    /// Adds the parameters' gradients to `into`, given `∂L/∂log p` (N) and, for a loss that looks at more than those, its
    /// divergence.
    pub fn backward(
        self,
        decoder: &Decoder,
        dlogprobs: &[f32],
        divergence: Option<&mut Divergence<'_>>,
        (into, sums): (&mut [Vec<f32>], Sums),
        pool: &mut Pool,
    ) -> Result<(), LearnError> {
        match self {
            Self::Recorded(recording) => {
                let mut of_logits =
                    divergence.map(|d| |rows: Range<usize>, logits: &mut [f32]| d.replace(rows, logits));
                let of_logits = of_logits.as_mut().map(|f| f as &mut LogitGradients<'_>);
                Ok(decoder.backward(*recording, dlogprobs, of_logits, (into, sums), pool)?)
            }
            Self::Graph(forward) => {
                if sums == Sums::Begin {
                    clear(into);
                }
                // Linear in what the pass gave, with the given gradients.
                let of_logprobs = Tensor::from_slice(dlogprobs, dlogprobs.len(), forward.logprobs.device())?;
                let mut loss = (&forward.logprobs * of_logprobs)?.sum_all()?;
                if let Some(divergence) = divergence {
                    let dh = divergence.backward(decoder, &forward.hidden, into)?;
                    loss = (loss + (&forward.hidden * dh)?.sum_all()?)?;
                }
                accumulate(into, decoder.parameters(), &mut loss.backward()?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Trajectory;
    use candle_core::Device;
    use rasft_model::lora::MODULES;
    use rasft_model::{AdapterFrom, DecoderConfig, LoadOptions, LoraConfig, ModelDir, WeightsDtype};
    use std::path::Path;

    /// A random model with an adapter on all modules, every value of which matters.
    fn adapted(dropout: f64, dtype: WeightsDtype) -> Decoder {
        let json = serde_json::json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
            "vocab_size": 61, "rms_norm_eps": 1e-6, "max_position_embeddings": 256, "tie_word_embeddings": true
        });
        let config = DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let wave = |decoder: &Decoder, width: f32| {
            for (at, (name, var)) in decoder.parameters().iter().enumerate().filter(|(_, (n, _))| !n.contains("norm")) {
                let values = (0..var.elem_count()).map(|i| width * ((at * 31 + i * 17) as f32 + 0.3).sin());
                let values = Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(var.shape()).unwrap();
                var.set(&values).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        };
        let base = Decoder::init(&config, 1, &LoadOptions::trainable()).unwrap();
        wave(&base, 0.3);
        base.save_dir(dir.path(), None, WeightsDtype::F32).unwrap();
        let targets = MODULES.map(str::to_owned).to_vec();
        let lora = LoraConfig { rank: 3, alpha: 6.0, dropout, targets, rank_stabilised: false };
        let (dir, options) = (ModelDir::open(dir.path()).unwrap(), LoadOptions { dtype, ..LoadOptions::trainable() });
        let decoder = Decoder::load_with_adapter(&dir, &lora, AdapterFrom::Seed(1), &options).unwrap();
        wave(&decoder, 0.2);
        decoder
    }

    fn rows() -> Rows {
        let row = |n: usize, by: usize| Trajectory {
            id: String::new(),
            input_ids: (0..n).map(|i| (i * by % 61) as u32).collect(),
            prompt_len: 3,
            weight: 1.0,
            ref_logprob: 0.0,
            old_logprobs: Vec::new(),
        };
        // The last two begin alike.
        let mut like_the_third = row(70, 11);
        like_the_third.input_ids[50..].reverse();
        Rows::of(&[&row(90, 7), &row(12, 5), &row(70, 11), &like_the_third]).unwrap().starting_at(2)
    }

    /// Loss of the divergence and gradients.
    fn gradients(decoder: &Decoder, pass: Pass, rows: &Rows) -> (f64, Vec<Vec<f32>>) {
        let base = decoder.without_adapter().unwrap().unwrap();
        let mut divergence = Divergence::of(rows, &base, 0.07).unwrap();
        let dlogprobs: Vec<f32> = (0..pass.logprobs().len()).map(|i| (i as f32).cos() / 100.0).collect();
        let mut sums: Vec<Vec<f32>> =
            decoder.parameters().iter().map(|(_, var)| vec![f32::NAN; var.elem_count()]).collect();
        let into = (sums.as_mut_slice(), Sums::Begin);
        pass.backward(decoder, &dlogprobs, Some(&mut divergence), into, &mut Pool::default()).unwrap();
        (divergence.loss, sums)
    }

    #[test]
    fn an_adapter_with_a_divergence_is_recorded_and_agrees_with_the_graph() {
        let (rows, dropout) = (rows(), Dropout { seed: 4, step: 1 });
        for (p, dtype) in [(0.0, WeightsDtype::F32), (0.2, WeightsDtype::F32), (0.2, WeightsDtype::Bf16)] {
            let decoder = adapted(p, dtype);
            let graph = Pass::Graph(forward(&decoder, &rows, Some(dropout)).unwrap());
            for activations in [Activations::Kept, Activations::Recomputed] {
                let pass = Pass::of(&decoder, &rows, dropout, activations, &mut Pool::default()).unwrap();
                assert!(matches!(pass, Pass::Recorded(_)));
                assert_eq!(pass.logprobs(), graph.logprobs());
                let graph = Pass::Graph(forward(&decoder, &rows, Some(dropout)).unwrap());
                let (expected, grads) = gradients(&decoder, graph, &rows);
                let (loss, sums) = gradients(&decoder, pass, &rows);
                assert!(loss > 0.01 && (loss / expected - 1.0).abs() < 1e-9, "{loss} {expected}");
                for ((name, _), (sum, grad)) in decoder.parameters().iter().zip(sums.iter().zip(&grads)) {
                    let top = grad.iter().fold(0f32, |top, g| top.max(g.abs()));
                    let off = sum.iter().zip(grad).fold(0f32, |off, (x, y)| off.max((x - y).abs()));
                    assert!(top > 0.0 && off <= 2e-5 * top, "{name}: {off} of {top}");
                }
            }
        }
    }
}

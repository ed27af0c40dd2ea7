//! Refuses a run that cannot fit into memory before it has begun, warns of one that may not, and says which flag helps.

use super::rounding::first_rounded;
use crate::Error;
use rasft_learn::{Activations, MemoryNeed, Scalars};
use rasft_model::{ModelDir, WeightsDtype};
use sysinfo::System;

/// Memory that this process may still take: the machine's, or its container's if that is less.
pub(super) fn available() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| room(limits.total_memory, limits.rss));
    system.available_memory().min(container)
}

/// What a container has left. Its page cache counts as used there, but the kernel gives it back: only what processes
/// hold is taken from the limit.
fn room(limit: u64, held: u64) -> u64 {
    // 0 would mean that nobody knows.
    limit.saturating_sub(held).max(1)
}

/// The weights of a frozen reference, whose matrices inference holds in bf16 where that is exact, whatever `--dtype` is;
/// counted as f32 if one of them is not.
pub(super) fn of_reference(dir: &ModelDir) -> Result<Scalars, Error> {
    let n = dir.config()?.n_parameters() as u64;
    let whole = dir.gguf().is_some() || dir.adapter().is_some() || first_rounded(dir.weight_files(), 2).is_some();
    Ok(if whole { Scalars { trained: 0, frozen: n, half: 0 } } else { Scalars { trained: 0, frozen: 0, half: n } })
}

/// What decides which flag helps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// An adapter trains, not all weights.
    pub adapter: bool,
    pub activations: Activations,
    pub dtype: WeightsDtype,
}

/// Compares what a run takes with what there is; `available` is 0 where nobody knows. Weights, gradients and moments
/// are there all the time, so a run that has no room for them is refused; the activations are those of the largest
/// micro-batch there can be, so that they may not fit is a warning, which is returned.
pub(super) fn check(need: &MemoryNeed, available: u64, run: Run) -> Result<Option<String>, Error> {
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let passing = need.activations + need.logits;
    let fixed = need.total() - passing;
    if available == 0 || need.total() <= available {
        return Ok(None);
    }
    if fixed > available {
        let hint = match (run.adapter, run.dtype) {
            (false, _) => {
                "--lora RANK trains an adapter without gradients and moments of the whole model; or use a smaller model"
            }
            (true, WeightsDtype::F32) => {
                "a lower --lora RANK; --dtype bf16 holds the frozen weights in half the memory; or use a smaller model"
            }
            (true, WeightsDtype::Bf16) => "a lower --lora RANK, or a smaller model",
        };
        return Err(Error::runtime(format!(
            "this run does not fit into memory: weights {:.1} GB, gradients {:.1}, moments {:.1}, together {:.1}; {:.1} GB are available\nhint: {hint}",
            gb(need.weights),
            gb(need.gradients),
            gb(need.moments),
            gb(fixed),
            gb(available)
        )));
    }
    let hint = match run.activations {
        _ if need.logits > need.activations => {
            "the divergence from the reference looks at whole distributions, some tokens at a time; an objective without one needs no logits"
        }
        Activations::Kept => {
            "--gradient-checkpointing keeps a fraction of the activations; or lower --micro-batch-tokens (or --micro-batch-size)"
        }
        Activations::Recomputed => {
            "lower --micro-batch-tokens (or --micro-batch-size), or make the mixture with a lower --max-length"
        }
    };
    Ok(Some(format!(
        "memory may run out: weights, gradients and moments take {:.1} GB, activations of a micro-batch of {} tokens up to {:.1} GB{}, {:.1} GB are available\nhint: {hint}",
        gb(fixed),
        need.tokens,
        gb(need.activations),
        if need.logits > 0 {
            format!(", logits of policy and reference {:.1} GB", gb(need.logits))
        } else {
            String::new()
        },
        gb(available)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasft_model::{Decoder, DecoderConfig, LoadOptions};
    use std::path::Path;

    #[test]
    fn the_flag_that_helps_is_named() {
        let need = MemoryNeed { weights: 4, gradients: 4, moments: 8, activations: 100, logits: 0, tokens: 7 };
        let run = |adapter, activations| Run { adapter, activations, dtype: WeightsDtype::F32 };
        let (kept, recomputed) = (run(false, Activations::Kept), run(false, Activations::Recomputed));
        let of = |available, run| check(&need, available, run);
        let refused = |available, run| of(available, run).unwrap_err();
        let warned = |available, run| of(available, run).unwrap().unwrap();
        assert!(warned(50, kept).contains("--gradient-checkpointing"));
        assert!(warned(16, recomputed).contains("hint: lower --micro-batch-tokens"));
        assert!(refused(15, kept).to_string().contains("--lora"));
        assert_eq!(refused(15, kept).class(), crate::ErrorClass::Runtime);
        let adapter = run(true, Activations::Kept);
        assert!(refused(10, adapter).to_string().contains("--dtype bf16"));
        assert!(warned(50, adapter).contains("--gradient-checkpointing"));
        let half = refused(10, Run { dtype: WeightsDtype::Bf16, ..adapter }).to_string();
        assert!(half.contains("smaller model") && !half.contains("--dtype"), "{half}");
        assert_eq!(of(116, kept).unwrap(), None);
        let diverges = |logits| check(&MemoryNeed { logits, ..need }, 116, kept).unwrap().unwrap();
        let (few, most) = (diverges(1), diverges(101));
        assert!(few.contains("logits of policy and reference") && few.contains("--gradient-checkpointing"), "{few}");
        assert!(most.contains("an objective without one") && !most.contains("--gradient-checkpointing"), "{most}");
        assert_eq!(of(0, kept).unwrap(), None);
    }

    #[test]
    fn a_reference_is_held_in_the_type_that_holds_its_values() {
        let json = serde_json::json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16,
            "vocab_size": 11, "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "tie_word_embeddings": true
        });
        let config = DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
        let decoder = Decoder::init(&config, 1, &LoadOptions::trainable()).unwrap();
        let n = config.n_parameters() as u64;
        for (dtype, frozen, half) in [(WeightsDtype::F32, n, 0), (WeightsDtype::Bf16, 0, n)] {
            let dir = tempfile::tempdir().unwrap();
            decoder.save_dir(dir.path(), None, dtype).unwrap();
            let found = of_reference(&ModelDir::open(dir.path()).unwrap()).unwrap();
            assert_eq!(found, Scalars { trained: 0, frozen, half }, "{dtype:?}");
        }
    }

    #[test]
    fn page_cache_of_a_container_is_room() {
        // A limit of 100 of which 30 are held by processes; whatever the cache takes of the other 70 can be had back.
        assert_eq!(room(100, 30), 70);
        assert_eq!(room(100, 130), 1, "full is not unknown");
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available() > 1 << 20);
    }
}

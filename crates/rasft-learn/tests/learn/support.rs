//! Shared fixtures: where the oracles are, tiny models, trajectories, parameters.

use candle_core::Tensor;
use rasft_learn::{
    Activations, AdamWParams, MicroBatching, Normalization, Objective, Schedule, ScheduleKind, Trainer, TrainerParams,
    Trajectory,
};
use rasft_model::{Decoder, DecoderConfig, LoadOptions, ModelDir, WeightsDtype};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The oracle directory, or `None` (with a line saying so) where it is absent.
pub fn golden() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let path = std::env::var_os("RASFT_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    if path.is_dir() {
        return Some(path.join("golden"));
    }
    println!("skipped: ../shared not found");
    None
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn read_jsonl(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers of a possibly nested array, in order.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

pub fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails unless every pair is within `absolute + relative·|expected|`.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f64], expected: &[f64], absolute: f64, relative: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let limit = absolute + relative * e.abs();
        assert!((a - e).abs() <= limit, "{what}[{i}]: {a} instead of {e}, off by {:e}", (a - e).abs());
    }
}

pub fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

pub const ADAMW: AdamWParams =
    AdamWParams { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, no_decay_norms: false };

/// `rasft`, global normalisation, constant rate.
pub fn params() -> TrainerParams {
    TrainerParams {
        objective: Objective::Rasft { clip_min: 0.4, clip_max: 1.2 },
        normalization: Normalization::Global,
        micro_batching: MicroBatching::Tokens(64),
        activations: Activations::Kept,
        learning_rate: 1e-2,
        schedule: Schedule { kind: ScheduleKind::Constant, warmup_steps: 0, total_steps: 100 },
        max_grad_norm: 1.0,
        adamw: ADAMW,
    }
}

const VOCAB: usize = 61;

pub fn tiny_config() -> DecoderConfig {
    let json = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
        "vocab_size": VOCAB, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "max_position_embeddings": 64, "eos_token_id": 2,
    });
    DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap()
}

/// A tiny trainable model whose matrices are wide enough that its predictions differ between tokens.
pub fn tiny_decoder() -> Decoder {
    let decoder = Decoder::init(&tiny_config(), 7, &LoadOptions::trainable()).unwrap();
    for (name, var) in decoder.parameters() {
        if !name.contains("norm") {
            var.set(&(var.as_tensor() * 8.0).unwrap()).unwrap();
        }
    }
    decoder
}

pub fn tiny_trainer(params: TrainerParams) -> Trainer {
    Trainer::new(tiny_decoder(), params)
}

/// The same model laid out for inference.
pub fn frozen(decoder: &Decoder) -> Decoder {
    let dir = tempfile::tempdir().unwrap();
    decoder.save_dir(dir.path(), None, WeightsDtype::F32).unwrap();
    Decoder::load(&ModelDir::open(dir.path()).unwrap(), &LoadOptions::default()).unwrap()
}

/// `n` trajectories of different lengths and weights, the same ones every time. Every third has a prompt of its own, the
/// others one in common.
pub fn trajectories(n: usize) -> Vec<Trajectory> {
    let mut state = 1u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % limit
    };
    let common: Vec<u32> = (0..12).map(|_| below(VOCAB) as u32).collect();
    let row = |i: usize| {
        let (prompt_len, response_len) = (1 + below(6), 1 + below(14));
        let mut random = |n| (0..n).map(|_| below(VOCAB) as u32).collect::<Vec<_>>();
        let prompt = if i.is_multiple_of(3) { random(prompt_len) } else { common.clone() };
        let input_ids = [&prompt[..], &random(response_len)].concat();
        // Around what the tiny model itself says, so that some ratios clip and most do not.
        let old_logprobs = (0..response_len).map(|t| -4.1 - ((i + 3 * t) % 7) as f32 / 20.0).collect();
        Trajectory {
            id: format!("t{i}"),
            input_ids,
            prompt_len: prompt.len(),
            weight: 0.1 + below(10) as f64 / 10.0,
            ref_logprob: -3.0 - below(20) as f32 / 10.0,
            old_logprobs,
        }
    };
    (0..n).map(row).collect()
}

/// Every parameter's values as bits.
pub fn weight_bits(decoder: &Decoder) -> Vec<Vec<u32>> {
    decoder.parameters().iter().map(|(_, var)| floats(var).iter().map(|x| x.to_bits()).collect()).collect()
}

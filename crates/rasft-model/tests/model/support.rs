//! Shared fixtures: where the oracles are, tiny configs, random weights.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rasft_model::{Decoder, DecoderConfig, LoadOptions, ModelDir, Trainable, WeightsDtype};
use serde_json::{Value, json};

/// The oracle directory, or `None` (with a line saying so) where it is absent.
pub fn shared() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let path = std::env::var_os("RASFT_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared not found");
    None
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// `config.json` of a tiny model of each family.
pub fn tiny_json(family: &str) -> Value {
    let mut json = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
        "intermediate_size": 80, "vocab_size": 97, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "max_position_embeddings": 256, "eos_token_id": 2,
    });
    let mut set = |key: &str, value: Value| json[key] = value;
    match family {
        "llama" => {}
        "llama3" => {
            let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
            set("rope_scaling", scaling);
            set("tie_word_embeddings", json!(false));
        }
        "qwen2" => {
            set("model_type", json!("qwen2"));
            set("architectures", json!(["Qwen2ForCausalLM"]));
        }
        "qwen3" => {
            set("model_type", json!("qwen3"));
            set("architectures", json!(["Qwen3ForCausalLM"]));
            set("head_dim", json!(16));
            set("tie_word_embeddings", json!(false));
        }
        other => panic!("no family {other}"),
    }
    json
}

pub fn tiny_config(family: &str) -> DecoderConfig {
    DecoderConfig::from_json(&tiny_json(family), None, Path::new("config.json")).unwrap()
}

/// A tiny model whose every parameter, norms and biases included, is random and matters.
pub fn tiny_decoder(family: &str, options: &LoadOptions) -> Decoder {
    let decoder = Decoder::init(&tiny_config(family), 7, &LoadOptions::trainable()).unwrap();
    for (at, (name, var)) in decoder.parameters().iter().enumerate() {
        let centre = if name.contains("norm") { 1.0 } else { 0.0 };
        let width = if name.contains("embed") { 1.0 } else { 0.3 };
        let mut state = at as u64 + 1;
        let values: Vec<f32> = (0..var.elem_count()).map(|_| centre + width * uniform(&mut state)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    if options.trainable == Trainable::Yes {
        return decoder;
    }
    reloaded(&decoder, WeightsDtype::F32, options)
}

/// A tiny decoder for inference whose weights are exact in bf16, and lie in memory as such.
pub fn tiny_bf16_decoder(family: &str) -> Decoder {
    let decoder = tiny_decoder(family, &LoadOptions::trainable());
    reloaded(&decoder, WeightsDtype::Bf16, &LoadOptions::default())
}

fn reloaded(decoder: &Decoder, dtype: WeightsDtype, options: &LoadOptions) -> Decoder {
    let dir = tempfile::tempdir().unwrap();
    decoder.save_dir(dir.path(), None, dtype).unwrap();
    Decoder::load(&ModelDir::open(dir.path()).unwrap(), options).unwrap()
}

/// splitmix64 as a number in −1..1.
pub fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// `n` tokens below `vocab`.
pub fn tokens(n: usize, vocab: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    (0..n).map(|_| ((uniform(&mut state) + 1.0) / 2.0 * (vocab as f32 - 1.0)) as u32).collect()
}

pub fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn max_diff(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

pub const FAMILIES: [&str; 4] = ["llama", "llama3", "qwen2", "qwen3"];

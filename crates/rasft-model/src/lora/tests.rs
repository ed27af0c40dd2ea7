use super::*;
use crate::decoder::{AdapterFrom, Decoder, LoadOptions};
use crate::dir::ModelDir;
use crate::packed::Packed;
use crate::weights::WeightsDtype;
use serde_json::json;
use std::path::Path;

fn config() -> DecoderConfig {
    let json = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
        "vocab_size": 61, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "max_position_embeddings": 64, "eos_token_id": 2,
    });
    DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap()
}

fn lora(targets: &[&str], dropout: f64) -> LoraConfig {
    let targets = targets.iter().map(|t| (*t).to_owned()).collect();
    LoraConfig { rank: 3, alpha: 6.0, dropout, targets, rank_stabilised: false }
}

fn base(dir: &Path) -> ModelDir {
    let decoder = Decoder::init(&config(), 7, &LoadOptions::trainable()).unwrap();
    for (name, var) in decoder.parameters() {
        if !name.contains("norm") {
            var.set(&(var.as_tensor() * 8.0).unwrap()).unwrap();
        }
    }
    decoder.save_dir(dir, None, WeightsDtype::F32).unwrap();
    ModelDir::open(dir).unwrap()
}

/// An adapter on `base` whose B is not zero.
fn adapted(base: &ModelDir, lora: &LoraConfig) -> Decoder {
    let decoder = Decoder::load_with_adapter(base, lora, AdapterFrom::Seed(3), &LoadOptions::trainable()).unwrap();
    for (i, (_, var)) in decoder.parameters().iter().enumerate() {
        let n = var.elem_count();
        let values: Vec<f32> = (0..n).map(|j| 0.2 * ((i * 31 + j * 17) as f32).sin()).collect();
        var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
    }
    decoder
}

fn batch() -> Packed {
    Packed::from_sequences(&[vec![5u32, 9, 33, 2, 8], vec![40, 1, 7]])
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_fresh_adapter_changes_nothing_and_only_its_matrices_train() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let all = lora(&MODULES, 0.0);
    let decoder = Decoder::load_with_adapter(&base, &all, AdapterFrom::Seed(3), &LoadOptions::trainable()).unwrap();
    let plain = Decoder::load(&base, &LoadOptions::default()).unwrap();
    assert_eq!(bits(&decoder.hidden(&batch()).unwrap()), bits(&plain.hidden(&batch()).unwrap()));
    assert_eq!(decoder.parameters().len(), 2 * 7 * 2);
    let mut decoder = adapted(&base, &all);
    let grads = decoder.hidden(&batch()).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for (name, var) in decoder.parameters() {
        let grad = grads.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        let norm = grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(norm.is_finite() && norm > 0.0, "{name}: {norm}");
    }
    let off = decoder.without_adapter().unwrap().unwrap();
    assert_eq!(bits(&off.hidden(&batch()).unwrap()), bits(&plain.hidden(&batch()).unwrap()));
    decoder = off;
    assert!(decoder.without_adapter().unwrap().is_none());
}

#[test]
fn gradients_agree_with_differences() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let decoder = adapted(&base, &lora(&["q_proj", "down_proj"], 0.0));
    let loss = || {
        let hidden = decoder.hidden(&batch()).unwrap();
        decoder.token_logprobs(&hidden, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap().sum_all().unwrap()
    };
    let grads = loss().backward().unwrap();
    for (name, var) in decoder.parameters() {
        let grad = grads.get(var.as_tensor()).unwrap();
        let norm = f64::from(grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
        let start = var.as_tensor().copy().unwrap().detach();
        let along = (grad.detach() / norm).unwrap();
        let at = |distance: f64| {
            var.set(&(&start + (&along * distance).unwrap()).unwrap()).unwrap();
            f64::from(loss().to_scalar::<f32>().unwrap())
        };
        let epsilon = 1e-2;
        let slope = (at(epsilon) - at(-epsilon)) / (2.0 * epsilon);
        var.set(&start).unwrap();
        assert!((slope - norm).abs() < 0.01 * norm + 1e-3, "{name}: slope {slope}, norm {norm}");
    }
}

#[test]
fn merging_gives_the_same_model() {
    let [base_dir, adapter_dir, merged_dir] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let base = base(base_dir.path());
    let decoder = adapted(&base, &lora(&["k_proj", "up_proj"], 0.3));
    decoder.save_adapter(adapter_dir.path(), None, None, WeightsDtype::F32).unwrap();
    decoder.save_merged(merged_dir.path(), Some(&base), WeightsDtype::F32).unwrap();
    let merged = Decoder::load(&ModelDir::open(merged_dir.path()).unwrap(), &LoadOptions::default()).unwrap();
    let on_base = ModelDir::open_adapter(adapter_dir.path(), base_dir.path()).unwrap();
    let loaded = Decoder::load(&on_base, &LoadOptions::default()).unwrap();
    let hidden = |decoder: &Decoder| decoder.hidden(&batch()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(hidden(&merged), hidden(&loaded));
    let worst = hidden(&merged).iter().zip(hidden(&decoder)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
    let adapter = Adapter::open(adapter_dir.path()).unwrap();
    let from = AdapterFrom::Files(&adapter);
    let again = Decoder::load_with_adapter(&base, &adapter.lora, from, &LoadOptions::trainable()).unwrap();
    assert_eq!(hidden(&again), hidden(&decoder));
    assert_eq!(adapter.lora, lora(&["k_proj", "up_proj"], 0.3));
}

/// A sequence's mask does not depend on what else is in the batch, and does on seed, step and place.
#[test]
fn dropout_repeats_and_belongs_to_its_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let decoder = adapted(&base(dir.path()), &lora(&["q_proj", "gate_proj"], 0.5));
    let of = |packed: &Packed, seed: u64, step: u64, rows: &[u64]| {
        bits(&decoder.hidden_with_dropout(packed, Dropout { seed, step }, rows).unwrap())
    };
    let both = of(&batch(), 1, 2, &[4, 5]);
    assert_eq!(both, of(&batch(), 1, 2, &[4, 5]));
    let second = Packed::from_sequences(&[vec![40u32, 1, 7]]);
    assert_eq!(both[5 * 32..], of(&second, 1, 2, &[5]));
    for (seed, step, row) in [(2, 2, 5), (1, 3, 5), (1, 2, 4)] {
        assert_ne!(both[5 * 32..], of(&second, seed, step, &[row]));
    }
    let x = Tensor::ones((8, 500), candle_core::DType::F32, &Device::Cpu).unwrap();
    let packed = Packed::from_sequences(&[vec![0u32; 8]]);
    let masks = Masks { p: 0.25, dropout: Dropout { seed: 1, step: 1 }, rows: &[0], spans: &packed.spans };
    let kept = masks.apply(&x, "m").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let n = kept.iter().filter(|v| **v > 0.0).count();
    assert!((2850..3150).contains(&n), "{n} of 4000 kept");
    assert!(kept.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let [base_dir, dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let decoder = adapted(&base(base_dir.path()), &lora(&["q_proj"], 0.0));
    decoder.save_adapter(dir.path(), None, Some("org/name"), WeightsDtype::F32).unwrap();
    let path = dir.path().join(ADAPTER_CONFIG);
    let good: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(Adapter::open(dir.path()).unwrap().base.as_deref(), Some("org/name"));
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 4})),
        ("modules_to_save", json!(["lm_head"])),
        ("target_modules", json!("q_.*")),
        ("target_modules", json!(["lm_head"])),
        ("r", json!(0)),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("lora_ga")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        std::fs::write(&path, bad.to_string()).unwrap();
        let error = Adapter::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("hint"), "{error}");
        assert_eq!(error.class(), crate::ErrorClass::BadInput, "{field}: {error}");
    }
    for init in [json!(true), json!(false), json!("gaussian"), json!("eva"), json!("orthogonal")] {
        let mut plain = good.clone();
        plain["init_lora_weights"] = init;
        std::fs::write(&path, plain.to_string()).unwrap();
        Adapter::open(dir.path()).unwrap();
    }
    let mut other = good.clone();
    other["r"] = json!(4);
    std::fs::write(&path, other.to_string()).unwrap();
    let error = Adapter::open(dir.path()).unwrap().load(&config(), &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("lora_A.weight: expected shape [4, 32], found shape [3, 32]"), "{error}");
}

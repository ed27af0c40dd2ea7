//! Model directories on disk: loading, saving, and what is said when something is wrong with them.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rasft_model::{Decoder, ErrorClass, LoadOptions, ModelDir, ModelError, Packed, WeightsDtype};
use serde_json::{Value, json};

use crate::support::{FAMILIES, floats, read_json, tiny_decoder, tiny_json, tokens};

fn saved(family: &str, dtype: WeightsDtype) -> (Decoder, tempfile::TempDir) {
    let decoder = tiny_decoder(family, &LoadOptions::trainable());
    let dir = tempfile::tempdir().unwrap();
    decoder.save_dir(dir.path(), None, dtype).unwrap();
    (decoder, dir)
}

fn load(dir: &Path) -> Result<Decoder, ModelError> {
    Decoder::load(&ModelDir::open(dir)?, &LoadOptions::trainable())
}

fn hidden(decoder: &Decoder) -> Vec<f32> {
    floats(&decoder.hidden(&Packed::from_sequences(&[tokens(20, 97, 4)])).unwrap())
}

/// Laid out for inference, in f32 or as the bf16 they are, weights give the bits of the weights as stored.
#[test]
fn weights_laid_out_change_no_bit() {
    for (family, dtype) in FAMILIES.iter().flat_map(|f| [(f, WeightsDtype::F32), (f, WeightsDtype::Bf16)]) {
        let (_, dir) = saved(family, dtype);
        let stored = load(dir.path()).unwrap();
        let laid_out = Decoder::load(&ModelDir::open(dir.path()).unwrap(), &LoadOptions::default()).unwrap();
        let halves = format!("{laid_out:?}").contains(", bf16)");
        assert_eq!(halves, dtype == WeightsDtype::Bf16, "{family}");
        let bits = |tensor: Tensor| floats(&tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let (batch, targets) = (Packed::from_sequences(&[tokens(3, 97, 1), tokens(60, 97, 2)]), tokens(63, 97, 3));
        let all = [&stored, &laid_out].map(|decoder| {
            let hidden = decoder.hidden(&batch).unwrap();
            let mut logits = Vec::new();
            decoder.logits_into(&hidden, &mut logits).unwrap();
            assert_eq!(floats(&decoder.logits(&hidden).unwrap()), logits);
            [
                bits(decoder.token_logprobs(&hidden, &targets).unwrap()),
                bits(decoder.logits(&hidden).unwrap()),
                bits(hidden),
            ]
        });
        assert!(all[0] == all[1], "{family}, {dtype:?}");
    }
}

#[test]
fn a_saved_model_is_the_same_model() {
    for family in FAMILIES {
        let (decoder, dir) = saved(family, WeightsDtype::F32);
        let again = load(dir.path()).unwrap();
        assert_eq!(again.config(), decoder.config(), "{family}");
        assert_eq!(hidden(&again), hidden(&decoder), "{family}");
        let first = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        again.save_weights(&dir.path().join("model.safetensors"), WeightsDtype::F32).unwrap();
        assert!(first == std::fs::read(dir.path().join("model.safetensors")).unwrap(), "{family}: other bytes");
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "{family}: temporary files are left");
    }
}

#[test]
fn bf16_weights_are_rounded_once() {
    let (decoder, dir) = saved("qwen2", WeightsDtype::Bf16);
    assert_eq!(read_json(&dir.path().join("config.json"))["torch_dtype"], "bfloat16");
    let again = load(dir.path()).unwrap();
    for ((name, a), (_, b)) in decoder.parameters().iter().zip(again.parameters()) {
        let rounded = a.as_tensor().to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(floats(&rounded), floats(b.as_tensor()), "{name}");
    }
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    again.save_weights(&dir.path().join("again"), WeightsDtype::Bf16).unwrap();
    assert!(bytes == std::fs::read(dir.path().join("again")).unwrap());
}

type Tensors = Vec<(String, Tensor)>;

/// Beyond what bf16 can say there are f32 that are finite.
#[test]
fn values_that_are_no_numbers_are_not_written() {
    let (decoder, dir) = saved("qwen2", WeightsDtype::F32);
    let path = dir.path().join("diverged.safetensors");
    for (value, as_f32) in [(3.4e38, true), (f32::INFINITY, false), (f32::NAN, false)] {
        let (name, var) = &decoder.parameters()[3];
        let mut values = floats(var.as_tensor());
        values[7] = value;
        var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
        assert_eq!(decoder.save_weights(&path, WeightsDtype::F32).is_ok(), as_f32, "{value}");
        let _ = std::fs::remove_file(&path);
        let refused = decoder.save_weights(&path, WeightsDtype::Bf16).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Runtime);
        let message = refused.to_string();
        assert!(message.contains(&format!("{name} has become ")), "{message}");
        assert!(!path.exists());
    }
}

/// Rewrites the weights of a saved model through `change`.
fn rewrite(dir: &Path, dtype: DType, change: impl Fn(&mut Tensors)) {
    let path = dir.join("model.safetensors");
    let map = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let mut tensors: Tensors = map.into_iter().map(|(n, t)| (n, t.to_dtype(dtype).unwrap())).collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    change(&mut tensors);
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
}

#[test]
fn f16_and_shards_load() {
    let (decoder, dir) = saved("llama3", WeightsDtype::F32);
    rewrite(dir.path(), DType::F16, |_| {});
    let whole = load(dir.path()).unwrap();
    let half = |d: &Decoder| floats(&d.parameters()[3].1.to_dtype(DType::F16).unwrap().to_dtype(DType::F32).unwrap());
    assert_eq!(half(&decoder), floats(whole.parameters()[3].1.as_tensor()));
    // Split into two shards with an index.
    let path = dir.path().join("model.safetensors");
    let map = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let mut weight_map = serde_json::Map::new();
    for (part, wanted) in [("model-00001-of-00002.safetensors", 0), ("model-00002-of-00002.safetensors", 1)] {
        let of_part = |name: &str| usize::from(name.contains("mlp")) == wanted;
        let tensors: std::collections::HashMap<_, _> = map.clone().into_iter().filter(|(n, _)| of_part(n)).collect();
        weight_map.extend(tensors.keys().map(|n| (n.clone(), part.into())));
        candle_core::safetensors::save(&tensors, dir.path().join(part)).unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, json!({"metadata": {}, "weight_map": weight_map}).to_string()).unwrap();
    assert_eq!(hidden(&load(dir.path()).unwrap()), hidden(&whole));
    let names: Vec<String> = ModelDir::open(dir.path()).unwrap().files_for_hash().into_iter().map(|f| f.0).collect();
    let expected = ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"];
    assert_eq!(names[..3], expected);
    assert_eq!(names[3], "model-00002-of-00002.safetensors");
    std::fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    refused(dir.path(), ErrorClass::BadInput, &["model-00002-of-00002.safetensors", "hint"]);
}

#[test]
fn pickled_weights_count_for_a_policy_that_runs_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    let names = || {
        let found = ModelDir::open_with_weights_at_hand(dir.path()).unwrap();
        found.files_for_hash().into_iter().map(|f| f.0).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["config.json"]);
    let of_training = ["training_args.bin", "optimizer.bin"];
    for name in ["pytorch_model-00002-of-00002.bin", "pytorch_model-00001-of-00002.bin"].into_iter().chain(of_training)
    {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    assert_eq!(names(), ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]);
}

#[test]
fn weights_of_which_a_part_is_here_identify_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, first) = ("model.safetensors.index.json", "model-00001-of-00002.safetensors");
    let map = json!({ "weight_map": { "a": first, "b": "model-00002-of-00002.safetensors" } });
    std::fs::write(dir.path().join(index), map.to_string()).unwrap();
    let open = || ModelDir::open_with_weights_at_hand(dir.path());
    // The small files alone, the index with them, are a tokenizer.
    assert!(open().unwrap().files_for_hash().is_empty());
    std::fs::write(dir.path().join(first), "").unwrap();
    let error = open().unwrap_err();
    assert_eq!(error.class(), ErrorClass::BadInput);
    assert!(error.to_string().contains("model-00002-of-00002.safetensors"), "{error}");
    std::fs::write(dir.path().join("model-00002-of-00002.safetensors"), "").unwrap();
    assert_eq!(open().unwrap().files_for_hash().len(), 3);
    // Shards without an index.
    std::fs::remove_file(dir.path().join(index)).unwrap();
    assert_eq!(open().unwrap_err().class(), ErrorClass::BadInput);
}

/// Loading fails with this class, and the message holds these words.
fn refused(dir: &Path, class: ErrorClass, words: &[&str]) {
    let error = load(dir).expect_err("must be refused");
    let text = error.to_string();
    assert_eq!(error.class(), class, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn damaged_weights_are_reported_by_name() {
    let check = |change: &dyn Fn(&mut Tensors), words: &[&str]| {
        let (_, dir) = saved("qwen2", WeightsDtype::F32);
        rewrite(dir.path(), DType::F32, change);
        refused(dir.path(), ErrorClass::BadInput, &[words, &["model.safetensors", "hint"]].concat());
    };
    let at = |tensors: &[(String, Tensor)], name: &str| tensors.iter().position(|t| t.0 == name).unwrap();
    let norm = "model.layers.1.input_layernorm.weight";
    check(&|t| drop(t.remove(at(t, norm))), &[norm, "expected shape [48]", "found nothing"]);
    let bias = "model.layers.0.self_attn.k_proj.bias";
    check(&|t| t[0].0 = "model.extra.weight".into(), &["model.extra.weight"]);
    let wide = Tensor::zeros(17, DType::F32, &Device::Cpu).unwrap();
    let i = |t: &mut Tensors| at(t, bias);
    check(
        &|t| {
            let i = i(t);
            t[i].1 = wide.clone()
        },
        &[bias, "expected shape [16]", "found shape [17]"],
    );
    let mut values = vec![0.5f32; 16];
    values[9] = f32::NAN;
    let nan = Tensor::new(values, &Device::Cpu).unwrap();
    check(
        &|t| {
            let i = i(t);
            t[i].1 = nan.clone()
        },
        &[bias, "finite", "NaN at element 9"],
    );
    let ints = Tensor::zeros(16, DType::I64, &Device::Cpu).unwrap();
    check(
        &|t| {
            let i = i(t);
            t[i].1 = ints.clone()
        },
        &[bias, "BF16, F16 or F32", "I64"],
    );
}

#[test]
fn truncated_weights_are_corrupt() {
    let (_, dir) = saved("llama", WeightsDtype::F32);
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        refused(dir.path(), ErrorClass::Corrupt, &["model.safetensors", "hint"]);
    }
}

#[test]
fn a_redundant_head_of_a_tied_model_is_ignored() {
    let (decoder, dir) = saved("llama", WeightsDtype::F32);
    let embedding = decoder.parameters()[0].1.as_detached_tensor();
    rewrite(dir.path(), DType::F32, |t| t.push(("lm_head.weight".into(), embedding.clone())));
    assert_eq!(hidden(&load(dir.path()).unwrap()), hidden(&decoder));
}

#[test]
fn unsupported_configs_are_refused_by_field() {
    let check = |field: &str, value: Value, words: &[&str]| {
        let (_, dir) = saved("qwen2", WeightsDtype::F32);
        let mut json = tiny_json("qwen2");
        json[field] = value;
        std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
        refused(dir.path(), ErrorClass::BadInput, &[words, &["config.json", "hint"]].concat());
    };
    check("model_type", json!("mistral"), &["model_type is mistral", "qwen2, llama, qwen3"]);
    check("architectures", json!(["Qwen2ForSequenceClassification"]), &["Qwen2ForCausalLM"]);
    check("quantization_config", json!({"quant_method": "gptq"}), &["gptq", "unquantised"]);
    check("use_sliding_window", json!(true), &["use_sliding_window"]);
    check("layer_types", json!(["full_attention", "sliding_attention"]), &["sliding_attention"]);
    check("attention_bias", json!(true), &["attention_bias"]);
    check("hidden_act", json!("gelu"), &["gelu", "silu"]);
    check("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0}), &["yarn", "llama3"]);
    check("rope_scaling", json!({"rope_type": "llama3", "factor": 4.0}), &["low_freq_factor"]);
    check("partial_rotary_factor", json!(0.5), &["partial_rotary_factor"]);
    check("num_key_value_heads", json!(4), &["6", "multiple", "4"]);
    check("hidden_size", json!(null), &["hidden_size is missing"]);
    check("head_dim", json!(7), &["head_dim is 7"]);
    check("vocab_size", json!(0), &["vocab_size is 0"]);
    check("num_hidden_layers", json!("three"), &["num_hidden_layers"]);
}

#[test]
fn missing_files_say_what_to_do() {
    let (_, dir) = saved("llama", WeightsDtype::F32);
    let open = ModelDir::open(dir.path()).unwrap();
    let text = open.require_tokenizer("the mixture stage").unwrap_err().to_string();
    assert!(text.contains("tokenizer.json not found; the mixture stage"), "{text}");
    let text = open.require_template("the rollout stage").unwrap_err().to_string();
    assert!(text.contains("chat_template.jinja") && text.contains("the rollout stage"), "{text}");
    std::fs::rename(dir.path().join("model.safetensors"), dir.path().join("pytorch_model.bin")).unwrap();
    refused(dir.path(), ErrorClass::BadInput, &["model.safetensors", "pickled"]);
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    refused(dir.path(), ErrorClass::BadInput, &["config.json not found"]);
    refused(&dir.path().join("nowhere"), ErrorClass::BadInput, &["nowhere", "does not exist"]);
}

#[test]
fn special_tokens_come_from_generation_config_first() {
    let (_, dir) = saved("llama", WeightsDtype::F32);
    let eos = || ModelDir::open(dir.path()).unwrap().config().unwrap().eos_token_ids;
    assert_eq!(eos(), [2]);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [5, 3], "pad_token_id": 4}"#)
        .unwrap();
    assert_eq!(eos(), [5, 3]);
    let config = ModelDir::open(dir.path()).unwrap().config().unwrap();
    assert_eq!((config.pad_token_id, config.bos_token_id), (Some(4), None));
}

#[test]
fn transformers_5_rope_parameters_are_read() {
    let mut json = tiny_json("llama");
    json["rope_theta"] = Value::Null;
    json["rope_parameters"] = json!({"rope_theta": 5e5, "rope_type": "default"});
    let config = rasft_model::DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
    assert_eq!((config.rope.theta, config.rope.scaling), (5e5, None));
}

#[test]
fn random_models_depend_on_the_seed_alone() {
    let config = crate::support::tiny_config("qwen3");
    let make = |seed| Decoder::init(&config, seed, &LoadOptions::trainable()).unwrap();
    assert_eq!(hidden(&make(1)), hidden(&make(1)));
    assert_ne!(hidden(&make(1)), hidden(&make(2)));
    let decoder = make(1);
    let (name, matrix) = &decoder.parameters()[0];
    let values = floats(matrix.as_tensor());
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt();
    assert!(mean.abs() < 1e-3 && (std - 0.02).abs() < 1e-3, "{name}: mean {mean}, std {std}");
}

#[test]
fn inference_gives_the_same_bits_and_does_not_save() {
    for family in FAMILIES {
        let (decoder, dir) = saved(family, WeightsDtype::F32);
        let model = ModelDir::open(dir.path()).unwrap();
        let inference = Decoder::load(&model, &LoadOptions::default()).unwrap();
        assert_eq!(hidden(&inference), hidden(&decoder), "{family}");
        let batch = Packed::from_sequences(&[tokens(20, 97, 4)]);
        let logits = |d: &Decoder| floats(&d.logits(&d.hidden(&batch).unwrap()).unwrap());
        assert_eq!(logits(&inference), logits(&decoder), "{family}");
        let listed: usize = decoder.parameters().iter().map(|(_, v)| v.elem_count()).sum();
        assert_eq!((inference.n_parameters(), decoder.n_parameters()), (listed, listed), "{family}");
        assert!(inference.save_weights(&dir.path().join("x"), WeightsDtype::F32).is_err());
        assert!(inference.parameters().is_empty());
    }
}

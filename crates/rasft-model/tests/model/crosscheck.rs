//! The same weights in candle-transformers give the same logits, with and without its cache.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, qwen2, qwen3};
use rasft_model::{Decoder, LoadOptions, Packed};

use crate::support::{floats, max_diff, tiny_decoder, tiny_json, tokens};

const TOLERANCE: f32 = 2e-4;

fn builder(decoder: &Decoder) -> VarBuilder<'static> {
    let tensors = decoder.parameters().iter().map(|(n, v)| (n.clone(), v.as_detached_tensor()));
    VarBuilder::from_tensors(tensors.collect::<HashMap<_, _>>(), DType::F32, &Device::Cpu)
}

/// Our logits of the last of `n` tokens against `theirs`.
fn check(family: &str, decoder: &Decoder, n: usize, theirs: &Tensor) {
    let ids = tokens(n, decoder.config().vocab_size, 3);
    let hidden = decoder.hidden(&Packed::from_sequences(&[ids])).unwrap();
    let ours = floats(&decoder.logits(&hidden.narrow(0, n - 1, 1).unwrap()).unwrap());
    let diff = max_diff(&ours, &floats(theirs));
    assert!(diff <= TOLERANCE, "{family}, {n} tokens: {diff}");
}

fn input(n: usize) -> Tensor {
    Tensor::new(tokens(n, 97, 3), &Device::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn parse<T: serde::de::DeserializeOwned>(family: &str, extra: serde_json::Value) -> T {
    let mut json = tiny_json(family);
    for (key, value) in extra.as_object().unwrap() {
        json[key] = value.clone();
    }
    serde_json::from_value(json).unwrap()
}

#[test]
fn llama_agrees() {
    for family in ["llama", "llama3"] {
        let decoder = tiny_decoder(family, &LoadOptions::trainable());
        let config = parse::<llama::LlamaConfig>(family, serde_json::json!({})).into_config(false);
        let model = llama::Llama::load(builder(&decoder), &config).unwrap();
        for n in [1, 9, 60] {
            let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
            check(family, &decoder, n, &model.forward(&input(n), 0, &mut cache).unwrap());
        }
    }
}

#[test]
fn qwen2_agrees() {
    let decoder = tiny_decoder("qwen2", &LoadOptions::trainable());
    let extra = serde_json::json!({"sliding_window": 256, "max_window_layers": 3, "use_sliding_window": false});
    let mut model = qwen2::ModelForCausalLM::new(&parse("qwen2", extra), builder(&decoder)).unwrap();
    for n in [1, 9, 60] {
        model.clear_kv_cache();
        check("qwen2", &decoder, n, &model.forward(&input(n), 0).unwrap());
    }
}

#[test]
fn qwen3_agrees() {
    let decoder = tiny_decoder("qwen3", &LoadOptions::trainable());
    let extra = serde_json::json!({"attention_bias": false, "max_window_layers": 3, "use_sliding_window": false});
    let mut model = qwen3::ModelForCausalLM::new(&parse("qwen3", extra), builder(&decoder)).unwrap();
    for n in [1, 9, 60] {
        model.clear_kv_cache();
        check("qwen3", &decoder, n, &model.forward(&input(n), 0).unwrap());
    }
}

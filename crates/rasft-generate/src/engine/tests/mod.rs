//! The engine on the golden tiny models and on a random one: what it generates, and what that must not depend on.

mod ends;
mod golden;
mod invariance;
mod slots;

use super::*;
use crate::testing::{noise, plain};
use rasft_model::tokenizer::Encoded;
use rasft_model::{DecoderConfig, LoadOptions, ModelDir, ModelError, SpecialText, Specials, Trainable};
use std::path::{Path, PathBuf};

/// Token 7 reads "t7 "; the ids below 3 are special.
pub(super) struct Names;

impl TextCodec for Names {
    fn encode(&self, _text: &str, _specials: Specials) -> Result<Encoded, ModelError> {
        Err(ModelError::Tokenizer("only decodes".into()))
    }

    fn decode(&self, ids: &[u32], special: SpecialText) -> Result<String, ModelError> {
        Ok(ids.iter().filter(|id| special == SpecialText::Keep || **id > 2).map(|id| format!("t{id} ")).collect())
    }

    fn eos_id(&self) -> u32 {
        2
    }

    fn eos_text(&self) -> &str {
        "t2 "
    }
}

/// The oracle directory, or `None` (with a line saying so) where it is absent.
pub(super) fn shared() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let path = std::env::var_os("RASFT_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared not found");
    None
}

/// The golden tiny models: name, directory, decoder.
pub(super) fn golden_models() -> Vec<(&'static str, PathBuf, Decoder)> {
    let Some(shared) = shared() else { return Vec::new() };
    let load = |name| {
        let dir = shared.join("golden/models").join(name);
        let model = ModelDir::open(dir.join("policy")).unwrap();
        (name, dir, Decoder::load(&model, &LoadOptions::default()).unwrap())
    };
    ["qwen2", "llama", "llama_rope3", "qwen3"].map(load).into()
}

/// A random model with a vocabulary of 96 and a context of 64 tokens, whose probabilities are far from even.
pub(super) fn random_model() -> Decoder {
    let json = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 48, "vocab_size": 96, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "max_position_embeddings": 64, "eos_token_id": 2,
    });
    let config = DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
    let options = LoadOptions { trainable: Trainable::Yes, ..LoadOptions::default() };
    let decoder = Decoder::init(&config, 3, &options).unwrap();
    for (at, (name, var)) in decoder.parameters().iter().enumerate() {
        let centre = if name.contains("norm") { 1.0 } else { 0.0 };
        let values: Vec<f32> = noise(var.elem_count(), at as u64).iter().map(|u| centre + 0.5 * u).collect();
        var.set(&candle_core::Tensor::from_vec(values, var.shape(), decoder.device()).unwrap()).unwrap();
    }
    decoder
}

/// `n` token ids from 3 to 95.
pub(super) fn prompt(n: usize, seed: u64) -> Vec<u32> {
    noise(n, seed).iter().map(|u| 3 + ((u + 1.0) * 46.0) as u32).collect()
}

pub(super) fn request(problem: &str, prompt_ids: Vec<u32>, n: u32, max_new_tokens: usize) -> Request {
    Request { problem_id: problem.into(), prompt_ids, samples: (0..n).collect(), max_new_tokens }
}

/// Takes everything, and remembers the order.
#[derive(Default)]
struct Collect {
    completions: Vec<Completion>,
    steps: u64,
    /// Breaks once so many completions are there.
    enough: Option<usize>,
    /// Breaks after so many steps.
    last_step: Option<u64>,
}

impl Observer for Collect {
    fn on_completion(&mut self, completion: Completion) -> ControlFlow<()> {
        self.completions.push(completion);
        if self.enough == Some(self.completions.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_step(&mut self, stats: &Stats) -> ControlFlow<()> {
        self.steps += 1;
        assert_eq!(stats.steps, self.steps);
        if self.last_step == Some(self.steps) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Runs with so many slots and prompt tokens a step; completions by request and sample.
pub(super) fn run_with(
    decoder: &Decoder,
    requests: &[Request],
    params: &SamplingParams,
    (batch_size, step_tokens): (usize, usize),
) -> (Vec<Completion>, Stats) {
    let job = Job { decoder, codec: &Names, requests, params, seed: 42 };
    let mut all = Collect::default();
    let stats = Engine::new(job, &EngineOptions::of(batch_size), step_tokens).unwrap().run(&mut all).unwrap();
    all.completions.sort_by_key(|c| (c.request, c.sample_index));
    (all.completions, stats)
}

/// Runs with the public entry point and four slots.
pub(super) fn run(decoder: &Decoder, requests: &[Request], params: &SamplingParams) -> Vec<Completion> {
    let mut done = Vec::new();
    let options = EngineOptions::of(4);
    let mut take = |completion| {
        done.push(completion);
        ControlFlow::Continue(())
    };
    generate(decoder, &Names, requests, params, 42, &options, &mut take).unwrap();
    done.sort_by_key(|c| (c.request, c.sample_index));
    done
}

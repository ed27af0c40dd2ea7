//! What is asked for: one completion a request, with every parameter spelled out.
//!
//! A server's own defaults (top-k 40, min-p 0.05, a repetition penalty, …) must never slip into the samples, so nothing is
//! left to them. One request is one sample with a seed of its own, which is the grain at which samples are kept; servers
//! with a prefix cache compute a prompt once all the same. Absent on purpose: streaming, tools.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Which interface is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/v1/completions`: the prompt is templated here.
    Completions,
    /// `/v1/chat/completions`: the server applies its own template.
    Chat,
}

impl Api {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Chat => "chat/completions",
        }
    }
}

/// Which fields a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Also those that vLLM, SGLang and llama.cpp's server add (top-k, min-p, penalties, token ids).
    Extended,
    /// Only those of OpenAI's own interface, which refuses others.
    Openai,
}

/// What a completion is the continuation of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Tokens, exactly these.
    Tokens(Vec<u32>),
    /// Text that the server tokenises.
    Text(String),
    /// Turns (role, content) that the server templates and tokenises.
    Turns(Vec<(&'static str, String)>),
}

/// How tokens are chosen; the meaning of each is that of the embedded engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// 1 keeps all.
    pub top_p: f64,
    /// 0 keeps all.
    pub top_k: u32,
    /// 0 keeps all.
    pub min_p: f64,
    /// 1 is none.
    pub repetition_penalty: f64,
    /// Tokens before which no completion ends; of the servers named above, llama.cpp's does not have it.
    pub min_tokens: u32,
    /// Texts that end a completion.
    pub stop: Vec<String>,
    /// Tokens that end a completion, besides those that the server knows.
    pub stop_token_ids: Vec<u32>,
}

/// One sample that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// For messages: which problem and which sample.
    pub label: String,
    /// What it continues; the samples of a problem share it.
    pub prompt: Arc<Prompt>,
    /// Longest completion, tokens.
    pub max_tokens: usize,
    /// Seed of this sample alone.
    pub seed: u32,
}

/// Seed of one sample: 31 bits of a hash of (seed, problem, sample index), which every server's integer type holds.
#[must_use]
pub fn sample_seed(seed: u64, problem_id: &str, sample_index: u32) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"endpoint sample");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&sample_index.to_le_bytes());
    hasher.update(problem_id.as_bytes());
    let bytes = hasher.finalize();
    let [a, b, c, d, ..] = *bytes.as_bytes();
    u32::from_le_bytes([a, b, c, d]) >> 1
}

/// The body of the request for one sample.
pub(crate) fn body(model: &str, dialect: Dialect, sampling: &Sampling, wanted: &Wanted) -> Value {
    let mut fields = Map::new();
    let mut put = |more: Value| {
        if let Value::Object(more) = more {
            fields.extend(more);
        }
    };
    put(json!({
        "model": model,
        "n": 1,
        "stream": false,
        "max_tokens": wanted.max_tokens,
        "seed": wanted.seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": 0,
        "frequency_penalty": 0,
    }));
    // Some servers refuse an empty list.
    if !sampling.stop.is_empty() {
        put(json!({ "stop": sampling.stop }));
    }
    match &*wanted.prompt {
        Prompt::Tokens(ids) => put(json!({ "prompt": ids, "echo": false, "logprobs": 1 })),
        Prompt::Text(text) => put(json!({ "prompt": text, "echo": false, "logprobs": 1 })),
        Prompt::Turns(turns) => {
            let turns: Vec<Value> = turns.iter().map(|(role, text)| json!({ "role": role, "content": text })).collect();
            put(json!({ "messages": turns, "logprobs": true, "top_logprobs": 1 }));
        }
    }
    if dialect == Dialect::Extended {
        put(extended(sampling, wanted));
    }
    Value::Object(fields)
}

/// The fields that open servers add. Each server ignores those of the others.
fn extended(sampling: &Sampling, wanted: &Wanted) -> Value {
    // -1 keeps all tokens everywhere; 0 does not in SGLang.
    let top_k = if sampling.top_k == 0 { json!(-1) } else { json!(sampling.top_k) };
    json!({
        "top_k": top_k,
        "min_p": sampling.min_p,
        // vLLM and SGLang; over prompt and completion.
        "repetition_penalty": sampling.repetition_penalty,
        "min_tokens": sampling.min_tokens,
        "ignore_eos": false,
        "stop_token_ids": sampling.stop_token_ids,
        "skip_special_tokens": true,
        // The template writes every special token itself.
        "add_special_tokens": false,
        "return_token_ids": true,
        "return_tokens_as_token_ids": true,
        // llama.cpp: the same penalty over the whole context, its samplers in vLLM's order, untempered log-probabilities,
        // and reasoning left in the text.
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": window(wanted),
        "samplers": ["penalties", "temperature", "min_p", "top_k", "top_p"],
        "post_sampling_probs": false,
        "reasoning_format": "none",
    })
}

/// At least the tokens of prompt and completion: llama.cpp's penalty looks back so far.
fn window(wanted: &Wanted) -> usize {
    most_prompt_tokens(&wanted.prompt).saturating_add(wanted.max_tokens).min(1 << 20)
}

/// No prompt has more tokens: a token has at least one byte.
fn most_prompt_tokens(prompt: &Prompt) -> usize {
    /// For the markers that a server's template writes around turns.
    const MARKERS: usize = 512;
    match prompt {
        Prompt::Tokens(ids) => ids.len(),
        Prompt::Text(text) => text.len(),
        Prompt::Turns(turns) => turns.iter().map(|(_, text)| text.len()).sum::<usize>() + MARKERS,
    }
}

/// No honest answer has more bytes: a token with its log-probability takes some hundred, and a server may repeat the
/// prompt, as text and as ids.
pub(crate) fn longest_answer(wanted: &Wanted) -> usize {
    const AROUND: usize = 64 << 10;
    const TOKEN: usize = 2 << 10;
    const PROMPT_TOKEN: usize = 64;
    let completion = wanted.max_tokens.saturating_mul(TOKEN);
    completion.saturating_add(most_prompt_tokens(&wanted.prompt).saturating_mul(PROMPT_TOKEN)).saturating_add(AROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            temperature: 0.9,
            top_p: 0.95,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.1,
            min_tokens: 0,
            stop: vec!["END".into()],
            stop_token_ids: vec![2],
        }
    }

    fn wanted(prompt: Prompt) -> Wanted {
        Wanted { label: "x".into(), prompt: Arc::new(prompt), max_tokens: 9, seed: 5 }
    }

    #[test]
    fn nothing_is_left_to_the_servers_defaults() {
        let body = body("m", Dialect::Extended, &sampling(), &wanted(Prompt::Tokens(vec![1, 2])));
        let expected = [
            ("model", json!("m")),
            ("prompt", json!([1, 2])),
            ("n", json!(1)),
            ("max_tokens", json!(9)),
            ("seed", json!(5)),
            ("temperature", json!(0.9)),
            ("top_p", json!(0.95)),
            ("top_k", json!(-1)),
            ("min_p", json!(0.0)),
            ("repetition_penalty", json!(1.1)),
            ("repeat_penalty", json!(1.1)),
            ("repeat_last_n", json!(11)),
            ("stop", json!(["END"])),
            ("stop_token_ids", json!([2])),
            ("logprobs", json!(1)),
            ("stream", json!(false)),
        ];
        for (key, value) in expected {
            assert_eq!(body[key], value, "{key}");
        }
        let none = Sampling { stop: Vec::new(), ..sampling() };
        let body = super::body("m", Dialect::Openai, &none, &wanted(Prompt::Tokens(vec![1])));
        assert!(body.get("stop").is_none(), "an empty list is left out");
        let five = Sampling { top_k: 5, ..sampling() };
        assert_eq!(super::body("m", Dialect::Extended, &five, &wanted(Prompt::Text("p".into())))["top_k"], 5);
    }

    #[test]
    fn openai_gets_its_own_fields_only() {
        let turns = Prompt::Turns(vec![("system", "s".into()), ("user", "u".into())]);
        let body = body("m", Dialect::Openai, &sampling(), &wanted(turns));
        let mut keys: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.sort_unstable();
        let known = [
            "frequency_penalty",
            "logprobs",
            "max_tokens",
            "messages",
            "model",
            "n",
            "presence_penalty",
            "seed",
            "stop",
            "stream",
            "temperature",
            "top_logprobs",
            "top_p",
        ];
        assert_eq!(keys, known);
        assert_eq!(body["messages"][1], json!({ "role": "user", "content": "u" }));
    }

    #[test]
    fn seeds_differ_in_each_of_their_three_parts() {
        let base = sample_seed(1, "p", 0);
        assert!(base < 1 << 31);
        assert_eq!(base, sample_seed(1, "p", 0));
        for other in [sample_seed(2, "p", 0), sample_seed(1, "q", 0), sample_seed(1, "p", 1)] {
            assert_ne!(base, other);
        }
    }
}

//! A byte-level BPE tokenizer out of GGUF metadata, as the `tokenizer.json` that the model's authors would ship.
//!
//! The metadata hold vocabulary, merges and token types; how text is cut before merging is only named
//! (`tokenizer.ggml.pre`), so each name that is known here stands for the cutting of a published tokenizer.

use serde_json::{Map, Value, json};

use crate::error::ModelError;

use super::metadata::Metadata;

/// `tokenizer.ggml.token_type`.
mod kind {
    pub const CONTROL: i64 = 3;
    pub const USER_DEFINED: i64 = 4;
    pub const UNUSED: i64 = 5;
}

/// GPT-2's cutting.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3's cutting: numbers in groups of at most three digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's cutting: every digit alone.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The cutting that llama.cpp falls back to when a file names none.
const FALLBACK: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"];

/// How text is cut before merging.
struct Cutting {
    /// Patterns, applied one after the other; each match is a piece of its own.
    patterns: Vec<&'static str>,
    /// A single digit is always a piece.
    digits: bool,
    /// Text is composed (NFC) first.
    compose: bool,
    /// A piece that is a token is not merged.
    whole_first: bool,
    /// A BOS stands before every text unless the metadata say otherwise.
    bos: bool,
}

impl Cutting {
    fn named(file: &Metadata) -> Result<Self, ModelError> {
        let key = "tokenizer.ggml.pre";
        let name = file.text(key)?.unwrap_or_else(|| "default".into());
        let plain = |patterns: &[&'static str]| Self {
            patterns: patterns.to_vec(),
            digits: false,
            compose: false,
            whole_first: false,
            bos: false,
        };
        Ok(match name.as_str() {
            "smollm" | "starcoder" | "refact" | "command-r" => Self { digits: true, ..plain(&[GPT2]) },
            "gpt-2" | "gpt2" => plain(&[GPT2]),
            "qwen2" => Self { compose: true, ..plain(&[QWEN2]) },
            "deepseek-r1-qwen" => plain(&[QWEN2]),
            "llama-bpe" | "llama3" | "llama-v3" => Self { whole_first: true, bos: true, ..plain(&[LLAMA3]) },
            "default" => plain(&FALLBACK),
            other => {
                let known = "smollm, starcoder, refact, command-r, gpt-2, qwen2, deepseek-r1-qwen, llama-bpe, default";
                let hint = "use the Hugging Face directory of this model, which has the tokenizer itself";
                return Err(ModelError::unsupported(&file.path, key, other, known, hint));
            }
        })
    }

    fn json(&self) -> Value {
        let mut steps = Vec::new();
        if self.digits {
            steps.push(json!({ "type": "Digits", "individual_digits": true }));
        }
        for pattern in &self.patterns {
            steps.push(json!({
                "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false,
            }));
        }
        steps.push(byte_level());
        json!({ "type": "Sequence", "pretokenizers": steps })
    }
}

fn byte_level() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false })
}

/// The special tokens.
pub(super) struct Special {
    tokens: Vec<String>,
    kinds: Vec<i64>,
    /// Ends a turn.
    pub eos: u32,
    /// All that end a turn.
    pub eos_ids: Vec<u32>,
    pub bos: Option<u32>,
    pub pad: Option<u32>,
    pub unk: Option<u32>,
}

impl Special {
    /// Reads vocabulary and special tokens; the vocabulary must have as many entries as the embedding has rows.
    pub fn read(file: &Metadata, vocab_size: usize) -> Result<Self, ModelError> {
        let model = file.text("tokenizer.ggml.model")?.ok_or_else(|| file.missing("tokenizer.ggml.model"))?;
        if model != "gpt2" {
            let hint = "sentencepiece and wordpiece vocabularies lack what a GGUF file does not keep: use the Hugging Face directory of this model";
            return Err(ModelError::unsupported(
                &file.path,
                "tokenizer.ggml.model",
                model,
                "gpt2 (byte-level BPE)",
                hint,
            ));
        }
        let tokens: Vec<String> = file.texts("tokenizer.ggml.tokens")?.into_iter().map(str::to_owned).collect();
        if tokens.len() != vocab_size {
            let expected = format!("a list of {vocab_size} tokens, one for each row of the embedding");
            return Err(file.wrong("tokenizer.ggml.tokens", &expected));
        }
        let kinds = file.numbers("tokenizer.ggml.token_type")?;
        if kinds.len() != tokens.len() {
            return Err(file.wrong("tokenizer.ggml.token_type", "as long as tokenizer.ggml.tokens"));
        }
        let id = |name: &str| -> Result<Option<u32>, ModelError> {
            let key = format!("tokenizer.ggml.{name}_token_id");
            match file.optional_number(&key)? {
                Some(n) if n < vocab_size => Ok(Some(n as u32)),
                // Some writers mean "none" by the greatest 32-bit number.
                Some(n) if n == u32::MAX as usize => Ok(None),
                Some(_) => Err(file.wrong(&key, "a token of the vocabulary")),
                None => Ok(None),
            }
        };
        let eos = id("eos")?.ok_or_else(|| file.missing("tokenizer.ggml.eos_token_id"))?;
        let mut eos_ids = vec![eos];
        for other in [id("eot")?, id("eom")?].into_iter().flatten() {
            if !eos_ids.contains(&other) {
                eos_ids.push(other);
            }
        }
        let (bos, pad, unk) = (id("bos")?, id("padding")?, id("unknown")?);
        Ok(Self { tokens, kinds, eos, eos_ids, bos, pad, unk })
    }

    /// A token's text.
    pub fn text_of(&self, id: u32) -> &str {
        self.tokens.get(id as usize).map_or("", String::as_str)
    }

    /// The fields of `generation_config.json`.
    pub fn ids_json(&self) -> Value {
        let eos = if let [one] = self.eos_ids.as_slice() { json!(one) } else { json!(self.eos_ids) };
        json!({ "eos_token_id": eos, "bos_token_id": self.bos, "pad_token_id": self.pad })
    }
}

/// `tokenizer.json`.
pub(super) fn tokenizer_json(file: &Metadata, special: &Special) -> Result<Value, ModelError> {
    let cutting = Cutting::named(file)?;
    let (mut vocab, mut added) = (Map::new(), Vec::new());
    for (id, (token, kind)) in special.tokens.iter().zip(&special.kinds).enumerate() {
        if *kind == kind::UNUSED {
            continue; // Rows that only fill up the embedding.
        }
        if vocab.insert(token.clone(), id.into()).is_some() {
            let expected = format!("a list of different tokens: {token:?} stands in it twice");
            return Err(file.wrong("tokenizer.ggml.tokens", &expected));
        }
        if matches!(*kind, kind::CONTROL | kind::USER_DEFINED) {
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind == kind::CONTROL,
            }));
        }
    }
    let adds_bos = file.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(cutting.bos);
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": if cutting.compose { json!({ "type": "NFC" }) } else { Value::Null },
        "pre_tokenizer": cutting.json(),
        "post_processor": special.bos.filter(|_| adds_bos).map(|bos| with_bos(bos, special.text_of(bos))),
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": cutting.whole_first,
            "vocab": vocab,
            "merges": merges(file)?,
        },
    });
    Ok(json)
}

/// Pairs, so that a token with a space in it is not torn.
fn merges(file: &Metadata) -> Result<Vec<[&str; 2]>, ModelError> {
    let key = "tokenizer.ggml.merges";
    let wrong = || file.wrong(key, "a list of pairs of tokens");
    file.texts(key)?.into_iter().map(|merge| pair(merge).ok_or_else(wrong)).collect()
}

fn pair(merge: &str) -> Option<[&str; 2]> {
    let (at, _) = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?;
    Some([&merge[..at], &merge[at + 1..]])
}

fn with_bos(id: u32, text: &str) -> Value {
    let bos = json!({ "SpecialToken": { "id": text, "type_id": 0 } });
    let sequence = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
    json!({
        "type": "TemplateProcessing",
        "single": [bos, sequence("A")],
        "pair": [bos, sequence("A"), bos, sequence("B")],
        "special_tokens": { text: { "id": text, "ids": [id], "tokens": [text] } },
    })
}

//! Text to tokens and back, through the model's own `tokenizer.json`.
//!
//! Invariant: offsets are byte offsets into the text as given, of the token's whole text (never trimmed), so a boundary
//! in the text can be found among the tokens. Absent on purpose: truncation and padding; whoever asked for them in
//! `tokenizer.json` would silently lose text here.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr as _;

use serde_json::Value;
use tokenizers::{PostProcessor as _, PostProcessorWrapper};

use crate::config::{DecoderConfig, read_json};
use crate::dir::ModelDir;
use crate::error::ModelError;

/// Whether encoding adds the tokenizer's own special tokens (a BOS, say) around the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// As the post-processor in `tokenizer.json` says.
    Add,
    /// The text alone; special tokens *written in the text* are still recognised.
    Omit,
}

/// Whether decoding writes special tokens out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialText {
    /// They become nothing.
    Skip,
    /// They appear as their text.
    Keep,
}

/// Tokens and where they stand in the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Byte range of each token in the text; (0, 0) for tokens that were added to it.
    pub offsets: Vec<(usize, usize)>,
}

/// What item building and detokenisation need of a tokenizer.
pub trait TextCodec {
    /// Text to tokens.
    ///
    /// # Errors
    /// The tokenizer cannot represent the text.
    fn encode(&self, text: &str, specials: Specials) -> Result<Encoded, ModelError>;
    /// Tokens to text.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    fn decode(&self, ids: &[u32], special: SpecialText) -> Result<String, ModelError>;
    /// The token that ends a turn, appended to trained responses.
    fn eos_id(&self) -> u32;
    /// Its text.
    fn eos_text(&self) -> &str;
}

/// A token that means one thing in one model and another in the other: it has two ids, or its id is another token's. The first
/// by id; tokens that only one of them has do not count, nor do models without a `tokenizer.json`.
///
/// # Errors
/// A `tokenizer.json` cannot be read.
pub fn token_apart(one: &ModelDir, other: &ModelDir) -> Result<Option<String>, ModelError> {
    let (Some(one), Some(other)) = (vocabulary(one)?, vocabulary(other)?) else { return Ok(None) };
    let of_id: HashMap<u32, &String> = other.iter().map(|(token, id)| (*id, token)).collect();
    let is_apart = |(token, id): &(&String, &u32)| match other.get(*token) {
        Some(theirs) => theirs != *id,
        None => of_id.contains_key(id),
    };
    Ok(one.iter().filter(is_apart).min_by_key(|(_, id)| **id).map(|(token, _)| token.clone()))
}

fn vocabulary(dir: &ModelDir) -> Result<Option<HashMap<String, u32>>, ModelError> {
    let Some(path) = dir.find("tokenizer.json") else { return Ok(None) };
    let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
    Ok(Some(parse(&path, &bytes)?.get_vocab(true)))
}

fn parse(path: &Path, json: &[u8]) -> Result<tokenizers::Tokenizer, ModelError> {
    let bad = |what: String| ModelError::bad_file(path, what, "fetch the file again");
    let text = std::str::from_utf8(json).map_err(|e| bad(format!("not UTF-8: {e}")))?;
    tokenizers::Tokenizer::from_str(text).map_err(|e| bad(format!("not a tokenizer: {e}")))
}

/// A loaded `tokenizer.json` with the model's special tokens resolved.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    post: Option<PostProcessorWrapper>,
    eos_ids: Vec<u32>,
    eos_id: u32,
    eos_text: String,
    bos: Option<(u32, String)>,
    pad_id: u32,
    content_hash: String,
}

impl Tokenizer {
    /// Loads the tokenizer and settles which tokens end a turn.
    ///
    /// The EOS set is `generation_config.json`'s, else `config.json`'s, else the `eos_token` of `tokenizer_config.json`.
    /// The turn-ending EOS is `tokenizer_config.json`'s `eos_token` if it is in the set, else the set's first.
    ///
    /// # Errors
    /// A file is missing or unreadable, or no EOS is known.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, ModelError> {
        let path = dir.require_tokenizer("this stage")?;
        let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
        let mut inner = parse(&path, &bytes)?;
        let strip = |e: tokenizers::Error| ModelError::Tokenizer(e.to_string());
        inner.with_truncation(None).map_err(strip)?;
        inner.with_padding(None);
        // Byte-level post-processors trim white space off the offsets, so it is only applied when tokens are to be added.
        let post = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let side = SideFiles::read(dir)?;
        let eos_ids = side.eos_ids(&inner, &path)?;
        let named = side.token("eos_token").and_then(|t| inner.token_to_id(t)).filter(|id| eos_ids.contains(id));
        let eos_id = named.unwrap_or(eos_ids[0]);
        let eos_text = inner.id_to_token(eos_id).ok_or_else(|| {
            ModelError::bad_file(
                &path,
                format!("EOS token id {eos_id} is not in the vocabulary"),
                "mend generation_config.json",
            )
        })?;
        let bos_id = side.config_id("bos_token_id").or(side.token("bos_token").and_then(|t| inner.token_to_id(t)));
        let bos = bos_id.and_then(|id| inner.id_to_token(id).map(|t| (id, t)));
        let pad_id = side.config_id("pad_token_id").or(side.token("pad_token").and_then(|t| inner.token_to_id(t)));
        let mut tokenizer = Self {
            inner,
            post,
            eos_ids,
            eos_id,
            eos_text,
            bos,
            pad_id: pad_id.unwrap_or(eos_id),
            content_hash: String::new(),
        };
        tokenizer.content_hash = tokenizer.hash(&bytes);
        Ok(tokenizer)
    }

    /// Every token that ends a turn, in the order the model lists them.
    #[must_use]
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Beginning-of-sequence token.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.bos.as_ref().map(|(id, _)| *id)
    }

    /// Text of the beginning-of-sequence token.
    #[must_use]
    pub fn bos_text(&self) -> Option<&str> {
        self.bos.as_ref().map(|(_, text)| text.as_str())
    }

    /// Padding token; the turn-ending EOS if the model has none.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Tokens the tokenizer knows, added ones included (the model's embedding may have more rows).
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token given by its text, special tokens included.
    #[must_use]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// blake3 of `tokenizer.json` and the resolved special tokens, 64 hex digits.
    #[must_use]
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    fn hash(&self, json: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(json);
        let ids: Vec<u8> = self.eos_ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        field(&ids);
        field(&self.eos_id.to_le_bytes());
        field(&self.bos_id().map_or(Vec::new(), |id| id.to_le_bytes().to_vec()));
        field(&self.pad_id.to_le_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

impl TextCodec for Tokenizer {
    fn encode(&self, text: &str, specials: Specials) -> Result<Encoded, ModelError> {
        let fail = |e: tokenizers::Error| ModelError::Tokenizer(format!("cannot encode: {e}"));
        let mut encoding = self.inner.encode(text, false).map_err(fail)?;
        if let (Specials::Add, Some(post)) = (specials, &self.post) {
            encoding = post.process(encoding, None, true).map_err(fail)?;
        }
        Ok(Encoded { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    fn decode(&self, ids: &[u32], special: SpecialText) -> Result<String, ModelError> {
        let skip = special == SpecialText::Skip;
        self.inner.decode(ids, skip).map_err(|e| ModelError::Tokenizer(format!("cannot decode: {e}")))
    }

    fn eos_id(&self) -> u32 {
        self.eos_id
    }

    fn eos_text(&self) -> &str {
        &self.eos_text
    }
}

/// The JSON files beside `tokenizer.json` that name special tokens, in order of authority.
struct SideFiles {
    generation: Option<Value>,
    config: Option<Value>,
    tokenizer: Option<Value>,
}

impl SideFiles {
    fn read(dir: &ModelDir) -> Result<Self, ModelError> {
        let read = |name: &str| dir.find(name).map(|p| read_json(&p)).transpose();
        Ok(Self {
            generation: read("generation_config.json")?,
            config: read("config.json")?,
            tokenizer: read("tokenizer_config.json")?,
        })
    }

    fn config_ids(&self, key: &str) -> Option<Vec<u32>> {
        [&self.generation, &self.config].into_iter().flatten().find_map(|json| DecoderConfig::token_ids(json, key))
    }

    fn config_id(&self, key: &str) -> Option<u32> {
        self.config_ids(key).and_then(|ids| ids.first().copied())
    }

    /// A token named in `tokenizer_config.json`: a string, or an object with `content`.
    fn token(&self, key: &str) -> Option<&str> {
        let value = self.tokenizer.as_ref()?.get(key)?;
        value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
    }

    fn eos_ids(&self, inner: &tokenizers::Tokenizer, path: &Path) -> Result<Vec<u32>, ModelError> {
        let named = || self.token("eos_token").and_then(|t| inner.token_to_id(t)).map(|id| vec![id]);
        self.config_ids("eos_token_id").or_else(named).ok_or_else(|| {
            let hint = "add eos_token_id to generation_config.json";
            ModelError::bad_file(path, "no end-of-sequence token is known for this model", hint)
        })
    }
}

//! One resolved description of every decoder this toolkit runs, read from Hugging Face's `config.json`.
//!
//! Qwen2/2.5, Llama (SmolLM2, Llama 3.x) and Qwen3 differ in four switches (QKV bias, q/k norm, explicit head size, rope
//! scaling), so they are one struct. Whatever would change the computation and is not implemented here is an error,
//! never ignored. Absent on purpose: dropout, initialiser ranges and other fields that inference and training do not read.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ModelError;
use crate::weights::parameter_shapes;

mod rope;

pub use rope::{RopeConfig, RopeScaling};

/// Which family of HF classes the weights belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// `Qwen2ForCausalLM`: bias on q, k and v.
    Qwen2,
    /// `LlamaForCausalLM`: no bias anywhere.
    Llama,
    /// `Qwen3ForCausalLM`: RMSNorm on each head's q and k, head size independent of the hidden size.
    Qwen3,
}

impl Architecture {
    const ALL: [Self; 3] = [Self::Qwen2, Self::Llama, Self::Qwen3];

    /// `model_type` in `config.json`.
    #[must_use]
    pub const fn model_type(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Llama => "llama",
            Self::Qwen3 => "qwen3",
        }
    }

    /// Name of the HF class.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// Everything the decoder's computation depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Family.
    pub architecture: Architecture,
    /// D.
    pub hidden_size: usize,
    /// Decoder blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Size of one head, even.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// V.
    pub vocab_size: usize,
    /// ε of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// The output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// q, k and v projections have a bias.
    pub qkv_bias: bool,
    /// RMSNorm over each head of q and k before the rotation.
    pub qk_norm: bool,
    /// Longest context the model was made for.
    pub max_position_embeddings: usize,
    /// Tokens that end a turn, as `generation_config.json`, else `config.json` says; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// Beginning-of-sequence token.
    pub bos_token_id: Option<u32>,
    /// Padding token.
    pub pad_token_id: Option<u32>,
}

impl DecoderConfig {
    /// Query rows of one layer's projection: heads × head size.
    #[must_use]
    pub const fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Key (and value) rows of one layer's projection.
    #[must_use]
    pub const fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Number of scalars in all parameters; a tied head counts once.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        parameter_shapes(self).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Bytes the weights take in memory for inference: f32, the output projection once as stored and once laid out.
    #[must_use]
    pub fn inference_bytes(&self) -> usize {
        let head = if self.tie_word_embeddings { 1 } else { 2 };
        let embedding = self.vocab_size * self.hidden_size;
        size_of::<f32>() * (self.n_parameters() + head * embedding)
    }

    /// Reads `config.json` and, for the special tokens, `generation_config.json`.
    ///
    /// # Errors
    /// Names the file, the field, its value and what is supported, for anything this decoder does not compute.
    pub fn from_files(config: &Path, generation: Option<&Path>) -> Result<Self, ModelError> {
        let main = read_json(config)?;
        let generation = generation.map(read_json).transpose()?;
        Self::from_json(&main, generation.as_ref(), config)
    }

    /// As [`DecoderConfig::from_files`], from parsed JSON; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`DecoderConfig::from_files`].
    pub fn from_json(main: &Value, generation: Option<&Value>, path: &Path) -> Result<Self, ModelError> {
        refuse_unsupported(main, path)?;
        let architecture = architecture(main, path)?;
        let n_heads = required(main, "num_attention_heads", path)?;
        let hidden_size = required(main, "hidden_size", path)?;
        let head_dim = match optional(main, "head_dim", path)? {
            Some(d) => d,
            None if n_heads > 0 && hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                let detail = format!("hidden_size {hidden_size} is not a multiple of num_attention_heads {n_heads}");
                return Err(ModelError::bad_file(path, detail, "give head_dim, or mend the sizes"));
            }
        };
        let special = |key: &str| {
            generation.and_then(|g| Self::token_ids(g, key)).or_else(|| Self::token_ids(main, key)).unwrap_or_default()
        };
        let config = Self {
            architecture,
            hidden_size,
            n_layers: required(main, "num_hidden_layers", path)?,
            n_heads,
            n_kv_heads: optional(main, "num_key_value_heads", path)?.unwrap_or(n_heads),
            head_dim,
            intermediate_size: required(main, "intermediate_size", path)?,
            vocab_size: required(main, "vocab_size", path)?,
            rms_norm_eps: main.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6),
            rope: rope::read(main, path)?,
            tie_word_embeddings: main.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false),
            qkv_bias: architecture == Architecture::Qwen2,
            qk_norm: architecture == Architecture::Qwen3,
            max_position_embeddings: optional(main, "max_position_embeddings", path)?.unwrap_or(2048),
            eos_token_ids: special("eos_token_id"),
            bos_token_id: special("bos_token_id").first().copied(),
            pad_token_id: special("pad_token_id").first().copied(),
        };
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.n_layers),
            ("num_attention_heads", self.n_heads),
            ("num_key_value_heads", self.n_kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, n)| *n == 0) {
            return Err(ModelError::bad_file(path, format!("{name} is 0, expected at least 1"), "mend config.json"));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let detail = format!(
                "num_attention_heads {} is not a multiple of num_key_value_heads {}",
                self.n_heads, self.n_kv_heads
            );
            return Err(ModelError::bad_file(path, detail, "each key/value head serves equally many query heads"));
        }
        if !self.head_dim.is_multiple_of(2) {
            let detail = format!("head_dim is {}, expected an even number", self.head_dim);
            return Err(ModelError::bad_file(path, detail, "rotary embedding turns pairs of dimensions"));
        }
        Ok(())
    }

    /// A token id field: absent or null → None, an integer → one, a list → all.
    pub(crate) fn token_ids(json: &Value, key: &str) -> Option<Vec<u32>> {
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        match json.get(key)? {
            Value::Array(list) => {
                let ids: Vec<u32> = list.iter().filter_map(id).collect();
                (!ids.is_empty()).then_some(ids)
            }
            one => id(one).map(|n| vec![n]),
        }
    }

    /// The `config.json` that transformers reads back into the same model.
    #[must_use]
    pub fn to_hf_json(&self) -> Value {
        let scaling = match self.rope.scaling {
            None => Value::Null,
            Some(scaling) => serde_json::to_value(scaling).unwrap_or(Value::Null),
        };
        let eos = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => Value::from(*one),
            many => Value::from(many.to_vec()),
        };
        serde_json::json!({
            "architectures": [self.architecture.class_name()],
            "model_type": self.architecture.model_type(),
            "attention_bias": false,
            "mlp_bias": false,
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "vocab_size": self.vocab_size,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope.theta,
            "rope_scaling": scaling,
            "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings,
            "eos_token_id": eos,
            "bos_token_id": self.bos_token_id,
            "pad_token_id": self.pad_token_id,
            "use_sliding_window": false,
            "torch_dtype": "float32",
        })
    }
}

/// Reads one JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| ModelError::bad_file(path, format!("not valid JSON: {e}"), "fetch the file again"))
}

fn optional(json: &Value, key: &str, path: &Path) -> Result<Option<usize>, ModelError> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(|n| Some(n as usize)).ok_or_else(|| {
            ModelError::bad_file(path, format!("{key} is {value}, expected a whole number"), "mend config.json")
        }),
    }
}

fn required(json: &Value, key: &str, path: &Path) -> Result<usize, ModelError> {
    optional(json, key, path)?.ok_or_else(|| {
        ModelError::bad_file(path, format!("{key} is missing"), "is this the config.json of a decoder language model?")
    })
}

fn architecture(json: &Value, path: &Path) -> Result<Architecture, ModelError> {
    let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or("missing");
    let class = json.pointer("/architectures/0").and_then(Value::as_str);
    let found = Architecture::ALL.into_iter().find(|a| a.model_type() == model_type);
    let hint = "use a Qwen2/2.5, Llama/SmolLM2 or Qwen3 causal language model";
    match found {
        Some(a) if class.is_none_or(|c| c == a.class_name()) => Ok(a),
        Some(a) => Err(ModelError::unsupported(path, "architectures", class.unwrap_or_default(), a.class_name(), hint)),
        None => {
            let all = Architecture::ALL.map(Architecture::model_type).join(", ");
            Err(ModelError::unsupported(path, "model_type", model_type, all, hint))
        }
    }
}

/// Refuses every field that would change the computation in a way this decoder does not follow.
fn refuse_unsupported(json: &Value, path: &Path) -> Result<(), ModelError> {
    let set = |key: &str| json.get(key).filter(|v| !v.is_null());
    if let Some(q) = set("quantization_config") {
        let method = q.get("quant_method").and_then(Value::as_str).unwrap_or("present");
        let hint = "use the unquantised weights (bf16, f16 or f32) of this model";
        return Err(ModelError::unsupported(path, "quantization_config", method, "none", hint));
    }
    for key in ["use_sliding_window", "attention_bias", "mlp_bias"] {
        if set(key).and_then(Value::as_bool) == Some(true) {
            let hint = "this decoder has full causal attention, and biases only as Qwen2 has them";
            return Err(ModelError::unsupported(path, key, "true", "false", hint));
        }
    }
    if let Some(kinds) = set("layer_types").and_then(Value::as_array)
        && let Some(other) = kinds.iter().find(|k| k.as_str() != Some("full_attention"))
    {
        let hint = "sliding-window and linear-attention layers are not implemented";
        return Err(ModelError::unsupported(path, "layer_types", other, "full_attention", hint));
    }
    if let Some(act) = set("hidden_act").and_then(Value::as_str)
        && act != "silu"
    {
        return Err(ModelError::unsupported(path, "hidden_act", act, "silu", "only SwiGLU blocks are implemented"));
    }
    if let Some(part) = set("partial_rotary_factor").and_then(Value::as_f64)
        && part != 1.0
    {
        let hint = "only whole heads are rotated here";
        return Err(ModelError::unsupported(path, "partial_rotary_factor", part, "1.0", hint));
    }
    Ok(())
}

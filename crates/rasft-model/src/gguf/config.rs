//! The decoder's configuration out of GGUF metadata.

use std::fs::File;

use candle_core::Device;

use crate::config::{Architecture, DecoderConfig, RopeConfig, RopeScaling};
use crate::error::ModelError;

use super::metadata::{Metadata, first_line};

/// Per-frequency divisors that Llama 3.1 and later bring along.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// What every published Llama 3.1, 3.2 and 3.3 has; the divisors tell the factor alone.
const LLAMA3: (f64, f64, usize) = (1.0, 4.0, 8192);

/// Config with everything but the special tokens.
pub(super) fn config(file: &Metadata) -> Result<DecoderConfig, ModelError> {
    let architecture = match file.architecture() {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            let hint = "use a Qwen2/2.5, Llama/SmolLM2 or Qwen3 causal language model";
            return Err(ModelError::unsupported(
                &file.path,
                "general.architecture",
                other,
                "llama, qwen2, qwen3",
                hint,
            ));
        }
    };
    refuse_unsupported(file)?;
    let number = |key: &str| file.number(&file.of_architecture(key));
    let optional = |key: &str| file.optional_number(&file.of_architecture(key));
    let (hidden_size, n_heads) = (number("embedding_length")?, number("attention.head_count")?);
    let head_dim = match optional("attention.key_length")? {
        Some(d) => d,
        None if n_heads > 0 && hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
        None => return Err(file.wrong(&file.of_architecture("embedding_length"), "a multiple of the number of heads")),
    };
    if optional("attention.value_length")?.is_some_and(|v| v != head_dim)
        || optional("rope.dimension_count")?.is_some_and(|d| d != head_dim)
    {
        let key = file.of_architecture("attention.value_length and rope.dimension_count");
        let hint = "keys and values of one size, rotated as a whole, are implemented";
        return Err(ModelError::unsupported(&file.path, key, "not the size of a head", head_dim, hint));
    }
    let n_kv_heads = optional("attention.head_count_kv")?.unwrap_or(n_heads);
    let tensor = |name: &str| file.content.tensor_infos.get(name);
    let n_layers = number("block_count")?;
    if n_layers > file.content.tensor_infos.len() {
        return Err(file.wrong(&file.of_architecture("block_count"), "borne out by the tensors: there are fewer"));
    }
    // Before anything is computed that grows with them.
    for (name, heads) in [("blk.0.attn_q.weight", n_heads), ("blk.0.attn_k.weight", n_kv_heads)] {
        let given = tensor(name).ok_or_else(|| file.missing(&format!("tensor {name}")))?.shape.dims();
        if heads.checked_mul(head_dim) != given.first().copied() || given.get(1) != Some(&hidden_size) {
            let key = file.of_architecture("attention.head_count and attention.key_length");
            return Err(file.wrong(&key, &format!("borne out by {name} of shape {given:?}")));
        }
    }
    let embedding = tensor("token_embd.weight").ok_or_else(|| file.missing("tensor token_embd.weight"))?;
    let vocab_size = embedding.shape.dims().first().copied().unwrap_or(0);
    let config = DecoderConfig {
        architecture,
        hidden_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        intermediate_size: number("feed_forward_length")?,
        vocab_size,
        rms_norm_eps: file
            .optional_fraction(&file.of_architecture("attention.layer_norm_rms_epsilon"))?
            .unwrap_or(1e-6),
        rope: rope(file, head_dim)?,
        tie_word_embeddings: tensor("output.weight").is_none(),
        qkv_bias: architecture == Architecture::Qwen2,
        qk_norm: architecture == Architecture::Qwen3,
        max_position_embeddings: number("context_length")?,
        eos_token_ids: Vec::new(),
        bos_token_id: None,
        pad_token_id: None,
    };
    // The same checks as for a config.json, by the same code.
    DecoderConfig::from_json(&config.to_hf_json(), None, &file.path)
}

fn refuse_unsupported(file: &Metadata) -> Result<(), ModelError> {
    for key in ["expert_count", "attention.sliding_window"] {
        let key = file.of_architecture(key);
        if let Some(n) = file.optional_number(&key)?
            && n > 0
        {
            let hint = "mixtures of experts and sliding windows are not implemented";
            return Err(ModelError::unsupported(&file.path, key, n, "0", hint));
        }
    }
    Ok(())
}

fn rope(file: &Metadata, head_dim: usize) -> Result<RopeConfig, ModelError> {
    let theta = file.optional_fraction(&file.of_architecture("rope.freq_base"))?.unwrap_or(10_000.0);
    let kind_key = file.of_architecture("rope.scaling.type");
    if let Some(kind) = file.text(&kind_key)?
        && kind != "none"
    {
        let hint = "linear and yarn scaling are not implemented";
        return Err(ModelError::unsupported(&file.path, kind_key, kind, "none", hint));
    }
    let scaling = rope_factors(file, head_dim)?.map(|factors| llama3(file, theta, head_dim, &factors)).transpose()?;
    Ok(RopeConfig { theta, scaling })
}

/// One factor for each pair of a head's dimensions.
fn rope_factors(file: &Metadata, head_dim: usize) -> Result<Option<Vec<f32>>, ModelError> {
    let Some(info) = file.content.tensor_infos.get(ROPE_FACTORS) else { return Ok(None) };
    if info.shape.dims() != [head_dim / 2] {
        return Err(file.wrong(ROPE_FACTORS, &format!("a list of {} numbers, one for each frequency", head_dim / 2)));
    }
    let mut reader = File::open(&file.path).map_err(ModelError::io(&file.path))?;
    let read = |reader: &mut File| -> candle_core::Result<Vec<f32>> {
        file.content.tensor(reader, ROPE_FACTORS, &Device::Cpu)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
    };
    let corrupt = |e| ModelError::corrupt(&file.path, format!("{ROPE_FACTORS}: {}", first_line(&e)), "fetch it again");
    read(&mut reader).map(Some).map_err(corrupt)
}

/// The scaling whose divisors these are, checked one by one.
fn llama3(file: &Metadata, theta: f64, head_dim: usize, factors: &[f32]) -> Result<RopeScaling, ModelError> {
    let (low_freq_factor, high_freq_factor, original_max_position_embeddings) = LLAMA3;
    let factor = factors.iter().fold(1.0f32, |a, b| a.max(*b));
    let scaling = RopeScaling::Llama3 {
        factor: f64::from(factor),
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    };
    let plain = RopeConfig { theta, scaling: None }.inverse_frequencies(head_dim);
    let stretched = RopeConfig { theta, scaling: Some(scaling) }.inverse_frequencies(head_dim);
    let same =
        |((plain, stretched), given): ((&f64, &f64), &f32)| (plain / stretched / f64::from(*given) - 1.0).abs() < 1e-4;
    if factors.len() == plain.len() && plain.iter().zip(&stretched).zip(factors).all(same) {
        return Ok(scaling);
    }
    let hint =
        "only the scaling of Llama 3.1 and its successors is recognised: use the Hugging Face directory of this model";
    Err(ModelError::unsupported(&file.path, ROPE_FACTORS, "another scaling", "llama3", hint))
}

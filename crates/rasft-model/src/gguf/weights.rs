//! Tensors of a GGUF file under their Hugging Face names, dequantised to f32.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::{Device, Tensor, Var};

use crate::config::{Architecture, DecoderConfig};
use crate::error::ModelError;
use crate::weights::{parameter_shapes, tensor_error};

use super::config::ROPE_FACTORS;
use super::metadata::{Metadata, first_line};

/// (name in a Hugging Face layer, name in a GGUF block).
const IN_LAYER: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Reads every parameter that the config asks for.
///
/// # Errors
/// A tensor is missing, unexpected, misshapen, not finite, or lies behind the end of the file.
pub(crate) fn load(path: &Path, config: &DecoderConfig, device: &Device) -> Result<Vec<(String, Var)>, ModelError> {
    let file = Metadata::read(path)?;
    let mut reader = BufReader::new(File::open(path).map_err(ModelError::io(path))?);
    let mut parameters = Vec::new();
    let mut rest: BTreeSet<&str> = file.content.tensor_infos.keys().map(String::as_str).collect();
    rest.remove(ROPE_FACTORS);
    for (name, shape) in parameter_shapes(config) {
        let theirs = gguf_name(&name);
        let hint = "the file is incomplete, or its metadata do not belong to it";
        let Some(info) = file.content.tensor_infos.get(&theirs) else {
            return Err(tensor_error(path, &theirs, &format!("shape {shape:?}"), "nothing", hint));
        };
        if info.shape.dims() != shape {
            let (expected, actual) = (format!("shape {shape:?}"), format!("shape {:?}", info.shape.dims()));
            return Err(tensor_error(path, &theirs, &expected, &actual, hint));
        }
        rest.remove(theirs.as_str());
        let read = file.content.tensor(&mut reader, &theirs, &Device::Cpu).and_then(|t| t.dequantize(&Device::Cpu));
        let tensor = read.map_err(|e| {
            ModelError::corrupt(path, format!("tensor {theirs}: {}", first_line(&e)), "fetch the file again")
        })?;
        let values = in_our_order(&name, config, tensor)?.flatten_all()?.to_vec1::<f32>()?;
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            let actual = format!("{} at element {at}", values[at]);
            return Err(tensor_error(path, &theirs, "finite values", &actual, "the file is damaged: fetch it again"));
        }
        parameters.push((name, Var::from_vec(values, shape, device)?));
    }
    if let Some(name) = rest.first() {
        let hint = "this decoder would leave a part of the model out";
        return Err(tensor_error(path, name, "no such tensor for this architecture", "one", hint));
    }
    Ok(parameters)
}

fn gguf_name(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".into(),
        "model.norm.weight" => return "output_norm.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        _ => {}
    }
    let inner = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    let Some((layer, inner)) = inner else { return name.to_owned() };
    let part = inner.rsplit_once('.').and_then(|(module, kind)| {
        IN_LAYER.iter().find(|(ours, _)| *ours == module).map(|(_, theirs)| format!("{theirs}.{kind}"))
    });
    part.map_or_else(|| name.to_owned(), |part| format!("blk.{layer}.{part}"))
}

/// Undoes the interleaving of Llama's query and key rows: GGUF rotates neighbours (2i, 2i+1), we rotate halves
/// (i, i + d/2), so row 2i + h of each head there is row i + h·d/2 here.
fn in_our_order(name: &str, config: &DecoderConfig, tensor: Tensor) -> Result<Tensor, ModelError> {
    let heads = match name {
        _ if config.architecture != Architecture::Llama => return Ok(tensor),
        _ if name.ends_with("q_proj.weight") => config.n_heads,
        _ if name.ends_with("k_proj.weight") => config.n_kv_heads,
        _ => return Ok(tensor),
    };
    let (rows, columns) = tensor.dims2()?;
    // (heads, d/2, 2, D) → (heads, 2, d/2, D)
    let apart = tensor.reshape((heads, rows / heads / 2, 2, columns))?.transpose(1, 2)?;
    Ok(apart.reshape((rows, columns))?)
}

//! Safetensors in and out: what a checkpoint must hold, checked by name, shape, type and value; written in fixed bytes.
//!
//! Weights may lie on disk as bf16, f16 or f32; in memory they are f32, or rounded to bf16. Absent on purpose: pickles,
//! quantised types and memory mapping (a mapped file could change under a running computation).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors};

use crate::config::{DecoderConfig, read_json};
use crate::dir::ModelDir;
use crate::error::ModelError;
use crate::ops::kernels::rounded;

/// How weights are written, or held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsDtype {
    /// In full.
    #[default]
    F32,
    /// Rounded to nearest even.
    Bf16,
}

/// Name of the output projection in files.
pub(crate) const LM_HEAD: &str = "lm_head.weight";
/// Name of the embedding in files.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// HF names and shapes of every parameter a config asks for, in the order of the forward pass.
#[must_use]
pub fn parameter_shapes(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
    let (d, q, kv, ff) = (config.hidden_size, config.q_dim(), config.kv_dim(), config.intermediate_size);
    let mut shapes = vec![(EMBEDDING.to_owned(), vec![config.vocab_size, d])];
    for layer in 0..config.n_layers {
        let mut add = |name: &str, shape: Vec<usize>| shapes.push((format!("model.layers.{layer}.{name}"), shape));
        add("input_layernorm.weight", vec![d]);
        for (name, rows) in [("q", q), ("k", kv), ("v", kv)] {
            add(&format!("self_attn.{name}_proj.weight"), vec![rows, d]);
            if config.qkv_bias {
                add(&format!("self_attn.{name}_proj.bias"), vec![rows]);
            }
        }
        if config.qk_norm {
            add("self_attn.q_norm.weight", vec![config.head_dim]);
            add("self_attn.k_norm.weight", vec![config.head_dim]);
        }
        add("self_attn.o_proj.weight", vec![d, q]);
        add("post_attention_layernorm.weight", vec![d]);
        add("mlp.gate_proj.weight", vec![ff, d]);
        add("mlp.up_proj.weight", vec![ff, d]);
        add("mlp.down_proj.weight", vec![d, ff]);
    }
    shapes.push(("model.norm.weight".to_owned(), vec![d]));
    if !config.tie_word_embeddings {
        shapes.push((LM_HEAD.to_owned(), vec![config.vocab_size, d]));
    }
    shapes
}

/// Reads every parameter of a model into memory as `held`: f32 or, rounded, bf16.
///
/// # Errors
/// A tensor is missing, unexpected, of the wrong shape or type, or not finite; a file is truncated; a GGUF file is to be
/// held as anything but f32.
pub(crate) fn load(
    dir: &ModelDir,
    config: &DecoderConfig,
    held: WeightsDtype,
    device: &Device,
) -> Result<Vec<(String, Var)>, ModelError> {
    if let Some(gguf) = dir.gguf() {
        if held != WeightsDtype::F32 {
            return Err(ModelError::Request(format!("{}: a GGUF file is read as f32", gguf.display())));
        }
        return crate::gguf::load(gguf, config, device);
    }
    let mut wanted: BTreeMap<String, Vec<usize>> = parameter_shapes(config).into_iter().collect();
    let listed = dir.weight_index().map(|index| shard_of_each(&index)).transpose()?;
    let mut found: BTreeMap<String, Var> = BTreeMap::new();
    for path in dir.weight_files() {
        let bytes = std::fs::read(path).map_err(ModelError::io(path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| {
            ModelError::corrupt(path, format!("not a whole safetensors file: {e}"), "fetch or copy the file again")
        })?;
        for name in sorted_names(&file) {
            if is_derived(&name, config) {
                continue;
            }
            let view = file.tensor(&name).map_err(|e| ModelError::corrupt(path, e, "fetch the file again"))?;
            let Some(shape) = wanted.remove(&name) else {
                let twice = found.contains_key(&name);
                let expected = if twice { "once" } else { "no such tensor for this config" };
                let actual = if twice { "in two files".to_owned() } else { format!("shape {:?}", view.shape()) };
                let hint = "the weights do not belong to this config.json";
                return Err(tensor_error(path, &name, expected, &actual, hint));
            };
            if let Some(shard) = listed.as_ref().and_then(|map| map.get(&name))
                && path.file_name().is_none_or(|f| f.to_string_lossy() != shard.as_str())
            {
                let actual = format!("in {}", path.display());
                return Err(tensor_error(
                    path,
                    &name,
                    &format!("in {shard}, as the index says"),
                    &actual,
                    "fetch the index again",
                ));
            }
            let values = read_tensor(path, &name, &shape, &view)?;
            let var = match held {
                WeightsDtype::F32 => Var::from_vec(values, shape, device)?,
                WeightsDtype::Bf16 => Var::from_vec(rounded(&values), shape, device)?,
            };
            found.insert(name, var);
        }
    }
    if let Some((name, shape)) = wanted.first_key_value() {
        let path = dir.weight_index().or_else(|| dir.weight_files().first().cloned()).unwrap_or_default();
        let hint = "the weights are incomplete or do not belong to this config.json";
        return Err(tensor_error(&path, name, &format!("shape {shape:?}"), "nothing", hint));
    }
    let order = parameter_shapes(config).into_iter().map(|(name, _)| name);
    Ok(order.filter_map(|name| found.remove(&name).map(|var| (name, var))).collect())
}

/// Reads one safetensors file that must hold exactly `shapes`, as f32, in their order.
///
/// # Errors
/// A tensor is missing, unexpected, misshapen or not finite, or the file is truncated.
pub(crate) fn load_file(
    path: &Path,
    shapes: Vec<(String, Vec<usize>)>,
    device: &Device,
) -> Result<Vec<(String, Var)>, ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        ModelError::corrupt(path, format!("not a whole safetensors file: {e}"), "fetch or copy the file again")
    })?;
    let hint = "the file does not belong to this configuration";
    if let Some(name) = sorted_names(&file).iter().find(|name| shapes.iter().all(|(wanted, _)| wanted != *name)) {
        return Err(tensor_error(path, name, "no such tensor", "one", hint));
    }
    let mut found = Vec::with_capacity(shapes.len());
    for (name, shape) in shapes {
        let view =
            file.tensor(&name).map_err(|_| tensor_error(path, &name, &format!("shape {shape:?}"), "nothing", hint))?;
        let values = read_tensor(path, &name, &shape, &view)?;
        found.push((name, Var::from_vec(values, shape, device)?));
    }
    Ok(found)
}

/// Writes parameters as one safetensors file whose bytes depend on names and values alone.
///
/// Tensors lie in the order of their names behind a header with sorted keys and `format: pt`, which transformers asks for.
///
/// # Errors
/// A value is not finite as it would be written, or the file cannot be written.
pub(crate) fn save(parameters: &[(String, Var)], path: &Path, dtype: WeightsDtype) -> Result<(), ModelError> {
    let mut tensors: Vec<(&str, &Tensor)> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_tensor())).collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let size = if dtype == WeightsDtype::F32 { 4 } else { 2 };
    let word = if dtype == WeightsDtype::F32 { "F32" } else { "BF16" };
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut offset = 0;
    for (name, tensor) in &tensors {
        let end = offset + tensor.elem_count() * size;
        header.insert(
            (*name).into(),
            serde_json::json!({"data_offsets": [offset, end], "dtype": word, "shape": tensor.dims()}),
        );
        offset = end;
    }
    let mut head = serde_json::Value::Object(header).to_string().into_bytes();
    head.resize(head.len().next_multiple_of(8), b' ');
    let values = |name: &str, tensor: &Tensor| -> Result<Vec<u8>, ModelError> {
        let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let written = |x: f32| if dtype == WeightsDtype::F32 { x } else { bf16::from_f32(x).to_f32() };
        if let Some(value) = values.par_iter().map(|x| written(*x)).find_first(|x| !x.is_finite()) {
            return Err(ModelError::Diverged { tensor: name.into(), value });
        }
        Ok(match dtype {
            WeightsDtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            WeightsDtype::Bf16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        })
    };
    let mut file = rasft_fs::AtomicFile::create(path)?;
    let failed = rasft_fs::FsError::on("write", path);
    let written = put_all(&mut file, &head, &tensors, values)?;
    written.map_err(failed)?;
    Ok(file.commit()?)
}

/// Header and tensors one after another; the inner error is that of the file.
fn put_all(
    file: &mut impl std::io::Write,
    head: &[u8],
    tensors: &[(&str, &Tensor)],
    values: impl Fn(&str, &Tensor) -> Result<Vec<u8>, ModelError>,
) -> Result<std::io::Result<()>, ModelError> {
    let put = |file: &mut dyn std::io::Write, bytes: &[u8]| file.write_all(bytes);
    let mut result = put(file, &(head.len() as u64).to_le_bytes()).and_then(|()| put(file, head));
    for (name, tensor) in tensors {
        let bytes = values(name, tensor)?;
        result = result.and_then(|()| put(file, &bytes));
    }
    Ok(result)
}

/// Buffers that older exports keep beside the parameters, and the copy of a tied head.
fn is_derived(name: &str, config: &DecoderConfig) -> bool {
    name.ends_with("rotary_emb.inv_freq") || (config.tie_word_embeddings && name == LM_HEAD)
}

fn sorted_names(file: &SafeTensors<'_>) -> Vec<String> {
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn shard_of_each(index: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let json = read_json(index)?;
    let map = json.get("weight_map").and_then(serde_json::Value::as_object);
    let pairs = map.into_iter().flatten().filter_map(|(k, v)| v.as_str().map(|f| (k.clone(), f.to_owned())));
    Ok(pairs.collect())
}

fn read_tensor(
    path: &Path,
    name: &str,
    shape: &[usize],
    view: &safetensors::tensor::TensorView<'_>,
) -> Result<Vec<f32>, ModelError> {
    if view.shape() != shape {
        let (expected, actual) = (format!("shape {shape:?}"), format!("shape {:?}", view.shape()));
        let hint = "the weights do not belong to this config.json";
        return Err(tensor_error(path, name, &expected, &actual, hint));
    }
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.par_chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::BF16 => data.par_chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F16 => data.par_chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => {
            let hint = "quantised or integer weights are not supported: use bf16, f16 or f32";
            return Err(tensor_error(path, name, "BF16, F16 or F32", &format!("{other:?}"), hint));
        }
    };
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        let actual = format!("{} at element {at}", values[at]);
        let hint = "the checkpoint is damaged or its training diverged: use an earlier one";
        return Err(tensor_error(path, name, "finite values", &actual, hint));
    }
    Ok(values)
}

pub(crate) fn tensor_error(path: &Path, tensor: &str, expected: &str, actual: &str, hint: &str) -> ModelError {
    ModelError::Tensor {
        path: PathBuf::from(path),
        tensor: tensor.into(),
        expected: expected.into(),
        actual: actual.into(),
        hint: hint.into(),
    }
}

//! Checkpoints: a model directory that transformers loads, with the optimizer's state and the place in the run beside it.
//!
//! Each file is written whole or not at all, and its bytes depend on the values alone. A run goes on exactly as if it had
//! never stopped when the weights were saved as what the passes read: f32, or bf16 where the f32 master copy lies with the
//! moments. Absent on purpose: names and rotation of
//! checkpoints.

use crate::LearnError;
use crate::optim::{AdamW, AdamWParams};
use crate::trainer::{Trainer, TrainerParams};
use candle_core::Var;
use rasft_fs::{AtomicFile, FsError, write_atomic};
use rasft_model::{Decoder, LoadOptions, ModelDir, WeightsDtype};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

/// Moments of the optimizer, and the master copy of bf16 weights.
pub const STATE_FILE: &str = "optimizer.safetensors";
/// Where the run stands.
pub const TRAINER_FILE: &str = "trainer.json";

/// Names of the master copy begin with it.
const MASTER_PREFIX: &str = "master.";
/// Values turned into bytes at a time.
const BUFFER: usize = 1 << 16;

/// Where a run stands after its last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Optimizer steps over all rounds.
    pub step: u64,
    /// Trajectories consumed of this run's mixture, counted over all epochs.
    pub consumed: u64,
    /// Schedule, seed and hyper-parameters of the run.
    pub params: serde_json::Value,
}

/// Writes model (or adapter), moments and state into `dir`, which must exist; each file whole or not at all, `trainer.json`
/// last.
///
/// # Errors
/// A file cannot be written.
pub fn save_checkpoint(
    dir: &Path,
    decoder: &Decoder,
    source: &ModelDir,
    dtype: WeightsDtype,
    optimizer: &AdamW,
    state: &TrainerState,
) -> Result<(), LearnError> {
    match decoder.adapter() {
        None => decoder.save_dir(dir, Some(source), dtype)?,
        Some(_) => decoder.save_adapter(dir, Some(source), base_name(source)?.as_deref(), dtype)?,
    }
    write_moments(&dir.join(STATE_FILE), decoder, optimizer)?;
    write_place(dir, state)
}

/// Writes the whole model that an adapter and its base make, and where the run stands; no moments, which belong to the
/// adapter.
///
/// # Errors
/// There is no adapter, or a file cannot be written.
pub fn save_merged(
    dir: &Path,
    decoder: &Decoder,
    source: &ModelDir,
    dtype: WeightsDtype,
    state: &TrainerState,
) -> Result<(), LearnError> {
    decoder.save_merged(dir, Some(source), dtype)?;
    write_place(dir, state)
}

fn write_place(dir: &Path, state: &TrainerState) -> Result<(), LearnError> {
    let path = dir.join(TRAINER_FILE);
    let text = serde_json::to_string_pretty(state).map_err(|e| unfit(&path, e))? + "\n";
    Ok(write_atomic(&path, text.as_bytes())?)
}

/// ORG/NAME of a base model, if its `config.json` says it: never a path, on which no file's bytes may depend.
fn base_name(source: &ModelDir) -> Result<Option<String>, LearnError> {
    let path = source.base_path().join("config.json");
    let text = std::fs::read(&path).map_err(|e| unfit(&path, e))?;
    let config: Value = serde_json::from_slice(&text).map_err(|e| unfit(&path, e))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name =
        |name: &&str| name.split('/').count() == 2 && name.split('/').all(|w| !w.is_empty() && w.chars().all(plain));
    Ok(config["_name_or_path"].as_str().filter(is_name).map(str::to_owned))
}

/// Streams `exp_avg.*`, `exp_avg_sq.*` and, of rounded weights, `master.*` as one safetensors file: sorted names, then values
/// in that order.
fn write_moments(path: &Path, decoder: &Decoder, optimizer: &AdamW) -> Result<(), LearnError> {
    let mut tensors: Vec<(String, &[usize], Values<'_>)> = Vec::new();
    for (i, (name, var)) in decoder.parameters().iter().enumerate() {
        tensors.push((format!("exp_avg.{name}"), var.dims(), Values::Moment(&optimizer.exp_avg[i])));
        tensors.push((format!("exp_avg_sq.{name}"), var.dims(), Values::Moment(&optimizer.exp_avg_sq[i])));
        if decoder.has_master() {
            tensors.push((format!("{MASTER_PREFIX}{name}"), var.dims(), Values::Master(var)));
        }
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut header = Map::new();
    let mut offset = 0;
    for (name, shape, values) in &tensors {
        let end = offset + values.size();
        header.insert(name.clone(), json!({"data_offsets": [offset, end], "dtype": "F32", "shape": shape}));
        offset = end;
    }
    let mut head = Value::Object(header).to_string().into_bytes();
    head.resize(head.len().next_multiple_of(8), b' ');
    let mut file = AtomicFile::create(path)?;
    let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(FsError::on("write", path));
    put(&(head.len() as u64).to_le_bytes())?;
    put(&head)?;
    for (_, _, values) in &tensors {
        for chunk in values.get()?.chunks(BUFFER) {
            put(&chunk.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
        }
    }
    Ok(file.commit()?)
}

/// Values of one tensor of the state, which are copied only while they are written.
enum Values<'a> {
    Moment(&'a [f32]),
    Master(&'a Var),
}

impl<'a> Values<'a> {
    /// Bytes in the file.
    fn size(&self) -> usize {
        size_of::<f32>()
            * match self {
                Self::Moment(values) => values.len(),
                Self::Master(var) => var.elem_count(),
            }
    }

    fn get(&self) -> Result<Cow<'a, [f32]>, LearnError> {
        Ok(match self {
            Self::Moment(values) => Cow::Borrowed(*values),
            Self::Master(var) => Cow::Owned(var.flatten_all()?.to_vec1()?),
        })
    }
}

/// Reads moments and step of a checkpoint for `decoder`'s parameters, and its master copy into a decoder with bf16 weights;
/// where the checkpoint has none, its weights were f32 and are the decoder's already.
///
/// # Errors
/// Files that are absent or damaged, that belong to another architecture, or whose master copy belongs to other weights.
pub fn load_state(dir: &Path, decoder: &Decoder, params: AdamWParams) -> Result<(AdamW, TrainerState), LearnError> {
    let state = read_place(dir)?;
    let path = dir.join(STATE_FILE);
    let bytes = std::fs::read(&path).map_err(|e| unfit(&path, e))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|e| corrupt(&path, format!("is not a whole safetensors file: {e}")))?;
    let mut optimizer = AdamW::new(&[], params);
    optimizer.step = state.step;
    for (name, var) in decoder.parameters() {
        let read = |kind: &str| read_moment(&path, &tensors, &format!("{kind}.{name}"), var.dims());
        optimizer.exp_avg.push(read("exp_avg")?);
        optimizer.exp_avg_sq.push(read("exp_avg_sq")?);
    }
    let n_master = tensors.names().iter().filter(|name| name.starts_with(MASTER_PREFIX)).count();
    // An f32 decoder goes on from the weights that were trained, which are the rounded ones.
    if n_master > 0 && decoder.has_master() {
        for (nth, (name, var)) in decoder.parameters().iter().enumerate() {
            let master = read_moment(&path, &tensors, &format!("{MASTER_PREFIX}{name}"), var.dims())?;
            decoder.restore_master(nth, master).map_err(|e| unfit(&path, e))?;
        }
    }
    let n = decoder.parameters().len();
    match (tensors.len() - n_master).saturating_sub(2 * n) + n_master.saturating_sub(n) {
        0 => Ok((optimizer, state)),
        more => Err(unfit(&path, format!("holds {more} tensors that the model does not have"))),
    }
}

/// Where the run of a checkpoint stood.
///
/// # Errors
/// `trainer.json` is absent or damaged.
pub fn read_place(dir: &Path) -> Result<TrainerState, LearnError> {
    let path = dir.join(TRAINER_FILE);
    let text = std::fs::read(&path).map_err(|e| unfit(&path, e))?;
    serde_json::from_slice(&text).map_err(|e| corrupt(&path, e))
}

fn read_moment(path: &Path, file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, LearnError> {
    let view = file.tensor(name).map_err(|_| unfit(path, format!("holds no {name}")))?;
    if view.shape() != shape || view.dtype() != Dtype::F32 {
        let found = format!("{name} is {:?} {:?}, the model has F32 {shape:?}", view.dtype(), view.shape());
        return Err(unfit(path, found));
    }
    let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let values: Vec<f32> = numbers.collect();
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(values),
        Some(at) => Err(corrupt(path, format!("{name} is {} at element {at}", values[at]))),
    }
}

/// The trainer a checkpoint was written from, with its weights, moments and step, and the place in its run.
///
/// # Errors
/// Files that are absent, damaged, or do not belong together.
pub fn load_checkpoint(
    dir: &Path,
    options: &LoadOptions,
    params: TrainerParams,
) -> Result<(Trainer, TrainerState), LearnError> {
    let mut trainer = Trainer::new(Decoder::load(&ModelDir::open(dir)?, options)?, params);
    let (optimizer, state) = load_state(dir, trainer.decoder(), params.adamw)?;
    trainer.restore(optimizer);
    Ok((trainer, state))
}

fn unfit(path: &Path, detail: impl std::fmt::Display) -> LearnError {
    LearnError::State { path: path.to_owned(), detail: detail.to_string() }
}

fn corrupt(path: &Path, detail: impl std::fmt::Display) -> LearnError {
    LearnError::Corrupt { path: path.to_owned(), detail: detail.to_string() }
}

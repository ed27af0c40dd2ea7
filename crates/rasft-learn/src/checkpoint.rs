//! Checkpoints: a model directory that transformers loads, with the optimizer's state and the place in the run beside it.

use crate::LearnError;
use crate::optim::{AdamW, AdamWParams};
use rasft_fs::write_atomic;
use rasft_model::{Decoder, ModelDir, WeightsDtype};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Moments of the optimizer.
pub const STATE_FILE: &str = "optimizer.safetensors";
/// Where the run stands.
pub const TRAINER_FILE: &str = "trainer.json";

/// Where a run stands after its last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Optimizer steps over all rounds.
    pub step: u64,
    /// Trajectories consumed in this run.
    pub consumed: u64,
    /// The parameters of the run, for people.
    pub params: serde_json::Value,
}

/// Writes model, moments and state into `dir`, which must exist; each file whole or not at all, `trainer.json` last.
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
    decoder.save_dir(dir, Some(source), dtype)?;
    let path = dir.join(STATE_FILE);
    write_atomic(&path, &moments(decoder, optimizer, &path)?)?;
    let path = dir.join(TRAINER_FILE);
    let text = serde_json::to_string_pretty(state).map_err(|e| state_error(&path, e))? + "\n";
    Ok(write_atomic(&path, text.as_bytes())?)
}

fn moments(decoder: &Decoder, optimizer: &AdamW, path: &Path) -> Result<Vec<u8>, LearnError> {
    let mut tensors: Vec<(String, TensorView)> = Vec::new();
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = decoder
        .parameters()
        .iter()
        .enumerate()
        .flat_map(|(i, (name, var))| {
            let shape = var.dims().to_vec();
            let raw = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
            [
                (format!("exp_avg.{name}"), shape.clone(), raw(&optimizer.exp_avg[i])),
                (format!("exp_avg_sq.{name}"), shape, raw(&optimizer.exp_avg_sq[i])),
            ]
        })
        .collect();
    for (name, shape, raw) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.clone(), raw).map_err(|e| state_error(path, e))?;
        tensors.push((name.clone(), view));
    }
    serialize(tensors, None).map_err(|e| state_error(path, e))
}

/// Reads moments and step of a checkpoint for `decoder`'s parameters.
///
/// # Errors
/// Files that are absent or damaged, or that belong to another architecture.
pub fn load_state(dir: &Path, decoder: &Decoder, params: AdamWParams) -> Result<(AdamW, TrainerState), LearnError> {
    let trainer_path = dir.join(TRAINER_FILE);
    let text = std::fs::read(&trainer_path).map_err(|e| state_error(&trainer_path, e))?;
    let state: TrainerState = serde_json::from_slice(&text).map_err(|e| state_error(&trainer_path, e))?;
    let path = dir.join(STATE_FILE);
    let bytes = std::fs::read(&path).map_err(|e| state_error(&path, e))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| state_error(&path, e))?;
    let sizes: Vec<usize> = decoder.parameters().iter().map(|(_, var)| var.elem_count()).collect();
    let mut optimizer = AdamW::new(&sizes, params);
    optimizer.step = state.step;
    for (i, (name, var)) in decoder.parameters().iter().enumerate() {
        let read = |kind: &str| -> Result<Vec<f32>, LearnError> {
            let view = tensors.tensor(&format!("{kind}.{name}")).map_err(|e| state_error(&path, e))?;
            if view.shape() != var.dims() || view.dtype() != Dtype::F32 {
                return Err(state_error(&path, format!("{kind}.{name} is {:?} {:?}, the model has {:?}", view.dtype(), view.shape(), var.dims())));
            }
            let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok(numbers.collect())
        };
        optimizer.exp_avg[i] = read("exp_avg")?;
        optimizer.exp_avg_sq[i] = read("exp_avg_sq")?;
    }
    Ok((optimizer, state))
}

fn state_error(path: &Path, error: impl std::fmt::Display) -> LearnError {
    LearnError::State { path: path.to_owned(), detail: error.to_string() }
}

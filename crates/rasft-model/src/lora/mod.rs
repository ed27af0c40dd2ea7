//! Low-rank adapters: `y = x·Wᵀ + s·(dropout(x)·Aᵀ)·Bᵀ` beside frozen weights, in PEFT's own layout on disk.
//!
//! Invariants: only A and B train; names, shapes and files are PEFT's, so PEFT loads what we write and we load what PEFT
//! wrote; what PEFT can do and this crate cannot (DoRA, trained biases, per-module ranks …) is refused by name.
//! Absent on purpose: adapters on embeddings, norms and the output projection.

mod dropout;
mod files;

pub use dropout::Dropout;
pub(crate) use dropout::Masks;
pub(crate) use files::save;
pub use files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter};

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops;
use crate::weights::parameter_shapes;

/// Modules of a layer that can carry an adapter, in the order of the forward pass.
pub const MODULES: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Far beyond any use; what is larger than this would only fail later, for want of memory.
const MAX_RANK: usize = 1 << 16;

/// Shape and strength of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// r: rows of A and columns of B.
    pub rank: usize,
    /// α: the update is scaled by α/r, or α/√r when rank-stabilised.
    pub alpha: f64,
    /// Probability with which an input of A is zeroed in training.
    pub dropout: f64,
    /// Modules that carry it, of [`MODULES`], sorted.
    pub targets: Vec<String>,
    /// α/√r instead of α/r.
    pub rank_stabilised: bool,
}

impl std::fmt::Display for LoraConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scaled = if self.rank_stabilised { " (rank-stabilised)" } else { "" };
        write!(f, "rank {}, alpha {}{scaled} and targets {}", self.rank, self.alpha, self.targets.join(","))
    }
}

impl LoraConfig {
    /// s.
    ///
    /// # Source
    /// Hu et al. 2021, LoRA, §4.1; Kalajdzievski 2023 for the rank-stabilised one.
    #[must_use]
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// Whether both make the same update of given matrices: all but dropout is equal.
    #[must_use]
    pub fn is_same_map(&self, other: &Self) -> bool {
        Self { dropout: other.dropout, ..self.clone() } == *other
    }

    /// Whether the module of this name, whole or from its layer on, carries an adapter.
    pub(crate) fn adapts(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or_default();
        self.targets.iter().any(|target| target == last)
    }

    /// Refuses numbers out of range and modules that do not exist; sorts the targets.
    ///
    /// # Errors
    /// Says which, and what would do.
    pub fn checked(mut self) -> Result<Self, ModelError> {
        let fail = |detail: String| Err(ModelError::Request(detail));
        if !(1..=MAX_RANK).contains(&self.rank) {
            return fail(format!("the LoRA rank is {}: expected 1 to {MAX_RANK}", self.rank));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return fail(format!("the LoRA alpha is {}: expected a number above 0", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail(format!("the LoRA dropout is {}: expected a number from 0 to below 1", self.dropout));
        }
        self.targets.sort();
        self.targets.dedup();
        if self.targets.is_empty() {
            return fail(format!("no LoRA target: expected some of {}", MODULES.join(", ")));
        }
        match self.targets.iter().find(|t| !MODULES.contains(&t.as_str())) {
            None => Ok(self),
            Some(unknown) => fail(format!("LoRA target {unknown:?}: expected some of {}", MODULES.join(", "))),
        }
    }
}

/// The two matrices of one module under their PEFT names.
#[must_use]
pub fn peft_name(module: &str, matrix: char) -> String {
    format!("base_model.model.{module}.lora_{matrix}.weight")
}

/// PEFT names and shapes of every matrix, A (r, in) before B (out, r), in the order of the forward pass.
#[must_use]
pub fn lora_shapes(config: &DecoderConfig, lora: &LoraConfig) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    for (name, shape) in parameter_shapes(config) {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        if let [rows, columns] = shape[..]
            && lora.adapts(module)
        {
            shapes.push((peft_name(module, 'A'), vec![lora.rank, columns]));
            shapes.push((peft_name(module, 'B'), vec![rows, lora.rank]));
        }
    }
    shapes
}

/// A fresh adapter: A uniform in ±1/√in, B zero, so that it changes nothing yet. Each matrix has its own stream, keyed by
/// seed and name.
///
/// # Errors
/// The tensors cannot be made.
///
/// # Source
/// PEFT's default: Kaiming-uniform with a = √5, which is ±1/√in.
pub fn init(
    config: &DecoderConfig,
    lora: &LoraConfig,
    seed: u64,
    device: &Device,
) -> Result<Vec<(String, Var)>, ModelError> {
    let mut parameters = Vec::new();
    for (name, shape) in lora_shapes(config, lora) {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = if name.ends_with("lora_B.weight") {
            vec![0.0; n]
        } else {
            let key = blake3::Hasher::new().update(&seed.to_le_bytes()).update(name.as_bytes()).finalize();
            let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
            let bound = 1.0 / (shape[1] as f64).sqrt();
            let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64; // [0, 1)
            (0..n).map(|_| (bound * (2.0 * uniform() - 1.0)) as f32).collect()
        };
        parameters.push((name, Var::from_vec(values, shape, device)?));
    }
    Ok(parameters)
}

/// Adds `s·B·A` to every weight that has an adapter.
///
/// # Errors
/// The shapes do not fit.
pub(crate) fn merge(weights: &[(String, Var)], adapter: &[(String, Var)], scale: f64) -> Result<(), ModelError> {
    for (name, weight) in weights {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        let find = |matrix| {
            let wanted = peft_name(module, matrix);
            adapter.iter().find(|(name, _)| *name == wanted).map(|(_, var)| var.as_detached_tensor())
        };
        if let (Some(a), Some(b)) = (find('A'), find('B')) {
            let update = ops::linear(&b, &a.t()?.contiguous()?, None)?; // (out, in)
            weight.set(&(weight.as_detached_tensor() + (update * scale)?)?)?;
        }
    }
    Ok(())
}

/// The adapter of one module in the forward pass.
#[derive(Debug)]
pub(crate) struct LowRank {
    /// (r, in).
    pub a: Tensor,
    /// (out, r).
    pub b: Tensor,
    /// s.
    pub scale: f64,
    /// Names the stream of its dropout.
    pub module: String,
}

#[cfg(test)]
mod tests;

//! Linear maps of the network: as stored, for training; packed once, for inference.
//!
//! Both give the same bits. Packed weights replace the stored ones in memory, and maps of one input are packed one below
//! the other, so that one product computes them all.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::error::ModelError;
use crate::ops::{self, PackedWeight};

/// What is made of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Tensors that record gradients.
    Tracked,
    /// The same storage without gradients.
    Detached,
    /// Laid out for the CPU kernels.
    Packed,
}

/// Parameters by name; each is taken out when it is used, so that its storage can go when it is packed.
pub(super) struct Source {
    by_name: BTreeMap<String, Var>,
    form: Form,
}

impl Source {
    pub(super) fn new(parameters: Vec<(String, Var)>, form: Form) -> Self {
        Self { by_name: parameters.into_iter().collect(), form }
    }

    /// A parameter that not every config has.
    pub(super) fn find(&mut self, name: &str) -> Option<Tensor> {
        let var = self.by_name.remove(name)?;
        Some(if self.form == Form::Tracked { var.as_tensor().clone() } else { var.as_detached_tensor() })
    }

    /// A parameter every config has.
    pub(super) fn get(&mut self, name: &str) -> Result<Tensor, ModelError> {
        self.find(name).ok_or_else(|| ModelError::Request(format!("parameter {name} is missing")))
    }

    /// The projections `names` of one layer, which share their input.
    pub(super) fn projections(&mut self, layer: usize, names: &[&str]) -> Result<Projections, ModelError> {
        let mut stored = Vec::new();
        for name in names {
            let prefix = format!("model.layers.{layer}.{name}");
            let weight = self.get(&format!("{prefix}.weight"))?;
            stored.push(Stored { weight, bias: self.find(&format!("{prefix}.bias")) });
        }
        self.arrange(stored)
    }

    /// The output projection: its weight (V, D) and the map.
    pub(super) fn head(&mut self, weight: &Tensor) -> Result<Projections, ModelError> {
        self.arrange(vec![Stored { weight: weight.clone(), bias: None }])
    }

    fn arrange(&self, stored: Vec<Stored>) -> Result<Projections, ModelError> {
        if self.form != Form::Packed {
            return Ok(Projections::Stored(stored));
        }
        let weights: Vec<&Tensor> = stored.iter().map(|s| &s.weight).collect();
        let sizes = weights.iter().map(|w| w.dim(0)).collect::<Result<_, _>>()?;
        let biases: Vec<&Tensor> = stored.iter().filter_map(|s| s.bias.as_ref()).collect();
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)?) };
        Ok(Projections::Packed { weight: PackedWeight::new(&weights)?, bias, sizes })
    }
}

/// One or more linear maps of the same input.
#[derive(Debug)]
pub(super) enum Projections {
    /// One product each.
    Stored(Vec<Stored>),
    /// One product for all.
    Packed {
        /// The weights, one below the other.
        weight: PackedWeight,
        /// The biases, end to end.
        bias: Option<Tensor>,
        /// Outputs of each map.
        sizes: Vec<usize>,
    },
}

/// One map with its weight as in the file.
#[derive(Debug)]
pub(super) struct Stored {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Projections {
    /// (T, K) → one (T, N_i) for each of the `M` maps.
    pub(super) fn apply<const M: usize>(&self, x: &Tensor) -> candle_core::Result<[Tensor; M]> {
        let outputs: Vec<Tensor> = match self {
            Self::Stored(maps) => {
                maps.iter().map(|m| ops::linear(x, &m.weight, m.bias.as_ref())).collect::<Result<_, _>>()?
            }
            Self::Packed { weight, bias, sizes } => {
                let joint = ops::linear_packed(x, weight, bias.as_ref())?; // (T, ΣN)
                split(joint, sizes)?
            }
        };
        outputs.try_into().map_err(|found: Vec<Tensor>| {
            candle_core::Error::Msg(format!("projections: expected {M} maps, found {}", found.len()))
        })
    }
}

/// Columns of (T, ΣN) as one contiguous tensor per map.
fn split(joint: Tensor, sizes: &[usize]) -> candle_core::Result<Vec<Tensor>> {
    if sizes.len() == 1 {
        return Ok(vec![joint]);
    }
    let mut at = 0;
    let part = |n: &usize| {
        at += n;
        joint.narrow(1, at - n, *n)?.contiguous()
    };
    sizes.iter().map(part).collect()
}

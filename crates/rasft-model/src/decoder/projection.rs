//! Linear maps of the network: as stored, for training; packed once, for inference.
//!
//! Both give the same bits. Packed weights replace the stored ones in memory, and maps of one input are packed one below
//! the other, so that one product computes them all.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::error::ModelError;
use crate::lora::{LowRank, Masks, peft_name};
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
    /// Matrices of an adapter under their PEFT names, and its scale; the other parameters are frozen then.
    adapter: Option<(BTreeMap<String, Var>, f64)>,
}

impl Source {
    pub(super) fn new(parameters: Vec<(String, Var)>, form: Form) -> Self {
        Self { by_name: parameters.into_iter().collect(), form, adapter: None }
    }

    /// Adds an adapter beside the parameters.
    pub(super) fn with_adapter(mut self, parameters: Vec<(String, Var)>, scale: f64) -> Self {
        self.adapter = Some((parameters.into_iter().collect(), scale));
        self
    }

    /// A parameter that not every config has.
    pub(super) fn find(&mut self, name: &str) -> Option<Tensor> {
        let var = self.by_name.remove(name)?;
        let trains = self.form == Form::Tracked && self.adapter.is_none();
        Some(if trains { var.as_tensor().clone() } else { var.as_detached_tensor() })
    }

    /// The adapter of a module, if it has one.
    fn low_rank(&self, module: &str) -> Option<LowRank> {
        let (by_name, scale) = self.adapter.as_ref()?;
        let matrix = |which| {
            let var = by_name.get(&peft_name(module, which))?;
            Some(if self.form == Form::Tracked { var.as_tensor().clone() } else { var.as_detached_tensor() })
        };
        Some(LowRank { a: matrix('A')?, b: matrix('B')?, scale: *scale, module: module.to_owned() })
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
            let (bias, low_rank) = (self.find(&format!("{prefix}.bias")), self.low_rank(&prefix));
            stored.push(Stored { weight, bias, low_rank });
        }
        self.arrange(stored)
    }

    /// The output projection: its weight (V, D) and the map.
    pub(super) fn head(&mut self, weight: &Tensor) -> Result<Projections, ModelError> {
        self.arrange(vec![Stored { weight: weight.clone(), bias: None, low_rank: None }])
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
    low_rank: Option<LowRank>,
}

impl Stored {
    /// `x·Wᵀ + b`, and `s·(dropout(x)·Aᵀ)·Bᵀ` where there is an adapter.
    fn apply(&self, x: &Tensor, masks: Option<&Masks<'_>>) -> candle_core::Result<Tensor> {
        let y = ops::linear(x, &self.weight, self.bias.as_ref())?;
        let Some(LowRank { a, b, scale, module }) = &self.low_rank else { return Ok(y) };
        let inner = match masks {
            Some(masks) => ops::linear(&masks.apply(x, module)?, a, None)?,
            None => ops::linear(x, a, None)?,
        }; // (T, r)
        y + (ops::linear(&inner, b, None)? * *scale)?
    }
}

impl Projections {
    /// (T, K) → one (T, N_i) for each of the `M` maps.
    pub(super) fn apply<const M: usize>(
        &self,
        x: &Tensor,
        masks: Option<&Masks<'_>>,
    ) -> candle_core::Result<[Tensor; M]> {
        let outputs: Vec<Tensor> = match self {
            Self::Stored(maps) => maps.iter().map(|map| map.apply(x, masks)).collect::<Result<_, _>>()?,
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

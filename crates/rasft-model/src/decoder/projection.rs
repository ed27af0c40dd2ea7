//! Linear maps of the network with their weights as stored, with or without an adapter beside them.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::error::ModelError;
use crate::lora::{LowRank, Masks, peft_name};
use crate::ops;

/// What is made of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Tensors that record gradients.
    Tracked,
    /// The same storage without gradients.
    Detached,
}

/// Parameters by name; each is taken out when it is used.
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

    /// One projection of a layer.
    pub(super) fn projection(&mut self, layer: usize, name: &str) -> Result<Projection, ModelError> {
        let module = format!("model.layers.{layer}.{name}");
        let weight = self.get(&format!("{module}.weight"))?;
        let (bias, low_rank) = (self.find(&format!("{module}.bias")), self.low_rank(&module));
        Ok(Projection { weight, bias, low_rank })
    }
}

/// A linear map with its weight as in the file.
#[derive(Debug)]
pub(super) struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
    low_rank: Option<LowRank>,
}

impl Projection {
    /// `x·Wᵀ + b`, and `s·(dropout(x)·Aᵀ)·Bᵀ` where there is an adapter.
    pub(super) fn apply(&self, x: &Tensor, masks: Option<&Masks<'_>>) -> candle_core::Result<Tensor> {
        let y = ops::linear(x, &self.weight, self.bias.as_ref())?;
        let Some(LowRank { a, b, scale, module }) = &self.low_rank else { return Ok(y) };
        let inner = match masks {
            Some(masks) => ops::linear(&masks.apply(x, module)?, a, None)?,
            None => ops::linear(x, a, None)?,
        }; // (T, r)
        y + (ops::linear(&inner, b, None)? * *scale)?
    }
}

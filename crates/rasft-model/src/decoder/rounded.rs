//! Weights in bf16 beside the f32 master copy that an optimizer updates.
//!
//! The passes read the bf16 weights alone, so what trains is exactly what a bf16 file holds; the master copy takes up
//! updates that are smaller than a step of bf16. Everything is rounded, norms and biases too. Absent on purpose: bf16
//! activations and gradients, and candle's graph over such weights.

use candle_core::{Device, Tensor, Var};

use super::{Decoder, LoadOptions, Trainable};
use crate::error::ModelError;
use crate::ops::kernels::{Round, rounded};
use crate::weights::WeightsDtype;

/// The parameters in bf16.
pub(super) fn copies(parameters: &[(String, Var)]) -> Result<Vec<(String, Var)>, ModelError> {
    let copy = |(name, var): &(String, Var)| {
        let values = var.flatten_all()?.to_vec1::<f32>()?;
        Ok((name.clone(), Var::from_vec(rounded(&values), var.shape(), &Device::Cpu)?))
    };
    parameters.iter().map(copy).collect()
}

/// Refuses bf16 where it does not work.
pub(super) fn check(options: &LoadOptions) -> Result<(), ModelError> {
    let fails = |detail: &str| Err(ModelError::Request(detail.into()));
    match options {
        LoadOptions { dtype: WeightsDtype::F32, .. } => Ok(()),
        LoadOptions { trainable: Trainable::No, .. } => {
            fails("bf16 is for weights that train: inference rounds nothing")
        }
        LoadOptions { device, .. } if !device.is_cpu() => fails("bf16 weights train on the CPU alone"),
        _ => Ok(()),
    }
}

impl Decoder {
    /// Whether [`Decoder::parameters`] are the master copy of rounded weights.
    #[must_use]
    pub fn has_master(&self) -> bool {
        self.rounded.is_some()
    }

    /// Rounds the master copy to the weights that the passes read; nothing to do where there is none.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn round_weights(&self) -> Result<(), ModelError> {
        for ((_, half), (_, master)) in self.rounded.iter().flatten().zip(&self.parameters) {
            half.as_tensor().inplace_op2(master.as_tensor(), &Round)?;
        }
        Ok(())
    }

    /// Takes up the master copy of parameter `nth`, which was saved beside its rounded weights.
    ///
    /// # Errors
    /// There is none to take up, or it does not round to the weights, so that it belongs to others.
    pub fn restore_master(&self, nth: usize, master: Vec<f32>) -> Result<(), ModelError> {
        let Some((name, half)) = self.rounded.as_ref().and_then(|weights| weights.get(nth)) else {
            return Err(ModelError::Request(format!("parameter {nth} has no f32 copy")));
        };
        if half.flatten_all()?.to_vec1::<half::bf16>()? != rounded(&master) {
            return Err(ModelError::Request(format!("the f32 copy of {name} does not round to the model's weights")));
        }
        let var = &self.parameters[nth].1;
        Ok(var.set(&Tensor::from_vec(master, var.shape(), &Device::Cpu)?)?)
    }

    /// What the passes read of all weights, without those of an adapter.
    pub(super) fn weights(&self) -> &[(String, Var)] {
        match &self.lora {
            Some(lora) => &lora.base,
            None => self.rounded.as_ref().unwrap_or(&self.parameters),
        }
    }
}

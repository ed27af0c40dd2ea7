//! Gradients summed over micro-batches, in place and in f32.

use crate::LearnError;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use rayon::prelude::*;

/// Adds the gradients of one backward pass to the sums; parameters without a gradient add nothing.
pub(crate) fn accumulate(
    sums: &mut [Vec<f32>],
    parameters: &[(String, Var)],
    grads: &mut GradStore,
) -> Result<(), LearnError> {
    for (sum, (_, var)) in sums.iter_mut().zip(parameters) {
        if let Some(grad) = grads.remove(var.as_tensor()) {
            add(sum, &grad)?;
        }
    }
    Ok(())
}

/// Sets all sums to zero.
pub(crate) fn clear(sums: &mut [Vec<f32>]) {
    sums.iter_mut().for_each(|sum| sum.par_chunks_mut(1 << 16).for_each(|part| part.fill(0.0)));
}

fn add(sum: &mut [f32], grad: &Tensor) -> Result<(), LearnError> {
    let grad = grad.contiguous()?;
    let (storage, layout) = grad.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        let values = grad.flatten_all()?.to_vec1::<f32>()?;
        sum.iter_mut().zip(values).for_each(|(s, g)| *s += g);
        return Ok(());
    };
    let values = storage.as_slice::<f32>()?;
    let values = &values[layout.start_offset()..layout.start_offset() + sum.len()];
    sum.par_chunks_mut(1 << 16).zip(values.par_chunks(1 << 16)).for_each(|(s, g)| {
        s.iter_mut().zip(g).for_each(|(s, g)| *s += g);
    });
    Ok(())
}

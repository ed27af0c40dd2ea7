//! The gated activation of the feed-forward layers.

use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::plain;
use super::simd::{exp, multiversion};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const OP: &str = "swiglu";
/// Elements per task.
const CHUNK: usize = 1 << 14;

/// SwiGLU: `y = gate · σ(gate) · up`.
///
/// # Shapes
/// gate and up (T, I) → (T, I).
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Shazeer 2020.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let g: [usize; 2] = dims(OP, "gate", gate)?;
    let u: [usize; 2] = dims(OP, "up", up)?;
    require(g == u, OP, "up", || format!("{g:?}"), || format!("{u:?}"))?;
    if has_kernel(&[gate, up]) { gate.apply_op2(up, SwiGlu) } else { plain::swiglu(gate, up) }
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (slice(OP, s1, l1)?, slice(OP, s2, l2)?);
        let mut y = vec![0f32; gate.len()];
        activate(gate, up, &mut y);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dgate, dup) = with_slices(OP, [gate, up, &dense(dy)?], |[gate, up, dy]| {
            let (mut dgate, mut dup) = (gate.to_vec(), up.to_vec());
            replace_by_gradients(&mut dgate, &mut dup, dy);
            Ok((dgate, dup))
        })?;
        let tensor = |values| Tensor::from_vec(values, gate.shape(), gate.device());
        Ok((Some(tensor(dgate)?), Some(tensor(dup)?)))
    }
}

/// The activation of all elements.
pub(crate) fn activate(gate: &[f32], up: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(CHUNK)
        .zip(gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK)))
        .for_each(|(y, (gate, up))| forward(gate, up, y));
}

/// The activation of rows `gate, up`, (T, 2·I) → (T, I).
pub(crate) fn activate_joint(joint: &[f32], width: usize, y: &mut [f32]) {
    let rows = (CHUNK / width).max(1);
    y.par_chunks_mut(rows * width).zip(joint.par_chunks(rows * 2 * width)).for_each(|(y, joint)| {
        for (y, joint) in y.chunks_exact_mut(width).zip(joint.chunks_exact(2 * width)) {
            forward(&joint[..width], &joint[width..], y);
        }
    });
}

/// Puts the gradients of gate and up in their places.
pub(crate) fn replace_by_gradients(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    gate.par_chunks_mut(CHUNK)
        .zip(up.par_chunks_mut(CHUNK))
        .zip(dy.par_chunks(CHUNK))
        .for_each(|((gate, up), dy)| backward(gate, up, dy));
}

multiversion! {
    fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for (y, (&g, &u)) in y.iter_mut().zip(gate.iter().zip(up)) {
            *y = g / (1.0 + exp(-g)) * u;
        }
    }
}

multiversion! {
    /// `d(g·σ(g)) = σ(g)·(1 + g·(1 − σ(g)))`
    fn backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
        for ((gate, up), &dy) in gate.iter_mut().zip(up).zip(dy) {
            let (g, u) = (*gate, *up);
            let sigma = 1.0 / (1.0 + exp(-g));
            *up = dy * g * sigma;
            *gate = dy * u * sigma * (1.0 + g * (1.0 - sigma));
        }
    }
}

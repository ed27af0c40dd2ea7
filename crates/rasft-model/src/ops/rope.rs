//! Rotary position embedding, half-split convention.

use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::plain;
use super::simd::multiversion;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const OP: &str = "rope";
/// Elements per task, rounded to whole tokens.
const CHUNK: usize = 1 << 14;

/// Rotates the pairs `(x[i], x[i + Dh/2])` of every head by the angle of the token's position.
///
/// `y[i] = x[i]·cos − x[i+h]·sin`, `y[i+h] = x[i+h]·cos + x[i]·sin`, `h = Dh/2`, tables read at row `positions[t]`.
///
/// # Shapes
/// x (T, H, Dh), cos and sin (P, Dh/2), positions (T) → (T, H, Dh). No gradient flows to the tables.
/// # Errors
/// Shapes that do not fit, a position ≥ P, strided tensors.
/// # Source
/// Su et al. 2021, in the layout of Hugging Face's Llama and Qwen ("rotate half").
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    let [t, _, dh] = dims(OP, "x", x)?;
    let [rows, half] = dims(OP, "cos", cos)?;
    let _: [usize; 2] = dims(OP, "sin", sin)?;
    require(half * 2 == dh, OP, "cos", || format!("(P, {})", dh / 2), || format!("{:?}", cos.dims()))?;
    require(sin.dims() == cos.dims(), OP, "sin", || format!("{:?}", cos.dims()), || format!("{:?}", sin.dims()))?;
    require(positions.len() == t, OP, "positions", || t.to_string(), || positions.len().to_string())?;
    let top = positions.iter().copied().max().unwrap_or(0) as usize;
    require(t == 0 || top < rows, OP, "positions", || format!("below {rows}"), || top.to_string())?;
    if !has_kernel(&[x, cos, sin]) {
        return plain::rope(x, cos, sin, positions);
    }
    let op = Rope { cos: cos.detach(), sin: sin.detach(), positions: positions.to_vec() };
    x.apply_op1(op)
}

struct Rope {
    cos: Tensor,
    sin: Tensor,
    positions: Vec<u32>,
}

impl Rope {
    /// Rotates by the positions' angles times `sign`; −1 is the inverse and, a rotation being orthogonal, the gradient.
    fn rotate(&self, x: &[f32], sign: f32) -> Result<Vec<f32>> {
        let mut y = x.to_vec();
        let half = self.cos.dim(1)?;
        with_slices(OP, [&self.cos, &self.sin], |[cos, sin]| {
            rotate_in_place(&mut y, cos, sin, half, &self.positions, sign);
            Ok(())
        })?;
        Ok(y)
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.rotate(slice(OP, storage, layout)?, 1.0)?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = with_slices(OP, [&dense(dy)?], |[dy]| self.rotate(dy, -1.0))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

/// Rotates rows of whole heads in place, by the positions' angles times `sign`.
pub(crate) fn rotate_in_place(x: &mut [f32], cos: &[f32], sin: &[f32], half: usize, positions: &[u32], sign: f32) {
    if x.is_empty() {
        return;
    }
    let token = x.len() / positions.len();
    let tokens = (CHUNK / token).max(1);
    x.par_chunks_mut(tokens * token)
        .zip(positions.par_chunks(tokens))
        .for_each(|(x, positions)| turn_tokens(x, cos, sin, half, positions, sign));
}

multiversion! {
    fn turn_tokens(x: &mut [f32], cos: &[f32], sin: &[f32], half: usize, positions: &[u32], sign: f32) {
        let token = x.len() / positions.len();
        for (x, &position) in x.chunks_exact_mut(token).zip(positions) {
            let cos = &cos[position as usize * half..][..half];
            let sin = &sin[position as usize * half..][..half];
            for x in x.chunks_exact_mut(2 * half) {
                let (first, second) = x.split_at_mut(half);
                for i in 0..half {
                    let (a, b, s) = (first[i], second[i], sin[i] * sign);
                    first[i] = a * cos[i] - b * s;
                    second[i] = b * cos[i] + a * s;
                }
            }
        }
    }
}

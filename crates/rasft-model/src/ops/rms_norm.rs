//! Root-mean-square normalisation.

use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::linear::add_column_sums;
use super::plain;
use super::simd::{multiversion, sum_of_products, sum_of_weighted_products};
use super::weight::beside;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const OP: &str = "rms_norm";
/// Elements per task, rounded to whole rows.
const CHUNK: usize = 1 << 14;
/// Rows whose weight gradients are added up before the partial sums are: fixed, so that threads do not matter.
const PARTIAL_ROWS: usize = 128;

/// Root-mean-square norm over the last dimension; of hidden states, or per head for q and k.
///
/// `y = x / sqrt(mean(x²) + eps) · weight`
///
/// # Shapes
/// x (…, D), weight (D) → (…, D). The weight may be bf16 beside an f32 x on the CPU.
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Zhang and Sennrich 2019, as Llama and Qwen use it.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let [d] = dims(OP, "weight", weight)?;
    let last = x.dims().last().copied().unwrap_or(0);
    require(d == last && d > 0, OP, "x", || format!("(…, {d})"), || format!("{:?}", x.dims()))?;
    let weight = beside(x, weight)?;
    if !has_kernel(&[x, &weight]) {
        return plain::rms_norm(x, &weight, eps);
    }
    x.apply_op2(&weight, RmsNorm { eps: eps as f32 })
}

struct RmsNorm {
    eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (slice(OP, s1, l1)?, slice(OP, s2, l2)?);
        let mut y = vec![0f32; x.len()];
        normalise(x, weight, self.eps, &mut y);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = with_slices(OP, [x, weight, &dense(dy)?], |[x, weight, dy]| {
            let (mut dx, mut dw) = (vec![0f32; x.len()], vec![0f32; weight.len()]);
            add_gradients(x, weight, self.eps, dy, &mut dx, Some(&mut dw));
            Ok((dx, dw))
        })?;
        let dw = weight.track_op().then(|| Tensor::from_vec(dw, weight.shape(), weight.device())).transpose()?;
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), dw))
    }
}

/// The norm of rows of `weight.len()` values.
pub(crate) fn normalise(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let chunk = (CHUNK / weight.len()).max(1) * weight.len();
    y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| forward(x, weight, eps, y));
}

/// Adds the gradients of [`normalise`] to `dx` and, where it trains, to `dw`.
pub(crate) fn add_gradients(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], dw: Option<&mut [f32]>) {
    let d = weight.len();
    let Some(dw) = dw else {
        let chunk = (CHUNK / d).max(1) * d;
        return dx
            .par_chunks_mut(chunk)
            .zip(x.par_chunks(chunk).zip(dy.par_chunks(chunk)))
            .for_each(|(dx, (x, dy))| input_backward(x, weight, eps, dy, dx));
    };
    let mut partial = vec![0f32; x.len().div_ceil(PARTIAL_ROWS * d) * d];
    dx.par_chunks_mut(PARTIAL_ROWS * d)
        .zip(partial.par_chunks_mut(d))
        .zip(x.par_chunks(PARTIAL_ROWS * d).zip(dy.par_chunks(PARTIAL_ROWS * d)))
        .for_each(|((dx, dw), (x, dy))| backward(x, weight, eps, dy, dx, dw));
    add_column_sums(&partial, dw);
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_products(x, x) / x.len() as f32 + eps).sqrt()
}

multiversion! {
    fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
        let d = weight.len();
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let inverse = inverse_rms(x, eps);
            for i in 0..d {
                y[i] = x[i] * inverse * weight[i];
            }
        }
    }
}

multiversion! {
    /// With `s = 1/rms` and `g = dy·weight`: `dx += s·(g − x·s²·mean(g·x))`, `dw += dy·x·s`.
    fn backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], dw: &mut [f32]) {
        let d = weight.len();
        let dw = &mut dw[..d];
        for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let inverse = inverse_rms(x, eps);
            let pull = sum_of_weighted_products(dy, weight, x) / d as f32 * inverse * inverse;
            for i in 0..d {
                dw[i] += dy[i] * x[i] * inverse;
                dx[i] += inverse * (dy[i] * weight[i] - x[i] * pull);
            }
        }
    }
}

multiversion! {
    /// [`backward`] without `dw`.
    fn input_backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
        let d = weight.len();
        for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let inverse = inverse_rms(x, eps);
            let pull = sum_of_weighted_products(dy, weight, x) / d as f32 * inverse * inverse;
            for i in 0..d {
                dx[i] += inverse * (dy[i] * weight[i] - x[i] * pull);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_weight_leaves_the_bits_of_the_input_gradient() {
        let wave = |n: usize, by: f32| (0..n).map(|i| (i as f32 * by).sin()).collect::<Vec<f32>>();
        let (d, rows) = (36, 300);
        let (x, weight, dy) = (wave(rows * d, 0.7), wave(d, 0.3), wave(rows * d, 0.9));
        let (mut trained, mut frozen, mut dw) = (wave(rows * d, 0.1), wave(rows * d, 0.1), vec![0.0; d]);
        add_gradients(&x, &weight, 1e-6, &dy, &mut trained, Some(&mut dw));
        add_gradients(&x, &weight, 1e-6, &dy, &mut frozen, None);
        assert!(trained.iter().zip(&frozen).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(dw.iter().all(|dw| *dw != 0.0));
    }
}

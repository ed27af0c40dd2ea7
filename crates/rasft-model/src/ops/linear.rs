//! `x·wᵀ + b` with the weight as stored, for training; [`super::packed_weight`] is its twin for inference.

use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::gemm::{Left, Right, Start, gemm, gemm_new};
use super::pack::Tasks;
use super::plain;
use super::simd::multiversion;
use super::weight::{Weight, beside, is_weight, with_weight};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const OP: &str = "linear";

/// The affine map of one layer, with `w` as Hugging Face stores it.
///
/// `y[t, n] = bias[n] + Σ_k x[t, k]·w[n, k]`
///
/// # Shapes
/// x (T, K), w (N, K), bias (N); f32 on the CPU → (T, N). `w` and the bias may be bf16 beside an f32 x.
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Ordinary linear algebra.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let [_, k] = dims(OP, "x", x)?;
    let [n, wk] = dims(OP, "w", w)?;
    require(wk == k, OP, "w", || format!("(N, {k})"), || format!("{:?}", w.dims()))?;
    check_bias(n, bias)?;
    let bias = bias.map(|bias| beside(x, bias)).transpose()?;
    let kernel = has_kernel(&[x]) && is_weight(w);
    match &bias {
        None if kernel => x.apply_op2(w, Linear),
        Some(bias) if kernel && has_kernel(&[bias]) => x.apply_op3(w, bias, Linear),
        bias => plain::linear(x, w, bias.as_ref()),
    }
}

fn check_bias(n: usize, bias: Option<&Tensor>) -> Result<()> {
    let Some(bias) = bias else { return Ok(()) };
    let [found] = dims(OP, "bias", bias)?;
    require(found == n, OP, "bias", || format!("({n})"), || format!("({found})"))
}

/// `bias + x·B`; the chain of each element starts from its bias.
fn affine(x: &[f32], b: Right, bias: Option<&[f32]>, t: usize, n: usize, k: usize) -> Vec<f32> {
    let left = Left::Rows { data: x, ld: k };
    let Some(bias) = bias else { return gemm_new(t, n, k, left, b, Tasks::Many) };
    let mut y = bias.repeat(t);
    gemm(t, n, k, left, b, &mut y, n, Start::Kept);
    y
}

struct Linear;

impl Linear {
    /// `dx = dy·w`, `dw = dyᵀ·x`, each only where a gradient is asked for.
    fn gradients(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((t, k), n) = (x.dims2()?, w.dim(0)?);
        let (wants_x, wants_w) = (x.track_op(), w.track_op());
        let (dx, dw) = with_slices(OP, [x, dy], |[x, dy]| {
            let left = Left::Rows { data: dy, ld: n };
            let back = |w: Weight<'_>| Ok(gemm_new(t, k, n, left, w.rows(k), Tasks::Many));
            let dx = wants_x.then(|| with_weight(OP, w, back)).transpose()?;
            let right = Right::Rows { data: x, ld: k };
            let dw = wants_w.then(|| gemm_new(n, k, t, Left::Transposed(dy), right, Tasks::Many));
            Ok((dx, dw))
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, (t, k), x.device())).transpose()?;
        let dw = dw.map(|dw| Tensor::from_vec(dw, (n, k), w.device())).transpose()?;
        Ok((dx, dw))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((t, k), (n, _)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        let right = Weight::of(OP, s2, l2)?.transposed(k);
        Ok((CpuStorage::F32(affine(slice(OP, s1, l1)?, right, None, t, n, k)), (t, n).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::gradients(x, w, &dense(dy)?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((t, k), (n, _)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        let right = Weight::of(OP, s2, l2)?.transposed(k);
        let y = affine(slice(OP, s1, l1)?, right, Some(slice(OP, s3, l3)?), t, n, k);
        Ok((CpuStorage::F32(y), (t, n).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dense(dy)?;
        let (dx, dw) = Self::gradients(x, w, &dy)?;
        let db = if bias.track_op() {
            let n = bias.dim(0)?;
            let sums = with_slices(OP, [&dy], |[dy]| Ok(column_sums(dy, n)))?;
            Some(Tensor::from_vec(sums, n, bias.device())?)
        } else {
            None
        };
        Ok((dx, dw, db))
    }
}

/// `y = bias + x·wᵀ` into memory that is there; what it held before does not matter.
pub(crate) fn affine_into(x: &[f32], w: Weight<'_>, bias: Option<&[f32]>, n: usize, k: usize, y: &mut [f32]) {
    product_into(x, w.transposed(k), bias, n, k, y);
}

/// `y = bias + x·B`; the chain of each element starts from its bias.
pub(crate) fn product_into(x: &[f32], b: Right, bias: Option<&[f32]>, n: usize, k: usize, y: &mut [f32]) {
    let (t, left) = (y.len() / n, Left::Rows { data: x, ld: k });
    match bias {
        None => gemm(t, n, k, left, b, y, n, Start::Zero),
        Some(bias) => {
            y.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias));
            gemm(t, n, k, left, b, y, n, Start::Kept);
        }
    }
}

/// `dx = dy·w` or, kept, `dx += dy·w`.
pub(crate) fn input_gradient(dy: &[f32], w: Weight<'_>, n: usize, k: usize, dx: &mut [f32], start: Start) {
    gemm(dx.len() / k, k, n, Left::Rows { data: dy, ld: n }, w.rows(k), dx, k, start);
}

/// `dw = dyᵀ·x` or, kept, `dw += dyᵀ·x`.
pub(crate) fn weight_gradient(dy: &[f32], x: &[f32], n: usize, k: usize, dw: &mut [f32], start: Start) {
    gemm(n, k, x.len() / k, Left::Transposed(dy), Right::Rows { data: x, ld: k }, dw, k, start);
}

/// Deals the columns of (T, ΣN) out to matrices (T, N_i).
pub(crate) fn split_columns<const M: usize>(joint: &[f32], n: usize, parts: [&mut [f32]; M]) {
    const ROWS: usize = 16;
    let t = joint.len() / n.max(1);
    let mut from = 0;
    for part in parts {
        let cols = part.len() / t.max(1);
        part.par_chunks_mut((ROWS * cols).max(1)).zip(joint.par_chunks(ROWS * n)).for_each(|(part, joint)| {
            for (part, row) in part.chunks_exact_mut(cols).zip(joint.chunks_exact(n)) {
                part.copy_from_slice(&row[from..from + cols]);
            }
        });
        from += cols;
    }
}

/// `y += x`, element by element.
pub(crate) fn add_in_place(y: &mut [f32], x: &[f32]) {
    const CHUNK: usize = 1 << 15;
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| add(y, x));
}

multiversion! {
    fn add(y: &mut [f32], x: &[f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
}

/// Sum of the rows of (T, N), each column from the first row to the last.
pub(crate) fn column_sums(x: &[f32], n: usize) -> Vec<f32> {
    let mut sums = vec![0f32; n];
    add_column_sums(x, &mut sums);
    sums
}

/// Adds the rows of (T, N) to `sums` (N), each column from the first row to the last.
pub(crate) fn add_column_sums(x: &[f32], sums: &mut [f32]) {
    const BLOCK: usize = 256;
    let n = sums.len();
    sums.par_chunks_mut(BLOCK).enumerate().for_each(|(block, sums)| add_columns(x, n, block * BLOCK, sums));
}

multiversion! {
    fn add_columns(x: &[f32], n: usize, from: usize, sums: &mut [f32]) {
        for row in x.chunks_exact(n) {
            for (sum, &value) in sums.iter_mut().zip(&row[from..]) {
                *sum += value;
            }
        }
    }
}

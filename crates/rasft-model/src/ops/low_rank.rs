//! What an adapter adds to the products of a linear map.
//!
//! Products come some rows at a time and are added while they are in the cache; each element is the chain that a whole
//! product has, so the rows of a task do not matter.

use super::gemm::{Left, Right, gemm_new};
use super::pack::{Tasks, scratch_panels_of_stored};
use super::simd::multiversion;
use rayon::prelude::*;

/// Rows of one task.
const ROWS: usize = 64;
/// Elements of one task where each stands alone.
const CHUNK: usize = 1 << 15;

/// `y[t, n] += s · Σ_r u[t, r]·b[n, r]`, the product rounded before it is scaled, and that before it is added.
pub(crate) fn add_scaled_product(u: &[f32], b: &[f32], scale: f32, rank: usize, y: &mut [f32]) {
    let (n, panels) = (b.len() / rank, scratch_panels_of_stored(b, rank, Tasks::Many));
    let panels = Right::Panels(panels.as_slice());
    y.par_chunks_mut(ROWS * n).zip(u.par_chunks(ROWS * rank)).for_each(|(y, u)| {
        add_scaled(y, &product(u, panels, rank, n), scale);
    });
}

/// `y[t, k] += m[t, k] · Σ_r u[t, r]·a[r, k]`
pub(crate) fn add_masked_product(u: &[f32], a: &[f32], mask: &[f32], rank: usize, y: &mut [f32]) {
    let k = a.len() / rank;
    let tasks = y.par_chunks_mut(ROWS * k).zip(u.par_chunks(ROWS * rank).zip(mask.par_chunks(ROWS * k)));
    tasks.for_each(|(y, (u, mask))| {
        add_products(y, &product(u, Right::Rows { data: a, ld: k }, rank, k), mask);
    });
}

/// u (T, r) times a right operand of `n` columns.
fn product(u: &[f32], right: Right, rank: usize, n: usize) -> Vec<f32> {
    gemm_new(u.len() / rank, n, rank, Left::Rows { data: u, ld: rank }, right, Tasks::One)
}

/// `x ← s·x`
pub(crate) fn scale_in_place(x: &mut [f32], scale: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| x.iter_mut().for_each(|x| *x *= scale));
}

/// `y ← y ∘ x`
pub(crate) fn multiply_in_place(y: &mut [f32], x: &[f32]) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| multiply(y, x));
}

multiversion! {
    /// The sum with 0 is candle's, whose scaling has an offset; it makes −0 of an underflow 0.
    fn add_scaled(y: &mut [f32], x: &[f32], scale: f32) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x * scale + 0.0);
    }
}

multiversion! {
    fn add_products(y: &mut [f32], x: &[f32], mask: &[f32]) {
        y.iter_mut().zip(x.iter().zip(mask)).for_each(|(y, (x, mask))| *y += x * mask);
    }
}

multiversion! {
    fn multiply(y: &mut [f32], x: &[f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
    }
}

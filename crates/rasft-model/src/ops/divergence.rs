//! The divergence of rows of logits from those of a reference, and its gradient in their place.
//!
//! Invariant: a row's result depends on that row alone; sums are f64, through 16 lanes by index. Absent on purpose: the
//! products that make the logits.

use super::check::{has_kernel, require, with_slices};
use super::simd::{exp, max_of, multiversion};
use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

const OP: &str = "divergence";
/// Partial sums of a row.
const LANES: usize = 16;

/// `KL_n`, nats; the logits are replaced by `factor · ∂KL_n/∂z_nv`.
///
/// ```text
/// KL_n = Σ_v p_ref(v) · (log p_ref(v) − log p(v)),   ∂KL_n/∂z_nv = p(v) − p_ref(v)
/// ```
///
/// # Shapes
/// z (N, V) row by row, reference (N, V) → (N), f64.
///
/// # Errors
/// The shapes differ.
///
/// # Source
/// algorithm.md §12.
pub fn replace_by_divergence_gradients(z: &mut [f32], reference: &Tensor, factor: f64) -> Result<Vec<f64>> {
    let (n, v) = reference.dims2()?;
    require(z.len() == n * v, OP, "reference", || format!("{} logits", z.len()), || format!("{n} × {v}"))?;
    let here = if has_kernel(&[reference]) {
        reference.contiguous()?
    } else {
        reference.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?
    };
    with_slices(OP, [&here], |[z_ref]| {
        let rows = z.par_chunks_mut(v.max(1)).zip(z_ref.par_chunks(v.max(1)));
        Ok(rows.map(|(z, z_ref)| row(z, z_ref, factor)).collect())
    })
}

multiversion! {
    /// With `m = max z`, `S = Σ exp(z − m)`: `KL = Σ p_ref·((z_ref − m_ref) − (z − m)) + log S − log S_ref`.
    fn row(z: &mut [f32], z_ref: &[f32], factor: f64) -> f64 {
        let (top, top_ref) = (max_of(z), max_of(z_ref));
        let mut sums = [[0f64; LANES]; 3];
        let (full, rest) = z.as_chunks_mut::<LANES>();
        let (full_ref, rest_ref) = z_ref.as_chunks::<LANES>();
        for (z, z_ref) in full.iter_mut().zip(full_ref) {
            for lane in 0..LANES {
                z[lane] = entry(&mut sums, lane, [z[lane], top], [z_ref[lane], top_ref]);
            }
        }
        for (lane, (z, &z_ref)) in rest.iter_mut().zip(rest_ref).enumerate() {
            *z = entry(&mut sums, lane, [*z, top], [z_ref, top_ref]);
        }
        let [sum, sum_ref, apart] = sums.map(|lanes| lanes.iter().sum::<f64>());
        let (scale, scale_ref) = ((factor / sum) as f32, (factor / sum_ref) as f32);
        for (z, &z_ref) in z.iter_mut().zip(z_ref) {
            *z = *z * scale - exp(z_ref - top_ref) * scale_ref;
        }
        apart / sum_ref + sum.ln() - sum_ref.ln()
    }
}

/// Adds `exp(z − m)`, `exp(z_ref − m_ref)` and the latter times the distance of the two exponents; returns the first.
#[inline(always)]
fn entry(sums: &mut [[f64; LANES]; 3], lane: usize, [z, top]: [f32; 2], [z_ref, top_ref]: [f32; 2]) -> f32 {
    let (e, e_ref) = (exp(z - top), exp(z_ref - top_ref));
    let distance = (f64::from(z_ref) - f64::from(top_ref)) - (f64::from(z) - f64::from(top));
    sums[0][lane] += f64::from(e);
    sums[1][lane] += f64::from(e_ref);
    sums[2][lane] += if e_ref > 0.0 { f64::from(e_ref) * distance } else { 0.0 };
    e
}

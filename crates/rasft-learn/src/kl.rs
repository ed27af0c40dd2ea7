//! The divergence of `sft-kl` and `asft` from a reference model, over the whole vocabulary.
//!
//! Logits of policy and reference exist for a few rows at a time: each chunk is differentiated down to the hidden states
//! at once, so memory does not grow with tokens × vocabulary. Absent on purpose: the cross-entropy part.

use crate::LearnError;
use crate::grads::accumulate;
use candle_core::{Tensor, Var};
use rasft_model::Decoder;
use rayon::prelude::*;

/// Rows whose logits exist at one time.
const ROWS: usize = 64;

/// Divergence of one row per token and its gradient.
///
/// ```text
/// KL_n = Σ_v p_ref(v) · (log p_ref(v) − log p_θ(v)),   ∂KL_n/∂z_nv = p_θ(v) − p_ref(v)
/// ```
///
/// # Shapes
/// logits of policy and reference (N, V), f32 → KL (N), nats, and ∂KL/∂logits (N, V) of the policy.
///
/// # Errors
/// The shapes differ.
///
/// # Source
/// algorithm.md §12.
pub fn kl_to_reference(policy: &Tensor, reference: &Tensor) -> Result<(Vec<f64>, Tensor), LearnError> {
    let (n, v) = policy.dims2()?;
    if reference.dims() != [n, v] {
        let found = reference.dims();
        return Err(LearnError::Parameter(format!("the reference's logits are {found:?}, the policy's {:?}", [n, v])));
    }
    let mut z = policy.flatten_all()?.to_vec1::<f32>()?;
    let mut z_ref = reference.flatten_all()?.to_vec1::<f32>()?;
    let rows = z.par_chunks_mut(v.max(1)).zip(z_ref.par_chunks_mut(v.max(1)));
    let kl = rows.map(|(z, z_ref)| kl_row(z, z_ref)).collect();
    Ok((kl, Tensor::from_vec(z, (n, v), policy.device())?))
}

/// Replaces the policy's logits by `p_θ − p_ref` and returns the divergence.
fn kl_row(z: &mut [f32], z_ref: &mut [f32]) -> f64 {
    let (log_sum, log_sum_ref) = (log_sum_exp(z), log_sum_exp(z_ref));
    let mut kl = 0.0;
    for (z, z_ref) in z.iter_mut().zip(z_ref) {
        let (log_p, log_p_ref) = (f64::from(*z) - log_sum, f64::from(*z_ref) - log_sum_ref);
        let p_ref = log_p_ref.exp();
        if p_ref > 0.0 {
            kl += p_ref * (log_p_ref - log_p);
        }
        *z = (log_p.exp() - p_ref) as f32;
    }
    kl
}

fn log_sum_exp(z: &[f32]) -> f64 {
    let top = f64::from(z.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + z.iter().map(|z| (f64::from(*z) - top).exp()).sum::<f64>().ln()
}

/// Σ KL over the rows; adds the gradient of `factor · Σ KL` to `sums` for the output projection, and returns it for the
/// hidden states (N, D).
pub(crate) fn backward(
    policy: &Decoder,
    hidden: &Tensor,
    reference: &Decoder,
    reference_hidden: &Tensor,
    factor: f64,
    sums: &mut [Vec<f32>],
) -> Result<(f64, Tensor), LearnError> {
    let n = hidden.dim(0)?;
    let (mut total, mut parts) = (0.0, Vec::new());
    for from in (0..n).step_by(ROWS) {
        let len = ROWS.min(n - from);
        let rows = Var::from_tensor(&hidden.narrow(0, from, len)?.detach())?;
        let logits = policy.logits(rows.as_tensor())?;
        let reference_logits = reference.logits(&reference_hidden.narrow(0, from, len)?.contiguous()?)?;
        let (kl, gradient) = kl_to_reference(&logits.detach(), &reference_logits)?;
        total += kl.iter().sum::<f64>();
        // Linear in the logits, with the gradient of the divergence.
        let mut grads = (logits * (gradient * factor)?)?.sum_all()?.backward()?;
        accumulate(sums, policy.parameters(), &mut grads)?;
        parts.push(grads.remove(rows.as_tensor()).map_or_else(|| rows.zeros_like(), Ok)?);
    }
    Ok((total, Tensor::cat(&parts, 0)?))
}

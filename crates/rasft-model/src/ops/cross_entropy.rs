//! The output projection and the log-softmax at one target per row, fused: the (N, V) logits never exist.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

/// Log-probability of one target token per row under the full softmax, in nats.
///
/// `y[n] = z[n, targets[n]] − log Σ_v exp z[n, v]`, `z = h·wᵀ`
///
/// # Shapes
/// h (N, D), w (V, D), targets (N) → (N), all ≤ 0.
/// # Errors
/// Shapes that do not fit, a target ≥ V, strided tensors.
/// # Source
/// algorithm.md §11 (token log-probabilities).
pub fn linear_cross_entropy(h: &Tensor, w: &Tensor, targets: &[u32]) -> Result<Tensor> {
    const OP: &str = "linear_cross_entropy";
    let [n, d] = dims(OP, "h", h)?;
    let [v, wd] = dims(OP, "w", w)?;
    require(wd == d, OP, "w", || format!("(V, {d})"), || format!("{:?}", w.dims()))?;
    require(targets.len() == n, OP, "targets", || n.to_string(), || targets.len().to_string())?;
    let top = targets.iter().copied().max().unwrap_or(0) as usize;
    require(n == 0 || top < v, OP, "targets", || format!("below {v}"), || top.to_string())?;
    plain::linear_cross_entropy(h, w, targets)
}

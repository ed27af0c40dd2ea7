//! Root-mean-square normalisation.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

/// Root-mean-square norm over the last dimension; of hidden states, or per head for q and k.
///
/// `y = x / sqrt(mean(x²) + eps) · weight`
///
/// # Shapes
/// x (…, D), weight (D) → (…, D).
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Zhang and Sennrich 2019, as Llama and Qwen use it.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "rms_norm";
    let [d] = dims(OP, "weight", weight)?;
    let last = x.dims().last().copied().unwrap_or(0);
    require(d == last && d > 0, OP, "x", || format!("(…, {d})"), || format!("{:?}", x.dims()))?;
    plain::rms_norm(x, weight, eps)
}

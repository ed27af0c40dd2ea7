//! `x·wᵀ + b`.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

/// The affine map of one layer, with `w` as Hugging Face stores it.
///
/// `y[t, n] = Σ_k x[t, k]·w[n, k] + bias[n]`
///
/// # Shapes
/// x (T, K), w (N, K), bias (N); f32 on the CPU → (T, N).
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Ordinary linear algebra.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "linear";
    let [_, k] = dims(OP, "x", x)?;
    let [n, wk] = dims(OP, "w", w)?;
    require(wk == k, OP, "w", || format!("(N, {k})"), || format!("{:?}", w.dims()))?;
    if let Some(bias) = bias {
        let [bn] = dims(OP, "bias", bias)?;
        require(bn == n, OP, "bias", || format!("({n})"), || format!("({bn})"))?;
    }
    plain::linear(x, w, bias)
}

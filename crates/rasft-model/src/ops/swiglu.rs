//! The gated activation of the feed-forward layers.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

/// SwiGLU: `y = gate · σ(gate) · up`.
///
/// # Shapes
/// gate and up (T, I) → (T, I).
/// # Errors
/// Shapes that do not fit, strided tensors.
/// # Source
/// Shazeer 2020.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    const OP: &str = "swiglu";
    let g: [usize; 2] = dims(OP, "gate", gate)?;
    let u: [usize; 2] = dims(OP, "up", up)?;
    require(g == u, OP, "up", || format!("{g:?}"), || format!("{u:?}"))?;
    plain::swiglu(gate, up)
}

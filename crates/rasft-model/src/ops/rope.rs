//! Rotary position embedding, half-split convention.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

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
    const OP: &str = "rope";
    let [t, _, dh] = dims(OP, "x", x)?;
    let [rows, half] = dims(OP, "cos", cos)?;
    require(half * 2 == dh, OP, "cos", || format!("(P, {})", dh / 2), || format!("{:?}", cos.dims()))?;
    require(sin.dims() == cos.dims(), OP, "sin", || format!("{:?}", cos.dims()), || format!("{:?}", sin.dims()))?;
    require(positions.len() == t, OP, "positions", || t.to_string(), || positions.len().to_string())?;
    let top = positions.iter().copied().max().unwrap_or(0) as usize;
    require(t == 0 || top < rows, OP, "positions", || format!("below {rows}"), || top.to_string())?;
    plain::rope(x, cos, sin, positions)
}

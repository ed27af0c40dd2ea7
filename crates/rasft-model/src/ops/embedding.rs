//! Token embedding.

use super::check::{dims, require};
use super::plain;
use candle_core::{Result, Tensor};

/// Looks up one row per token: `y[t] = table[ids[t]]`; the gradient adds up per row in token order.
///
/// # Shapes
/// table (V, D), ids (T) → (T, D).
/// # Errors
/// An id ≥ V, strided tensors.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    const OP: &str = "embedding";
    let [v, _] = dims(OP, "table", table)?;
    let top = ids.iter().copied().max().unwrap_or(0) as usize;
    require(ids.is_empty() || top < v, OP, "ids", || format!("below {v}"), || top.to_string())?;
    plain::embedding(table, ids)
}

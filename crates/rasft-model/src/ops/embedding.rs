//! Token embedding.

use super::check::{dense, dims, require, with_slices};
use super::plain;
use super::weight::{Element, Weight, is_weight};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

const OP: &str = "embedding";

/// Looks up one row per token: `y[t] = table[ids[t]]`; the gradient adds up per row in token order.
///
/// # Shapes
/// table (V, D), ids (T) → (T, D), f32 on the CPU.
/// # Errors
/// An id ≥ V, strided tensors.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let [v, _] = dims(OP, "table", table)?;
    let top = ids.iter().copied().max().unwrap_or(0) as usize;
    require(ids.is_empty() || top < v, OP, "ids", || format!("below {v}"), || top.to_string())?;
    if !is_weight(table) {
        return plain::embedding(table, ids);
    }
    table.apply_op1(Embedding { ids: ids.to_vec() })
}

struct Embedding {
    ids: Vec<u32>,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = layout.shape().dims2()?;
        let table = Weight::of(OP, storage, layout)?;
        let mut y = vec![0f32; self.ids.len() * d];
        gather_rows(table, &self.ids, &mut y);
        Ok((CpuStorage::F32(y), (self.ids.len(), d).into()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (v, d) = table.dims2()?;
        let mut grad = vec![0f32; v * d];
        with_slices(OP, [&dense(dy)?], |[dy]| {
            scatter_add_rows(&self.ids, dy, &mut grad);
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(grad, (v, d), table.device())?))
    }
}

/// The rows of `ids`, end to end.
pub(crate) fn gather_rows(table: Weight<'_>, ids: &[u32], y: &mut [f32]) {
    match table {
        Weight::F32(table) => copy_rows(table, ids, y),
        Weight::Bf16(table) => copy_rows(table, ids, y),
    }
}

fn copy_rows<T: Element>(table: &[T], ids: &[u32], y: &mut [f32]) {
    let d = y.len() / ids.len().max(1);
    for (&id, y) in ids.iter().zip(y.chunks_exact_mut(d.max(1))) {
        y.iter_mut().zip(&table[id as usize * d..][..d]).for_each(|(y, x)| *y = x.widen());
    }
}

/// Adds row i to row `ids[i]` of the sums, in the order of i: one thread, so that bits are fixed.
pub(crate) fn scatter_add_rows(ids: &[u32], rows: &[f32], sums: &mut [f32]) {
    let d = rows.len() / ids.len().max(1);
    for (&id, row) in ids.iter().zip(rows.chunks_exact(d.max(1))) {
        for (sum, &value) in sums[id as usize * d..][..d].iter_mut().zip(row) {
            *sum += value;
        }
    }
}

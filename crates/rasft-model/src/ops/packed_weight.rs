//! A weight laid out once for inference, so that no product has to transpose it again.
//!
//! Products with it give the same bits as [`super::linear()`] with the weight as stored. Values that are all exact in
//! bf16, as those of most published models are, lie in memory as bf16: a decoding step reads every weight once, and
//! what it reads is what it waits for. Absent on purpose: any rounding, and gradients.

use super::check::{dims, has_kernel, mismatch, require, slice, with_slices};
use super::gemm::Right;
use super::linear::product_into;
use super::pack::{Aligned, NR, Tasks, half_panels, panels_of_stored, widened_pair};
use candle_core::{Result, Storage, Tensor};
use rayon::prelude::*;

const OP: &str = "packed weight";

/// A weight (N, K), or several one below the other, in panels of 48 outputs.
#[derive(Clone)]
pub struct PackedWeight {
    panels: Panels,
    n: usize,
    k: usize,
}

#[derive(Clone)]
enum Panels {
    F32(Aligned),
    /// All values are exact in bf16.
    Bf16(Aligned<u32>),
}

impl PackedWeight {
    /// Packs one weight (N, K), or several one below the other, (ΣN, K), so that one product computes them all.
    ///
    /// # Errors
    /// No weight, different K, strided tensors, tensors that are not f32 on the CPU.
    pub fn new(weights: &[&Tensor]) -> Result<Self> {
        let Some(first) = weights.first() else {
            return Err(mismatch(OP, "weights", "at least one", "none"));
        };
        let [_, k] = dims(OP, "w", first)?;
        let mut n = 0;
        for w in weights {
            let [rows, wk] = dims(OP, "w", w)?;
            require(wk == k, OP, "w", || format!("(N, {k})"), || format!("{:?}", w.dims()))?;
            require(has_kernel(&[w]), OP, "w", || "f32 on the cpu".into(), || format!("{:?}", w.dtype()))?;
            n += rows;
        }
        let guards: Vec<_> = weights.iter().map(|w| w.storage_and_layout()).collect();
        let mut pieces = Vec::with_capacity(guards.len());
        for (storage, layout) in &guards {
            if let Storage::Cpu(storage) = &**storage {
                pieces.push(slice(OP, storage, layout)?);
            }
        }
        let panels = panels_of_stored(&pieces, k, Tasks::Many);
        let exact = pieces.iter().all(|piece| piece.par_iter().all(|value| is_exact_in_bf16(*value)));
        let panels = if exact { Panels::Bf16(half_panels(&panels, k)) } else { Panels::F32(panels) };
        Ok(Self { panels, n, k })
    }

    /// Number of outputs N.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of inputs K.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The weight as the right operand of a product, (K, N).
    pub(crate) fn right(&self) -> Right<'_> {
        match &self.panels {
            Panels::F32(panels) => Right::Panels(panels.as_slice()),
            Panels::Bf16(panels) => Right::HalfPanels(panels.as_slice()),
        }
    }

    /// The outputs `from..` as a right operand; `from` is a multiple of 48.
    pub(crate) fn right_from(&self, from: usize) -> Right<'_> {
        assert!(from.is_multiple_of(NR), "a panel starts there");
        match &self.panels {
            Panels::F32(panels) => Right::Panels(&panels.as_slice()[from * self.k..]),
            Panels::Bf16(panels) => Right::HalfPanels(&panels.as_slice()[from * self.k.div_ceil(2)..]),
        }
    }

    /// `y = bias + x·wᵀ`; what `y` held does not matter.
    pub(crate) fn apply(&self, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        product_into(x, self.right(), bias, self.n, self.k, y);
    }

    /// Rows `ids` of the weight (N, K), end to end: an embedding is looked up in the output projection it is tied to.
    pub(crate) fn look_up(&self, ids: &[u32], y: &mut [f32]) {
        y.par_chunks_exact_mut(self.k.max(1)).zip(ids).for_each(|(y, &id)| {
            let id = id as usize;
            let from = |steps: usize| id / NR * NR * steps + id % NR;
            match &self.panels {
                Panels::F32(panels) => {
                    y.iter_mut().zip(panels.as_slice()[from(self.k)..].iter().step_by(NR)).for_each(|(y, w)| *y = *w);
                }
                Panels::Bf16(panels) => {
                    let pairs = panels.as_slice()[from(self.k.div_ceil(2))..].iter().step_by(NR);
                    y.iter_mut().zip(pairs.flat_map(|pair| widened_pair(*pair))).for_each(|(y, w)| *y = w);
                }
            }
        });
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dtype = if matches!(self.panels, Panels::F32(_)) { "f32" } else { "bf16" };
        write!(f, "PackedWeight({}, {}, {dtype})", self.n, self.k)
    }
}

fn is_exact_in_bf16(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
}

/// [`super::linear()`] with a packed weight, for inference. # Shapes: x (T, K), bias (N) → (T, N).
///
/// # Errors
/// Shapes that do not fit, strided tensors, tensors that are not f32 on the CPU.
pub fn linear_packed(x: &Tensor, w: &PackedWeight, bias: Option<&Tensor>) -> Result<Tensor> {
    let [t, k] = dims(OP, "x", x)?;
    require(w.k == k, OP, "x", || format!("(T, {})", w.k), || format!("{:?}", x.dims()))?;
    if let Some(bias) = bias {
        let [found] = dims(OP, "bias", bias)?;
        require(found == w.n, OP, "bias", || format!("({})", w.n), || format!("({found})"))?;
    }
    let cpu = has_kernel(&[x]) && bias.is_none_or(|b| has_kernel(&[b]));
    require(cpu, OP, "x and bias", || "f32 on the cpu".into(), || format!("{:?}", x.dtype()))?;
    let mut y = vec![0f32; t * w.n];
    match bias {
        Some(bias) => with_slices(OP, [x, bias], |[x, bias]| {
            w.apply(x, Some(bias), &mut y);
            Ok(())
        }),
        None => with_slices(OP, [x], |[x]| {
            w.apply(x, None, &mut y);
            Ok(())
        }),
    }?;
    Tensor::from_vec(y, (t, w.n), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn looked_up_rows_are_those_of_the_weight() {
        for (n, k, scale) in [(1, 1, 1.0), (50, 7, 1.0), (97, 64, 1.0), (50, 7, 0.1)] {
            let values: Vec<f32> = (0..n * k).map(|i| (i % 256) as f32 * scale).collect();
            let w = PackedWeight::new(&[&Tensor::from_slice(&values, (n, k), &Device::Cpu).unwrap()]).unwrap();
            let ids: Vec<u32> = (0..n as u32).rev().collect();
            let mut rows = vec![f32::NAN; n * k];
            w.look_up(&ids, &mut rows);
            let expected: Vec<f32> = values.rchunks(k).flatten().copied().collect();
            assert_eq!(rows, expected, "{w:?}");
            assert_eq!(matches!(w.panels, Panels::Bf16(_)), scale == 1.0, "{w:?}");
        }
    }
}

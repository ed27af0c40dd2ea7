//! Weights as they are held in memory: f32, or bf16 in half the room.
//!
//! Invariant: bf16 is a subset of f32, and kernels widen it exactly while they lay an operand out, so a product with a
//! bf16 weight has the bits of the product with the same values in f32. Absent on purpose: activations, gradients or sums
//! in bf16.

use std::borrow::Cow;

use candle_core::{CpuStorage, CustomOp1, DType, InplaceOp2, Layout, Result, Shape, Storage, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::check::{mismatch, slice, storage_dtype, values_of};
use super::gemm::Right;
use super::pack::Lanes;
use super::simd::multiversion;

/// Values rounded or widened by one task.
const CHUNK: usize = 1 << 16;

/// A type that weights are held in.
pub(crate) trait Element: Lanes + Copy + Send + Sync {
    /// The same number.
    fn widen(self) -> f32;
    /// `b[k, j]` at `k·ld + j`.
    fn rows(data: &[Self], ld: usize) -> Right<'_>;
    /// `b[k, j]` at `j·ld + k`.
    fn transposed(data: &[Self], ld: usize) -> Right<'_>;
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    fn rows(data: &[Self], ld: usize) -> Right<'_> {
        Right::Rows { data, ld }
    }

    fn transposed(data: &[Self], ld: usize) -> Right<'_> {
        Right::Transposed { data, ld }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    fn rows(data: &[Self], ld: usize) -> Right<'_> {
        Right::HalfRows { data, ld }
    }

    fn transposed(data: &[Self], ld: usize) -> Right<'_> {
        Right::HalfTransposed { data, ld }
    }
}

/// A weight in either type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weight<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Weight<'a> {
    /// The values of a contiguous CPU tensor.
    pub fn of(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        Ok(match storage {
            CpuStorage::BF16(data) => Self::Bf16(values_of(op, data, layout)?),
            _ => Self::F32(slice(op, storage, layout)?),
        })
    }

    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::Bf16(data) => data.len(),
        }
    }

    /// The values from the `first` on.
    pub fn from(self, first: usize) -> Self {
        match self {
            Self::F32(data) => Self::F32(&data[first..]),
            Self::Bf16(data) => Self::Bf16(&data[first..]),
        }
    }

    /// As a right operand with rows of `ld` values.
    pub fn rows(self, ld: usize) -> Right<'a> {
        match self {
            Self::F32(data) => f32::rows(data, ld),
            Self::Bf16(data) => bf16::rows(data, ld),
        }
    }

    /// As a right operand that is stored transposed, as Hugging Face stores weights.
    pub fn transposed(self, ld: usize) -> Right<'a> {
        match self {
            Self::F32(data) => f32::transposed(data, ld),
            Self::Bf16(data) => bf16::transposed(data, ld),
        }
    }

    /// The values in f32: for norms and biases, which are small.
    pub fn widened(self) -> Cow<'a, [f32]> {
        match self {
            Self::F32(data) => Cow::Borrowed(data),
            Self::Bf16(data) => Cow::Owned(data.iter().map(|x| x.widen()).collect()),
        }
    }
}

/// Whether kernels read a weight as it is: f32 or bf16 in main memory.
pub(crate) fn is_weight(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// Runs `f` on the values of a contiguous CPU weight.
pub(crate) fn with_weight<T>(op: &'static str, tensor: &Tensor, f: impl FnOnce(Weight<'_>) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(Weight::of(op, storage, layout)?),
        _ => Err(mismatch(op, "device", "cpu", "another device")),
    }
}

/// A norm or bias in f32 beside f32 activations on the CPU; anything else stays what it is.
pub(crate) fn beside(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if weight.dtype() == DType::BF16 && x.dtype() == DType::F32 && x.device().is_cpu() {
        weight.apply_op1_no_bwd(&Widen)
    } else {
        Ok(weight.clone())
    }
}

struct Widen;

impl CustomOp1 for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = Weight::of("widen", storage, layout)?.widened().into_owned();
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }
}

/// Values rounded to bf16, to nearest, ties to even.
pub(crate) fn rounded(values: &[f32]) -> Vec<bf16> {
    let mut half = vec![bf16::ZERO; values.len()];
    round_into(values, &mut half);
    half
}

fn round_into(values: &[f32], half: &mut [bf16]) {
    half.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(half, values)| round_chunk(values, half));
}

multiversion! {
    fn round_chunk(values: &[f32], half: &mut [bf16]) {
        for (half, value) in half.iter_mut().zip(values) {
            *half = bf16::from_f32(*value);
        }
    }
}

/// Replaces a bf16 tensor by a rounded f32 tensor of its shape.
pub(crate) struct Round;

impl InplaceOp2 for Round {
    fn name(&self) -> &'static str {
        "round to bf16"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let values = slice("round to bf16", s2, l2)?;
        super::check::require(
            l1.shape() == l2.shape(),
            "round to bf16",
            "values",
            || format!("{:?}", l1.shape()),
            || format!("{:?}", l2.shape()),
        )?;
        let (CpuStorage::BF16(half), Some((from, to))) = (&mut *s1, l1.contiguous_offsets()) else {
            return Err(mismatch(
                "round to bf16",
                "target",
                "contiguous bf16",
                format_args!("{:?}", storage_dtype(s1)),
            ));
        };
        round_into(values, &mut half[from..to]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_and_ties_to_even() {
        // bf16 keeps 8 bits of 1.f: around 1 its steps are 2⁻⁷.
        let step = 1.0 / 128.0;
        for (value, expected) in [
            (1.0, 1.0),
            (1.0 + 0.49 * step, 1.0),
            (1.0 + 0.5 * step, 1.0),
            (1.0 + 0.51 * step, 1.0 + step),
            (1.0 + 1.5 * step, 1.0 + 2.0 * step),
            (-1.0 - 0.75 * step, -1.0 - step),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
            (0.0, 0.0),
        ] {
            assert_eq!(rounded(&[value])[0].widen(), expected, "{value}");
        }
        let many: Vec<f32> = (0..3 * CHUNK + 5).map(|i| (i as f32 * 0.37).sin()).collect();
        let half = rounded(&many);
        assert!(many.iter().zip(&half).all(|(x, h)| *h == bf16::from_f32(*x) && h.widen() == h.to_f32()));
    }
}

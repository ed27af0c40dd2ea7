//! Shape, layout and device checks shared by the ops, and access to CPU tensors as slices.
//!
//! Invariant: a kernel only ever sees contiguous f32 slices whose lengths were checked here.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor};
use std::fmt::Display;

/// A call that does not fit an op. Travels inside [`candle_core::Error`], the error of everything built on tensors.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// A tensor, table or list has the wrong shape or content.
    #[error("{op}: {what}: expected {expected}, found {actual}")]
    Shape {
        /// The op that was called.
        op: &'static str,
        /// Which argument.
        what: &'static str,
        /// What the op needs.
        expected: String,
        /// What it was given.
        actual: String,
    },
    /// A tensor is a strided view.
    #[error("{op}: {what}: expected a contiguous tensor, found strides {strides:?}\n  hint: call contiguous() on it")]
    Strided {
        /// The op that was called.
        op: &'static str,
        /// Which argument.
        what: &'static str,
        /// Strides of the view.
        strides: Vec<usize>,
    },
}

pub(crate) fn mismatch(
    op: &'static str,
    what: &'static str,
    expected: impl Display,
    actual: impl Display,
) -> candle_core::Error {
    candle_core::Error::wrap(OpError::Shape { op, what, expected: expected.to_string(), actual: actual.to_string() })
}

/// Fails unless `ok`; the texts are only made on failure.
pub(crate) fn require(
    ok: bool,
    op: &'static str,
    what: &'static str,
    expected: impl FnOnce() -> String,
    actual: impl FnOnce() -> String,
) -> Result<()> {
    if ok { Ok(()) } else { Err(mismatch(op, what, expected(), actual())) }
}

/// The dimensions of a contiguous tensor of rank `R`.
pub(crate) fn dims<const R: usize>(op: &'static str, what: &'static str, tensor: &Tensor) -> Result<[usize; R]> {
    let found = tensor.dims();
    let Ok(dims) = <[usize; R]>::try_from(found) else {
        return Err(mismatch(op, what, format_args!("{R} dimensions"), format_args!("{found:?}")));
    };
    if !tensor.is_contiguous() {
        return Err(candle_core::Error::wrap(OpError::Strided { op, what, strides: tensor.stride().to_vec() }));
    }
    Ok(dims)
}

/// Whether the kernels of this module can run: f32 tensors in main memory.
pub(crate) fn has_kernel(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The values of a contiguous f32 CPU tensor.
pub(crate) fn slice<'a>(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(data) = storage else {
        return Err(mismatch(op, "storage", "f32", format_args!("{:?}", storage_dtype(storage))));
    };
    values_of(op, data, layout)
}

/// The part of `data` that a contiguous layout covers.
pub(crate) fn values_of<'a, T>(op: &'static str, data: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&data[from..to]),
        None => {
            Err(candle_core::Error::wrap(OpError::Strided { op, what: "storage", strides: layout.stride().to_vec() }))
        }
    }
}

pub(crate) fn storage_dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

/// Runs `f` on the values of contiguous f32 CPU tensors.
pub(crate) fn with_slices<const R: usize, T>(
    op: &'static str,
    tensors: [&Tensor; R],
    f: impl FnOnce([&[f32]; R]) -> Result<T>,
) -> Result<T> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; R] = [&[]; R];
    for (target, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            return Err(mismatch(op, "device", "cpu", "another device"));
        };
        *target = slice(op, storage, layout)?;
    }
    f(slices)
}

/// `grad` as candle hands it to a backward pass, made contiguous where a view came back.
pub(crate) fn dense(grad: &Tensor) -> Result<Tensor> {
    grad.contiguous()
}

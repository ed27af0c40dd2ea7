//! Kernels against their plain twins, against finite differences, and against themselves in other batches.

mod invariance;
mod refusals;
mod twins;

use candle_core::{DType, Device, Result, Tensor};

/// Reproducible values in (−1, 1) that do not repeat.
pub(super) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub(super) fn bits(x: &Tensor) -> Vec<u32> {
    values(x).into_iter().map(f32::to_bits).collect()
}

pub(super) fn values(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub(super) fn on_threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
}

/// cos and sin tables (P, half) of angles that differ everywhere.
pub(super) fn tables(positions: usize, half: usize, dtype: DType) -> Result<(Tensor, Tensor)> {
    let angles: Vec<f32> = (0..positions * half).map(|i| (i / half) as f32 * 0.9f32.powi((i % half) as i32)).collect();
    let angles = Tensor::from_vec(angles, (positions, half), &Device::Cpu)?.to_dtype(dtype)?;
    Ok((angles.cos()?, angles.sin()?))
}

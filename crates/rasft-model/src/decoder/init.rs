//! Random weights for a model that is trained from nothing.

use candle_core::{Device, Var};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::weights::parameter_shapes;

/// Standard deviation of matrices, the `initializer_range` of the model families this crate runs.
const STD: f64 = 0.02;

/// Every parameter: matrices N(0, 0.02²), norms 1, biases 0. Each tensor has its own stream, keyed by seed and name.
pub(super) fn parameters(config: &DecoderConfig, seed: u64, device: &Device) -> Result<Vec<(String, Var)>, ModelError> {
    let mut parameters = Vec::new();
    for (name, shape) in parameter_shapes(config) {
        let n = shape.iter().product();
        let values = match (shape.len(), name.ends_with(".bias")) {
            (1, true) => vec![0.0; n],
            (1, false) => vec![1.0; n],
            _ => normal(&name, seed, n),
        };
        parameters.push((name, Var::from_vec(values, shape, device)?));
    }
    Ok(parameters)
}

/// `n` draws of N(0, 0.02²) by the Box–Muller transform.
fn normal(name: &str, seed: u64, n: usize) -> Vec<f32> {
    let key = blake3::Hasher::new().update(&seed.to_le_bytes()).update(name.as_bytes()).finalize();
    let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64; // inside (0, 1)
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        let radius = STD * (-2.0 * uniform().ln()).sqrt();
        let angle = 2.0 * std::f64::consts::PI * uniform();
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(n);
    values
}

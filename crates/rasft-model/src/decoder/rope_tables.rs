//! Cosines and sines of every position in use, computed in f64, kept as f32, grown as longer sequences come.

use std::sync::{PoisonError, RwLock};

use candle_core::{Device, Tensor};

use crate::config::DecoderConfig;

/// Positions tabulated at first.
const FIRST: usize = 512;

/// The tables of one decoder; an entry never depends on how large the table is.
#[derive(Debug)]
pub(super) struct RopeTables {
    frequencies: Vec<f64>,
    device: Device,
    tables: RwLock<Tables>,
}

#[derive(Debug, Clone)]
struct Tables {
    cos: Tensor,
    sin: Tensor,
    n: usize,
}

impl RopeTables {
    pub(super) fn new(config: &DecoderConfig, device: &Device) -> candle_core::Result<Self> {
        let frequencies = config.rope.inverse_frequencies(config.head_dim);
        let tables = RwLock::new(tabulate(&frequencies, FIRST, device)?);
        Ok(Self { frequencies, device: device.clone(), tables })
    }

    /// Tables (P, Dh/2) with P ≥ `n` positions.
    pub(super) fn up_to(&self, n: usize) -> candle_core::Result<(Tensor, Tensor)> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.n >= n {
            return Ok((known.cos, known.sin));
        }
        let grown = tabulate(&self.frequencies, n.next_power_of_two(), &self.device)?;
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = grown.clone();
        Ok((grown.cos, grown.sin))
    }
}

fn tabulate(frequencies: &[f64], n: usize, device: &Device) -> candle_core::Result<Tables> {
    let table = |turn: fn(f64) -> f64| {
        let values = (0..n).flat_map(|p| frequencies.iter().map(move |f| turn(p as f64 * f) as f32));
        Tensor::from_vec(values.collect::<Vec<f32>>(), (n, frequencies.len()), device)
    };
    Ok(Tables { cos: table(f64::cos)?, sin: table(f64::sin)?, n })
}

//! Where the tokens of a batch stand, and the sizes that every written-out pass asks for.

use candle_core::{Layout, Storage};

use super::Decoder;
use super::prefixes::Prefixes;
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops::kernels::{Heads, Weight, attend, look_up, rotate_in_place, slice};
use crate::packed::{Packed, Span};
use crate::pool::Pool;

/// Where the tokens of a batch stand, and the sizes of everything.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub config: &'a DecoderConfig,
    pub spans: &'a [Span],
    /// Rows of the batch whose keys each span sees, span by span, where a span's past is in the batch.
    pub keys: Option<&'a [u32]>,
    pub positions: &'a [u32],
    /// Tables of angles, (P, Dh/2).
    pub cos: &'a [f32],
    pub sin: &'a [f32],
}

impl Place<'_> {
    pub fn n_tokens(&self) -> usize {
        self.positions.len()
    }

    pub fn heads(&self) -> Heads {
        Heads { q: self.config.n_heads, kv: self.config.n_kv_heads, dim: self.config.head_dim }
    }

    pub fn scale(&self) -> f32 {
        (1.0 / (self.config.head_dim as f64).sqrt()) as f32
    }

    pub fn eps(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }

    /// Attention of whole sequences, or of parts whose past is in the batch.
    pub fn attend(&self, [q, k, v]: [&[f32]; 3], mixed: &mut [f32], pool: &mut Pool) {
        let seen = self.seen([k, v], pool);
        let [keys, values] = seen.as_ref().map_or([k, v], |seen| seen.each_ref().map(Vec::as_slice));
        attend([q, keys, values], self.spans, self.heads(), self.scale(), mixed);
        if let Some(seen) = seen {
            pool.brief().give(seen);
        }
    }

    /// Keys and values, given by row, as the spans see them, end to end; none where they lie so already. The buffers are
    /// the pool's brief ones.
    pub fn seen(&self, by_row: [&[f32]; 2], pool: &mut Pool) -> Option<[Vec<f32>; 2]> {
        let keys = self.keys?;
        Some(by_row.map(|by_row| {
            let mut seen = pool.brief().take(keys.len() * self.heads().kv_row());
            look_up(Weight::F32(by_row), keys, &mut seen);
            seen
        }))
    }

    pub fn rotate(&self, x: &mut [f32], sign: f32) {
        rotate_in_place(x, self.cos, self.sin, self.config.head_dim / 2, self.positions, sign);
    }
}

impl Decoder {
    /// Calls `f` with the place of `batch`, whose positions are `positions`.
    pub(super) fn with_place<T>(
        &self,
        batch: &Packed,
        positions: &[u32],
        f: impl FnOnce(&Place<'_>) -> T,
    ) -> Result<T, ModelError> {
        let (cos, sin) = self.rope.up_to(batch.spans.iter().map(|s| s.past + s.len).max().unwrap_or(0))?;
        let (cos, sin) = (cos.storage_and_layout(), sin.storage_and_layout());
        let (cos, sin) = (values(&cos.0, cos.1)?, values(&sin.0, sin.1)?);
        Ok(f(&Place { config: &self.config, spans: &batch.spans, keys: None, positions, cos, sin }))
    }

    /// The same for the rows that are computed of whole sequences.
    pub(super) fn with_prefixes<T>(
        &self,
        computed: &Prefixes,
        f: impl FnOnce(&Place<'_>) -> T,
    ) -> Result<T, ModelError> {
        let (rows, keys) = (&computed.rows, computed.keys.as_deref());
        self.with_place(rows, &rows.positions(), |place| f(&Place { keys, ..*place }))
    }
}

/// All values of a tensor in main memory.
pub(super) fn values<'a>(storage: &'a Storage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => slice("written-out pass", storage, layout),
        _ => candle_core::bail!("written-out pass: expected tensors on the CPU"),
    }
}

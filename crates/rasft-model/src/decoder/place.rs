//! Where the tokens of a batch stand, and the sizes that every written-out pass asks for.

use candle_core::{Layout, Storage};

use super::Decoder;
use super::shared_rows::SharedRows;
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops::kernels::{Heads, Weight, attend, gather_rows, rotate_in_place, slice};
use crate::packed::{Packed, Span};
use crate::pool::Pool;

/// Where the tokens of a batch stand, and the sizes of everything.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub config: &'a DecoderConfig,
    pub spans: &'a [Span],
    /// [`SharedRows::keys`].
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
        let Some(keys) = self.keys else {
            attend([q, k, v], self.spans, self.heads(), self.scale(), mixed);
            return;
        };
        let [k, v] = self.seen(keys, [k, v], pool);
        attend([q, &k, &v], self.spans, self.heads(), self.scale(), mixed);
        pool.brief().give([k, v]);
    }

    /// Keys and values, given by row, as the spans see them, end to end, in brief buffers of the pool.
    pub fn seen(&self, keys: &[u32], [k, v]: [&[f32]; 2], pool: &mut Pool) -> [Vec<f32>; 2] {
        let mut seen = [k, v].map(|_| pool.brief().take(keys.len() * self.heads().kv_row()));
        let [of_k, of_v] = &mut seen;
        rayon::join(|| gather_rows(Weight::F32(k), keys, of_k), || gather_rows(Weight::F32(v), keys, of_v));
        seen
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

    /// [`Decoder::with_place`] of the rows that are computed, with their keys.
    pub(super) fn with_shared_rows<T>(
        &self,
        computed: &SharedRows,
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

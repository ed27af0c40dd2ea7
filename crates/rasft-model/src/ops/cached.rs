//! Causal attention against a key-value cache, for inference, and the memory layout of that cache.
//!
//! Invariant: a token's result has the same bits whether its prompt came in one piece, in chunks or token by token, and
//! the same bits as [`super::attention`] over the whole sequence.

use super::attention::{Heads, attend_block, check_spans, query_blocks};
use super::check::{dims, require, with_slices};
use super::gemm::Right;
use super::microkernel::NR;
use crate::packed::Span;
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Keys of one panel: they lie side by side, as the matrix product wants its right operand.
const PANEL: usize = NR;

/// Where the keys and values of one layer lie in two flat slices.
///
/// Keys: slot, kv head, panel of 48 positions, dimension, position in the panel. Values: slot, kv head, position, dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    n_slots: usize,
    n_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl KvLayout {
    /// A layout for `n_slots` sequences of at least `max_len` positions (rounded up to whole panels).
    pub fn new(n_slots: usize, n_kv_heads: usize, head_dim: usize, max_len: usize) -> Self {
        Self { n_slots, n_kv_heads, head_dim, capacity: max_len.next_multiple_of(PANEL) }
    }

    /// Number of f32 values one layer needs, for the keys and again for the values.
    pub fn n_values(&self) -> usize {
        self.n_slots * self.slot_len()
    }

    /// Positions a slot can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of slots.
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    fn slot_len(&self) -> usize {
        self.n_kv_heads * self.head_len()
    }

    fn head_len(&self) -> usize {
        self.capacity * self.head_dim
    }

    fn head_at(&self, slot: usize, head: usize) -> usize {
        slot * self.slot_len() + head * self.head_len()
    }
}

/// The cache of one layer, borrowed for one call.
pub struct KvLayerMut<'a> {
    /// How both slices are laid out.
    pub layout: KvLayout,
    /// Keys, [`KvLayout::n_values`] long.
    pub keys: &'a mut [f32],
    /// Values, [`KvLayout::n_values`] long.
    pub values: &'a mut [f32],
}

impl KvLayerMut<'_> {
    /// Makes the first `len` positions of slot `to` equal to those of slot `from`; later positions of `to` lose their meaning.
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        let dh = self.layout.head_dim;
        for head in 0..self.layout.n_kv_heads {
            let (src, dst) = (self.layout.head_at(from, head), self.layout.head_at(to, head));
            self.keys.copy_within(src..src + len.next_multiple_of(PANEL) * dh, dst);
            self.values.copy_within(src..src + len * dh, dst);
        }
    }

    fn attend(&self, q: &[f32], spans: &[Span], n_heads: usize, scale: f32) -> Vec<f32> {
        let heads = Heads { q: n_heads, kv: self.layout.n_kv_heads, dim: self.layout.head_dim };
        let mut out = vec![0f32; q.len()];
        let mut blocks = query_blocks(q, &mut out, spans, heads);
        blocks.par_iter_mut().with_max_len(1).for_each(|(span, block)| {
            let slot = spans[*span].slot;
            attend_block(block, heads, scale, |g| {
                let base = self.layout.head_at(slot, g);
                let head = base..base + self.layout.head_len();
                (Right::Panels(&self.keys[head.clone()]), Right::Rows { data: &self.values[head], ld: heads.dim })
            });
        });
        out
    }

    fn store(&mut self, k: &[f32], v: &[f32], spans: &[Span]) {
        let KvLayout { n_kv_heads, head_dim: dh, .. } = self.layout;
        for span in spans {
            for (row, position) in span.rows().zip(span.past..) {
                for head in 0..n_kv_heads {
                    let new = (row * n_kv_heads + head) * dh..(row * n_kv_heads + head + 1) * dh;
                    let base = self.layout.head_at(span.slot, head);
                    let panel = base + position / PANEL * PANEL * dh + position % PANEL;
                    for (d, &value) in k[new.clone()].iter().enumerate() {
                        self.keys[panel + d * PANEL] = value;
                    }
                    self.values[base + position * dh..][..dh].copy_from_slice(&v[new]);
                }
            }
        }
    }
}

/// Writes the new keys and values behind each span's past and attends to everything up to each token's own position.
///
/// # Shapes
/// q (T, H, Dh), k and v (T, Hkv, Dh) → (T, H, Dh). Each span names a different slot and holds positions
/// `past..past + len` of it. Tensors on other devices travel through main memory. No gradient.
/// # Errors
/// Shapes that do not fit the layout, spans that do not tile the rows, run over the capacity or share a slot.
pub fn attention_cached(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    cache: &mut KvLayerMut<'_>,
    spans: &[Span],
    scale: f32,
) -> Result<Tensor> {
    const OP: &str = "attention_cached";
    let [t, h, dh] = dims(OP, "q", q)?;
    let kv: [usize; 3] = dims(OP, "k", k)?;
    let layout = cache.layout;
    let expected = [t, layout.n_kv_heads, layout.head_dim];
    require(kv == expected, OP, "k", || format!("{expected:?}"), || format!("{kv:?}"))?;
    require(v.dims() == kv, OP, "v", || format!("{kv:?}"), || format!("{:?}", v.dims()))?;
    let q_fits = dh == layout.head_dim && h.is_multiple_of(layout.n_kv_heads.max(1));
    require(
        q_fits,
        OP,
        "q",
        || format!("heads × {} for {} kv heads", layout.head_dim, layout.n_kv_heads),
        || format!("{:?}", q.dims()),
    )?;
    let n = layout.n_values();
    let sized = cache.keys.len() == n && cache.values.len() == n;
    require(
        sized,
        OP,
        "cache",
        || n.to_string(),
        || format!("{} keys, {} values", cache.keys.len(), cache.values.len()),
    )?;
    check_spans(OP, spans, t)?;
    check_slots(OP, spans, &layout)?;
    let cpu = [q, k, v].map(|t| t.to_device(&candle_core::Device::Cpu));
    let [cpu_q, cpu_k, cpu_v] = cpu;
    let out = with_slices(OP, [&cpu_q?, &cpu_k?, &cpu_v?], |[q_rows, k_rows, v_rows]| {
        cache.store(k_rows, v_rows, spans);
        Ok(cache.attend(q_rows, spans, h, scale))
    })?;
    Tensor::from_vec(out, (t, h, dh), q.device())
}

fn check_slots(op: &'static str, spans: &[Span], layout: &KvLayout) -> Result<()> {
    let mut used = vec![false; layout.n_slots];
    for span in spans {
        let fits = span.slot < layout.n_slots && span.past + span.len <= layout.capacity;
        require(
            fits,
            op,
            "spans",
            || format!("{} slots of {} positions", layout.n_slots, layout.capacity),
            || format!("{span:?}"),
        )?;
        require(!used[span.slot], op, "spans", || "a slot per span".into(), || format!("slot {} twice", span.slot))?;
        used[span.slot] = true;
    }
    Ok(())
}

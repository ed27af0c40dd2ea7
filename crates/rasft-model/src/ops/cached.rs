//! Causal attention against a key-value cache, for inference, and the memory layout of that cache.
//!
//! Invariant: a token's result has the same bits whether its prompt came in one piece, in chunks or token by token, and
//! the same bits as [`super::attention`] over the whole sequence.

use super::attention::{Heads, QueryBlock, attend_block, check_spans, divide_rows, exp_rows, query_blocks};
use super::check::{dims, require, with_slices};
use super::gemm::{Left, Right, Start, gemm_here};
use super::microkernel::NR;
use crate::packed::Span;
use candle_core::{Result, Tensor};
use rayon::prelude::*;
use std::collections::BTreeMap;

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

    /// Whether it is for so many heads of this size.
    pub(crate) fn is_of(&self, n_kv_heads: usize, head_dim: usize) -> bool {
        (self.n_kv_heads, self.head_dim) == (n_kv_heads, head_dim)
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
    /// Makes the first `len` positions of slot `to` equal to those of slot `from`; later ones stay.
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        let dh = self.layout.head_dim;
        let (whole, rest) = (len / PANEL * PANEL * dh, len % PANEL);
        for head in 0..self.layout.n_kv_heads {
            let (src, dst) = (self.layout.head_at(from, head), self.layout.head_at(to, head));
            self.keys.copy_within(src..src + whole, dst);
            for row in (whole..whole + dh * PANEL).step_by(PANEL).take_while(|_| rest > 0) {
                self.keys.copy_within(src + row..src + row + rest, dst + row);
            }
            self.values.copy_within(src..src + len * dh, dst);
        }
    }

    /// Attention of the queries `q` of `spans`, whose keys and values are stored.
    ///
    /// Sequences that add one token each and share a prefix read it together: its keys and values come from memory once
    /// for all of them, which at this point is what a decoding step waits for.
    pub(crate) fn attend(
        &self,
        q: &[f32],
        spans: &[Span],
        prefixes: &[Option<Prefix>],
        heads: Heads,
        scale: f32,
        out: &mut [f32],
    ) {
        let (single, long): (Vec<_>, Vec<_>) =
            query_blocks(q, out, spans, heads).into_iter().partition(|(span, _)| spans[*span].len == 1);
        self.attend_long(long, spans, heads, scale);
        // Some tasks per thread, however many sequences share one prefix.
        let most = (single.len() * heads.kv).div_ceil(4 * rayon::current_num_threads());
        let mut groups = groups(single, spans, prefixes, most.max(1));
        let tasks: Vec<_> = (0..groups.len()).flat_map(|group| (0..heads.kv).map(move |g| (group, g))).collect();
        let attend = |&(group, g): &(usize, usize)| self.attend_group(&groups[group], g, heads, scale);
        let results: Vec<Vec<f32>> = tasks.par_iter().with_max_len(1).map(attend).collect();
        for ((group, g), result) in tasks.into_iter().zip(results) {
            let rows = result.chunks_exact(heads.group() * heads.dim);
            for (member, values) in groups[group].members.iter_mut().zip(rows) {
                heads.scatter(values, g, member.out);
            }
        }
    }

    /// Blocks of several queries of one sequence each.
    fn attend_long(&self, mut blocks: Vec<(usize, QueryBlock)>, spans: &[Span], heads: Heads, scale: f32) {
        blocks.par_iter_mut().with_max_len(1).for_each(|(span, block)| {
            let slot = spans[*span].slot;
            attend_block(block, heads, scale, |g| {
                let head = self.head(slot, g);
                (Right::Panels(&self.keys[head.clone()]), Right::Rows { data: &self.values[head], ld: heads.dim })
            });
        });
    }

    /// One key-value head of one group: (members × heads of the group, Dh).
    fn attend_group(&self, group: &Group, g: usize, heads: Heads, scale: f32) -> Vec<f32> {
        let (dh, per, shared) = (heads.dim, heads.group(), group.shared);
        let rows = group.members.len() * per;
        let ld = group.members.iter().map(Member::n).max().unwrap_or(0);
        let mut q = Vec::with_capacity(rows * dh);
        group.members.iter().for_each(|member| heads.gather_onto(member.q, g, scale, &mut q));
        let own = || group.members.iter().enumerate().map(|(i, member)| (i * per, member));
        let (mut scores, mut sums) = (vec![0f32; rows * ld], vec![0f32; rows]);
        for (row, member) in own() {
            // The panel in which the prefix ends holds nothing in front of its end; those scores are overwritten below.
            let (from, keys) = (shared / PANEL * PANEL, &self.keys[self.head(member.slot, g)]);
            let (q, keys) = (Left::Rows { data: &q[row * dh..], ld: dh }, Right::Panels(&keys[from * dh..]));
            gemm_here(per, member.n() - from, dh, q, keys, &mut scores[row * ld + from..], ld, Start::Zero);
        }
        let holder = self.head(group.holder, g);
        if shared > 0 {
            let (q, keys) = (Left::Rows { data: &q, ld: dh }, Right::Panels(&self.keys[holder.clone()]));
            gemm_here(rows, shared, dh, q, keys, &mut scores, ld, Start::Zero);
        }
        for (row, member) in own() {
            exp_rows(&mut scores[row * ld..][..per * ld], ld, member.past, per, &mut sums[row..row + per]);
        }
        let values =
            |head: std::ops::Range<usize>, from: usize| Right::Rows { data: &self.values[head][from * dh..], ld: dh };
        let mut out = vec![0f32; rows * dh];
        gemm_here(rows, dh, shared, Left::Rows { data: &scores, ld }, values(holder, 0), &mut out, dh, Start::Zero);
        for (row, member) in own() {
            // Goes on with the chain where the prefix left it.
            let (scores, values) =
                (Left::Rows { data: &scores[row * ld + shared..], ld }, values(self.head(member.slot, g), shared));
            gemm_here(per, dh, member.n() - shared, scores, values, &mut out[row * dh..], dh, Start::Kept);
        }
        divide_rows(&mut out, dh, &sums);
        out
    }

    /// Where one key-value head of a slot lies.
    fn head(&self, slot: usize, g: usize) -> std::ops::Range<usize> {
        let base = self.layout.head_at(slot, g);
        base..base + self.layout.head_len()
    }

    /// Takes up the keys and values of new tokens.
    pub(crate) fn store(&mut self, k: &[f32], v: &[f32], spans: &[Span]) {
        let KvLayout { n_kv_heads, head_dim: dh, .. } = self.layout;
        let (slot_len, head_len) = (self.layout.slot_len(), self.layout.head_len());
        let mut of_slot = vec![None; self.layout.n_slots];
        spans.iter().for_each(|span| of_slot[span.slot] = Some(span));
        let slots = self.keys.par_chunks_mut(slot_len).zip(self.values.par_chunks_mut(slot_len)).zip(of_slot);
        slots.filter_map(|(slot, span)| Some((slot, span?))).for_each(|((keys, values), span)| {
            for (row, position) in span.rows().zip(span.past..) {
                for head in 0..n_kv_heads {
                    let new = (row * n_kv_heads + head) * dh..(row * n_kv_heads + head + 1) * dh;
                    let base = head * head_len;
                    let panel = base + position / PANEL * PANEL * dh + position % PANEL;
                    for (d, &value) in k[new.clone()].iter().enumerate() {
                        keys[panel + d * PANEL] = value;
                    }
                    values[base + position * dh..][..dh].copy_from_slice(&v[new]);
                }
            }
        });
    }
}

/// A sequence that begins with the tokens of another: the first `len` positions lie in the slot `holder` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub holder: usize,
    pub len: usize,
}

/// Sequences that add one token each and have their first positions in one place.
struct Group<'a> {
    holder: usize,
    shared: usize,
    members: Vec<Member<'a>>,
}

/// One new token of one sequence.
struct Member<'a> {
    slot: usize,
    past: usize,
    q: &'a [f32],
    out: &'a mut [f32],
}

impl Member<'_> {
    /// Positions it attends to.
    fn n(&self) -> usize {
        self.past + 1
    }
}

/// Puts single queries that share a prefix together, `most` at the most, in the order of their first.
fn groups<'a>(
    single: Vec<(usize, QueryBlock<'a>)>,
    spans: &[Span],
    prefixes: &[Option<Prefix>],
    most: usize,
) -> Vec<Group<'a>> {
    let of = |slot: usize| prefixes.get(slot).copied().flatten();
    // The holder reads its own first positions with those that borrow them.
    let mut lent = BTreeMap::new();
    for prefix in single.iter().filter_map(|(span, _)| of(spans[*span].slot)) {
        lent.entry(prefix.holder).or_insert(prefix);
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut at = BTreeMap::new();
    for (span, QueryBlock { q, out, .. }) in single {
        let Span { slot, past, .. } = spans[span];
        let prefix = of(slot).or_else(|| lent.get(&slot).copied()).unwrap_or(Prefix { holder: slot, len: 0 });
        let index = at.entry((prefix.holder, prefix.len)).or_insert(usize::MAX);
        if groups.get(*index).is_none_or(|group| group.members.len() == most) {
            *index = groups.len();
            groups.push(Group { holder: prefix.holder, shared: prefix.len, members: Vec::new() });
        }
        groups[*index].members.push(Member { slot, past, q, out });
    }
    groups
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
        let mut out = vec![0f32; q_rows.len()];
        let heads = Heads { q: h, kv: layout.n_kv_heads, dim: dh };
        cache.attend(q_rows, spans, &[], heads, scale, &mut out);
        Ok(out)
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

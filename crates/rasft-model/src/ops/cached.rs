//! Causal attention against a key-value cache, for inference.
//!
//! Invariant: a token's result has the same bits whether its prompt came in one piece, in chunks or token by token, and
//! the same bits as [`super::attention`] over the whole sequence.

use super::attention::{Heads, QueryBlock, attend_block, check_spans, divide_rows, exp_rows, query_blocks};
use super::check::{dims, require, with_slices};
use super::few_rows::{Rows, times_panels, times_rows};
use super::gemm::{Right, Start};
use super::kv::{KvLayerMut, PANEL};
use super::pack::Scratch;
use super::simd::prefetch;
use crate::packed::Span;
use candle_core::{Result, Tensor};
use rayon::prelude::*;
use std::collections::BTreeMap;

impl KvLayerMut<'_> {
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
                let (keys, values) = self.head(slot, g);
                (Right::NarrowPanels(keys), Right::Rows { data: values, ld: heads.dim })
            });
        });
    }

    /// One key-value head of one group: (members × heads of the group, Dh).
    fn attend_group(&self, group: &Group, g: usize, heads: Heads, scale: f32) -> Vec<f32> {
        let (dh, per, Group { shared, members, .. }) = (heads.dim, heads.group(), group);
        let (shared, rows) = (*shared, members.len() * per);
        let ld = members.iter().map(Member::n).max().unwrap_or(0);
        // The panel in which the prefix ends holds nothing in front of its end; those scores are overwritten below.
        let from = shared / PANEL * PANEL;
        let (shared_keys, shared_values) = self.head(group.holder, g);
        let own_keys = |m: &Member| &self.head(m.slot, g).0[from * dh..m.n().next_multiple_of(PANEL) * dh];
        let own_values = |m: &Member| &self.head(m.slot, g).1[shared * dh..m.n() * dh];
        // Everything that is read, in order, so that each product can ask for what the next one needs.
        let both = [&shared_keys[..shared.next_multiple_of(PANEL) * dh], &shared_values[..shared * dh]];
        let read: Vec<_> = members.iter().map(own_keys).chain(both).chain(members.iter().map(own_values)).collect();
        let next = |at: usize| read[at + 1..].iter().copied().find(|stretch| !stretch.is_empty()).unwrap_or_default();
        prefetch(read[0]);
        let mut room = Scratch::of(rows * (dh + ld + 1));
        let (q, rest) = room.as_mut_slice().split_at_mut(rows * dh);
        let (scores, sums) = rest.split_at_mut(rows * ld);
        let own = || members.iter().enumerate().map(|(i, member)| (i, i * per, member));
        for (i, row, member) in own() {
            heads.gather_into(member.q, g, scale, &mut q[row * dh..]);
            let q = Rows { data: &q[row * dh..], m: per, ld: dh };
            times_panels(q, dh, read[i], member.n() - from, &mut scores[row * ld + from..], ld, next(i));
        }
        let at = members.len();
        times_panels(Rows { data: q, m: rows, ld: dh }, dh, read[at], shared, scores, ld, next(at));
        for (_, row, member) in own() {
            exp_rows(&mut scores[row * ld..][..per * ld], ld, member.past, per, &mut sums[row..row + per]);
        }
        let mut out = vec![0f32; rows * dh];
        let at = at + 1;
        times_rows(Rows { data: scores, m: rows, ld }, shared, read[at], dh, &mut out, Start::Zero, next(at));
        for (i, row, member) in own() {
            // Goes on with the chain where the prefix left it.
            let scores = Rows { data: &scores[row * ld + shared..], m: per, ld };
            let at = at + 1 + i;
            times_rows(scores, member.n() - shared, read[at], dh, &mut out[row * dh..], Start::Kept, next(at));
        }
        divide_rows(&mut out, dh, sums);
        out
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
    let [_, hkv, dk] = kv;
    let fits = kv[0] == t && cache.layout().is_of(hkv, dk);
    require(fits, OP, "k", || format!("({t}, {})", cache.layout().heads()), || format!("{kv:?}"))?;
    require(v.dims() == kv, OP, "v", || format!("{kv:?}"), || format!("{:?}", v.dims()))?;
    let q_fits = dh == dk && h.is_multiple_of(hkv.max(1));
    require(q_fits, OP, "q", || format!("heads × {dk} for {hkv} kv heads"), || format!("{:?}", q.dims()))?;
    check_spans(OP, spans, t)?;
    cache.check_slots(OP, spans)?;
    let cpu = [q, k, v].map(|t| t.to_device(&candle_core::Device::Cpu));
    let [cpu_q, cpu_k, cpu_v] = cpu;
    let out = with_slices(OP, [&cpu_q?, &cpu_k?, &cpu_v?], |[q_rows, k_rows, v_rows]| {
        cache.store(k_rows, v_rows, spans);
        let mut out = vec![0f32; q_rows.len()];
        let heads = Heads { q: h, kv: hkv, dim: dh };
        cache.attend(q_rows, spans, &[], heads, scale, &mut out);
        Ok(out)
    })?;
    Tensor::from_vec(out, (t, h, dh), q.device())
}

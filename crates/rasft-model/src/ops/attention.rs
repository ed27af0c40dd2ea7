//! Causal attention over packed sequences, grouped queries, for training and for whole sequences.
//!
//! Invariant: scores, the softmax and the weighted sum of one query are the same chains as in [`super::cached`], so both
//! give the same bits. Scores exist for one block of queries of one sequence and one key-value head at a time.

use super::attention_grad::gradients;
use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::gemm::{Left, Right, gemm_new};
use super::pack::Tasks;
use super::plain;
use super::simd::{exp_and_sum, max_of, multiversion};
use crate::packed::Span;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::ops::Range;

const OP: &str = "attention";
/// Query rows (queries × heads of a group) of one block: many enough to use the matrix product well, few enough that
/// their scores against some thousand keys stay in the second-level cache.
const BLOCK_ROWS: usize = 96;

/// Causal self-attention inside each span; heads `g·H/Hkv..(g+1)·H/Hkv` of q read key-value head g.
///
/// `y[t] = Σ_{j ≤ t} softmax_j(scale · q[t]·k[j]) · v[j]`, j and t in the same span.
///
/// # Shapes
/// q (T, H, Dh), k and v (T, Hkv, Dh) → (T, H, Dh). Spans tile 0..T in order and have `past` 0.
/// # Errors
/// Shapes that do not fit, H not a multiple of Hkv, spans that do not tile the rows or that have a past, strided tensors.
/// # Source
/// Vaswani et al. 2017; grouped queries: Ainslie et al. 2023.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], scale: f32) -> Result<Tensor> {
    let [t, h, dh] = dims(OP, "q", q)?;
    let [tk, hkv, dk] = dims(OP, "k", k)?;
    let _: [usize; 3] = dims(OP, "v", v)?;
    let kv_fits = tk == t && dk == dh && dh > 0 && hkv > 0 && h > 0 && h.is_multiple_of(hkv);
    require(kv_fits, OP, "k", || format!("({t}, a divisor of {h}, {dh})"), || format!("{:?}", k.dims()))?;
    require(v.dims() == k.dims(), OP, "v", || format!("{:?}", k.dims()), || format!("{:?}", v.dims()))?;
    check_spans(OP, spans, t)?;
    require(spans.iter().all(|s| s.past == 0), OP, "spans", || "past 0".into(), || format!("{spans:?}"))?;
    if !has_kernel(&[q, k, v]) {
        return plain::attention(q, k, v, spans, scale);
    }
    q.apply_op3(k, v, Attention { spans: spans.to_vec(), scale })
}

/// Fails unless the spans tile `0..rows` in order.
pub(crate) fn check_spans(op: &'static str, spans: &[Span], rows: usize) -> Result<()> {
    let mut next = 0;
    for span in spans {
        let fits = span.start == next && span.len > 0;
        require(fits, op, "spans", || format!("a span from row {next}"), || format!("{span:?}"))?;
        next += span.len;
    }
    require(next == rows, op, "spans", || format!("{rows} rows"), || format!("{next} rows"))
}

/// Numbers of query heads and key-value heads, and the size of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub q: usize,
    pub kv: usize,
    pub dim: usize,
}

impl Heads {
    /// Query heads per key-value head.
    pub fn group(&self) -> usize {
        self.q / self.kv
    }

    /// Values of one token's queries.
    pub fn q_row(&self) -> usize {
        self.q * self.dim
    }

    /// Values of one token's keys.
    pub fn kv_row(&self) -> usize {
        self.kv * self.dim
    }

    /// Queries in one block.
    pub fn queries_per_block(&self) -> usize {
        (BLOCK_ROWS / self.group()).max(1)
    }

    /// Values `query, head in group g, dim` taken from rows of all heads, times `factor`.
    pub fn gather(&self, rows: &[f32], g: usize, factor: f32) -> Vec<f32> {
        let mut values = vec![0.0; rows.len() / self.kv];
        self.gather_into(rows, g, factor, &mut values);
        values
    }

    /// [`Heads::gather`] into memory that is there.
    pub fn gather_into(&self, rows: &[f32], g: usize, factor: f32, values: &mut [f32]) {
        let (len, from) = (self.group() * self.dim, g * self.group() * self.dim);
        for (row, values) in rows.chunks_exact(self.q_row()).zip(values.chunks_exact_mut(len)) {
            values.iter_mut().zip(&row[from..]).for_each(|(value, x)| *value = x * factor);
        }
    }

    /// The reverse of [`Heads::gather`].
    pub fn scatter(&self, values: &[f32], g: usize, rows: &mut [f32]) {
        let (len, from) = (self.group() * self.dim, g * self.group() * self.dim);
        for (row, values) in rows.chunks_exact_mut(self.q_row()).zip(values.chunks_exact(len)) {
            row[from..from + len].copy_from_slice(values);
        }
    }
}

/// Consecutive queries of one sequence: their rows of q, the position of the first, and the rows of the result.
pub(crate) struct QueryBlock<'a> {
    pub q: &'a [f32],
    pub first: usize,
    pub out: &'a mut [f32],
}

/// Cuts every span's rows of q and out into blocks of queries, with the index of the span.
pub(crate) fn query_blocks<'a>(
    q: &'a [f32],
    mut out: &'a mut [f32],
    spans: &[Span],
    heads: Heads,
) -> Vec<(usize, QueryBlock<'a>)> {
    let mut blocks = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        for from in (0..span.len).step_by(heads.queries_per_block()) {
            let len = heads.queries_per_block().min(span.len - from);
            let (mine, rest) = out.split_at_mut(len * heads.q_row());
            out = rest;
            let q = &q[(span.start + from) * heads.q_row()..][..len * heads.q_row()];
            blocks.push((index, QueryBlock { q, first: span.past + from, out: mine }));
        }
    }
    blocks
}

/// Rows of keys and values that each span sees, where they lie end to end: those of its past, then its own.
pub(crate) fn key_rows(spans: &[Span]) -> Vec<Range<usize>> {
    let mut next = 0;
    let rows = |span: &Span| {
        let start = next;
        next += span.past + span.len;
        start..next
    };
    spans.iter().map(rows).collect()
}

/// Causal attention from `[q, k, v]`, with keys and values as [`key_rows`] has them.
pub(crate) fn attend([q, k, v]: [&[f32]; 3], spans: &[Span], heads: Heads, scale: f32, out: &mut [f32]) {
    let keys = key_rows(spans);
    debug_assert_eq!(k.len(), keys.last().map_or(0, |rows| rows.end) * heads.kv_row());
    let mut blocks = query_blocks(q, out, spans, heads);
    blocks.par_iter_mut().with_max_len(1).for_each(|(span, block)| {
        let from = keys[*span].start * heads.kv_row();
        let ld = heads.kv_row();
        attend_block(block, heads, scale, |g| {
            let at = from + g * heads.dim;
            (Right::Transposed { data: &k[at..], ld }, Right::Rows { data: &v[at..], ld })
        });
    });
}

/// Attention of one block of queries; `kv(g)` gives keys (Dh, n) and values (n, Dh) of key-value head g.
pub(crate) fn attend_block<'a>(
    block: &mut QueryBlock,
    heads: Heads,
    scale: f32,
    kv: impl Fn(usize) -> (Right<'a>, Right<'a>) + Sync,
) {
    let q = block.q;
    let first = block.first;
    let attend = |g: usize| attend_group(&heads.gather(q, g, scale), first, heads, kv(g));
    let groups: Vec<Vec<f32>> = (0..heads.kv).into_par_iter().with_max_len(1).map(attend).collect();
    for (g, values) in groups.iter().enumerate() {
        heads.scatter(values, g, block.out);
    }
}

/// `q` (queries × group, Dh), scaled, against keys and values of one head.
fn attend_group(q: &[f32], first: usize, heads: Heads, (keys, values): (Right, Right)) -> Vec<f32> {
    let (dh, group) = (heads.dim, heads.group());
    let rows = q.len() / dh;
    let n = first + rows / group;
    let mut scores = scores(q, keys, rows, n, dh);
    let mut sums = vec![0f32; rows];
    exp_rows(&mut scores, n, first, group, &mut sums);
    let mut out = gemm_new(rows, dh, n, Left::Rows { data: &scores, ld: n }, values, Tasks::One);
    divide_rows(&mut out, dh, &sums);
    out
}

/// Divides each row by its sum.
pub(crate) fn divide_rows(rows: &mut [f32], width: usize, sums: &[f32]) {
    for (row, sum) in rows.chunks_exact_mut(width).zip(sums) {
        let factor = 1.0 / sum;
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

/// `q·keys`, (rows, n).
pub(crate) fn scores(q: &[f32], keys: Right, rows: usize, n: usize, dh: usize) -> Vec<f32> {
    gemm_new(rows, n, dh, Left::Rows { data: q, ld: dh }, keys, Tasks::One)
}

multiversion! {
    /// Row r, whose query stands at `first + r / group`: `exp(score − max)` up to there, 0 behind; the sums go to `sums`.
    pub(crate) fn exp_rows(scores: &mut [f32], n: usize, first: usize, group: usize, sums: &mut [f32]) {
        for (r, (row, sum)) in scores.chunks_exact_mut(n).zip(sums).enumerate() {
            let (seen, ahead) = row.split_at_mut(first + r / group + 1);
            *sum = exp_and_sum(seen, max_of(seen));
            ahead.fill(0.0);
        }
    }
}

struct Attention {
    spans: Vec<Span>,
    scale: f32,
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (slice(OP, s1, l1)?, slice(OP, s2, l2)?, slice(OP, s3, l3)?);
        let heads = heads(l1, l2)?;
        let mut out = vec![0f32; q.len()];
        attend([q, k, v], &self.spans, heads, self.scale, &mut out);
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let heads = heads(q.layout(), k.layout())?;
        let [dq, dk, dv] =
            with_slices(OP, [q, k, v, y, &dense(dy)?], |slices| Ok(gradients(slices, &self.spans, heads, self.scale)))?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(dq, q)?, tensor(dk, k)?, tensor(dv, v)?))
    }
}

fn heads(q: &Layout, k: &Layout) -> Result<Heads> {
    let ((_, q, dim), (_, kv, _)) = (q.shape().dims3()?, k.shape().dims3()?);
    Ok(Heads { q, kv, dim })
}

//! The backward pass of [`super::attention`].
//!
//! The probabilities are computed again, block of queries by block of queries. A key-value head of a span belongs to
//! one task, which adds up its keys' and values' gradients in the order of the queries.

use super::attention::{Heads, exp_rows, key_rows, scores};
use super::gemm::{Left, Right, Start, gemm_here, gemm_new};
use super::pack::Tasks;
use super::simd::{multiversion, sum_of_products};
use crate::packed::Span;
use rayon::prelude::*;
use std::ops::Range;

/// Gradients of q, k and v from `[q, k, v, y, dy]`.
///
/// With `P` the probabilities: `dv = Pᵀ·dy`, `dS = P∘(dy·vᵀ − Σ dy∘y)`, `dq = scale·dS·k`, `dk = dSᵀ·(scale·q)`.
pub(crate) fn gradients(slices: [&[f32]; 5], spans: &[Span], heads: Heads, scale: f32) -> [Vec<f32>; 3] {
    let [q, k, ..] = slices;
    let (mut dq, mut dk, mut dv) = (vec![0f32; q.len()], vec![0f32; k.len()], vec![0f32; k.len()]);
    gradients_into(slices, spans, heads, scale, [&mut dq, &mut dk, &mut dv]);
    [dq, dk, dv]
}

/// [`gradients`] into memory that is there; what it held before does not matter. Keys and values, and their gradients, lie as
/// [`key_rows`] has them.
pub(crate) fn gradients_into(slices: [&[f32]; 5], spans: &[Span], heads: Heads, scale: f32, into: [&mut [f32]; 3]) {
    let [mut dq_rest, mut dk_rest, mut dv_rest] = into;
    let mut tasks = Vec::with_capacity(spans.len());
    for (span, keys) in spans.iter().zip(key_rows(spans)) {
        let mine = [
            split_front(&mut dq_rest, span.len * heads.q_row()),
            split_front(&mut dk_rest, keys.len() * heads.kv_row()),
            split_front(&mut dv_rest, keys.len() * heads.kv_row()),
        ];
        tasks.push((span.rows(), keys, mine));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(queries, keys, [dq, dk, dv])| {
        let rows = SpanRows::new(slices, [queries, keys], heads, scale);
        let groups: Vec<[Vec<f32>; 3]> =
            (0..heads.kv).into_par_iter().with_max_len(1).map(|g| rows.gradients(g)).collect();
        for (g, [q_part, k_part, v_part]) in groups.iter().enumerate() {
            heads.scatter(q_part, g, dq);
            let per_token = Heads { q: heads.kv, ..heads };
            per_token.scatter(k_part, g, dk);
            per_token.scatter(v_part, g, dv);
        }
    });
}

fn split_front<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (front, behind) = std::mem::take(rest).split_at_mut(len);
    *rest = behind;
    front
}

/// The rows of one span.
struct SpanRows<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    /// Positions of the queries; keys begin at 0.
    queries: Range<usize>,
    heads: Heads,
    scale: f32,
}

impl<'a> SpanRows<'a> {
    /// Those of these rows of queries and of keys.
    fn new([q, k, v, y, dy]: [&'a [f32]; 5], [q_rows, k_rows]: [Range<usize>; 2], heads: Heads, scale: f32) -> Self {
        let [q, y, dy] = [q, y, dy].map(|x| &x[q_rows.start * heads.q_row()..q_rows.end * heads.q_row()]);
        let [k, v] = [k, v].map(|x| &x[k_rows.start * heads.kv_row()..k_rows.end * heads.kv_row()]);
        Self { q, k, v, y, dy, queries: k_rows.len() - q_rows.len()..k_rows.len(), heads, scale }
    }

    /// `(dq, dk, dv)` of key-value head g and its group of query heads.
    fn gradients(&self, g: usize) -> [Vec<f32>; 3] {
        let dh = self.heads.dim;
        let Range { start, end } = self.queries;
        let mut dq = Vec::with_capacity(self.queries.len() * self.heads.group() * dh);
        let (mut dk, mut dv) = (vec![0f32; end * dh], vec![0f32; end * dh]);
        let per_block = self.heads.queries_per_block();
        for first in (start..end).step_by(per_block) {
            let queries = first..(first + per_block).min(end);
            dq.extend(self.block(g, queries, &mut dk, &mut dv));
        }
        [dq, dk, dv]
    }

    /// Adds what one block of queries contributes to `dk` and `dv`, and returns its `dq`.
    fn block(&self, g: usize, queries: Range<usize>, dk: &mut [f32], dv: &mut [f32]) -> Vec<f32> {
        let (dh, group, ld) = (self.heads.dim, self.heads.group(), self.heads.kv_row());
        let row = |position: usize| (position - self.queries.start) * self.heads.q_row();
        let wide = row(queries.start)..row(queries.end);
        let (rows, n) = (queries.len() * group, queries.end);
        let q = self.heads.gather(&self.q[wide.clone()], g, self.scale);
        let y = self.heads.gather(&self.y[wide.clone()], g, 1.0);
        let dy = self.heads.gather(&self.dy[wide], g, 1.0);
        let (k, v) = (&self.k[g * dh..], &self.v[g * dh..]);
        let mut probs = scores(&q, Right::Transposed { data: k, ld }, rows, n, dh);
        let mut sums = vec![0f32; rows];
        exp_rows(&mut probs, n, queries.start, group, &mut sums);
        let mut ds = scores(&dy, Right::Transposed { data: v, ld }, rows, n, dh);
        finish_rows(&mut probs, &mut ds, &sums, &y, &dy, n);
        let right = |data| Right::Rows { data, ld: dh };
        gemm_here(n, dh, rows, Left::Transposed(&probs), right(&dy), dv, dh, Start::Kept);
        gemm_here(n, dh, rows, Left::Transposed(&ds), right(&q), dk, dh, Start::Kept);
        let keys = Right::Rows { data: k, ld };
        let mut dq = gemm_new(rows, dh, n, Left::Rows { data: &ds, ld: n }, keys, Tasks::One);
        dq.iter_mut().for_each(|value| *value *= self.scale);
        dq
    }
}

multiversion! {
    /// Per row: `P ← P / sum`, `dS ← P∘(dS − Σ dy∘y)`.
    fn finish_rows(probs: &mut [f32], ds: &mut [f32], sums: &[f32], y: &[f32], dy: &[f32], n: usize) {
        let dh = y.len() / sums.len();
        for (r, (probs, ds)) in probs.chunks_exact_mut(n).zip(ds.chunks_exact_mut(n)).enumerate() {
            let factor = 1.0 / sums[r];
            let shift = sum_of_products(&y[r * dh..(r + 1) * dh], &dy[r * dh..(r + 1) * dh]);
            for (p, d) in probs.iter_mut().zip(ds) {
                *p *= factor;
                *d = *p * (*d - shift);
            }
        }
    }
}

//! The output projection and the log-softmax at one target per row, fused: the (N, V) logits never exist.
//!
//! Both passes work on tiles of some hundred rows × some hundred entries of the vocabulary. The forward pass keeps a
//! maximum and a sum per row and tile; the backward pass computes the logits again. Invariant: tiles of the vocabulary have
//! a fixed width, and a row's statistics are put together in their order.

use super::check::{dense, dims, has_kernel, require, slice, with_slices};
use super::gemm::{Left, Right, Start, gemm_here, gemm_new};
use super::linear::column_sums;
use super::pack::Tasks;
use super::packed_weight::PackedWeight;
use super::plain;
use super::simd::{exp, exp_and_sum, max_of, multiversion};
use super::weight::{Element, Weight, is_weight, with_weight};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

const OP: &str = "linear_cross_entropy";
/// Rows and vocabulary entries of a tile: its logits (768 KiB) and the rows' hidden states stay in the second-level cache.
const ROWS: usize = 512;
const ENTRIES: usize = 384;
/// Parts of the vocabulary whose contributions to dh are summed apart: fixed, so that threads do not matter.
const PARTS: usize = 16;

/// Log-probability of one target token per row under the full softmax, in nats.
///
/// `y[n] = z[n, targets[n]] − log Σ_v exp z[n, v]`, `z = h·wᵀ`
///
/// Memory beyond the result and the gradients does not grow with N·V; rows whose upstream gradient is 0 cost nothing in
/// the backward pass.
///
/// # Shapes
/// h (N, D), w (V, D), targets (N) → (N), all ≤ 0. `w` may be bf16 beside an f32 h on the CPU.
/// # Errors
/// Shapes that do not fit, a target ≥ V, strided tensors.
/// # Source
/// algorithm.md §11 (token log-probabilities).
pub fn linear_cross_entropy(h: &Tensor, w: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let [n, d] = dims(OP, "h", h)?;
    let [v, wd] = dims(OP, "w", w)?;
    require(wd == d && d > 0, OP, "w", || format!("(V, {d})"), || format!("{:?}", w.dims()))?;
    require(targets.len() == n, OP, "targets", || n.to_string(), || targets.len().to_string())?;
    let top = targets.iter().copied().max().unwrap_or(0) as usize;
    require(n == 0 || top < v, OP, "targets", || format!("below {v}"), || top.to_string())?;
    if !has_kernel(&[h]) || !is_weight(w) {
        return plain::linear_cross_entropy(h, w, targets);
    }
    h.apply_op2(w, CrossEntropy { targets: targets.to_vec() })
}

struct CrossEntropy {
    targets: Vec<u32>,
}

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, d) = l1.shape().dims2()?;
        let y = forward(slice(OP, s1, l1)?, Vocabulary::Stored(Weight::of(OP, s2, l2)?), d, &self.targets);
        Ok((CpuStorage::F32(y), self.targets.len().into()))
    }

    fn bwd(&self, h: &Tensor, w: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (d, wants_w) = (w.dim(1)?, w.track_op());
        let (dh, dw) = with_slices(OP, [h, y, &dense(dy)?], |[h, y, dy]| {
            let mut dw = vec![0f32; if wants_w { w.elem_count() } else { 0 }];
            let dh = with_weight(OP, w, |w| Ok(gradients([h, y, dy], w, &self.targets, d, &mut dw, Start::Kept)))?;
            Ok((dh, dw))
        })?;
        let dw = wants_w.then(|| Tensor::from_vec(dw, w.shape(), w.device())).transpose()?;
        Ok((Some(Tensor::from_vec(dh, h.shape(), h.device())?), dw))
    }
}

/// What one tile knows about its rows: maximum and sum of exponentials, and the logits of targets inside the tile.
struct TileStats {
    top_and_sum: Vec<(f32, f32)>,
    targets: Vec<(usize, f32)>,
}

/// dh from `[h, y, dy]` and w; replaces `dw` or adds to it. It is empty when nobody wants it.
pub(crate) fn gradients(
    rows: [&[f32]; 3],
    w: Weight<'_>,
    targets: &[u32],
    d: usize,
    dw: &mut [f32],
    start: Start,
) -> Vec<f32> {
    match w {
        Weight::F32(w) => gradients_of(rows, w, targets, d, dw, start),
        Weight::Bf16(w) => gradients_of(rows, w, targets, d, dw, start),
    }
}

fn gradients_of<T: Element>(
    [h, y, dy]: [&[f32]; 3],
    w: &[T],
    targets: &[u32],
    d: usize,
    dw: &mut [f32],
    start: Start,
) -> Vec<f32> {
    let rows = Rows::active(h, w, y, dy, targets, d);
    if rows.index.is_empty() && start == Start::Zero {
        dw.fill(0.0);
    }
    let active = backward(&rows, w, dw, start);
    let mut dh = vec![0f32; h.len()];
    for (&n, row) in rows.index.iter().zip(active.chunks_exact(d)) {
        dh[n * d..(n + 1) * d].copy_from_slice(row);
    }
    dh
}

/// The output projection (V, D).
#[derive(Clone, Copy)]
pub(crate) enum Vocabulary<'a> {
    Stored(Weight<'a>),
    Packed(&'a PackedWeight),
}

impl<'a> Vocabulary<'a> {
    fn len(self, d: usize) -> usize {
        match self {
            Self::Stored(w) => w.len() / d,
            Self::Packed(w) => w.n(),
        }
    }

    /// The entries from `first` on as a right operand; `first` is a multiple of [`ENTRIES`].
    fn right(self, first: usize, d: usize) -> Right<'a> {
        match self {
            Self::Stored(w) => w.from(first * d).transposed(d),
            Self::Packed(w) => w.right_from(first),
        }
    }
}

/// Log-probabilities of the targets.
pub(crate) fn forward(h: &[f32], w: Vocabulary, d: usize, targets: &[u32]) -> Vec<f32> {
    let entries = w.len(d);
    let tiles = entries.div_ceil(ENTRIES);
    let mut y = vec![0f32; targets.len()];
    for (chunk, y) in y.chunks_mut(ROWS).enumerate() {
        let from = chunk * ROWS;
        let rows = &h[from * d..(from + y.len()) * d];
        let targets = &targets[from..from + y.len()];
        let stats: Vec<TileStats> = (0..tiles)
            .into_par_iter()
            .with_max_len(1)
            .map(|tile| tile_stats(rows, w, d, tile * ENTRIES..entries.min((tile + 1) * ENTRIES), targets))
            .collect();
        let mut logits = vec![0f32; y.len()];
        stats.iter().flat_map(|tile| &tile.targets).for_each(|&(row, z)| logits[row] = z);
        for (row, (y, z)) in y.iter_mut().zip(logits).enumerate() {
            *y = log_prob(z, stats.iter().map(|tile| tile.top_and_sum[row]));
        }
    }
    y
}

fn tile_stats(h: &[f32], w: Vocabulary, d: usize, tile: std::ops::Range<usize>, targets: &[u32]) -> TileStats {
    let (rows, cols, first) = (targets.len(), tile.len(), tile.start);
    let mut z = gemm_new(rows, cols, d, Left::Rows { data: h, ld: d }, w.right(first, d), Tasks::One);
    let inside = |target: u32| (target as usize).checked_sub(first).filter(|at| *at < cols);
    let at = targets.iter().enumerate().filter_map(|(row, &target)| Some((row, z[row * cols + inside(target)?])));
    let targets = at.collect();
    let mut top_and_sum = vec![(0.0, 0.0); rows];
    row_stats(&mut z, cols, &mut top_and_sum);
    TileStats { top_and_sum, targets }
}

multiversion! {
    fn row_stats(z: &mut [f32], cols: usize, stats: &mut [(f32, f32)]) {
        for (row, stats) in z.chunks_exact_mut(cols).zip(stats) {
            let top = max_of(row);
            *stats = (top, exp_and_sum(row, top));
        }
    }
}

/// `z − log Σ exp`, the tiles put together in f64 in the order of the vocabulary.
fn log_prob(z: f32, tiles: impl Iterator<Item = (f32, f32)> + Clone) -> f32 {
    let top = tiles.clone().fold(f32::NEG_INFINITY, |top, (tile_top, _)| top.max(tile_top));
    let sum: f64 = tiles.map(|(tile_top, sum)| f64::from(sum) * f64::from(tile_top - top).exp()).sum();
    (f64::from(z - top) - sum.ln()) as f32
}

/// The rows with a gradient, side by side.
struct Rows {
    /// Where each row stands in the batch.
    index: Vec<usize>,
    h: Vec<f32>,
    targets: Vec<u32>,
    /// `log Σ exp z`, nats.
    log_sums: Vec<f32>,
    dy: Vec<f32>,
}

impl Rows {
    fn active<T: Element>(h: &[f32], w: &[T], y: &[f32], dy: &[f32], targets: &[u32], d: usize) -> Self {
        let index: Vec<usize> = (0..targets.len()).filter(|&n| dy[n] != 0.0).collect();
        let row = |n: usize| &h[n * d..(n + 1) * d];
        // The forward pass' logit of the target is this very chain; its log-sum follows from the result.
        let log_sum = |n: usize| {
            let weight = &w[targets[n] as usize * d..][..d];
            let z = row(n).iter().zip(weight).fold(0f32, |sum, (&x, w)| x.mul_add(w.widen(), sum));
            z - y[n]
        };
        Self {
            h: index.iter().flat_map(|&n| row(n)).copied().collect(),
            targets: index.iter().map(|&n| targets[n]).collect(),
            log_sums: index.iter().map(|&n| log_sum(n)).collect(),
            dy: index.iter().map(|&n| dy[n]).collect(),
            index,
        }
    }
}

/// Returns dh of the rows; replaces `dw` or adds to it.
fn backward<T: Element>(rows: &Rows, w: &[T], dw: &mut [f32], start: Start) -> Vec<f32> {
    let n = rows.index.len();
    if n == 0 {
        return Vec::new();
    }
    let d = rows.h.len() / n;
    let tiles = w.len().div_ceil(ENTRIES * d);
    let part_len = tiles.div_ceil(PARTS) * ENTRIES * d;
    let mut dh = Vec::with_capacity(n * d);
    for from in (0..n).step_by(ROWS) {
        let chunk = from..(from + ROWS).min(n);
        let start = if from == 0 { start } else { Start::Kept };
        let len = chunk.len() * d;
        let mut partial = vec![0f32; w.len().div_ceil(part_len) * len];
        let parts = partial.par_chunks_mut(len).zip(w.par_chunks(part_len)).enumerate().with_max_len(1);
        if dw.is_empty() {
            parts.for_each(|(part, (dh, w))| {
                part_gradients(rows, chunk.clone(), w, part * part_len / d, dh, (&mut [], start))
            });
        } else {
            parts.zip(dw.par_chunks_mut(part_len)).for_each(|((part, (dh, w)), dw)| {
                part_gradients(rows, chunk.clone(), w, part * part_len / d, dh, (dw, start));
            });
        }
        dh.extend(column_sums(&partial, len));
    }
    dh
}

/// One chunk of rows against one part of the vocabulary, tile by tile.
fn part_gradients<T: Element>(
    rows: &Rows,
    chunk: std::ops::Range<usize>,
    w: &[T],
    first: usize,
    dh: &mut [f32],
    (dw, start): (&mut [f32], Start),
) {
    let n = chunk.len();
    let d = dh.len() / n;
    let h = &rows.h[chunk.start * d..chunk.end * d];
    let mut z = vec![0f32; n * ENTRIES];
    for (tile, w) in w.chunks(ENTRIES * d).enumerate() {
        let cols = w.len() / d;
        let z = &mut z[..n * cols];
        gemm_here(n, cols, d, Left::Rows { data: h, ld: d }, T::transposed(w, d), z, cols, Start::Zero);
        logit_gradients(z, cols, &rows.log_sums[chunk.clone()], &rows.dy[chunk.clone()]);
        let tile_first = first + tile * ENTRIES;
        for (row, n) in chunk.clone().enumerate() {
            if let Some(at) = (rows.targets[n] as usize).checked_sub(tile_first).filter(|at| *at < cols) {
                z[row * cols + at] += rows.dy[n];
            }
        }
        gemm_here(n, d, cols, Left::Rows { data: z, ld: cols }, T::rows(w, d), dh, d, Start::Kept);
        if !dw.is_empty() {
            let dw = &mut dw[tile * ENTRIES * d..][..cols * d];
            gemm_here(cols, d, n, Left::Transposed(z), Right::Rows { data: h, ld: d }, dw, d, start);
        }
    }
}

multiversion! {
    /// `dz = −dy·exp(z − log_sum)`, the softmax part of the gradient; the target's `+dy` is added by the caller.
    fn logit_gradients(z: &mut [f32], cols: usize, log_sums: &[f32], dy: &[f32]) {
        for (row, (log_sum, dy)) in z.chunks_exact_mut(cols).zip(log_sums.iter().zip(dy)) {
            for z in row {
                *z = -dy * exp(*z - log_sum);
            }
        }
    }
}

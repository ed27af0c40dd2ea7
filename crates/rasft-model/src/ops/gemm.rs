//! `C = A·B (+ C)` with the same bits for every tiling, batch and number of threads.
//!
//! Blocking, packing and the split into tasks follow sizes and threads freely, because each element is one chain of
//! fused multiply-adds in the order of k whatever they are (see [`super::microkernel`]): a block of k continues the
//! chain from what the previous block stored. Deliberately absent: any product of partial sums over k.

#![expect(unsafe_code, reason = "tasks write disjoint tiles of one matrix")]

use super::microkernel::{MR, NR, Source, Tile, WIDTH, lines_ahead, run};
pub(crate) use super::operand::{Left, Right};
use super::operand::{PanelView, panel};
use super::pack::{Scratch, Tasks, panels_of_transposed, scratch_panels_of_stored};
use super::simd::LINE_BYTES;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Chain length per block of B, at most. Measured: shorter ones pay for visiting C more often.
const KC: usize = 576;
/// Rows of A passed over per panel of B, at most: a block of `MC` × `KC` stays in the second-level cache.
const MC: usize = 288;
/// Rows of one task, at most, and of one pass where laying B out costs more than a copy.
const TASK_ROWS: usize = 2 * MC;
/// Rows up to which panels are read in the order of memory; more of them had better keep their block of A. Fewer are
/// not worth a task.
const FEW: usize = 64;
// Blocks begin at even steps and in whole panels, and `even` keeps within what is a multiple of its unit.
const _: () = assert!(KC.is_multiple_of(WIDTH) && WIDTH.is_multiple_of(2) && MC.is_multiple_of(MR));
/// Values of B, stored transposed, up to which it is packed as a whole for the rows of several tasks.
const PACK_WHOLE: usize = 1 << 22;
/// Multiply-adds below which waking threads costs more than it gains.
const SEQUENTIAL: usize = 1 << 17;

/// Whether the chains start from 0 or from what C holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Zero,
    Kept,
}

/// A view of rows of A for one task.
#[derive(Clone, Copy)]
struct LeftView {
    data: *const f32,
    /// Between panels of 8 rows, between rows, between steps of k.
    strides: [usize; 3],
}

#[derive(Clone, Copy)]
struct Output {
    data: *mut f32,
    ld: usize,
}
// SAFETY: tasks write disjoint tiles.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}
// SAFETY: only read.
unsafe impl Send for LeftView {}
// SAFETY: only read.
unsafe impl Sync for LeftView {}

/// `c[i, j] = start + Σ_k a[i, k]·b[k, j]` on all threads, `c[i, j]` at `i·ldc + j`.
pub(crate) fn gemm(m: usize, n: usize, k: usize, a: Left, b: Right, c: &mut [f32], ldc: usize, start: Start) {
    check(m, n, k, &a, &b, c.len(), ldc);
    let out = Output { data: c.as_mut_ptr(), ld: ldc };
    // SAFETY: C is borrowed mutably and sizes were checked.
    unsafe { product(m, n, k, a, b, out, start, Tasks::Many) };
}

/// [`gemm`] on the calling thread alone, for use inside a task.
pub(crate) fn gemm_here(m: usize, n: usize, k: usize, a: Left, b: Right, c: &mut [f32], ldc: usize, start: Start) {
    check(m, n, k, &a, &b, c.len(), ldc);
    let out = Output { data: c.as_mut_ptr(), ld: ldc };
    // SAFETY: C is borrowed mutably and sizes were checked.
    unsafe { product(m, n, k, a, b, out, start, Tasks::One) };
}

/// A·B in fresh memory, (M, N), which is not cleared first: that would cost a tenth of a typical product.
pub(crate) fn gemm_new(m: usize, n: usize, k: usize, a: Left, b: Right, tasks: Tasks) -> Vec<f32> {
    let mut c = Vec::with_capacity(m * n);
    check(m, n, k, &a, &b, m * n, n);
    let out = Output { data: c.as_mut_ptr(), ld: n };
    // SAFETY: the memory is ours and holds m·n values; starting from zero, every one of them is written before it is
    // read.
    unsafe {
        product(m, n, k, a, b, out, Start::Zero, tasks);
        c.set_len(m * n);
    }
    c
}

/// Splits C into rectangles, one task each.
///
/// # Safety
/// Sizes are as [`check`] asks and nobody else uses C.
unsafe fn product(m: usize, n: usize, k: usize, a: Left, b: Right, c: Output, start: Start, tasks: Tasks) {
    if m == 0 || n == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    let tasks = if threads == 1 || m * n * k <= SEQUENTIAL { Tasks::One } else { tasks };
    let packed_b;
    let b = match b {
        Right::Transposed { data, ld } if ld == k && m > TASK_ROWS && n * k <= PACK_WHOLE => {
            packed_b = scratch_panels_of_stored(&data[..n * k], k, tasks);
            Right::Panels(packed_b.as_slice())
        }
        Right::HalfTransposed { data, ld } if ld == k && m > TASK_ROWS && n * k <= PACK_WHOLE => {
            packed_b = scratch_panels_of_stored(&data[..n * k], k, tasks);
            Right::Panels(packed_b.as_slice())
        }
        b => b,
    };
    let mut packed = Scratch::empty();
    if tasks == Tasks::One {
        let left = left_view(m, k, a, Tasks::One, &mut packed);
        // SAFETY: the caller's promise.
        return unsafe { block(0..m, 0..n, k, left, &b, c, start) };
    }
    let left = left_view(m, k, a, Tasks::Many, &mut packed);
    let panels = n.div_ceil(NR);
    // Enough tasks for an even load, few enough that each is worth a wake-up.
    let fair = m.div_ceil(4 * threads).next_multiple_of(MR);
    let row_block = if panels * m.div_ceil(TASK_ROWS) >= 4 * threads { even(m, TASK_ROWS, MR) } else { fair.max(FEW) };
    let row_blocks = m.div_ceil(row_block);
    let group = (panels * row_blocks / (32 * threads)).clamp(1, panels);
    let groups = panels.div_ceil(group);
    (0..groups * row_blocks).into_par_iter().with_max_len(1).for_each(|task| {
        let rows = task / groups * row_block..(task / groups * row_block + row_block).min(m);
        let columns = task % groups * group * NR..((task % groups + 1) * group * NR).min(n);
        // SAFETY: the tasks' rectangles tile C.
        unsafe { block(rows, columns, k, left, &b, c, start) };
    });
}

/// The length of about equal blocks of `n`: as few as `most` allows. It is a multiple of `unit`, as `most` must be.
fn even(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// Panics unless every element lies inside its slice: the invariant under all `unsafe` of this file.
fn check(m: usize, n: usize, k: usize, a: &Left, b: &Right, c_len: usize, ldc: usize) {
    let within = |rows: usize, cols: usize, ld: usize, len: usize| {
        rows == 0 || cols == 0 || (cols <= ld && (rows - 1) * ld + cols <= len)
    };
    assert!(within(m, n, ldc, c_len), "gemm: C");
    assert!(
        match a {
            Left::Rows { data, ld } => within(m, k, *ld, data.len()),
            Left::Transposed(data) => within(k, m, m, data.len()),
        },
        "gemm: A"
    );
    assert!(
        match b {
            Right::Rows { data, ld } => within(k, n, *ld, data.len()),
            Right::Transposed { data, ld } => within(n, k, *ld, data.len()),
            Right::Panels(data) => n.div_ceil(NR) * NR * k <= data.len(),
            Right::NarrowPanels(data) => n.div_ceil(WIDTH) * WIDTH * k <= data.len(),
            Right::HalfRows { data, ld } => within(k, n, *ld, data.len()),
            Right::HalfTransposed { data, ld } => within(n, k, *ld, data.len()),
            Right::HalfPanels(data) => n.div_ceil(NR) * NR * k.div_ceil(2) <= data.len(),
        },
        "gemm: B"
    );
}

fn left_view(m: usize, k: usize, a: Left, tasks: Tasks, packed: &mut Scratch) -> LeftView {
    match a {
        Left::Rows { data, ld } => LeftView { data: data.as_ptr(), strides: [MR * ld, ld, 1] },
        Left::Transposed(data) => {
            *packed = panels_of_transposed(data, m, k, tasks);
            LeftView { data: packed.as_slice().as_ptr(), strides: [MR * k, 1, MR] }
        }
    }
}

#[repr(align(64))]
struct PanelBlock(MaybeUninit<[f32; KC * NR]>);

/// One rectangle of C; `rows` start at a multiple of 8, `columns` at a multiple of 48.
///
/// Few rows read panels that are laid out already (or only to be widened) from front to back, which suits a weight that
/// comes from memory; so does a lone panel, whose two orders are one but for what is asked for ahead. Otherwise one block of
/// k comes after the other, so that the block of A stays in the second-level cache and what is laid out here, or by a first
/// tile, serves many rows.
///
/// # Safety
/// The rectangle lies in C and is this caller's alone; A, B and C are as [`check`] asks.
#[inline(never)] // The scratch would be part of every frame that waits for a product.
unsafe fn block(
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    k: usize,
    a: LeftView,
    b: &Right,
    c: Output,
    start: Start,
) {
    let mut scratch = PanelBlock(MaybeUninit::uninit());
    let in_panels = matches!(b, Right::Panels(_) | Right::HalfPanels(_));
    let order = if in_panels && (rows.len() <= FEW || columns.len() <= NR) { Order::OfMemory } else { Order::OfBlocks };
    let transposed = matches!(b, Right::Transposed { .. } | Right::HalfTransposed { .. });
    let height = even(rows.len(), if transposed { TASK_ROWS } else { MC }, MR);
    let chain = even(k, KC, WIDTH);
    let steps = (0..k.max(1)).step_by(chain);
    let scratch = scratch.0.as_mut_ptr().cast();
    let part = Part { k, a, b, c, start, order, columns: columns.clone(), scratch };
    for row in rows.clone().step_by(height) {
        let rows = row..(row + height).min(rows.end);
        if order == Order::OfMemory {
            for (col, from) in columns.clone().step_by(NR).flat_map(|col| steps.clone().map(move |from| (col, from))) {
                // SAFETY: the strip lies in the rectangle.
                unsafe { strip(&part, rows.clone(), col, from..(from + chain).min(k)) };
            }
        } else {
            for (from, col) in steps.clone().flat_map(|from| columns.clone().step_by(NR).map(move |col| (from, col))) {
                // SAFETY: as above.
                unsafe { strip(&part, rows.clone(), col, from..(from + chain).min(k)) };
            }
        }
    }
}

/// Which strip comes next: the following block of k of the same panel, or the following panel of the same block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OfMemory,
    OfBlocks,
}

/// What the strips of one rectangle share.
struct Part<'a> {
    k: usize,
    a: LeftView,
    b: &'a Right<'a>,
    c: Output,
    start: Start,
    order: Order,
    columns: std::ops::Range<usize>,
    /// Room for one block of a panel.
    scratch: *mut f32,
}

/// Continues the chains of `rows` × one panel at `col` over one block of k.
///
/// # Safety
/// As [`block`]; blocks of k come in order.
unsafe fn strip(part: &Part, rows: std::ops::Range<usize>, col: usize, block: std::ops::Range<usize>) {
    let Part { k, a, c, .. } = *part;
    let cols = NR.min(part.columns.end - col);
    let (from, len) = (block.start, block.len());
    let next = match part.order {
        Order::OfMemory => len,
        Order::OfBlocks => k,
    };
    // SAFETY: the block of B and the scratch hold `len` rows of `cols` columns; blocks of k begin at multiples of 16.
    let PanelView { at: b_at, stride: b_row, vector: b_vector, padded: b_padded, source, next: ahead } =
        unsafe { panel(part.b, k, from, len, next, col, cols, rows.len(), part.scratch) };
    // Each tile fetches its share of the next strip's block meanwhile.
    let share = ahead.len / rows.len().div_ceil(MR);
    let (first, end) = (rows.start, rows.end);
    let next_col = if part.order == Order::OfMemory && block.end < k { col } else { col + NR };
    let c_at = |row: usize, col: usize| c.data.wrapping_add(row * c.ld + col);
    for (nth, row) in rows.step_by(MR).enumerate() {
        let tile = Tile {
            a: a.data.wrapping_add(row / MR * a.strides[0] + from * a.strides[2]),
            a_row: a.strides[1],
            a_col: a.strides[2],
            b: b_at,
            b_row,
            b_vector,
            c: c_at(row, col),
            c_row: c.ld,
            c_next: if row + MR < end { c_at(row + MR, col) } else { c_at(first, next_col) },
            k: len,
            rows: MR.min(end - row),
            cols,
            b_padded,
            source: if nth == 0 { source } else { Source::Here },
            accumulate: from > 0 || part.start == Start::Kept,
            ahead: ahead.at.wrapping_add(nth * share),
            ahead_step: (share / len.max(1)).min(lines_ahead(cols) * LINE_BYTES),
        };
        // SAFETY: the tile lies in the rectangle.
        unsafe { run(&tile) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::pack::{half_panels, panels_of_stored};
    use crate::ops::weight::rounded;
    use half::bf16;

    fn values(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.37 + seed).sin()).collect()
    }

    fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
        (0..cols).flat_map(|j| (0..rows).map(move |i| x[i * cols + j])).collect()
    }

    fn on<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    #[test]
    fn every_layout_and_thread_count_is_the_sequential_chain() {
        for (m, n, k) in [
            (1, 1, 1),
            (9, 50, 0),
            (70, 100, 193),
            (65, 576, 576),
            (131, 97, 400),
            (1100, 49, 385),
            (9, 97, 1217),
            (70, 49, 1217),
            (300, 48, 1217),
            (300, 50, 1217),
        ] {
            let exact = |x: f32| bf16::from_f32(x).to_f32();
            let (a, bt) = (values(m * k, 0.0), values(n * k, 1.0).into_iter().map(exact).collect::<Vec<_>>());
            let (at, b) = (transposed(&a, m, k), transposed(&bt, n, k));
            let packed = panels_of_stored(&[&bt[..k * (n / 2)], &bt[k * (n / 2)..]], k, Tasks::Many);
            let mut narrow = vec![f32::NAN; n.div_ceil(WIDTH) * WIDTH * k];
            for (j, at) in (0..n).flat_map(|j| (0..k).map(move |at| (j, at))) {
                narrow[(j / WIDTH * k + at) * WIDTH + j % WIDTH] = bt[j * k + at];
            }
            let half = half_panels(&packed, k);
            let chains = |mut c: Vec<f32>| {
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let dot = |s: f32, x: (&f32, &f32)| x.0.mul_add(*x.1, s);
                    c[i * n + j] = a[i * k..(i + 1) * k].iter().zip(&bt[j * k..(j + 1) * k]).fold(c[i * n + j], dot);
                }
                c
            };
            let expected = [chains(values(m * n, 2.0)), chains(vec![0.0; m * n])];
            let lefts = [Left::Rows { data: &a, ld: k }, Left::Transposed(&at)];
            let rights = [
                Right::Rows { data: &b, ld: n },
                Right::Transposed { data: &bt, ld: k },
                Right::Panels(packed.as_slice()),
                Right::HalfPanels(half.as_slice()),
                Right::NarrowPanels(&narrow),
            ];
            for (left, right) in lefts.iter().flat_map(|l| rights.iter().map(move |r| (*l, *r))) {
                for threads in [1, 2, 8] {
                    let mut kept = values(m * n, 2.0);
                    on(threads, || gemm(m, n, k, left, right, &mut kept, n, Start::Kept));
                    let fresh = on(threads, || gemm_new(m, n, k, left, right, Tasks::Many));
                    for (c, expected) in [kept, fresh].iter().zip(&expected) {
                        let same = c.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits());
                        assert!(same, "({m}, {n}, {k}) on {threads} threads");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bf16_operand_gives_the_bits_of_its_values_in_f32() {
        for (m, n, k) in [
            (1, 1, 1),
            (9, 50, 0),
            (5, 49, 40),
            (70, 100, 193),
            (131, 97, 400),
            (1100, 49, 385),
            (9, 97, 1217),
            (70, 49, 1217),
        ] {
            let (a, half) = (values(m * k, 0.0), rounded(&values(n * k, 1.0)));
            let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
            let pairs = [
                (Right::HalfRows { data: &half, ld: n }, Right::Rows { data: &wide, ld: n }),
                (Right::HalfTransposed { data: &half, ld: k }, Right::Transposed { data: &wide, ld: k }),
            ];
            for ((found, expected), threads) in pairs.iter().flat_map(|pair| [1, 2].map(|threads| (pair, threads))) {
                let product = |right| {
                    let left = Left::Rows { data: &a, ld: k };
                    on(threads, || gemm_new(m, n, k, left, right, Tasks::Many))
                };
                let (found, expected) = (product(*found), product(*expected));
                let same = found.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "({m}, {n}, {k}) on {threads} threads");
            }
        }
    }

    #[test]
    fn zero_start_forgets_what_was_there() {
        let mut c = vec![f32::NAN; 4];
        gemm(2, 2, 0, Left::Transposed(&[]), Right::Rows { data: &[], ld: 2 }, &mut c, 2, Start::Zero);
        assert_eq!(c, [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "gemm: A")]
    fn a_short_operand_is_refused() {
        gemm(
            3,
            1,
            2,
            Left::Rows { data: &[0.0; 5], ld: 2 },
            Right::Rows { data: &[0.0; 2], ld: 1 },
            &mut [0.0; 3],
            1,
            Start::Zero,
        );
    }
}

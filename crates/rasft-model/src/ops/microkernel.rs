//! The innermost loops of the matrix product: a tile of up to 8 rows × 48 columns kept in registers.
//!
//! Invariant: element (i, j) becomes `fma(a[i][k-1], b[k-1][j], … fma(a[i][0], b[0][j], start))`, one chain in the
//! order of k. Nothing else takes part, so its bits do not depend on the tile, on its neighbours or on the CPU.

#![expect(unsafe_code, reason = "register tiles need raw pointers and vector intrinsics")]

use super::pack::{copy_pairs, copy_rows};
use super::simd::{Level, level};
use super::weight::Element;
use half::bf16;

/// Rows of a full tile.
pub(crate) const MR: usize = 8;
/// Values of one vector.
pub(crate) const WIDTH: usize = 16;
/// Columns of a full tile: three vectors, so that 24 sums, 3 columns and a broadcast fill the 32 registers.
pub(crate) const NR: usize = 3 * WIDTH;

/// Where a block of b lies before the first tile that reads it.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// Where the tile expects it.
    Here,
    /// In rows that begin `ld` values apart; the tile copies them to where the next tiles expect them.
    F32 { rows: *const f32, ld: usize },
    /// The same in bf16; the copy is wider.
    Bf16 { rows: *const bf16, ld: usize },
    /// Rows of 48 in bf16, two of them in each row of words, the even one in the lower halves.
    Bf16Pairs(*const u32),
}

/// A tile's operands. `a[i, k]` is at `a + i·a_row + k·a_col`, `b[k, 16·v + j]` at `b + k·b_row + v·b_vector + j`,
/// `c[i, j]` at `c + i·c_row + j`.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only 512-bit tiles ask ahead"))]
pub(crate) struct Tile {
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const f32,
    pub b_row: usize,
    /// 16 where a row of b is in one piece.
    pub b_vector: usize,
    pub c: *mut f32,
    pub c_row: usize,
    /// The tile of c that comes next, which is asked for meanwhile, or this one.
    pub c_next: *const f32,
    /// Length of the chains.
    pub k: usize,
    /// Rows, 1..=8.
    pub rows: usize,
    /// Columns, 1..=48. The columns of `b` must be readable up to the next multiple of 16 if `b_padded`.
    pub cols: usize,
    /// Whether whole vectors of `b` may be read behind the last column.
    pub b_padded: bool,
    pub source: Source,
    /// Start from what `c` holds rather than from 0.
    pub accumulate: bool,
    /// Memory to be wanted soon; every step of k asks for [`lines_ahead`] cache lines there and moves on by
    /// `ahead_step` bytes.
    pub ahead: *const u8,
    pub ahead_step: usize,
}

/// Cache lines that a step of k of a tile with `cols` columns asks for: two for two vectors, as many as it reads
/// itself; one for three, whose products go over their operand several times.
pub(crate) const fn lines_ahead(cols: usize) -> usize {
    if cols.div_ceil(WIDTH) == 2 { 2 } else { 1 }
}

/// Computes one tile.
///
/// # Safety
/// All elements named by [`Tile`] are valid for reads (`a`, `b` or its source) or reads and writes (`c`), and nobody
/// else touches the tile of `c` meanwhile. If there is a source, `b` is in rows of 48 and is valid for writes of `k`
/// rows of 48, nobody else's and apart from the source.
#[inline]
pub(crate) unsafe fn run(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        match tile.source {
            Source::Here => in_place(tile),
            Source::F32 { rows, ld } => lay_out_and_run(tile, rows, ld),
            Source::Bf16 { rows, ld } => lay_out_and_run(tile, rows, ld),
            Source::Bf16Pairs(pairs) => widen_and_run(tile, pairs),
        }
    }
}

/// A full tile hides the copy behind its multiplications; another one copies first.
///
/// # Safety
/// As [`run`].
unsafe fn lay_out_and_run<T: Element>(tile: &Tile, rows: *const T, ld: usize) {
    assert_eq!(tile.b_row, NR, "where the copy goes");
    // SAFETY: the caller's promise, on a CPU with the features.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 && (tile.rows, tile.cols) == (MR, NR) {
            return avx512::lay_out_and_run(tile, rows, ld);
        }
        copy_rows(rows, ld, tile.k, tile.cols, tile.b.cast_mut());
        in_place(tile);
    }
}

/// [`lay_out_and_run`] of pairs.
///
/// # Safety
/// As [`run`].
unsafe fn widen_and_run(tile: &Tile, pairs: *const u32) {
    assert_eq!(tile.b_row, NR, "where the copy goes");
    // SAFETY: the caller's promise, on a CPU with the features.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 && (tile.rows, tile.cols) == (MR, NR) {
            return avx512::widen_and_run(tile, pairs);
        }
        copy_pairs(pairs, tile.k, tile.b.cast_mut());
        in_place(tile);
    }
}

/// # Safety
/// As [`run`]; b is where the tile expects it.
#[inline]
unsafe fn in_place(tile: &Tile) {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the features, the rest is the caller's promise.
        Level::Avx512 => unsafe { avx512::run(tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { portable_avx2(tile) },
        // SAFETY: the caller's promise.
        Level::Portable => unsafe { portable(tile) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn portable_avx2(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { portable(tile) }
}

/// The tile in pieces of 2 rows × 16 columns, in plain Rust.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn portable(tile: &Tile) {
    for row in (0..tile.rows).step_by(2) {
        for col in (0..tile.cols).step_by(WIDTH) {
            let cols = WIDTH.min(tile.cols - col);
            // SAFETY: the piece lies inside the tile.
            unsafe {
                if row + 1 < tile.rows {
                    portable_piece::<2>(tile, row, col, cols);
                } else {
                    portable_piece::<1>(tile, row, col, cols);
                }
            }
        }
    }
}

/// # Safety
/// As [`run`]; rows `row..row + R` and columns `col..col + cols` lie inside the tile, `cols ≤ 16`.
#[inline(always)]
unsafe fn portable_piece<const R: usize>(t: &Tile, row: usize, col: usize, cols: usize) {
    let mut sums = [[0f32; WIDTH]; R];
    // SAFETY: every index is inside the piece, hence inside what the caller vouched for.
    unsafe {
        if t.accumulate {
            for i in 0..R {
                for j in 0..cols {
                    sums[i][j] = *t.c.add((row + i) * t.c_row + col + j);
                }
            }
        }
        for k in 0..t.k {
            let mut b = [0f32; WIDTH];
            let from = t.b.add(k * t.b_row + col / WIDTH * t.b_vector);
            std::ptr::copy_nonoverlapping(from, b.as_mut_ptr(), cols);
            for i in 0..R {
                let a = *t.a.add((row + i) * t.a_row + k * t.a_col);
                for j in 0..WIDTH {
                    sums[i][j] = a.mul_add(b[j], sums[i][j]);
                }
            }
        }
        for i in 0..R {
            for j in 0..cols {
                *t.c.add((row + i) * t.c_row + col + j) = sums[i][j];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::pack::{Aligned, half_panels};
    use crate::ops::weight::rounded;

    /// Runs one kernel on a tile embedded in larger matrices and compares with the chain written out.
    #[test]
    fn every_tile_shape_is_the_sequential_chain_on_every_level() {
        let (k, ld) = (37, 53);
        let a: Vec<f32> = (0..8 * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..k * ld).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut panels = vec![f32::NAN; k * NR];
        for (at, j) in (0..k).flat_map(|at| (0..NR).map(move |j| (at, j))) {
            panels[(j / WIDTH * k + at) * WIDTH + j % WIDTH] = b[at * ld + j];
        }
        for (rows, cols) in (1..=8).flat_map(|r| (1..=48).map(move |c| (r, c))) {
            for accumulate in [false, true] {
                let start: Vec<f32> = (0..8 * ld).map(|i| i as f32 * 0.01).collect();
                let mut expected = start.clone();
                for i in 0..rows {
                    for j in 0..cols {
                        let from = if accumulate { start[i * ld + j] } else { 0.0 };
                        expected[i * ld + j] =
                            (0..k).fold(from, |s, k_at| a[i * k + k_at].mul_add(b[k_at * ld + j], s));
                    }
                }
                type Kernel = unsafe fn(&Tile);
                let in_rows = (b.as_ptr(), ld, WIDTH, false);
                let in_panels = |padded| (panels.as_ptr(), WIDTH, WIDTH * k, padded);
                let layouts = [in_rows, in_panels(false), in_panels(true)];
                let kernels = [run as Kernel, portable as Kernel];
                for (kernel, (b, b_row, b_vector, b_padded)) in kernels.iter().flat_map(|f| layouts.map(|b| (f, b))) {
                    let mut c = start.clone();
                    let tile = Tile {
                        a: a.as_ptr(),
                        a_row: k,
                        a_col: 1,
                        b,
                        b_row,
                        b_vector,
                        c: c.as_mut_ptr(),
                        c_row: ld,
                        c_next: std::ptr::null(),
                        k,
                        rows,
                        cols,
                        b_padded,
                        source: Source::Here,
                        accumulate,
                        ahead: std::ptr::null(),
                        ahead_step: 0,
                    };
                    // SAFETY: the tile lies inside the vectors.
                    unsafe { kernel(&tile) };
                    assert!(c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{rows}×{cols}");
                }
            }
        }
    }

    #[test]
    fn a_tile_lays_its_columns_out_on_the_way() {
        let (k, ld) = (37, NR);
        let half = rounded(&(0..k * ld).map(|i| (i as f32 * 0.3).cos()).collect::<Vec<_>>());
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let mut whole = Aligned::zeros(k * NR);
        whole.as_mut_slice()[..k * NR].copy_from_slice(&wide);
        let pairs = half_panels(&whole, k);
        let a: Vec<f32> = (0..8 * k).map(|i| (i as f32 * 0.7).sin()).collect();
        for (rows, cols, accumulate) in [(8, 48, false), (8, 48, true), (7, 48, true), (8, 31, false), (1, 16, false)] {
            let result = |source, mut b: Vec<f32>, b_row| {
                let mut c: Vec<f32> = (0..8 * ld).map(|i| i as f32 * 0.01).collect();
                let tile = Tile {
                    a: a.as_ptr(),
                    a_row: k,
                    a_col: 1,
                    b: b.as_mut_ptr(),
                    b_row,
                    b_vector: WIDTH,
                    c: c.as_mut_ptr(),
                    c_row: ld,
                    c_next: std::ptr::null(),
                    k,
                    rows,
                    cols,
                    b_padded: false,
                    source,
                    accumulate,
                    ahead: std::ptr::null(),
                    ahead_step: 0,
                };
                // SAFETY: the tile lies inside the vectors, and b has room for k rows of 48 where there is a source.
                unsafe { run(&tile) };
                (c, b)
            };
            let (expected, _) = result(Source::Here, wide.clone(), ld);
            let sources = [
                Source::F32 { rows: wide.as_ptr(), ld },
                Source::Bf16 { rows: half.as_ptr(), ld },
                Source::Bf16Pairs(pairs.as_slice().as_ptr()),
            ];
            for source in sources {
                let (found, b) = result(source, vec![0.0; k * NR], NR);
                assert!(found.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{rows}×{cols}");
                let laid_out = |at: usize| b[at * NR..][..cols] == wide[at * ld..][..cols];
                assert!((0..k).all(laid_out), "{rows}×{cols}");
            }
        }
    }
}

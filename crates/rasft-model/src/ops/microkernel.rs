//! The innermost loops of the matrix product: a tile of up to 8 rows × 48 columns kept in registers.
//!
//! Invariant: element (i, j) becomes `fma(a[i][k-1], b[k-1][j], … fma(a[i][0], b[0][j], start))`, one chain in the order of
//! k. Nothing else takes part, so its bits do not depend on the tile, on its neighbours or on the CPU.

#![expect(unsafe_code, reason = "register tiles need raw pointers and vector intrinsics")]

use super::pack::copy_rows;
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
}

/// A tile's operands. `a[i, k]` is at `a + i·a_row + k·a_col`, `b[k, j]` at `b + k·b_row + j`, `c[i, j]` at `c + i·c_row + j`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const f32,
    pub b_row: usize,
    pub c: *mut f32,
    pub c_row: usize,
    /// The tile of c that comes next, which is asked for meanwhile; any address will do.
    pub c_next: *const f32,
    /// Length of the chains.
    pub k: usize,
    /// Rows, 1..=8.
    pub rows: usize,
    /// Columns, 1..=48. The columns of `b` must be readable up to the next multiple of 16 if `b_padded`.
    pub cols: usize,
    /// Whether whole vectors of `b`, and of its source, may be read behind the last column.
    pub b_padded: bool,
    pub source: Source,
    /// Start from what `c` holds rather than from 0.
    pub accumulate: bool,
    /// Memory to be wanted soon; every step of k asks for the cache line there and moves on by `ahead_step` bytes.
    pub ahead: *const u8,
    pub ahead_step: usize,
}

/// Computes one tile.
///
/// # Safety
/// All elements named by [`Tile`] are valid for reads (`a`, `b` or its source) or reads and writes (`c`), and nobody else
/// touches the tile of `c` meanwhile. If there is a source, `b_row` is 48 and `b` is valid for writes of `k` rows of 48, nobody
/// else's and apart from the source.
#[inline]
pub(crate) unsafe fn run(tile: &Tile) {
    debug_assert!((1..=MR).contains(&tile.rows) && (1..=NR).contains(&tile.cols));
    // SAFETY: the caller's promise.
    unsafe {
        match tile.source {
            Source::Here => in_place(tile),
            Source::F32 { rows, ld } => lay_out_and_run(tile, rows, ld),
            Source::Bf16 { rows, ld } => lay_out_and_run(tile, rows, ld),
        }
    }
}

/// A full tile hides the copy behind its multiplications; another one copies first.
///
/// # Safety
/// As [`run`].
unsafe fn lay_out_and_run<T: Element>(tile: &Tile, rows: *const T, ld: usize) {
    debug_assert_eq!(tile.b_row, NR, "where the copy goes");
    // SAFETY: the caller's promise, on a CPU with the features.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 && (tile.rows, tile.cols) == (MR, NR) {
            return avx512::lay_out_and_run(tile, rows, ld);
        }
        let cols = if tile.b_padded { tile.cols.next_multiple_of(WIDTH) } else { tile.cols };
        copy_rows(rows, ld, tile.k, cols, tile.b.cast_mut());
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
            std::ptr::copy_nonoverlapping(t.b.add(k * t.b_row + col), b.as_mut_ptr(), cols);
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
mod avx512 {
    use super::{Element, MR, NR, Tile, WIDTH};
    use std::arch::x86_64::*;

    // Masked loads and `wrapping_add` throughout: with debug assertions on, as in the profile the tests and the
    // pipeline share, plain loads and `add` check their pointers in the innermost loop.

    /// # Safety
    /// As [`super::run`], on a CPU with AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn run(t: &Tile) {
        // SAFETY: the const parameters are exactly the tile's rows and vectors.
        unsafe {
            match t.cols.div_ceil(WIDTH) {
                1 => rows::<1>(t),
                2 => rows::<2>(t),
                _ => rows::<3>(t),
            }
        }
    }

    /// # Safety
    /// As [`run`]; `V` vectors hold the columns.
    #[target_feature(enable = "avx512f")]
    unsafe fn rows<const V: usize>(t: &Tile) {
        // SAFETY: as above.
        unsafe {
            match t.rows {
                1 => tile::<1, V>(t),
                2 => tile::<2, V>(t),
                3 => tile::<3, V>(t),
                4 => tile::<4, V>(t),
                5 => tile::<5, V>(t),
                6 => tile::<6, V>(t),
                7 => tile::<7, V>(t),
                _ => tile::<8, V>(t),
            }
        }
    }

    /// # Safety
    /// As [`run`]; the tile has `R` rows and `V` vectors of columns.
    #[target_feature(enable = "avx512f")]
    unsafe fn tile<const R: usize, const V: usize>(t: &Tile) {
        let last = t.cols - (V - 1) * WIDTH;
        let mask: __mmask16 = ((1u32 << last) - 1) as u16;
        // SAFETY: reads and writes stay inside the tile: the last vector is masked where it would not.
        unsafe {
            let mut sums = begin::<R, V>(t, mask);
            if last == WIDTH || t.b_padded {
                chains::<R, V, false>(t, mask, &mut sums);
            } else {
                chains::<R, V, true>(t, mask, &mut sums);
            }
            end(t, mask, &sums);
        }
    }

    /// What the chains start from.
    ///
    /// # Safety
    /// As [`tile`]; `mask` has the lanes of the last vector.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn begin<const R: usize, const V: usize>(t: &Tile, mask: __mmask16) -> [[__m512; V]; R] {
        for i in 0..R {
            for v in 0..V {
                _mm_prefetch::<_MM_HINT_T1>(t.c_next.wrapping_add(i * t.c_row + v * WIDTH).cast());
            }
        }
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        for i in (0..R).take_while(|_| t.accumulate) {
            for v in 0..V {
                let lanes = if v + 1 == V { mask } else { !0 };
                // SAFETY: inside the tile.
                sums[i][v] = unsafe { _mm512_maskz_loadu_ps(lanes, t.c.wrapping_add(i * t.c_row + v * WIDTH)) };
            }
        }
        sums
    }

    /// Writes the sums.
    ///
    /// # Safety
    /// As [`begin`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn end<const R: usize, const V: usize>(t: &Tile, mask: __mmask16, sums: &[[__m512; V]; R]) {
        for i in 0..R {
            for v in 0..V {
                let lanes = if v + 1 == V { mask } else { !0 };
                // SAFETY: inside the tile.
                unsafe { _mm512_mask_storeu_ps(t.c.wrapping_add(i * t.c_row + v * WIDTH), lanes, sums[i][v]) };
            }
        }
    }

    /// Rows that are asked for before they are read: they may lie too far apart for the processor to guess.
    const ROWS_AHEAD: usize = 8;

    /// A full tile, each row of b on its way from its source to where the next tiles read it.
    ///
    /// # Safety
    /// As [`super::run`], on a CPU with AVX-512F; the tile has 8 rows and 48 columns.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn lay_out_and_run<T: Element>(t: &Tile, source: *const T, ld: usize) {
        const V: usize = NR / WIDTH;
        // SAFETY: the caller's promise; a prefetch touches no memory.
        unsafe {
            let mut sums = begin::<MR, V>(t, !0);
            let (mut a, mut b, mut from, mut ahead) = (t.a, t.b.cast_mut(), source, t.ahead);
            for _ in 0..t.k {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(t.ahead_step);
                let mut columns = [_mm512_setzero_ps(); V];
                for v in 0..V {
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ROWS_AHEAD * ld + v * WIDTH).cast());
                    columns[v] = T::load_16(from.wrapping_add(v * WIDTH));
                    _mm512_mask_storeu_ps(b.wrapping_add(v * WIDTH), !0, columns[v]);
                }
                for i in 0..MR {
                    let x = _mm512_broadcastss_ps(_mm_load_ss(a.wrapping_add(i * t.a_row)));
                    for v in 0..V {
                        sums[i][v] = _mm512_fmadd_ps(x, columns[v], sums[i][v]);
                    }
                }
                a = a.wrapping_add(t.a_col);
                b = b.wrapping_add(t.b_row);
                from = from.wrapping_add(ld);
            }
            end(t, !0, &sums);
        }
    }

    /// # Safety
    /// As [`tile`]; without `MASKED`, the last vector of every row of b is readable.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn chains<const R: usize, const V: usize, const MASKED: bool>(
        t: &Tile,
        mask: __mmask16,
        sums: &mut [[__m512; V]; R],
    ) {
        let mut acc = *sums;
        let rows: [usize; R] = std::array::from_fn(|i| i.wrapping_mul(t.a_row));
        let mut a = t.a;
        let mut b = t.b;
        let mut ahead = t.ahead;
        // SAFETY: a prefetch touches no memory; a and b advance k times over what the caller vouched for.
        unsafe {
            for _ in 0..t.k {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(t.ahead_step);
                let mut columns = [_mm512_setzero_ps(); V];
                for v in 0..V {
                    let lanes = if MASKED && v + 1 == V { mask } else { !0 };
                    columns[v] = _mm512_maskz_loadu_ps(lanes, b.wrapping_add(v * WIDTH));
                }
                for i in 0..R {
                    let x = _mm512_broadcastss_ps(_mm_load_ss(a.wrapping_add(rows[i])));
                    for v in 0..V {
                        acc[i][v] = _mm512_fmadd_ps(x, columns[v], acc[i][v]);
                    }
                }
                a = a.wrapping_add(t.a_col);
                b = b.wrapping_add(t.b_row);
            }
        }
        *sums = acc;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::weight::rounded;

    /// Runs one kernel on a tile embedded in larger matrices and compares with the chain written out.
    #[test]
    fn every_tile_shape_is_the_sequential_chain_on_every_level() {
        let (k, ld) = (37, 53);
        let a: Vec<f32> = (0..8 * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..k * ld).map(|i| (i as f32 * 0.3).cos()).collect();
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
                for kernel in [run as Kernel, portable as Kernel] {
                    let mut c = start.clone();
                    let tile = Tile {
                        a: a.as_ptr(),
                        a_row: k,
                        a_col: 1,
                        b: b.as_ptr(),
                        b_row: ld,
                        c: c.as_mut_ptr(),
                        c_row: ld,
                        c_next: std::ptr::null(),
                        k,
                        rows,
                        cols,
                        b_padded: false,
                        source: Source::Here,
                        accumulate,
                        ahead: std::ptr::null(),
                        ahead_step: 0,
                    };
                    // SAFETY: the tile lies inside the three vectors.
                    unsafe { kernel(&tile) };
                    assert!(c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{rows}×{cols}");
                }
            }
        }
    }

    #[test]
    fn a_tile_lays_its_columns_out_on_the_way() {
        let (k, ld) = (37, 53);
        let half = rounded(&(0..k * ld).map(|i| (i as f32 * 0.3).cos()).collect::<Vec<_>>());
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
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
            for source in [Source::F32 { rows: wide.as_ptr(), ld }, Source::Bf16 { rows: half.as_ptr(), ld }] {
                let (found, b) = result(source, vec![0.0; k * NR], NR);
                assert!(found.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{rows}×{cols}");
                let laid_out = |at: usize| b[at * NR..][..cols] == wide[at * ld..][..cols];
                assert!((0..k).all(laid_out), "{rows}×{cols}");
            }
        }
    }
}

//! The tile in 512-bit vectors.
//!
//! Masked loads and `wrapping_add` throughout: a build with debug assertions, which this workspace turns off here, checks
//! the pointers of plain loads and of `add` in the innermost loop.

use super::{Element, MR, NR, Tile, WIDTH};
use crate::ops::pack::{EVEN, ODD, widen_16};
use crate::ops::simd::LINE_BYTES;
use std::arch::x86_64::*;

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

/// The same from pairs of rows in bf16. One operation widens a vector of them, where it takes two after a load of 16
/// values of 16 bits; the units that widen are those that multiply.
///
/// # Safety
/// As [`lay_out_and_run`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn widen_and_run(t: &Tile, source: *const u32) {
    // SAFETY: the caller's promise; the odd step behind the last is not taken.
    unsafe {
        let mut sums = begin::<MR, { NR / WIDTH }>(t, !0);
        for pair in 0..t.k / 2 {
            half_of_pair::<EVEN>(t, source, pair, &mut sums);
            half_of_pair::<ODD>(t, source, pair, &mut sums);
        }
        if !t.k.is_multiple_of(2) {
            half_of_pair::<EVEN>(t, source, t.k / 2, &mut sums);
        }
        end(t, !0, &sums);
    }
}

/// One step of k.
///
/// # Safety
/// As [`widen_and_run`].
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn half_of_pair<const HALF: usize>(
    t: &Tile,
    source: *const u32,
    pair: usize,
    sums: &mut [[__m512; NR / WIDTH]; MR],
) {
    let at = 2 * pair + HALF;
    let from = source.wrapping_add(pair * NR);
    let (a, b) = (t.a.wrapping_add(at * t.a_col), t.b.cast_mut().wrapping_add(at * NR));
    // SAFETY: the caller's promise; a prefetch touches no memory.
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(t.ahead.wrapping_add(at * t.ahead_step).cast());
        let mut columns = [_mm512_setzero_ps(); NR / WIDTH];
        for (v, column) in columns.iter_mut().enumerate() {
            if HALF == EVEN {
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ROWS_AHEAD * NR + v * WIDTH).cast());
            }
            *column = widen_16::<HALF>(from.wrapping_add(v * WIDTH));
            _mm512_mask_storeu_ps(b.wrapping_add(v * WIDTH), !0, *column);
        }
        for i in 0..MR {
            let x = _mm512_broadcastss_ps(_mm_load_ss(a.wrapping_add(i * t.a_row)));
            for v in 0..NR / WIDTH {
                sums[i][v] = _mm512_fmadd_ps(x, columns[v], sums[i][v]);
            }
        }
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
            for line in 0..super::lines_ahead(V * WIDTH) {
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(line * LINE_BYTES).cast());
            }
            ahead = ahead.wrapping_add(t.ahead_step);
            let mut columns = [_mm512_setzero_ps(); V];
            for v in 0..V {
                let lanes = if MASKED && v + 1 == V { mask } else { !0 };
                columns[v] = _mm512_maskz_loadu_ps(lanes, b.wrapping_add(v * t.b_vector));
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

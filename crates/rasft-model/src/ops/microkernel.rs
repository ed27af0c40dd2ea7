//! The innermost loops of the matrix product: a tile of up to 8 rows × 48 columns kept in registers.
//!
//! Invariant: element (i, j) becomes `fma(a[i][k-1], b[k-1][j], … fma(a[i][0], b[0][j], start))`, one chain in the order of
//! k. Nothing else takes part, so its bits do not depend on the tile, on its neighbours or on the CPU.

#![expect(unsafe_code, reason = "register tiles need raw pointers and vector intrinsics")]

use super::simd::{Level, level};

/// Rows of a full tile.
pub(crate) const MR: usize = 8;
/// Values of one vector.
pub(crate) const WIDTH: usize = 16;
/// Columns of a full tile: three vectors, so that 24 sums, 3 columns and a broadcast fill the 32 registers.
pub(crate) const NR: usize = 3 * WIDTH;

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
    /// Length of the chains.
    pub k: usize,
    /// Rows, 1..=8.
    pub rows: usize,
    /// Columns, 1..=48. The columns of `b` must be readable up to the next multiple of 16 if `b_padded`.
    pub cols: usize,
    /// Whether whole vectors of `b` may be read behind the last column.
    pub b_padded: bool,
    /// Start from what `c` holds rather than from 0.
    pub accumulate: bool,
    /// Memory to be wanted soon; every step of k asks for the cache line there and moves on by `ahead_step` bytes.
    pub ahead: *const u8,
    pub ahead_step: usize,
}

/// Computes one tile.
///
/// # Safety
/// All elements named by [`Tile`] are valid for reads (`a`, `b`) or reads and writes (`c`), and nobody else touches the
/// tile of `c` meanwhile.
#[inline]
pub(crate) unsafe fn run(tile: &Tile) {
    debug_assert!((1..=MR).contains(&tile.rows) && (1..=NR).contains(&tile.cols));
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
    use super::{Tile, WIDTH};
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
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        // SAFETY: reads and writes stay inside the tile: the last vector is masked where it would not.
        unsafe {
            if t.accumulate {
                for i in 0..R {
                    for v in 0..V {
                        let from = t.c.wrapping_add(i * t.c_row + v * WIDTH);
                        let lanes = if v + 1 == V { mask } else { !0 };
                        sums[i][v] = _mm512_maskz_loadu_ps(lanes, from);
                    }
                }
            }
            if last == WIDTH || t.b_padded {
                chains::<R, V, false>(t, mask, &mut sums);
            } else {
                chains::<R, V, true>(t, mask, &mut sums);
            }
            for i in 0..R {
                for v in 0..V {
                    let to = t.c.wrapping_add(i * t.c_row + v * WIDTH);
                    let lanes = if v + 1 == V { mask } else { !0 };
                    _mm512_mask_storeu_ps(to, lanes, sums[i][v]);
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
                        k,
                        rows,
                        cols,
                        b_padded: false,
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
}

//! Products of a few rows with operands that are read once, as they lie: what decoding does with keys and values.
//!
//! Here memory is what one waits for, so each product asks for what the next one will read, in every step at most as
//! much as it reads itself. The chains are those of [`super::gemm`], so every element has the same bits. Deliberately
//! absent: blocking, layouts, and threads, which many rows or operands read several times would earn.

#![expect(unsafe_code, reason = "tiles of matrices whose bounds were checked")]

use super::gemm::Start;
use super::microkernel::{MR, Source, Tile, WIDTH, lines_ahead, run};
use super::simd::LINE_BYTES;

/// A left operand: `a[i, k]` at `i·ld + k`, M rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub data: &'a [f32],
    pub m: usize,
    pub ld: usize,
}

/// A right operand: where it begins, and how far its rows and the vectors of a row lie apart.
struct Columns {
    at: *const f32,
    row: usize,
    vector: usize,
    /// Whether the last vector can be read as a whole.
    padded: bool,
}

/// Vectors that are computed together: three rows, say, have too few chains in one to keep the multipliers busy.
const VECTORS: usize = 2;

/// `c[i, j] = Σ_k a[i, k]·b[k, j]`, `c[i, j]` at `i·ldc + j`, b (K, N) in whole panels of 16 columns: `panel, k,
/// column`.
pub(crate) fn times_panels(a: Rows, k: usize, b: &[f32], n: usize, c: &mut [f32], ldc: usize, next: &[f32]) {
    assert!(n.div_ceil(WIDTH) * WIDTH * k <= b.len(), "times_panels: b");
    let b = Columns { at: b.as_ptr(), row: WIDTH, vector: k * WIDTH, padded: true };
    // SAFETY: whole panels lie in b.
    unsafe { columns(a, k, n, b, c, ldc, Start::Zero, next) };
}

/// `c = a·b`, or `c += a·b` where it is kept, with `b[k, j]` at `k·N + j` and `c[i, j]` at `i·N + j`.
pub(crate) fn times_rows(a: Rows, k: usize, b: &[f32], n: usize, c: &mut [f32], start: Start, next: &[f32]) {
    assert!(k * n <= b.len(), "times_rows: b");
    let b = Columns { at: b.as_ptr(), row: n, vector: WIDTH, padded: false };
    // SAFETY: k rows of n values lie in b.
    unsafe { columns(a, k, n, b, c, n, start, next) };
}

/// Two vectors of columns at a time.
///
/// # Safety
/// k rows of n columns of b can be read, whole vectors of them if it is padded.
unsafe fn columns(a: Rows, k: usize, n: usize, b: Columns, c: &mut [f32], ldc: usize, start: Start, next: &[f32]) {
    let within = |cols: usize, ld: usize, len: usize| cols <= ld && (a.m.max(1) - 1) * ld + cols <= len;
    assert!(a.m == 0 || within(k, a.ld, a.data.len()), "few rows: a");
    assert!(a.m == 0 || within(n, ldc, c.len()), "few rows: c");
    let share = size_of_val(next) / (n.div_ceil(VECTORS * WIDTH) * a.m.div_ceil(MR)).max(1);
    // Somewhere in use when nothing follows, as with a panel whose successor is not known.
    let mut ahead = if next.is_empty() { c.as_ptr() } else { next.as_ptr() }.cast::<u8>();
    for col in (0..n).step_by(VECTORS * WIDTH) {
        let cols = (VECTORS * WIDTH).min(n - col);
        for row in (0..a.m).step_by(MR) {
            let c_at = c.as_mut_ptr().wrapping_add(row * ldc + col);
            let tile = Tile {
                a: a.data.as_ptr().wrapping_add(row * a.ld),
                a_row: a.ld,
                a_col: 1,
                b: b.at.wrapping_add(col / WIDTH * b.vector),
                b_row: b.row,
                b_vector: b.vector,
                c: c_at,
                c_row: ldc,
                // Small and near: nothing to ask for.
                c_next: c_at,
                k,
                rows: MR.min(a.m - row),
                cols,
                b_padded: b.padded,
                source: Source::Here,
                accumulate: start == Start::Kept,
                ahead,
                ahead_step: (share / k.max(1)).min(lines_ahead(cols) * LINE_BYTES),
            };
            // SAFETY: the tile lies in a and c, and in b by the caller's promise; nobody else uses c.
            unsafe { run(&tile) };
            ahead = ahead.wrapping_add(share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.37 + seed).sin()).collect()
    }

    #[test]
    fn every_element_is_the_sequential_chain() {
        for (m, n, k) in [(1, 1, 1), (3, 64, 50), (12, 47, 64), (20, 70, 33), (3, 29, 50), (2, 16, 0), (0, 5, 5)] {
            let (a, b, start) = (values(m * k, 0.0), values(k * n, 1.0), values(m * n, 2.0));
            let chain =
                |i: usize, j: usize, from: f32| (0..k).fold(from, |s, at| a[i * k + at].mul_add(b[at * n + j], s));
            let rows = Rows { data: &a, m, ld: k };
            let mut panels = vec![f32::NAN; n.div_ceil(WIDTH) * WIDTH * k];
            for (at, j) in (0..k).flat_map(|at| (0..n).map(move |j| (at, j))) {
                panels[(j / WIDTH * k + at) * WIDTH + j % WIDTH] = b[at * n + j];
            }
            let expected = |from: &dyn Fn(usize) -> f32| -> Vec<u32> {
                (0..m * n).map(|at| chain(at / n, at % n, from(at)).to_bits()).collect()
            };
            let bits = |c: &[f32]| c.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let mut c = start.clone();
            times_panels(rows, k, &panels, n, &mut c, n, &b);
            assert_eq!(bits(&c), expected(&|_| 0.0), "panels ({m}, {n}, {k})");
            times_rows(rows, k, &b, n, &mut c, Start::Zero, &[]);
            assert_eq!(bits(&c), expected(&|_| 0.0), "rows ({m}, {n}, {k})");
            c.copy_from_slice(&start);
            times_rows(rows, k, &b, n, &mut c, Start::Kept, &[]);
            assert_eq!(bits(&c), expected(&|at| start[at]), "rows onto what was there ({m}, {n}, {k})");
        }
    }

    #[test]
    #[should_panic(expected = "few rows: c")]
    fn a_short_result_is_refused() {
        times_rows(Rows { data: &[0.0; 4], m: 2, ld: 2 }, 2, &[0.0; 6], 3, &mut [0.0; 5], Start::Zero, &[]);
    }
}

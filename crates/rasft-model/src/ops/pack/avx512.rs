//! Laying out with 512-bit vectors. Masked loads and `wrapping_add` throughout, for the reason given in
//! `microkernel/avx512.rs`.

use super::{EVEN, Element, GROUP, MR, NR, ODD, UPPER};
use std::arch::x86_64::*;

/// Rows that are asked for before they are read: they lie too far apart for the processor to guess.
const AHEAD: usize = 8;

/// [`super::copy_rows`] of whole vectors.
///
/// # Safety
/// As there; the CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn copy_rows<T: Element>(src: *const T, ld: usize, k: usize, vectors: usize, dst: *mut f32) {
    for row in 0..k {
        let (from, to) = (src.wrapping_add(row * ld), dst.wrapping_add(row * NR));
        let ahead = from.wrapping_add(AHEAD * ld);
        for v in 0..vectors {
            // SAFETY: the caller's promise; a prefetch touches no memory.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(v * 16).cast());
                _mm512_mask_storeu_ps(to.wrapping_add(v * 16), !0, T::load_16(from.wrapping_add(v * 16)));
            }
        }
    }
}

/// [`super::copy_pairs`].
///
/// # Safety
/// As there; the CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn copy_pairs(src: *const u32, k: usize, dst: *mut f32) {
    for (at, v) in (0..k).flat_map(|at| (0..NR).step_by(16).map(move |v| (at, v))) {
        let from = src.wrapping_add(at / 2 * NR + v);
        // SAFETY: the caller's promise.
        unsafe {
            let values = if at % 2 == EVEN { widen_16::<EVEN>(from) } else { widen_16::<ODD>(from) };
            _mm512_mask_storeu_ps(dst.wrapping_add(at * NR + v), !0, values);
        }
    }
}

/// One half of sixteen pairs of bf16, widened: one operation, where it takes two after a load of 16 values of 16 bits.
///
/// # Safety
/// They can be read; the CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) unsafe fn widen_16<const HALF: usize>(src: *const u32) -> __m512 {
    // SAFETY: the caller's promise.
    let pairs = unsafe { _mm512_maskz_loadu_epi32(!0, src.cast()) };
    _mm512_castsi512_ps(match HALF {
        EVEN => _mm512_slli_epi32::<16>(pairs),
        _ => _mm512_and_si512(pairs, _mm512_set1_epi32(UPPER.cast_signed())),
    })
}

/// Lays out `GROUP` panels of a left operand that is stored transposed, `a[i, k]` at `src + k·m + i`.
///
/// # Safety
/// `k` rows of `GROUP · MR` values can be read, and as many written; the CPU has AVX-512F and VL.
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) unsafe fn panels(src: *const f32, m: usize, k: usize, dst: *mut f32) {
    for at in 0..k {
        let from = src.wrapping_add(at * m);
        let ahead = from.wrapping_add(AHEAD * m);
        for panel in 0..GROUP {
            // SAFETY: the caller's promise; a prefetch touches no memory.
            unsafe {
                if panel % 2 == 0 {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(panel * MR).cast());
                }
                let values = _mm256_maskz_loadu_ps(!0, from.wrapping_add(panel * MR));
                _mm256_mask_storeu_ps(dst.wrapping_add((panel * k + at) * MR), !0, values);
            }
        }
    }
}

/// Transposes a 16 × 16 block: interleave pairs of rows, then pairs of pairs, then quarters.
///
/// # Safety
/// Both blocks are valid; the CPU has AVX-512F and DQ.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn transpose_16<T: Element>(src: *const T, ld: usize, dst: *mut f32, stride: usize) {
    let mut r = [_mm512_setzero_ps(); 16];
    for i in 0..16 {
        // SAFETY: the caller's promise.
        r[i] = unsafe { T::load_16(src.wrapping_add(i * ld)) };
    }
    let mut t = r;
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for i in (0..16).step_by(4) {
        let pair = |x| _mm512_castps_pd(x);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(t[i]), pair(t[i + 2])));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(t[i]), pair(t[i + 2])));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(t[i + 1]), pair(t[i + 3])));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(t[i + 1]), pair(t[i + 3])));
    }
    // r[4g + c] now holds, in its quarter q, column 4q + c of rows 4g..4g + 4.
    for c in 0..4 {
        let even = _mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]);
        let odd = _mm512_shuffle_f32x4::<0xdd>(r[c], r[4 + c]);
        let even_high = _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]);
        let odd_high = _mm512_shuffle_f32x4::<0xdd>(r[8 + c], r[12 + c]);
        let columns = [
            (c, _mm512_shuffle_f32x4::<0x88>(even, even_high)),
            (8 + c, _mm512_shuffle_f32x4::<0xdd>(even, even_high)),
            (4 + c, _mm512_shuffle_f32x4::<0x88>(odd, odd_high)),
            (12 + c, _mm512_shuffle_f32x4::<0xdd>(odd, odd_high)),
        ];
        for (column, values) in columns {
            // SAFETY: the caller's promise.
            unsafe { _mm512_mask_storeu_ps(dst.wrapping_add(column * stride), !0, values) };
        }
    }
}

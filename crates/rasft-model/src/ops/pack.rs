//! Laying matrices out for the microkernel: right operands in panels of 48 columns, transposed left operands in panels
//! of 8 rows. Packing copies values and never changes a result.

#![expect(unsafe_code, reason = "works on raw blocks of matrices and with vector intrinsics")]

use super::microkernel::MR;
pub(crate) use super::microkernel::NR;
#[cfg(target_arch = "x86_64")]
use super::simd::{Level, level};
use super::weight::Element;
use rayon::prelude::*;
use std::cell::RefCell;

/// A 32-bit value.
pub(crate) trait Word: Copy + Default + Send + Sync {}
impl Word for f32 {}
impl Word for u32 {}

/// One cache line of values; a vector of these is aligned for whole-register loads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<T: Word>([T; 16]);

/// Values aligned to cache lines.
#[derive(Clone)]
pub(crate) struct Aligned<T: Word = f32> {
    lines: Vec<Line<T>>,
}

impl<T: Word> Aligned<T> {
    /// `len` zeros, rounded up to whole lines.
    pub fn zeros(len: usize) -> Self {
        const { assert!(size_of::<Line<T>>() == 16 * size_of::<T>(), "a line has no padding") };
        Self { lines: vec![Line([T::default(); 16]); len.div_ceil(16)] }
    }

    pub fn as_slice(&self) -> &[T] {
        // SAFETY: a `Line` is exactly 16 values without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * 16) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * 16) }
    }
}

thread_local! {
    /// Buffers of products that are done.
    static SPARE: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps: a product needs two at most, and a thread that waits in one may begin another.
const SPARES: usize = 3;

/// Room to work in, to lay an operand out for one product say. The thread keeps it for the next one, because fresh
/// memory of this size costs as much as filling it.
pub(crate) struct Scratch {
    buffer: Aligned,
}

impl Scratch {
    /// No room.
    pub fn empty() -> Self {
        Self { buffer: Aligned::zeros(0) }
    }

    /// `len` values, whatever they are, rounded up to whole lines.
    pub fn of(len: usize) -> Self {
        let mut buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Aligned::zeros(0));
        if buffer.lines.len() * 16 < len {
            buffer = Aligned::zeros(len);
        }
        Self { buffer }
    }

    pub fn as_slice(&self) -> &[f32] {
        self.buffer.as_slice()
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        self.buffer.as_mut_slice()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, Aligned::zeros(0));
        if !buffer.lines.is_empty() {
            // Fails only while the thread ends.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARES {
                    spare.push(buffer);
                }
            });
        }
    }
}

/// Copies `b[k, j]` at `src + k·ld + j` (k rows, `cols` ≤ 48 columns) to `dst[k·48 + j]`; columns behind are not
/// touched.
///
/// # Safety
/// Source and destination are valid and apart.
pub(crate) unsafe fn copy_rows<T: Element>(src: *const T, ld: usize, k: usize, cols: usize, dst: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 && cols.is_multiple_of(16) {
        // SAFETY: the caller's promise, on a CPU with the features.
        return unsafe { avx512::copy_rows(src, ld, k, cols / 16, dst) };
    }
    for row in 0..k {
        let (from, to) = (src.wrapping_add(row * ld), dst.wrapping_add(row * NR));
        // SAFETY: the caller's promise.
        unsafe {
            match cols {
                NR => copy_array::<T, NR>(from, to),
                _ => (0..cols).for_each(|i| *to.add(i) = (*from.add(i)).widen()),
            }
        }
    }
}

/// Copies `N` values in pieces of four, which compile to vector moves where one large piece becomes a call.
///
/// # Safety
/// Both ends are valid and apart.
#[inline(always)]
unsafe fn copy_array<T: Element, const N: usize>(from: *const T, to: *mut f32) {
    for i in (0..N).step_by(4) {
        // SAFETY: the caller's promise.
        unsafe { *to.wrapping_add(i).cast::<[f32; 4]>() = (*from.wrapping_add(i).cast::<[T; 4]>()).map(T::widen) };
    }
}

/// Copies `b[k, j]` at `src + j·ld + k` (a weight as stored) to `dst[k·stride + j]`; columns behind are not touched.
///
/// # Safety
/// Source and destination are valid and apart.
pub(crate) unsafe fn transpose<T: Element>(
    src: *const T,
    ld: usize,
    k: usize,
    cols: usize,
    dst: *mut f32,
    stride: usize,
) {
    #[cfg(not(target_arch = "x86_64"))]
    let (full_k, full_cols) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    let (full_k, full_cols) = if level() == Level::Avx512 { (k / 16 * 16, cols / 16 * 16) } else { (0, 0) };
    #[cfg(target_arch = "x86_64")]
    for (j, at) in (0..full_cols).step_by(16).flat_map(|j| (0..full_k).step_by(16).map(move |at| (j, at))) {
        // SAFETY: a whole 16 × 16 block inside both matrices, on a CPU with the features.
        unsafe { avx512::transpose_16(src.wrapping_add(j * ld + at), ld, dst.wrapping_add(at * stride + j), stride) };
    }
    for j in 0..cols {
        let from = if j < full_cols { full_k } else { 0 };
        for at in from..k {
            // SAFETY: inside both matrices.
            unsafe { *dst.add(at * stride + j) = (*src.add(j * ld + at)).widen() };
        }
    }
}

/// Whether to share work among threads or to stay on the caller's, which is inside a task already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tasks {
    One,
    Many,
}

/// Panels of a left operand that are laid out together.
const GROUP: usize = 8;

/// Lays `a[i, k]` at `src[k·m + i]` (m × k, stored transposed) out in panels of 8 rows: `panel, k, row in the panel`.
pub(crate) fn panels_of_transposed(src: &[f32], m: usize, k: usize, tasks: Tasks) -> Scratch {
    let mut packed = Scratch::of(m.div_ceil(MR) * MR * k);
    if m == 0 || k == 0 {
        return packed;
    }
    // Eight panels at a time, so that each row of the source is read a few cache lines at a time.
    let fill = |(group, panels): (usize, &mut [f32])| {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 && panels.len() == MR * k * GROUP && m >= (group + 1) * GROUP * MR {
            let src = src[group * GROUP * MR..].as_ptr();
            // SAFETY: k rows of eight panels' width in a source of k rows of m, and room for eight panels; the CPU has
            // the features.
            return unsafe { avx512::panels(src, m, k, panels.as_mut_ptr()) };
        }
        for at in 0..k {
            for (panel, out) in panels.chunks_exact_mut(MR * k).enumerate() {
                let from = (group * GROUP + panel) * MR;
                let (out, src) = (&mut out[at * MR..][..MR], &src[at * m + from..]);
                // The common case apart: a copy of known length.
                if let (Ok(out), Some(src)) = (<&mut [f32; MR]>::try_from(&mut *out), src.first_chunk::<MR>())
                    && m - from >= MR
                {
                    *out = *src;
                } else {
                    out[..m - from].copy_from_slice(&src[..m - from]);
                }
            }
        }
    };
    let all = &mut packed.buffer.as_mut_slice()[..m.div_ceil(MR) * MR * k];
    match tasks {
        Tasks::One => all.chunks_mut(MR * k * GROUP).enumerate().for_each(fill),
        Tasks::Many => all.par_chunks_mut(MR * k * GROUP).enumerate().for_each(fill),
    }
    packed
}

/// Lays a right operand that is stored transposed, (N, K) in several pieces of rows, out in panels.
pub(crate) fn panels_of_stored(pieces: &[&[f32]], k: usize, tasks: Tasks) -> Aligned {
    let n: usize = pieces.iter().map(|piece| piece.len() / k.max(1)).sum();
    let mut packed = Aligned::zeros(n.div_ceil(NR) * NR * k);
    fill_panels(pieces, k, tasks, packed.as_mut_slice());
    packed
}

/// [`panels_of_stored`] of one piece for one product.
pub(crate) fn scratch_panels_of_stored<T: Element>(stored: &[T], k: usize, tasks: Tasks) -> Scratch {
    let len = (stored.len() / k.max(1)).div_ceil(NR) * NR * k;
    let mut packed = Scratch::of(len);
    fill_panels(&[stored], k, tasks, &mut packed.buffer.as_mut_slice()[..len]);
    packed
}

/// Panels of `k` rows of 48, whose values are exact in bf16, as [`HalfPanels`](super::gemm::Right::HalfPanels).
pub(crate) fn half_panels(panels: &Aligned, k: usize) -> Aligned<u32> {
    let pairs = k.div_ceil(2);
    let n = panels.as_slice().len() / k.max(1) / NR * NR;
    let mut half = Aligned::zeros(n * pairs);
    let into = half.as_mut_slice()[..n * pairs].par_chunks_mut((pairs * NR).max(1));
    into.zip(panels.as_slice().par_chunks((k * NR).max(1))).for_each(|(into, panel)| {
        for (words, rows) in into.chunks_mut(NR).zip(panel.chunks(2 * NR)) {
            for (j, word) in words.iter_mut().enumerate() {
                let odd = rows.get(NR + j).map_or(0, |odd| odd.to_bits());
                *word = rows[j].to_bits() >> 16 | odd & UPPER;
            }
        }
    });
    half
}

/// The bf16 in the upper half of a word, as an f32.
const UPPER: u32 = 0xffff_0000;

/// Which half of a pair.
#[cfg(target_arch = "x86_64")]
pub(crate) const EVEN: usize = 0;
#[cfg(target_arch = "x86_64")]
pub(crate) const ODD: usize = 1;

/// The bf16 of the even step and of the odd one.
pub(crate) fn widened_pair(pair: u32) -> [f32; 2] {
    [pair << 16, pair & UPPER].map(f32::from_bits)
}

/// Widens `k` rows of 48 values, in pairs of rows, to rows of f32.
///
/// # Safety
/// `src` is valid for `k / 2` rows of 48 pairs, rounded up, `dst` for `k` rows, and they are apart.
pub(crate) unsafe fn copy_pairs(src: *const u32, k: usize, dst: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        // SAFETY: the caller's promise, on a CPU with the features.
        return unsafe { avx512::copy_pairs(src, k, dst) };
    }
    for at in 0..k {
        let (from, to) = (src.wrapping_add(at / 2 * NR), dst.wrapping_add(at * NR));
        for j in 0..NR {
            // SAFETY: the caller's promise.
            unsafe { *to.wrapping_add(j) = widened_pair(*from.wrapping_add(j))[at % 2] };
        }
    }
}

fn fill_panels<T: Element>(pieces: &[&[T]], k: usize, tasks: Tasks, panels: &mut [f32]) {
    if k == 0 {
        return;
    }
    let fill = |(panel, out): (usize, &mut [f32])| {
        let mut first = 0; // row of the whole at which the piece starts
        for piece in pieces {
            let rows = piece.len() / k;
            let (from, to) = ((panel * NR).max(first), (panel * NR + NR).min(first + rows));
            if from < to {
                let src = &piece[(from - first) * k..(to - first) * k];
                // SAFETY: `src` holds these rows of k values, `out` a panel of k × 48.
                unsafe { transpose(src.as_ptr(), k, k, to - from, out[from - panel * NR..].as_mut_ptr(), NR) };
            }
            first += rows;
        }
    };
    match tasks {
        Tasks::One => panels.chunks_mut(NR * k).enumerate().for_each(fill),
        Tasks::Many => panels.par_chunks_mut(NR * k).enumerate().for_each(fill),
    }
}

/// What vector code needs of a type that weights are held in.
pub(crate) trait Lanes: Sized {
    /// Sixteen values, widened.
    ///
    /// # Safety
    /// They can be read; the CPU has AVX-512F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load_16(src: *const Self) -> std::arch::x86_64::__m512;
}

impl Lanes for f32 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_16(src: *const Self) -> std::arch::x86_64::__m512 {
        // SAFETY: the caller's promise.
        unsafe { std::arch::x86_64::_mm512_maskz_loadu_ps(!0, src) }
    }
}

impl Lanes for half::bf16 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_16(src: *const Self) -> std::arch::x86_64::__m512 {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise; a bf16 is the upper half of the f32 it stands for.
        let half = unsafe { _mm256_loadu_si256(src.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::widen_16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::weight::rounded;

    #[test]
    fn transpose_moves_every_value() {
        for (k, cols) in [(1, 1), (16, 16), (33, 48), (40, 31), (64, 17)] {
            let ld = k + 3;
            let src: Vec<f32> = (0..cols * ld).map(|i| i as f32).collect();
            let mut dst = vec![-1f32; k * NR];
            // SAFETY: `cols` rows of `ld` values, `k` rows of 48.
            unsafe { transpose(src.as_ptr(), ld, k, cols, dst.as_mut_ptr(), NR) };
            for (at, row) in dst.chunks_exact(NR).enumerate() {
                for (j, &value) in row.iter().enumerate() {
                    let expected = if j < cols { src[j * ld + at] } else { -1.0 };
                    assert_eq!(value, expected, "({k}, {cols}) at ({at}, {j})");
                }
            }
        }
    }

    #[test]
    fn bf16_is_widened_on_the_way() {
        for (k, cols) in [(1, 1), (16, 16), (33, 48), (40, 31), (64, 17)] {
            let wide: Vec<f32> = (0..cols.max(k) * (cols.max(k) + 3)).map(|i| i as f32 - 80.0).collect();
            let half = rounded(&wide);
            let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
            let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| vec![-1f32; k * NR]);
            // SAFETY: `cols` rows of `k + 3` values and `k` rows of `cols + 3`; results of `k` rows of 48.
            unsafe {
                transpose(half.as_ptr(), k + 3, k, cols, a.as_mut_ptr(), NR);
                transpose(wide.as_ptr(), k + 3, k, cols, b.as_mut_ptr(), NR);
                copy_rows(half.as_ptr(), cols + 3, k, cols, c.as_mut_ptr());
                copy_rows(wide.as_ptr(), cols + 3, k, cols, d.as_mut_ptr());
            }
            assert_eq!((a, c), (b, d), "({k}, {cols})");
        }
    }

    #[test]
    fn panels_hold_every_value() {
        for (m, k) in [(1, 1), (8, 5), (70, 3), (131, 9)] {
            let src: Vec<f32> = (0..m * k).map(|i| i as f32).collect();
            let packed = panels_of_transposed(&src, m, k, Tasks::Many);
            for (i, at) in (0..m).flat_map(|i| (0..k).map(move |at| (i, at))) {
                assert_eq!(packed.as_slice()[i / MR * MR * k + at * MR + i % MR], src[at * m + i]);
            }
        }
    }
}

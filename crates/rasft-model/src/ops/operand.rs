//! What a matrix product takes: its operands in every layout they come in, and one block of a right operand as the
//! microkernel wants it.

#![expect(unsafe_code, reason = "reads blocks of matrices whose bounds the product has checked")]

use super::microkernel::{MR, NR, Source, WIDTH};
use super::pack::transpose;
use half::bf16;

/// The left operand, (M, K).
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// `a[i, k]` at `i·ld + k`.
    Rows { data: &'a [f32], ld: usize },
    /// `a[i, k]` at `k·M + i`: a matrix stored transposed.
    Transposed(&'a [f32]),
}

/// The right operand, (K, N).
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// `b[k, j]` at `k·ld + j`.
    Rows { data: &'a [f32], ld: usize },
    /// `b[k, j]` at `j·ld + k`: a weight as stored.
    Transposed { data: &'a [f32], ld: usize },
    /// Panels of 48 columns, `panel, k, column in the panel`, padded to whole panels.
    Panels(&'a [f32]),
    /// Panels of 16 columns, as keys lie in a cache.
    NarrowPanels(&'a [f32]),
    /// As `Rows`, in bf16.
    HalfRows { data: &'a [bf16], ld: usize },
    /// As `Transposed`, in bf16.
    HalfTransposed { data: &'a [bf16], ld: usize },
    /// Panels of 48 columns in bf16, half the memory to read, two steps of k in a word: `panel, k / 2, column`, the
    /// even step in the lower half and the odd one, 0 behind the last, in the upper.
    HalfPanels(&'a [u32]),
}

/// Where one block of a panel of B can be read, if need be once the first tile has copied it there from its source.
pub(super) struct PanelView {
    pub at: *const f32,
    /// Between rows.
    pub stride: usize,
    /// Between the vectors of a row.
    pub vector: usize,
    /// Whether whole vectors may be read behind the last column.
    pub padded: bool,
    /// Where it lies before the first tile reads it.
    pub source: Source,
    pub next: Bytes,
}

/// Memory that will be read soon. When it is not known: length 0, somewhere in use, because asking for an address where
/// nothing is has the page tables searched each time.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    pub at: *const u8,
    pub len: usize,
}

impl Bytes {
    /// At most `len` values from `at` on, as many as there are; `None` behind the last.
    fn within<T>(data: &[T], at: usize, len: usize) -> Option<Self> {
        let data = data.get(at..).filter(|data| !data.is_empty())?;
        Some(Self { at: data.as_ptr().cast(), len: size_of_val(&data[..len.min(data.len())]) })
    }
}

/// The rows `from..from + len` of one panel of B; `next` rows of its panels later begins what comes after them.
///
/// # Safety
/// B is as the product's checks ask, (K, N) with K = `k`; the rows and the `cols` ≤ 48 columns from `col` on lie in it,
/// `from` is even and `col` at the beginning of a panel. `scratch` has room for `len` rows of 48.
pub(super) unsafe fn panel(
    b: &Right,
    k: usize,
    from: usize,
    len: usize,
    next: usize,
    col: usize,
    cols: usize,
    rows: usize,
    scratch: *mut f32,
) -> PanelView {
    // SAFETY: indices stay inside B, the caller's promise; what comes next is only ever prefetched.
    unsafe {
        let unknown = Bytes { at: scratch.cast(), len: 0 };
        let view = |source| PanelView { at: scratch, stride: NR, vector: WIDTH, padded: false, source, next: unknown };
        match *b {
            Right::Panels(data) => {
                let at = col * k + from * NR;
                let next = Bytes::within(data, at + next * NR, len * NR).unwrap_or(unknown);
                PanelView { at: data.as_ptr().wrapping_add(at), padded: true, next, ..view(Source::Here) }
            }
            Right::HalfPanels(data) => {
                let at = col * k.div_ceil(2) + from / 2 * NR;
                let next = Bytes::within(data, at + next.div_ceil(2) * NR, len.div_ceil(2) * NR).unwrap_or(unknown);
                let pairs = data.as_ptr().wrapping_add(at);
                PanelView { padded: true, next, ..view(Source::Bf16Pairs(pairs)) }
            }
            Right::NarrowPanels(data) => {
                let at = data.as_ptr().wrapping_add(col * k + from * WIDTH);
                PanelView { at, stride: WIDTH, vector: k * WIDTH, padded: true, ..view(Source::Here) }
            }
            // Few rows do not earn the copy back.
            Right::Rows { data, ld } if rows <= 2 * MR => {
                let at = data.as_ptr().wrapping_add(from * ld + col);
                PanelView { at, stride: ld, ..view(Source::Here) }
            }
            Right::Rows { data, ld } => view(Source::F32 { rows: data.as_ptr().wrapping_add(from * ld + col), ld }),
            Right::HalfRows { data, ld } => {
                view(Source::Bf16 { rows: data.as_ptr().wrapping_add(from * ld + col), ld })
            }
            Right::Transposed { data, ld } => {
                transpose(data.as_ptr().wrapping_add(col * ld + from), ld, len, cols, scratch, NR);
                view(Source::Here)
            }
            Right::HalfTransposed { data, ld } => {
                transpose(data.as_ptr().wrapping_add(col * ld + from), ld, len, cols, scratch, NR);
                view(Source::Here)
            }
        }
    }
}

//! Causal attention over packed sequences, grouped queries, for training and for whole sequences.

use super::check::{dims, require};
use super::plain;
use crate::packed::Span;
use candle_core::{Result, Tensor};

/// Causal self-attention inside each span; heads `g·H/Hkv..(g+1)·H/Hkv` of q read key-value head g.
///
/// `y[t] = Σ_{j ≤ t} softmax_j(scale · q[t]·k[j]) · v[j]`, j and t in the same span.
///
/// # Shapes
/// q (T, H, Dh), k and v (T, Hkv, Dh) → (T, H, Dh). Spans tile 0..T in order and have `past` 0.
/// # Errors
/// Shapes that do not fit, H not a multiple of Hkv, spans that do not tile the rows or that have a past, strided tensors.
/// # Source
/// Vaswani et al. 2017; grouped queries: Ainslie et al. 2023.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], scale: f32) -> Result<Tensor> {
    const OP: &str = "attention";
    let [t, h, dh] = dims(OP, "q", q)?;
    let [tk, hkv, dk] = dims(OP, "k", k)?;
    let kv_fits = tk == t && dk == dh && hkv > 0 && h.is_multiple_of(hkv);
    require(kv_fits, OP, "k", || format!("({t}, a divisor of {h}, {dh})"), || format!("{:?}", k.dims()))?;
    require(v.dims() == k.dims(), OP, "v", || format!("{:?}", k.dims()), || format!("{:?}", v.dims()))?;
    check_spans(OP, spans, t)?;
    require(spans.iter().all(|s| s.past == 0), OP, "spans", || "past 0".into(), || format!("{spans:?}"))?;
    plain::attention(q, k, v, spans, scale)
}

/// Fails unless the spans tile `0..rows` in order.
pub(crate) fn check_spans(op: &'static str, spans: &[Span], rows: usize) -> Result<()> {
    let mut next = 0;
    for span in spans {
        require(
            span.start == next && span.len > 0,
            op,
            "spans",
            || format!("a span from row {next}"),
            || format!("{span:?}"),
        )?;
        next += span.len;
    }
    require(next == rows, op, "spans", || format!("{rows} rows"), || format!("{next} rows"))
}

//! The plain twin of every op: candle's own differentiable ops, written as the formula reads.
//!
//! They are the oracle of the kernels' tests and the path on devices without kernels. Speed and batch invariance are
//! deliberately absent.

use crate::packed::Span;
use candle_core::{D, DType, Device, Result, Tensor};

/// `y = x·wᵀ + bias`. # Shapes: x (T, K), w (N, K), bias (N) → (T, N).
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&w.t()?)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

/// `y = x / sqrt(mean(x²) + eps) · weight` over the last dimension. # Shapes: x (…, D), weight (D) → (…, D).
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean = (x.sqr()?.sum_keepdim(D::Minus1)? * (1.0 / x.dim(D::Minus1)? as f64))?;
    x.broadcast_div(&(mean + eps)?.sqrt()?)?.broadcast_mul(weight)
}

/// `(a, b) → (a·cos − b·sin, b·cos + a·sin)` of the two halves of each head.
/// # Shapes: x (T, H, Dh), cos and sin (P, Dh/2), positions (T) → (T, H, Dh).
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    let half = x.dim(2)? / 2;
    let at = Tensor::new(positions, x.device())?;
    let cos = cos.index_select(&at, 0)?.unsqueeze(1)?; // (T, 1, Dh/2)
    let sin = sin.index_select(&at, 0)?.unsqueeze(1)?;
    let a = x.narrow(2, 0, half)?;
    let b = x.narrow(2, half, half)?;
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[first, second], 2)
}

/// `y = gate · σ(gate) · up`. # Shapes: both (T, I) → (T, I).
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

/// Row `ids[t]` of the table. # Shapes: table (V, D), ids (T) → (T, D).
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    table.index_select(&Tensor::new(ids, table.device())?, 0)
}

/// Causal attention of one sequence after another, one head at a time.
/// # Shapes: q (T, H, Dh), k and v (T, Hkv, Dh) → (T, H, Dh).
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span], scale: f32) -> Result<Tensor> {
    let group = q.dim(1)? / k.dim(1)?;
    let mut sequences = Vec::with_capacity(spans.len());
    for span in spans {
        let mask = causal_mask(span.len, q.dtype(), q.device())?;
        let part =
            |t: &Tensor, head: usize| t.narrow(0, span.start, span.len)?.narrow(1, head, 1)?.squeeze(1)?.contiguous();
        let mut heads = Vec::with_capacity(q.dim(1)?);
        for head in 0..q.dim(1)? {
            let scores = (part(q, head)?.matmul(&part(k, head / group)?.t()?)? * f64::from(scale))?;
            let probs = softmax(&(scores + &mask)?)?; // (S, S)
            heads.push(probs.matmul(&part(v, head / group)?)?);
        }
        sequences.push(Tensor::stack(&heads, 1)?); // (S, H, Dh)
    }
    Tensor::cat(&sequences, 0)
}

/// `log softmax(h·wᵀ)[n, targets[n]]`, nats. # Shapes: h (N, D), w (V, D), targets (N) → (N).
pub fn linear_cross_entropy(h: &Tensor, w: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let logits = h.matmul(&w.t()?)?;
    let top = logits.max_keepdim(1)?.detach();
    let shifted = logits.broadcast_sub(&top)?;
    let log_sum = shifted.exp()?.sum(1)?.log()?;
    let at = Tensor::new(targets, h.device())?.unsqueeze(1)?;
    shifted.gather(&at, 1)?.squeeze(1)? - log_sum
}

fn causal_mask(len: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = (0..len * len).map(|at| if at % len > at / len { f32::NEG_INFINITY } else { 0.0 }).collect();
    Tensor::from_vec(values, (len, len), device)?.to_dtype(dtype)
}

/// Softmax of the last dimension, in ops that candle differentiates.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// Per row `Σ_v p_ref(v)·(log p_ref(v) − log p(v))` and `factor·(p − p_ref)`, in f64. # Shapes: both (N, V) → (N), (N, V).
pub fn divergence_gradients(z: &Tensor, z_ref: &Tensor, factor: f64) -> Result<(Tensor, Tensor)> {
    let log_softmax = |z: &Tensor| {
        let z = z.to_dtype(DType::F64)?;
        let z = z.broadcast_sub(&z.max_keepdim(1)?)?;
        z.broadcast_sub(&z.exp()?.sum_keepdim(1)?.log()?)
    };
    let (log_p, log_p_ref) = (log_softmax(z)?, log_softmax(z_ref)?);
    let p_ref = log_p_ref.exp()?;
    let kl = (&p_ref * (log_p_ref - &log_p)?)?.sum(1)?;
    Ok((kl, ((log_p.exp()? - p_ref)? * factor)?))
}

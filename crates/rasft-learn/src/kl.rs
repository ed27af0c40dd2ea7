//! The divergence of `sft-kl`, `asft` and `grpo` (with a weight) from a reference model, over the whole vocabulary.
//!
//! Logits of policy and reference exist for a few rows at a time: each chunk is differentiated down to the hidden states
//! at once, so memory does not grow with tokens × vocabulary. Absent on purpose: the cross-entropy part.

use crate::LearnError;
use crate::forward::Rows;
use crate::grads::accumulate;
use candle_core::{Tensor, Var};
use rasft_model::{Decoder, ModelError, ops};
use std::ops::Range;

/// Rows whose logits exist at one time on candle's graph.
const ROWS: usize = 64;

/// Divergence of one row per token and its gradient.
///
/// ```text
/// KL_n = Σ_v p_ref(v) · (log p_ref(v) − log p_θ(v)),   ∂KL_n/∂z_nv = p_θ(v) − p_ref(v)
/// ```
///
/// # Shapes
/// logits of policy and reference (N, V), f32 → KL (N), nats, and ∂KL/∂logits (N, V) of the policy.
///
/// # Errors
/// The shapes differ.
///
/// # Source
/// algorithm.md §12.
pub fn kl_to_reference(policy: &Tensor, reference: &Tensor) -> Result<(Vec<f64>, Tensor), LearnError> {
    scaled(policy, reference, 1.0)
}

fn scaled(policy: &Tensor, reference: &Tensor, factor: f64) -> Result<(Vec<f64>, Tensor), LearnError> {
    let mut z = policy.flatten_all()?.to_vec1::<f32>()?;
    let kl = ops::replace_by_divergence_gradients(&mut z, reference, factor)?;
    Ok((kl, Tensor::from_vec(z, policy.shape(), policy.device())?))
}

/// `factor · Σ KL` over the response tokens of a micro-batch.
pub(crate) struct Divergence<'a> {
    reference: &'a Decoder,
    /// The reference's hidden states that predict them, (N, D).
    hidden: Tensor,
    factor: f64,
    /// What the backward pass found of it so far.
    pub loss: f64,
}

impl<'a> Divergence<'a> {
    /// Runs the reference over `rows`.
    pub fn of(rows: &Rows, reference: &'a Decoder, factor: f64) -> Result<Self, LearnError> {
        Ok(Self { reference, hidden: rows.hidden(reference)?, factor, loss: 0.0 })
    }

    /// Replaces the policy's logits of some tokens, (rows, V), by the gradient.
    pub fn replace(&mut self, rows: Range<usize>, logits: &mut [f32]) -> Result<(), ModelError> {
        let reference = self.reference_logits(rows)?;
        let kl = ops::replace_by_divergence_gradients(logits, &reference, self.factor)?;
        self.loss += self.factor * kl.iter().sum::<f64>();
        Ok(())
    }

    /// The gradient for the policy's `hidden` (N, D), by candle's graph; what trains of the output projection gets its own
    /// in `sums`.
    pub fn backward(&mut self, policy: &Decoder, hidden: &Tensor, sums: &mut [Vec<f32>]) -> Result<Tensor, LearnError> {
        let n = hidden.dim(0)?;
        let mut parts = Vec::new();
        for from in (0..n).step_by(ROWS) {
            let len = ROWS.min(n - from);
            let rows = Var::from_tensor(&hidden.narrow(0, from, len)?.detach())?;
            let logits = policy.logits(rows.as_tensor())?;
            let reference = self.reference_logits(from..from + len)?;
            let (kl, gradient) = scaled(&logits.detach(), &reference, self.factor)?;
            self.loss += self.factor * kl.iter().sum::<f64>();
            // Linear in the logits, with the gradient of the divergence.
            let mut grads = (logits * gradient)?.sum_all()?.backward()?;
            accumulate(sums, policy.parameters(), &mut grads)?;
            parts.push(grads.remove(rows.as_tensor()).map_or_else(|| rows.zeros_like(), Ok)?);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn reference_logits(&self, rows: Range<usize>) -> Result<Tensor, ModelError> {
        self.reference.logits(&self.hidden.narrow(0, rows.start, rows.len())?.contiguous()?)
    }
}

//! Coefficients of one sequence under an objective, and the loss they make.

use super::Objective;
use crate::LearnError;
use candle_core::Tensor;

/// Largest |ℓ_ref − ℓ_θ| that enters the exponential (algorithm.md §11).
const LOG_RATIO_LIMIT: f64 = 20.0;
/// Probability above which `profit` trains on a token (algorithm.md §12).
const PROFIT_THRESHOLD: f64 = 0.1;
/// Coefficients of one sequence, and what the metrics say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceTerms {
    /// `c_t` per response token.
    pub coefficients: Vec<f32>,
    /// Σ_t of the objective's value, before the divisor and without the divergence.
    pub loss: f64,
    /// Tokens the mean is taken over: all of them, except for `profit`.
    pub counted: usize,
    /// `R_b` before clipping, for `grpo` the mean of ρ_t; 1 for objectives without a ratio.
    pub ratio: f64,
    /// `R̃_b`, for `grpo` the mean of the clipped ρ_t.
    pub clipped_ratio: f64,
    /// Share of the ratio that was clipped from below: 0 or 1, for `grpo` a share of the tokens.
    pub clipped_low: f64,
    /// Share of the ratio that was clipped from above.
    pub clipped_high: f64,
    /// Σ_t p_θ(y_t).
    pub sum_prob: f64,
}

/// Coefficients of one sequence from detached values.
///
/// ```text
/// ℓ_θ = mean_t log p_θ(y_t),  ℓ_ref = ref_logprob
/// R_b = exp(clamp(ℓ_ref − ℓ_θ, −20, 20)),  R̃_b = clamp(R_b, clip_min, clip_max)
/// c_t = R̃_b · w_b · p_θ(y_t)      rasft
///       1                         sft, sft-kl
///       p_θ(y_t)                  dft, asft
///       1[p_θ(y_t) > 0.1]         profit
///       see [`clipped_policy_gradient`]  grpo
/// ```
///
/// # Shapes
/// Log-probabilities (T) of the response tokens, nats.
///
/// # Source
/// algorithm.md §11, §12 and Part A (objectives).
pub fn sequence_terms(objective: Objective, sequence: &Sequence<'_>) -> SequenceTerms {
    let &Sequence { logprobs, weight, ref_logprob, .. } = sequence;
    let prob = |lp: &f32| f64::from(*lp).exp();
    if let Objective::Grpo { epsilon_low, epsilon_high, .. } = objective {
        return clipped_policy_gradient(sequence, epsilon_low, epsilon_high);
    }
    let (ratio, clipped_ratio) = match objective {
        Objective::Rasft { clip_min, clip_max } => inverse_ratio(logprobs, ref_logprob, clip_min, clip_max),
        _ => (1.0, 1.0),
    };
    let coefficient = |lp: &f32| match objective {
        Objective::Rasft { .. } => clipped_ratio * weight * prob(lp),
        Objective::Sft | Objective::SftKl { .. } | Objective::Grpo { .. } => 1.0,
        Objective::Dft | Objective::Asft { .. } => prob(lp),
        Objective::Profit => f64::from(u8::from(prob(lp) > PROFIT_THRESHOLD)),
    };
    let coefficients: Vec<f32> = logprobs.iter().map(|lp| coefficient(lp) as f32).collect();
    let counted = match objective {
        Objective::Profit => coefficients.iter().filter(|c| **c > 0.0).count(),
        _ => logprobs.len(),
    };
    SequenceTerms {
        loss: coefficients.iter().zip(logprobs).map(|(c, lp)| -f64::from(*c) * f64::from(*lp)).sum(),
        coefficients,
        counted,
        ratio,
        clipped_ratio,
        clipped_low: f64::from(u8::from(clipped_ratio > ratio)),
        clipped_high: f64::from(u8::from(clipped_ratio < ratio)),
        sum_prob: logprobs.iter().map(prob).sum(),
    }
}

/// The terms of `grpo`:
///
/// ```text
/// ρ_t = exp(clamp(log p_θ(y_t) − log p_old(y_t), −20, 20)),  ρ̃_t = clamp(ρ_t, 1−ε_low, 1+ε_high)
/// L_t = −min(ρ_t·w_b, ρ̃_t·w_b),   c_t = ρ_t·w_b where the minimum is the unclipped one, else 0
/// ```
///
/// because `∂ρ_t/∂log p_θ = ρ_t` and the clipped branch is constant; so is ρ_t itself where its logarithm is cut at ±20.
///
/// # Shapes
/// Log-probabilities under policy and behaviour policy (T), nats; `w_b` is the group-relative advantage.
///
/// # Source
/// Shao et al. 2024, DeepSeekMath, §4.1; Yu et al. 2025, DAPO, §3.1 (ε_high); algorithm.md Part A (objectives).
fn clipped_policy_gradient(sequence: &Sequence<'_>, epsilon_low: f64, epsilon_high: f64) -> SequenceTerms {
    let n = sequence.logprobs.len();
    let mut terms = SequenceTerms {
        coefficients: Vec::with_capacity(n),
        loss: 0.0,
        counted: n,
        ratio: 0.0,
        clipped_ratio: 0.0,
        clipped_low: 0.0,
        clipped_high: 0.0,
        sum_prob: 0.0,
    };
    let (advantage, share) = (sequence.weight, 1.0 / n.max(1) as f64);
    for (lp, old) in sequence.logprobs.iter().zip(sequence.old_logprobs) {
        let log_ratio = f64::from(*lp) - f64::from(*old);
        let moves = log_ratio.abs() <= LOG_RATIO_LIMIT;
        let ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
        let clipped = ratio.clamp(1.0 - epsilon_low, 1.0 + epsilon_high);
        let active = ratio * advantage <= clipped * advantage;
        terms.loss -= if active { ratio * advantage } else { clipped * advantage };
        terms.coefficients.push(if active && moves { (ratio * advantage) as f32 } else { 0.0 });
        terms.ratio += ratio * share;
        terms.clipped_ratio += clipped * share;
        terms.clipped_low += if !active && clipped > ratio { share } else { 0.0 };
        terms.clipped_high += if !active && clipped < ratio { share } else { 0.0 };
        terms.sum_prob += f64::from(*lp).exp();
    }
    terms
}

/// What an objective looks at in one sequence; nothing here carries a gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequence<'a> {
    /// Log-probabilities of the response tokens, (T), nats.
    pub logprobs: &'a [f32],
    /// `w_b`.
    pub weight: f64,
    /// Mean log-probability per response token under the frozen reference, nats.
    pub ref_logprob: f32,
    /// Log-probabilities of the response tokens under the policy that sampled them, (T), nats; only `grpo` looks.
    pub old_logprobs: &'a [f32],
}

/// [`sequence_terms`] of sequences over which one mean is taken. Where `profit` counts none of their tokens, all are
/// trained on as in `sft`.
///
/// # Source
/// algorithm.md §12 (profit: "if none, plain mean over valid tokens").
pub fn mean_terms(objective: Objective, sequences: &[Sequence<'_>]) -> Vec<SequenceTerms> {
    let terms = |objective| -> Vec<SequenceTerms> { sequences.iter().map(|s| sequence_terms(objective, s)).collect() };
    let own = terms(objective);
    if n_counted(&own) == 0 { terms(Objective::Sft) } else { own }
}

/// Tokens the mean is taken over.
pub fn n_counted(terms: &[SequenceTerms]) -> usize {
    terms.iter().map(|t| t.counted).sum()
}

/// `∂L/∂log p_bt = −c_bt / divisor` of `L = Σ_bt c_bt · CE_bt / divisor`, sequence after sequence.
///
/// # Source
/// algorithm.md §11 and §12.
pub fn token_gradients(terms: &[SequenceTerms], divisor: f64) -> Vec<f32> {
    terms.iter().flat_map(|t| &t.coefficients).map(|c| (-f64::from(*c) / divisor) as f32).collect()
}

/// `L = Σ_bt c_bt · CE_bt / divisor` as a tensor whose gradient is [`token_gradients`].
///
/// # Shapes
/// `logprobs` (N) of the response tokens of all sequences end to end, nats → scalar.
///
/// # Errors
/// The number of coefficients is not N.
///
/// # Source
/// algorithm.md §11 and §12.
pub fn token_loss(logprobs: &Tensor, terms: &[SequenceTerms], divisor: f64) -> Result<Tensor, LearnError> {
    let gradients = token_gradients(terms, divisor);
    let coefficients = Tensor::from_slice(&gradients, gradients.len(), logprobs.device())?;
    Ok((logprobs * coefficients)?.sum_all()?)
}

/// `(R_b, R̃_b)`; a sequence without response tokens has ratio 1.
fn inverse_ratio(logprobs: &[f32], ref_logprob: f32, clip_min: f64, clip_max: f64) -> (f64, f64) {
    if logprobs.is_empty() {
        return (1.0, 1.0);
    }
    let mean = logprobs.iter().map(|lp| f64::from(*lp)).sum::<f64>() / logprobs.len() as f64;
    let ratio = (f64::from(ref_logprob) - mean).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    (ratio, ratio.clamp(clip_min, clip_max))
}

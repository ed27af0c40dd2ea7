//! The objectives, one formula each.
//!
//! With `CE_t = −log p_θ(y_t)` every objective here is `L = Σ_bt c_bt · CE_bt / n` with coefficients `c` that carry no
//! gradient; what distinguishes them is `c`. So one linear loss over token log-probabilities serves them all, and its
//! gradient is `∂L/∂log p_bt = −c_bt / n`.

use crate::LearnError;
use std::str::FromStr;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// `c = R̃_b · w_b · p_θ(y_t)`: rollout-adaptive supervised fine-tuning.
    Rasft {
        /// Lower end of the clipped inverse ratio.
        clip_min: f64,
        /// Upper end of it.
        clip_max: f64,
    },
    /// `c = 1`: supervised fine-tuning.
    Sft,
    /// `c = p_θ(y_t)`: dynamic fine-tuning.
    Dft,
}

impl Objective {
    /// The objective of that name; the clip only matters for `rasft`.
    ///
    /// # Errors
    /// Another name, or an empty clip interval.
    pub fn parse(name: &str, clip_min: f64, clip_max: f64) -> Result<Self, LearnError> {
        match Self::from_str(name)? {
            Self::Rasft { .. } if !(clip_min >= 0.0 && clip_max >= clip_min && clip_max.is_finite()) => Err(
                LearnError::Parameter(format!("clip {clip_min}..{clip_max}: expected 0 <= clip_min <= clip_max")),
            ),
            Self::Rasft { .. } => Ok(Self::Rasft { clip_min, clip_max }),
            other => Ok(other),
        }
    }

    /// Whether the reference's log-probabilities enter.
    pub fn needs_reference(self) -> bool {
        matches!(self, Self::Rasft { .. })
    }
}

impl FromStr for Objective {
    type Err = LearnError;

    fn from_str(name: &str) -> Result<Self, LearnError> {
        match name {
            "rasft" => Ok(Self::Rasft { clip_min: 0.4, clip_max: 1.2 }),
            "sft" => Ok(Self::Sft),
            "dft" => Ok(Self::Dft),
            _ => Err(LearnError::Parameter(format!("objective {name:?}: expected rasft, sft or dft"))),
        }
    }
}

/// Coefficients of one sequence, and what the metrics say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceTerms {
    /// `c_t` per response token.
    pub coefficients: Vec<f32>,
    /// `R_b` before clipping; 1 for objectives without a ratio.
    pub ratio: f64,
    /// `R̃_b`.
    pub clipped_ratio: f64,
    /// Σ_t p_θ(y_t).
    pub sum_prob: f64,
}

/// Largest |ℓ_ref − ℓ_θ| that enters the exponential.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// Coefficients of one sequence from detached values.
///
/// ```text
/// ℓ_θ = −mean_t log p_θ(y_t),  ℓ_ref = −ref_logprob
/// R_b = exp(clamp(ℓ_ref − ℓ_θ, −20, 20)),  R̃_b = clamp(R_b, clip_min, clip_max)
/// c_t = R̃_b · w_b · p_θ(y_t)      (rasft)
/// ```
///
/// # Shapes
/// `logprobs` (T) of the response tokens, nats; `weight` w_b; `ref_logprob` mean per response token, nats.
///
/// # Source
/// algorithm.md §11 and §12.
pub fn sequence_terms(objective: Objective, logprobs: &[f32], weight: f64, ref_logprob: f32) -> SequenceTerms {
    let prob = |lp: &f32| f64::from(*lp).exp();
    let sum_prob = logprobs.iter().map(prob).sum();
    let plain = |coefficients| SequenceTerms { coefficients, ratio: 1.0, clipped_ratio: 1.0, sum_prob };
    match objective {
        Objective::Sft => plain(vec![1.0; logprobs.len()]),
        Objective::Dft => plain(logprobs.iter().map(|lp| prob(lp) as f32).collect()),
        Objective::Rasft { clip_min, clip_max } => {
            if logprobs.is_empty() {
                return plain(Vec::new());
            }
            let mean = logprobs.iter().map(|lp| f64::from(*lp)).sum::<f64>() / logprobs.len() as f64;
            let (loss, ref_loss) = (-mean, -f64::from(ref_logprob));
            let ratio = (ref_loss - loss).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
            let clipped_ratio = ratio.clamp(clip_min, clip_max);
            let coefficients = logprobs.iter().map(|lp| (clipped_ratio * weight * prob(lp)) as f32).collect();
            SequenceTerms { coefficients, ratio, clipped_ratio, sum_prob }
        }
    }
}

//! The objectives, one formula each.
//!
//! With `CE_t = −log p_θ(y_t)` every objective here is `L = Σ_bt (c_bt · CE_bt + λ · KL_bt) / n` with coefficients `c`
//! that carry no gradient; what distinguishes them is `c`, `λ` and which tokens `n` counts. So one linear loss over
//! token log-probabilities serves them all, with the gradient `∂L/∂log p_bt = −c_bt / n`; the divergence is in `kl`.
//! Absent on purpose: the divisor's choice, which is the trainer's normalisation.

use crate::LearnError;
use candle_core::Tensor;
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
    /// `c = 1[p_θ(y_t) > 0.1]`, and only such tokens are counted; all tokens if there is none.
    Profit,
    /// `c = 1` and `λ = kl_weight`: supervised fine-tuning held to the reference.
    SftKl {
        /// λ.
        kl_weight: f64,
    },
    /// `c = p_θ(y_t)` and `λ = kl_weight`: anchored supervised fine-tuning.
    Asft {
        /// λ.
        kl_weight: f64,
    },
}

/// Clip of the inverse ratio (algorithm.md §11).
const CLIP: (f64, f64) = (0.4, 1.2);
/// λ of `train()` in the reference baselines (algorithm.md §12).
const KL_WEIGHT: f64 = 0.1;
/// Probability above which `profit` trains on a token (algorithm.md §12).
const PROFIT_THRESHOLD: f64 = 0.1;
/// Largest |ℓ_ref − ℓ_θ| that enters the exponential (algorithm.md §11).
const LOG_RATIO_LIMIT: f64 = 20.0;

impl Objective {
    /// Every name [`Objective::parse`] knows.
    pub const NAMES: [&'static str; 6] = ["rasft", "sft", "dft", "profit", "sft-kl", "asft"];

    /// The objective of that name; the clip only matters for `rasft`.
    ///
    /// # Errors
    /// Another name, or an empty clip interval.
    pub fn parse(name: &str, clip_min: f64, clip_max: f64) -> Result<Self, LearnError> {
        let objective = match Self::from_str(name)? {
            Self::Rasft { .. } => Self::Rasft { clip_min, clip_max },
            other => other,
        };
        objective.check()?;
        Ok(objective)
    }

    /// The same objective with this λ; one without a divergence stays as it is.
    #[must_use]
    pub fn with_kl_weight(self, kl_weight: f64) -> Self {
        match self {
            Self::SftKl { .. } => Self::SftKl { kl_weight },
            Self::Asft { .. } => Self::Asft { kl_weight },
            other => other,
        }
    }

    /// Refuses parameters out of range.
    ///
    /// # Errors
    /// An empty clip interval, or a λ that is negative or not finite.
    pub fn check(self) -> Result<(), LearnError> {
        match self {
            Self::Rasft { clip_min, clip_max }
                if !(0.0 <= clip_min && clip_min <= clip_max && clip_max.is_finite()) =>
            {
                let detail = format!("clip {clip_min}..{clip_max}: expected 0 <= clip_min <= clip_max");
                Err(LearnError::Parameter(detail))
            }
            Self::SftKl { kl_weight } | Self::Asft { kl_weight } if !(kl_weight >= 0.0 && kl_weight.is_finite()) => {
                Err(LearnError::Parameter(format!("KL weight {kl_weight}: expected a finite number from 0 on")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the reference's log-probabilities in the mixture enter.
    pub fn needs_reference(self) -> bool {
        matches!(self, Self::Rasft { .. })
    }

    /// λ, if the objective has a divergence and so needs the reference model itself.
    pub fn kl_weight(self) -> Option<f64> {
        match self {
            Self::SftKl { kl_weight } | Self::Asft { kl_weight } => Some(kl_weight),
            _ => None,
        }
    }
}

impl FromStr for Objective {
    type Err = LearnError;

    fn from_str(name: &str) -> Result<Self, LearnError> {
        match name {
            "rasft" => Ok(Self::Rasft { clip_min: CLIP.0, clip_max: CLIP.1 }),
            "sft" => Ok(Self::Sft),
            "dft" => Ok(Self::Dft),
            "profit" => Ok(Self::Profit),
            "sft-kl" => Ok(Self::SftKl { kl_weight: KL_WEIGHT }),
            "asft" => Ok(Self::Asft { kl_weight: KL_WEIGHT }),
            _ => {
                let known = Self::NAMES.join(", ");
                Err(LearnError::Parameter(format!("objective {name:?} is not known: expected one of {known}")))
            }
        }
    }
}

/// Coefficients of one sequence, and what the metrics say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceTerms {
    /// `c_t` per response token.
    pub coefficients: Vec<f32>,
    /// Tokens the mean is taken over: all of them, except for `profit`.
    pub counted: usize,
    /// `R_b` before clipping; 1 for objectives without a ratio.
    pub ratio: f64,
    /// `R̃_b`.
    pub clipped_ratio: f64,
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
/// ```
///
/// # Shapes
/// `logprobs` (T) of the response tokens, nats; `weight` w_b; `ref_logprob` mean per response token, nats.
///
/// # Source
/// algorithm.md §11 and §12.
pub fn sequence_terms(objective: Objective, logprobs: &[f32], weight: f64, ref_logprob: f32) -> SequenceTerms {
    let prob = |lp: &f32| f64::from(*lp).exp();
    let (ratio, clipped_ratio) = match objective {
        Objective::Rasft { clip_min, clip_max } => inverse_ratio(logprobs, ref_logprob, clip_min, clip_max),
        _ => (1.0, 1.0),
    };
    let coefficient = |lp: &f32| match objective {
        Objective::Rasft { .. } => clipped_ratio * weight * prob(lp),
        Objective::Sft | Objective::SftKl { .. } => 1.0,
        Objective::Dft | Objective::Asft { .. } => prob(lp),
        Objective::Profit => f64::from(u8::from(prob(lp) > PROFIT_THRESHOLD)),
    };
    let coefficients: Vec<f32> = logprobs.iter().map(|lp| coefficient(lp) as f32).collect();
    let counted = match objective {
        Objective::Profit => coefficients.iter().filter(|c| **c > 0.0).count(),
        _ => logprobs.len(),
    };
    SequenceTerms { coefficients, counted, ratio, clipped_ratio, sum_prob: logprobs.iter().map(prob).sum() }
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
}

/// [`sequence_terms`] of sequences over which one mean is taken. Where `profit` counts none of their tokens, all are
/// trained on as in `sft`.
///
/// # Source
/// algorithm.md §12 (profit: "if none, plain mean over valid tokens").
pub fn mean_terms(objective: Objective, sequences: &[Sequence<'_>]) -> Vec<SequenceTerms> {
    let terms = |objective| -> Vec<SequenceTerms> {
        sequences.iter().map(|s| sequence_terms(objective, s.logprobs, s.weight, s.ref_logprob)).collect()
    };
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
    let coefficients = Tensor::new(token_gradients(terms, divisor), logprobs.device())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_objectives_name_the_known_ones() {
        for name in ["grpo", "RASFT", ""] {
            let message = Objective::parse(name, 0.4, 1.2).unwrap_err().to_string();
            assert!(message.contains("rasft, sft, dft, profit, sft-kl, asft"), "{message}");
        }
        for name in Objective::NAMES {
            Objective::parse(name, 0.4, 1.2).unwrap();
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        for (min, max) in [(1.2, 0.4), (-0.1, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Objective::parse("rasft", min, max).is_err(), "{min} {max}");
        }
        assert!(Objective::parse("sft", 2.0, 1.0).is_ok());
        for weight in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Objective::Asft { kl_weight: weight }.check().is_err());
        }
    }

    #[test]
    fn ratio_falls_as_the_policy_comes_to_like_a_sequence_better_than_the_reference() {
        let rasft = Objective::parse("rasft", 0.4, 1.2).unwrap();
        let ratio = |lp: f32| sequence_terms(rasft, &[lp, lp], 1.0, -1.0);
        assert_eq!(ratio(-1.0).ratio, 1.0);
        assert_eq!(ratio(-3.0).clipped_ratio, 1.2);
        assert_eq!(ratio(0.0).clipped_ratio, 0.4);
        assert!((ratio(-1.1).clipped_ratio - 0.1f64.exp()).abs() < 1e-6);
        assert_eq!(ratio(-1000.0).ratio, 20f64.exp());
    }
}

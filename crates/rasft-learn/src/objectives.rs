//! The objectives, one formula each.
//!
//! With `CE_t = −log p_θ(y_t)` every objective here is `L = Σ_bt (c_bt · CE_bt + λ · KL_bt) / n` with coefficients `c`
//! that carry no gradient; what distinguishes them is `c`, `λ` and which tokens `n` counts. So one linear loss over
//! token log-probabilities serves them all, with the gradient `∂L/∂log p_bt = −c_bt / n`; the divergence is in `kl`.
//! `grpo` has another value but a gradient of the same form, so its `c` is what makes the gradient right and the value is
//! kept beside it ([`SequenceTerms::loss`]).
//! Absent on purpose: the divisor's choice, which is the trainer's normalisation.

use crate::LearnError;
use std::str::FromStr;

mod terms;

pub use terms::{Sequence, SequenceTerms, mean_terms, n_counted, sequence_terms, token_gradients, token_loss};

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
    /// `min(ρ_t·w_b, clamp(ρ_t, 1−ε_low, 1+ε_high)·w_b)` is maximised, with `ρ_t = p_θ(y_t)/p_old(y_t)`: group-relative
    /// policy optimisation, whose advantages are the weights.
    Grpo {
        /// ε_low.
        epsilon_low: f64,
        /// ε_high; more than ε_low lets unlikely tokens gain.
        epsilon_high: f64,
        /// λ; 0 for no divergence.
        kl_weight: f64,
    },
}

/// Clip of the inverse ratio (algorithm.md §11).
const CLIP: (f64, f64) = (0.4, 1.2);
/// λ of `train()` in the reference baselines (algorithm.md §12).
const KL_WEIGHT: f64 = 0.1;
/// Clip of the token ratio of `grpo` (algorithm.md Part A, objectives).
const EPSILON: f64 = 0.2;

impl Objective {
    /// Every name [`Objective::parse`] knows.
    pub const NAMES: [&'static str; 7] = ["rasft", "sft", "dft", "profit", "sft-kl", "asft", "grpo"];

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
            Self::Grpo { epsilon_low, epsilon_high, .. } => Self::Grpo { epsilon_low, epsilon_high, kl_weight },
            other => other,
        }
    }

    /// The same objective with this ε_high; only `grpo` has one.
    #[must_use]
    pub fn with_clip_high(self, epsilon_high: f64) -> Self {
        match self {
            Self::Grpo { epsilon_low, kl_weight, .. } => Self::Grpo { epsilon_low, epsilon_high, kl_weight },
            other => other,
        }
    }

    /// Refuses parameters out of range.
    ///
    /// # Errors
    /// An empty clip interval, or a λ or ε that is negative or not finite.
    pub fn check(self) -> Result<(), LearnError> {
        let at_least_zero = |x: f64| x >= 0.0 && x.is_finite();
        match self {
            Self::Rasft { clip_min, clip_max }
                if !(0.0 <= clip_min && clip_min <= clip_max && clip_max.is_finite()) =>
            {
                let detail = format!("clip {clip_min}..{clip_max}: expected 0 <= clip_min <= clip_max");
                Err(LearnError::Parameter(detail))
            }
            Self::Grpo { epsilon_low, epsilon_high, .. }
                if !(at_least_zero(epsilon_high) && (0.0..1.0).contains(&epsilon_low)) =>
            {
                let detail =
                    format!("clip of the token ratio {epsilon_low}, {epsilon_high}: expected numbers from 0 on");
                Err(LearnError::Parameter(detail))
            }
            Self::SftKl { kl_weight } | Self::Asft { kl_weight } | Self::Grpo { kl_weight, .. }
                if !at_least_zero(kl_weight) =>
            {
                Err(LearnError::Parameter(format!("KL weight {kl_weight}: expected a finite number from 0 on")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the reference's log-probabilities in the mixture enter.
    pub fn needs_reference(self) -> bool {
        matches!(self, Self::Rasft { .. })
    }

    /// Whether the behaviour policy's log-probabilities in the mixture enter.
    pub fn needs_behaviour(self) -> bool {
        matches!(self, Self::Grpo { .. })
    }

    /// Whether the trajectories' weights enter.
    pub fn uses_weights(self) -> bool {
        matches!(self, Self::Rasft { .. } | Self::Grpo { .. })
    }

    /// λ, if the objective has a divergence and so needs the reference model itself.
    pub fn kl_weight(self) -> Option<f64> {
        match self {
            Self::SftKl { kl_weight } | Self::Asft { kl_weight } => Some(kl_weight),
            Self::Grpo { kl_weight, .. } if kl_weight > 0.0 => Some(kl_weight),
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
            "grpo" => Ok(Self::Grpo { epsilon_low: EPSILON, epsilon_high: EPSILON, kl_weight: 0.0 }),
            _ => {
                let known = Self::NAMES.join(", ");
                Err(LearnError::Parameter(format!("objective {name:?} is not known: expected one of {known}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_objectives_name_the_known_ones() {
        for name in ["ppo", "RASFT", ""] {
            let message = Objective::parse(name, 0.4, 1.2).unwrap_err().to_string();
            assert!(message.contains("rasft, sft, dft, profit, sft-kl, asft, grpo"), "{message}");
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
        let ratio = |lp: f32| {
            let logprobs = [lp, lp];
            let sequence = Sequence { logprobs: &logprobs, weight: 1.0, ref_logprob: -1.0, old_logprobs: &[] };
            sequence_terms(rasft, &sequence)
        };
        assert_eq!(ratio(-1.0).ratio, 1.0);
        assert_eq!(ratio(-3.0).clipped_ratio, 1.2);
        assert_eq!(ratio(0.0).clipped_ratio, 0.4);
        assert!((ratio(-1.1).clipped_ratio - 0.1f64.exp()).abs() < 1e-6);
        assert_eq!(ratio(-1000.0).ratio, 20f64.exp());
    }

    /// By hand, with ε 0.2 and ε_high 0.28: ratios 1, 1.25, 1.5, 0.5 and 0.9 for an advantage of 2 and of −2.
    #[test]
    fn grpo_clips_tokens_that_have_moved_far_enough() {
        let grpo = Objective::from_str("grpo").unwrap().with_clip_high(0.28);
        let old = [-1.0f32; 5];
        let logprobs: Vec<f32> = [1.0f64, 1.25, 1.5, 0.5, 0.9].iter().map(|r| (r.ln() - 1.0) as f32).collect();
        let of = |weight: f64| {
            let s = Sequence { logprobs: &logprobs, weight, ref_logprob: f32::NAN, old_logprobs: &old };
            sequence_terms(grpo, &s)
        };
        let close = |a: &[f32], b: [f64; 5]| a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6);
        let gains = of(2.0);
        assert!(close(&gains.coefficients, [2.0, 2.5, 0.0, 1.0, 1.8]), "{gains:?}");
        assert!((gains.loss + 2.0 * (1.0 + 1.25 + 1.28 + 0.5 + 0.9)).abs() < 1e-6);
        assert_eq!((gains.clipped_low, gains.clipped_high), (0.0, 0.2));
        let loses = of(-2.0);
        assert!(close(&loses.coefficients, [-2.0, -2.5, -3.0, 0.0, -1.8]), "{loses:?}");
        assert!((loses.loss - 2.0 * (1.0 + 1.25 + 1.5 + 0.8 + 0.9)).abs() < 1e-6);
        assert_eq!((loses.clipped_low, loses.clipped_high), (0.2, 0.0));
        assert!((loses.ratio - 1.03).abs() < 1e-6 && loses.counted == 5);
    }

    /// Beyond ±20 the value is flat, so the gradient is 0 even where the unclipped branch is taken.
    #[test]
    fn grpo_does_not_push_where_its_ratio_is_cut() {
        let grpo = Objective::Grpo { epsilon_low: 0.2, epsilon_high: 0.28, kl_weight: 0.0 };
        let of = |logprobs: [f32; 2], weight: f64| {
            let s = Sequence { logprobs: &logprobs, weight, ref_logprob: 0.0, old_logprobs: &[-30.0, -1.0] };
            sequence_terms(grpo, &s)
        };
        let (terms, further) = (of([-0.5, -1.0], -1.0), of([-0.25, -1.0], -1.0));
        assert_eq!(terms.loss, further.loss);
        assert_eq!(terms.coefficients, [0.0, -1.0]);
        assert_eq!(of([-30.0, -40.0], 1.0).coefficients, [1.0, 0.0]);
    }

    /// `∂L/∂log p_t = −c_t`, against central differences of the value alone.
    #[test]
    fn grpo_coefficients_are_the_gradient_of_its_value() {
        let grpo = Objective::Grpo { epsilon_low: 0.2, epsilon_high: 0.28, kl_weight: 0.0 };
        let old = [-0.4f32, -1.3, -2.0, -0.1, -3.0, -0.7];
        let shifts = [0.05f32, 0.3, -0.4, -0.08, 0.22, -0.15];
        let logprobs: Vec<f32> = old.iter().zip(shifts).map(|(o, s)| o + s).collect();
        for weight in [1.3, -0.7] {
            let value = |lp: &[f32]| {
                let s = Sequence { logprobs: lp, weight, ref_logprob: 0.0, old_logprobs: &old };
                sequence_terms(grpo, &s)
            };
            let terms = value(&logprobs);
            for t in 0..old.len() {
                let moved = |by: f32| {
                    let mut lp = logprobs.clone();
                    lp[t] += by;
                    (value(&lp).loss, f64::from(lp[t]))
                };
                let ((up, at_up), (down, at_down)) = (moved(1e-3), moved(-1e-3));
                let slope = (up - down) / (at_up - at_down);
                let expected = -f64::from(terms.coefficients[t]);
                assert!((slope - expected).abs() < 1e-5, "token {t}, weight {weight}: {slope} instead of {expected}");
            }
        }
    }
}

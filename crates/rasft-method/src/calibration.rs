//! The frozen thresholds of the difficulty window: quantiles of the starting policy's losses.

use crate::error::{MethodError, ordered, require};
use serde::{Deserialize, Serialize};

/// Which quantiles of the calibration losses bound the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantiles {
    /// Of the easy floor.
    pub easy_floor_q: f64,
    /// Of the window's lower end at the start.
    pub start_low_q: f64,
    /// Of the window's upper end at the start.
    pub start_high_q: f64,
    /// Of the window's lower end at the end.
    pub end_low_q: f64,
    /// Of the window's upper end at the end.
    pub end_high_q: f64,
    /// Of the hard pool's ceiling.
    pub hard_probe_ceiling_q: f64,
}

impl Default for Quantiles {
    /// The values of the reference's command (algorithm.md §15).
    fn default() -> Self {
        Self {
            easy_floor_q: 0.10,
            start_low_q: 0.20,
            start_high_q: 0.45,
            end_low_q: 0.50,
            end_high_q: 0.75,
            hard_probe_ceiling_q: 0.90,
        }
    }
}

impl Quantiles {
    /// Checks that every quantile lies in [0, 1] and that no lower end is above its upper end.
    ///
    /// # Errors
    /// [`MethodError::OutOfRange`], [`MethodError::Crossed`].
    pub fn validate(&self) -> Result<(), MethodError> {
        let all = [
            ("easy_floor_q", self.easy_floor_q),
            ("start_low_q", self.start_low_q),
            ("start_high_q", self.start_high_q),
            ("end_low_q", self.end_low_q),
            ("end_high_q", self.end_high_q),
            ("hard_probe_ceiling_q", self.hard_probe_ceiling_q),
        ];
        for (name, q) in all {
            require((0.0..=1.0).contains(&q), name, q, "a number from 0 to 1")?;
        }
        ordered("start_low_q", self.start_low_q, "start_high_q", self.start_high_q)?;
        ordered("end_low_q", self.end_low_q, "end_high_q", self.end_high_q)
    }
}

/// Losses at the quantiles, nats per token; f32 values held as f64.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// At or below: easy.
    pub easy_floor: f64,
    /// Lower end of the window at the start.
    pub start_low: f64,
    /// Upper end of the window at the start.
    pub start_high: f64,
    /// Lower end of the window at the end.
    pub end_low: f64,
    /// Upper end of the window at the end.
    pub end_high: f64,
    /// Above: never rolled out.
    pub hard_probe_ceiling: f64,
}

/// Thresholds from the losses of (a sample of) the problems under the starting policy.
///
/// # Shapes
/// `losses` (n,) f32, nats per token, in any order.
///
/// # Errors
/// Quantiles out of range; no finite loss.
///
/// # Source
/// algorithm.md §2.
///
/// # Deviations
/// Losses that are not finite are left out: one of them would make all six thresholds NaN in the reference.
pub fn calibrate(losses: &[f32], quantiles: &Quantiles) -> Result<Thresholds, MethodError> {
    quantiles.validate()?;
    let mut sorted: Vec<f32> = losses.iter().copied().filter(|d| d.is_finite()).collect();
    if sorted.is_empty() {
        return Err(MethodError::NoFiniteLoss { n: losses.len() });
    }
    sorted.sort_unstable_by(f32::total_cmp);
    let at = |q: f64| f64::from(quantile(&sorted, q));
    Ok(Thresholds {
        easy_floor: at(quantiles.easy_floor_q),
        start_low: at(quantiles.start_low_q),
        start_high: at(quantiles.start_high_q),
        end_low: at(quantiles.end_low_q),
        end_high: at(quantiles.end_high_q),
        hard_probe_ceiling: at(quantiles.hard_probe_ceiling_q),
    })
}

/// The linear quantile (Hyndman and Fan 1996, type 7) as numpy computes it for f32.
///
/// `h = (n−1)·q, a = x[⌊h⌋], b = x[⌊h⌋+1], γ = h−⌊h⌋`; `a+(b−a)γ` if γ < ½, else `b−(b−a)(1−γ)`.
/// h, γ and 1−γ are f64, rounded once; differences, products and sums f32.
///
/// # Shapes
/// `sorted` (n ≥ 1,) ascending; `q` in [0, 1].
///
/// # Source
/// algorithm.md §2.
pub fn quantile(sorted: &[f32], q: f64) -> f32 {
    let last = sorted.len() - 1;
    let h = last as f64 * q;
    let below = (h.floor() as usize).min(last);
    let (a, b) = (sorted[below], sorted[(below + 1).min(last)]);
    let gamma = h - h.floor();
    if gamma < 0.5 { a + (b - a) * gamma as f32 } else { b - (b - a) * (1.0 - gamma) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_seven_interpolates_between_order_statistics() {
        let x = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&x, 0.0), 1.0);
        assert_eq!(quantile(&x, 0.5), 3.0);
        assert_eq!(quantile(&x, 1.0), 8.0);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
    }

    #[test]
    fn losses_without_a_value_do_not_spoil_the_thresholds() {
        let q = Quantiles::default();
        let clean = calibrate(&[1.0, 2.0, 3.0], &q).unwrap();
        assert_eq!(calibrate(&[f32::NAN, 3.0, 1.0, f32::INFINITY, 2.0], &q).unwrap(), clean);
        assert_eq!(calibrate(&[f32::NAN], &q), Err(MethodError::NoFiniteLoss { n: 1 }));
    }

    #[test]
    fn quantiles_out_of_range_are_named() {
        let q = Quantiles { end_high_q: 1.5, ..Quantiles::default() };
        assert!(matches!(q.validate(), Err(MethodError::OutOfRange { name: "end_high_q", .. })));
        let q = Quantiles { start_low_q: 0.6, ..Quantiles::default() };
        assert!(matches!(q.validate(), Err(MethodError::Crossed { low_name: "start_low_q", .. })));
    }
}

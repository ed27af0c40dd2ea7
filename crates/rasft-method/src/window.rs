//! The sliding window of difficulties worth rolling out.

use crate::calibration::Thresholds;
use serde::{Deserialize, Serialize};

/// The window at one moment of the run, nats per token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// At or below: easy.
    pub easy_floor: f64,
    /// Lower end.
    pub window_low: f64,
    /// Upper end.
    pub window_high: f64,
    /// Above: never rolled out.
    pub hard_probe_ceiling: f64,
    /// How far the window has moved, 0 to 1.
    pub alpha: f64,
}

/// `α = clamp(step / max(total, 1), 0, 1)`.
///
/// # Source
/// algorithm.md §3; `step` counts optimizer steps done.
pub fn alpha(step: i64, total: i64) -> f64 {
    (step as f64 / total.max(1) as f64).clamp(0.0, 1.0)
}

impl Window {
    /// `low = (1−α)·start_low + α·end_low`, `high = (1−α)·start_high + α·end_high` (f64); floor and ceiling do not move.
    ///
    /// α outside [0, 1] is clamped; NaN counts as 0.
    ///
    /// # Source
    /// algorithm.md §3.
    pub fn at(thresholds: &Thresholds, alpha: f64) -> Self {
        let alpha = if alpha.is_nan() { 0.0 } else { alpha.clamp(0.0, 1.0) };
        let between = |start: f64, end: f64| (1.0 - alpha) * start + alpha * end;
        Self {
            easy_floor: thresholds.easy_floor,
            window_low: between(thresholds.start_low, thresholds.end_low),
            window_high: between(thresholds.start_high, thresholds.end_high),
            hard_probe_ceiling: thresholds.hard_probe_ceiling,
            alpha,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Thresholds = Thresholds {
        easy_floor: 0.1,
        start_low: 0.2,
        start_high: 0.4,
        end_low: 0.6,
        end_high: 0.8,
        hard_probe_ceiling: 0.9,
    };

    #[test]
    fn ends_and_middle() {
        assert_eq!((Window::at(&T, 0.0).window_low, Window::at(&T, 0.0).window_high), (0.2, 0.4));
        assert_eq!((Window::at(&T, 1.0).window_low, Window::at(&T, 1.0).window_high), (0.6, 0.8));
        assert!((Window::at(&T, 0.5).window_low - 0.4).abs() < 1e-15);
        assert_eq!(Window::at(&T, 7.0), Window::at(&T, 1.0));
        assert_eq!(Window::at(&T, f64::NAN), Window::at(&T, 0.0));
    }

    #[test]
    fn alpha_is_clamped() {
        assert_eq!(alpha(-2, 100), 0.0);
        assert_eq!(alpha(105, 100), 1.0);
        assert_eq!(alpha(3, 0), 1.0);
        assert_eq!(alpha(33, 100), 0.33);
    }
}

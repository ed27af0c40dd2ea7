//! Where a loss falls in the window.

use crate::window::Window;
use rasft_types::Route;

/// Route of a problem with loss `loss` (nats per token), tested in this order:
///
/// 1. `d ≤ easy_floor` → easy;
/// 2. `low ≤ d ≤ high` → mid;
/// 3. `high < d ≤ ceiling` → hard;
/// 4. `d < low` → gap; everything else, NaN included → never.
///
/// # Source
/// algorithm.md §4; the reference calls gap and never both "never" and treats them alike.
pub fn route(loss: f64, window: &Window) -> Route {
    if loss <= window.easy_floor {
        Route::Easy
    } else if window.window_low <= loss && loss <= window.window_high {
        Route::Mid
    } else if window.window_high < loss && loss <= window.hard_probe_ceiling {
        Route::Hard
    } else if loss < window.window_low {
        Route::Gap
    } else {
        Route::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Window =
        Window { easy_floor: 0.1, window_low: 0.2, window_high: 0.4, hard_probe_ceiling: 0.9, alpha: 0.0 };

    #[test]
    fn bounds_belong_to_the_class_that_is_tested_first() {
        let cases = [
            (-1.0, Route::Easy),
            (0.1, Route::Easy),
            (0.15, Route::Gap),
            (0.2, Route::Mid),
            (0.4, Route::Mid),
            (0.5, Route::Hard),
            (0.9, Route::Hard),
            (0.91, Route::Never),
            (f64::INFINITY, Route::Never),
            (f64::NAN, Route::Never),
        ];
        for (loss, expected) in cases {
            assert_eq!(route(loss, &W), expected, "{loss}");
        }
    }
}

//! Comparison of lists of numbers.

use crate::common::close;

/// Asserts that two lists of numbers agree.
pub fn all_close(actual: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: {actual:?} instead of {expected:?}");
    for (a, e) in actual.iter().zip(expected) {
        close(*a, *e, tolerance, what);
    }
}

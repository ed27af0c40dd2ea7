//! Figures of an evaluation: avg@k, pass@k, maj@k, their intervals, and the comparison of two models.
//!
//! Invariant: every figure is a mean over problems, so a problem weighs the same however many samples it has; equal inputs and seed
//! give equal bits.

mod bootstrap;
mod paired;
mod per_problem;

pub use bootstrap::{Interval, RESAMPLES, bootstrap_mean, bootstrap_rate};
pub use paired::{Paired, paired, sign_flip_p_value};
pub use per_problem::{ProblemScore, average, majority, majority_at, pass_at_k};

/// Arithmetic mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

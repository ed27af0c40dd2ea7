//! `eval_samples` and `eval_summary` rows.

use crate::{Rollout, Verdict};
use serde::{Deserialize, Serialize};

/// One judged sample of a benchmark: a rollout, its verdict, and where they belong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalSampleRow {
    /// Benchmark name.
    pub bench: String,
    /// Content hash of the model.
    pub model_id: String,
    /// The sample.
    pub rollout: Rollout,
    /// What the verifier said of it.
    pub verdict: Verdict,
}

/// One figure of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalSummaryRow {
    /// Benchmark name.
    pub bench: String,
    /// Content hash of the model.
    pub model_id: String,
    /// Problems.
    pub n_problems: u32,
    /// Samples.
    pub n_samples: u32,
    /// `avg@k`, `pass@k` or `maj@k`, with k as a number.
    pub metric: String,
    /// The estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
}

/// Two models on the same problems of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalComparisonRow {
    /// Benchmark name.
    pub bench: String,
    /// Metric that is compared.
    pub metric: String,
    /// Name of the baseline run.
    pub baseline: String,
    /// Name of the other run.
    pub model: String,
    /// Problems both were measured on.
    pub n_problems: u32,
    /// The baseline's value.
    pub baseline_value: f64,
    /// The other's value.
    pub value: f64,
    /// `value − baseline_value`.
    pub difference: f64,
    /// Lower end of the difference's 95 % interval (paired bootstrap over problems).
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// Two-sided p-value of the paired sign-flip test.
    pub p_value: f64,
}

//! `eval_comparison`: two models on the same problems.

use crate::table::table;
use rasft_types::EvalComparisonRow;

table! {
    EvalComparisonRow => "eval_comparison" / 1, "Paired comparison of two runs, one row for each benchmark and metric.";
    bench: String, "benchmark name";
    metric: String, "avg@k, pass@k or maj@k, with k as a number";
    baseline: String, "name of the baseline run";
    model: String, "name of the other run";
    n_problems: u32, "problems both were measured on";
    baseline_value: f64, "the baseline's value";
    value: f64, "the other run's value";
    difference: f64, "value - baseline_value";
    ci_low: f64, "lower end of the difference's 95 % interval (paired bootstrap over problems)";
    ci_high: f64, "upper end of the difference's 95 % interval";
    p_value: f64, "two-sided p-value of the paired sign-flip test";
}

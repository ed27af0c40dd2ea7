//! `eval_summary`: the figures of a report.

use crate::table::table;
use rasft_types::EvalSummaryRow;

table! {
    EvalSummaryRow => "eval_summary" / 1, "One figure for each benchmark, model and metric.";
    bench: String, "benchmark name";
    model_id: String, "content hash of the model";
    n_problems: u32 = 0, "problems";
    n_samples: u32 = 0, "samples";
    metric: String, "avg@k, pass@k or maj@k, with k as a number";
    value: f64, "the estimate";
    ci_low: f64 = f64::NAN, "lower end of the 95 % interval: bootstrap over problems; Jeffreys where all have 0 or all 1";
    ci_high: f64 = f64::NAN, "its upper end";
}

//! `judged_pairs`: what the verifier said of `pairs`.

use crate::table::table;
use rasft_types::{JudgedPair, Method, Outcome};

table! {
    JudgedPair => "judged_pairs" / 1, "One verdict for each pair of gold answer and response, in their order.";
    gold: String, "the gold answer";
    response: String, "the response that was judged";
    extracted: Option<String> = None, "the answer that was compared";
    outcome: Outcome, "correct|wrong|no_answer|unparsable|budget|timeout|memory|crash|forbidden";
    method: Method = Method::None, "exact|numeric|symbolic|tests|none: what settled it";
    correct: bool, "outcome is correct";
}

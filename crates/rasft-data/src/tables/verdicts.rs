//! `verdicts`: what is known of each rollout.

use crate::column::Foreign;
use crate::table::table;
use rasft_types::{Method, Outcome, Rejection, Verdict};

table! {
    Verdict => "verdicts" / 1, "One verdict for each rollout, in the order of the rollouts.", completed by complete;
    rollout_id: String, "the rollout";
    problem_id: String, "its problem";
    sample_index: u32 = 0, "its index; counted in file order when absent";
    outcome: Outcome = Outcome::Wrong, "correct|wrong|no_answer|unparsable|budget|timeout|memory|crash|forbidden; follows from correct when absent";
    correct: bool, "outcome is correct";
    method: Method = Method::None, "exact|numeric|symbolic|tests|none: what settled it";
    extracted: Option<String> = None, "the answer that was compared";
    usable: bool = true, "passed every text filter";
    rejected_by: Vec<Rejection> = Vec::new(), "duplicate|gibberish|loop|shortcut|format|empty|too_long: the filters it failed";
    duplicate_of: Option<String> = None, "rollout_id of the kept rollout that it duplicates";
    tests_passed: Option<u32> = None, "tests passed (code)";
    tests_total: Option<u32> = None, "tests run (code)";
    detail: Option<String> = None, "a sentence for people";
}

fn complete(rows: &mut [Verdict], foreign: &mut Foreign) {
    for row in rows {
        if foreign.lacks("sample_index") {
            row.sample_index = foreign.next_index(&row.problem_id);
        }
        if foreign.lacks("outcome") && row.correct {
            row.outcome = Outcome::Correct;
        }
    }
}

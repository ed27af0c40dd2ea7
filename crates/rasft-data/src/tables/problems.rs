//! `problems`: what is to be solved, and how a solution is recognised.

use crate::column::Foreign;
use crate::table::table;
use rasft_types::{CodeSpec, Domain, Problem};

table! {
    Problem => "problems" / 1, "Problems with their expert solutions and their gold answers or tests.", completed by complete;
    problem_id: String, "32 hex digits: blake3-128 of domain, prompt and answer or tests";
    domain: Domain = Domain::Math, "math|code: which verifier judges; without the column, code where there are tests";
    source: String = String::new(), "name of the data set the problem came from";
    prompt: String, "the user's turn, without any template";
    expert_response: Option<String> = None, "the expert's solution";
    answer: Option<String> = None, "the gold answer (math)";
    code: Option<CodeSpec> = None, "entry point, setup and tests (code)";
    meta: String = "{}".to_owned(), "JSON of whatever else the source had";
}

fn complete(rows: &mut [Problem], foreign: &mut Foreign) {
    if foreign.lacks("domain") {
        for row in rows.iter_mut().filter(|row| row.code.is_some()) {
            row.domain = Domain::Code;
        }
    }
}

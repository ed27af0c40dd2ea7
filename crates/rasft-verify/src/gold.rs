//! What the completions of a problem are compared with.

use rasft_math::gold_from_solution;
use rasft_types::Problem;

/// Where a gold answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldSource {
    /// The problem's `answer`.
    Answer,
    /// The answer stated in the expert's solution.
    Expert,
}

/// The gold answer of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gold {
    /// Its text.
    pub text: String,
    /// Where it comes from.
    pub source: GoldSource,
}

/// The gold answer: the problem's `answer`, or, only if that is null, the answer in the *whole* expert solution.
///
/// # Errors
/// A sentence that says why there is none. A blank answer is none: it would equal nothing, and replacing it by another
/// source would hide the hole.
///
/// # Source
/// algorithm.md Part A 3 (the reference takes the answer of the truncated expert text, B13 and B14).
pub fn gold(problem: &Problem) -> Result<Gold, &'static str> {
    let some = |text: &str, source| Gold { text: text.to_owned(), source };
    match (&problem.answer, &problem.expert_response) {
        (Some(answer), _) if answer.trim().is_empty() => Err("the problem's answer is blank"),
        (Some(answer), _) => Ok(some(answer, GoldSource::Answer)),
        (None, None) => Err("the problem has neither an answer nor an expert solution"),
        (None, Some(expert)) => gold_from_solution(expert)
            .filter(|text| !text.trim().is_empty())
            .map(|text| some(&text, GoldSource::Expert))
            .ok_or("the problem has no answer, and none stands in its expert solution"),
    }
}

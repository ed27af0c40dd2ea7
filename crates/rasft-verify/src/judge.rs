//! Verdicts of a problem's rollouts, and of single answers.

use crate::gold::{Gold, gold};
use rasft_math::{Options, Report, Verifier};
use rasft_method::screen::{Form, Screened, no_limit, screen_group};
use rasft_types::{Domain, FinishReason, Method, Outcome, Problem, Rejection, Rollout, Verdict};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How completions are judged.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeParams {
    /// When two mathematical answers are the same.
    pub math: Options,
    /// Longest prompt plus completion, tokens, that is fit to train on.
    pub max_length: Option<u32>,
}

/// A problem that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// Programs are only judged by running their tests, and this build has no sandbox to run them in.
    #[error(
        "problem {problem_id} is of domain code, which needs a sandbox that this version does not have\nhint: keep only problems of domain math, e.g. with DuckDB: COPY (FROM 'problems/*.parquet' WHERE domain = 'math') TO 'math.parquet'"
    )]
    CodeNeedsSandbox {
        /// The problem.
        problem_id: String,
    },
}

/// Refuses a problem that cannot be judged; stages ask before they sample.
///
/// # Errors
/// The problem is of domain code.
pub fn judgeable(problem: &Problem) -> Result<(), JudgeError> {
    match problem.domain {
        Domain::Code => Err(JudgeError::CodeNeedsSandbox { problem_id: problem.problem_id.clone() }),
        Domain::Math => Ok(()),
    }
}

/// One verdict per rollout of a problem.
///
/// A rollout is compared with the problem's [`gold`] answer. Duplicates and unusable texts are verified all the same:
/// solvability counts correct answers, whatever the filters say. `usable` means that no filter objects, duplication
/// included. `too_long` goes by the tokens that were sampled ([`n_tokens`]). A rollout that the engine could
/// not produce, or that is blank, has outcome `no_answer` and is rejected as `empty`.
///
/// # Shapes
/// As many verdicts as rollouts, same order; which of two duplicates is kept goes by `sample_index`.
///
/// # Errors
/// The problem is of domain code.
///
/// # Source
/// algorithm.md §6 for the filters, Part A 3 for the gold answer.
pub fn judge_group(problem: &Problem, rollouts: &[Rollout], params: &JudgeParams) -> Result<Vec<Verdict>, JudgeError> {
    judgeable(problem)?;
    let gold = gold(problem);
    let verifier = Verifier::new(params.math);
    // Verification is the slow part and each rollout's own; collecting keeps the order.
    let judge = |(rollout, screened)| verdict(rollout, Found::of(&verifier, &gold, rollout), screened, rollouts);
    Ok(rollouts.par_iter().zip(screened(rollouts, params.max_length)).map(judge).collect())
}

/// What the verifier says of one completion and why: the answer it found, how it read both sides, what settled it.
pub fn judge_pair(gold: &str, response: &str, params: &JudgeParams) -> Report {
    Verifier::new(params.math).verify(gold, response)
}

/// Tokens of the prompt and the completion as they were sampled, EOS included; none where the table does not say.
#[must_use]
pub fn n_tokens(rollout: &Rollout) -> Option<usize> {
    let known = rollout.prompt_tokens > 0 && !rollout.token_ids.is_empty();
    known.then(|| rollout.prompt_tokens as usize + rollout.token_ids.len())
}

/// What the filters say of each rollout, duplicates found in the order of the samples.
fn screened(rollouts: &[Rollout], max_length: Option<u32>) -> Vec<Screen> {
    let mut order: Vec<usize> = (0..rollouts.len()).collect();
    order.sort_by_key(|i| rollouts[*i].sample_index);
    let texts: Vec<&str> = order.iter().map(|i| rollouts[*i].completion.as_str()).collect();
    let mut screens: Vec<(usize, Screen)> = screen_group(&texts, Form::Math, no_limit)
        .into_iter()
        .zip(&order)
        .map(|(screened, i)| (*i, Screen::new(screened, &order, &rollouts[*i], max_length)))
        .collect();
    screens.sort_by_key(|(i, _)| *i);
    screens.into_iter().map(|(_, screen)| screen).collect()
}

/// What the filters say of one rollout.
struct Screen {
    rejected_by: Vec<Rejection>,
    /// Index of the kept rollout.
    duplicate_of: Option<usize>,
}

impl Screen {
    fn new(screened: Screened<'_>, order: &[usize], rollout: &Rollout, max_length: Option<u32>) -> Self {
        let mut rejected_by = screened.rejected_by;
        if max_length.is_some_and(|max| n_tokens(rollout).is_some_and(|n| n > max as usize)) {
            rejected_by.push(Rejection::TooLong);
        }
        if rollout.finish_reason == FinishReason::Error && !rejected_by.contains(&Rejection::Empty) {
            rejected_by.push(Rejection::Empty);
        }
        rejected_by.sort_unstable();
        Self { rejected_by, duplicate_of: screened.duplicate_of.map(|at| order[at]) }
    }
}

/// What the verifier found.
struct Found {
    outcome: Outcome,
    method: Method,
    extracted: Option<String>,
    detail: Option<String>,
}

impl Found {
    fn of(verifier: &Verifier, gold: &Result<Gold, &'static str>, rollout: &Rollout) -> Self {
        match gold {
            _ if rollout.finish_reason == FinishReason::Error => {
                Self::nothing("the engine could not produce this completion")
            }
            _ if rollout.completion.trim().is_empty() => Self::nothing("the completion is empty"),
            Err(why) => Self::nothing(why),
            Ok(gold) => {
                let report = verifier.verify(&gold.text, &rollout.completion);
                Self {
                    outcome: report.outcome,
                    method: report.method,
                    extracted: report.extracted,
                    detail: report.detail,
                }
            }
        }
    }

    fn nothing(why: &str) -> Self {
        Self { outcome: Outcome::NoAnswer, method: Method::None, extracted: None, detail: Some(why.to_owned()) }
    }
}

fn verdict(rollout: &Rollout, found: Found, screen: Screen, rollouts: &[Rollout]) -> Verdict {
    Verdict {
        rollout_id: rollout.rollout_id.clone(),
        problem_id: rollout.problem_id.clone(),
        sample_index: rollout.sample_index,
        outcome: found.outcome,
        correct: found.outcome == Outcome::Correct,
        method: found.method,
        extracted: found.extracted,
        usable: screen.rejected_by.is_empty(),
        rejected_by: screen.rejected_by,
        duplicate_of: screen.duplicate_of.map(|i| rollouts[i].rollout_id.clone()),
        tests_passed: None,
        tests_total: None,
        detail: found.detail,
    }
}

#[cfg(test)]
mod tests;

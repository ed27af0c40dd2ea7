//! Verdicts of a problem's rollouts, and of single answers.

use rasft_math::{Report, Verifier, gold_from_solution};
use rasft_method::screen::{Form, no_limit, screen_group};
use rasft_types::{Domain, FinishReason, Method, Outcome, Problem, Rejection, Rollout, Verdict};
use serde::{Deserialize, Serialize};

/// How completions are judged. Parameters of later verifiers will stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeParams {}

/// A problem that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// Programs are only judged by running their tests, and this build has no sandbox to run them in.
    #[error("problem {problem_id} is of domain code, which needs a sandbox that this version does not have\nhint: keep only problems of domain math, e.g. with DuckDB: COPY (FROM 'problems/*.parquet' WHERE domain = 'math') TO 'math.parquet'")]
    CodeNeedsSandbox {
        /// The problem.
        problem_id: String,
    },
}

/// One verdict per rollout, same order.
///
/// A rollout is compared with the problem's answer, or, if it has none, with the answer in the whole expert solution.
/// Duplicates and unusable texts are verified all the same: solvability counts correct answers, whatever the filters say.
///
/// # Errors
/// The problem is of domain code.
///
/// # Source
/// algorithm.md §6 for the filters, Part A 3 for the gold answer.
pub fn judge_group(problem: &Problem, rollouts: &[Rollout], _params: &JudgeParams) -> Result<Vec<Verdict>, JudgeError> {
    if problem.domain == Domain::Code {
        return Err(JudgeError::CodeNeedsSandbox { problem_id: problem.problem_id.clone() });
    }
    let from_expert = || problem.expert_response.as_deref().and_then(gold_from_solution);
    let gold = problem.answer.clone().or_else(from_expert);
    let verifier = Verifier::default();
    let texts: Vec<&str> = rollouts.iter().map(|r| r.completion.as_str()).collect();
    let screened = screen_group(&texts, Form::Math, no_limit);
    let judge = |(rollout, screened): (&Rollout, rasft_method::screen::Screened)| {
        let found = match (&gold, rollout.finish_reason) {
            (_, FinishReason::Error) => Found::nothing("the engine could not produce this completion"),
            (None, _) => Found::nothing("the problem has no answer, and none stands in its expert solution"),
            (Some(gold), _) => Found::of(verifier.verify(gold, &rollout.completion)),
        };
        let mut rejected_by = screened.rejected_by;
        if rollout.finish_reason == FinishReason::Error && !rejected_by.contains(&Rejection::Empty) {
            rejected_by.push(Rejection::Empty);
            rejected_by.sort_unstable();
        }
        Verdict {
            rollout_id: rollout.rollout_id.clone(),
            problem_id: problem.problem_id.clone(),
            sample_index: rollout.sample_index,
            outcome: found.outcome,
            correct: found.outcome == Outcome::Correct,
            method: found.method,
            extracted: found.extracted,
            usable: rejected_by.is_empty(),
            rejected_by,
            duplicate_of: screened.duplicate_of.map(|i| rollouts[i].rollout_id.clone()),
            tests_passed: None,
            tests_total: None,
            detail: found.detail,
        }
    };
    Ok(rollouts.iter().zip(screened).map(judge).collect())
}

/// What the verifier says of one completion, with the reason.
pub fn judge_pair(gold: &str, response: &str, _params: &JudgeParams) -> Report {
    Verifier::default().verify(gold, response)
}

struct Found {
    outcome: Outcome,
    method: Method,
    extracted: Option<String>,
    detail: Option<String>,
}

impl Found {
    fn of(report: Report) -> Self {
        Self { outcome: report.outcome, method: report.method, extracted: report.extracted, detail: report.detail }
    }

    fn nothing(why: &str) -> Self {
        Self { outcome: Outcome::NoAnswer, method: Method::None, extracted: None, detail: Some(why.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "There are 12 boxes with 14 pens each, so we have 12 * 14 = 168 pens in the boxes. One more pen lies \
                        on the table next to them, therefore there are 168 + 1 = 169 pens. The total is \\boxed{169}.";

    fn problem() -> Problem {
        Problem {
            problem_id: "p".into(),
            domain: Domain::Math,
            source: "test".into(),
            prompt: "How many pens?".into(),
            expert_response: Some("We count them: \\boxed{169}".into()),
            answer: Some("169".into()),
            code: None,
            meta: "{}".into(),
        }
    }

    fn rollout(i: u32, completion: &str, finish_reason: FinishReason) -> Rollout {
        Rollout {
            rollout_id: format!("r{i}"),
            problem_id: "p".into(),
            sample_index: i,
            policy_id: String::new(),
            round: 0,
            prompt_tokens: 3,
            completion: completion.into(),
            token_ids: vec![],
            token_logprobs: vec![],
            finish_reason,
        }
    }

    #[test]
    fn right_wrong_double_and_broken() {
        let wrong = GOOD.replace("168 + 1 = 169", "168 + 2 = 170").replace("\\boxed{169}", "\\boxed{170}").replace("12 * 14", "14 * 12");
        let group = [
            rollout(0, GOOD, FinishReason::Stop),
            rollout(1, GOOD, FinishReason::Stop),
            rollout(2, &wrong.replace("boxes", "crates").replace("pens", "nibs"), FinishReason::Stop),
            rollout(3, "\\boxed{169}", FinishReason::Stop),
            rollout(4, "", FinishReason::Error),
        ];
        let verdicts = judge_group(&problem(), &group, &JudgeParams {}).expect("math");
        let outcomes: Vec<Outcome> = verdicts.iter().map(|v| v.outcome).collect();
        assert_eq!(outcomes, [Outcome::Correct, Outcome::Correct, Outcome::Wrong, Outcome::Correct, Outcome::NoAnswer]);
        assert!(verdicts[0].usable, "{:?}", verdicts[0].rejected_by);
        assert_eq!(verdicts[1].duplicate_of.as_deref(), Some("r0"));
        assert!(verdicts[2].usable, "{:?}", verdicts[2].rejected_by);
        assert!(verdicts[3].rejected_by.contains(&Rejection::Shortcut), "{:?}", verdicts[3].rejected_by);
        assert!(verdicts[4].rejected_by.contains(&Rejection::Empty));
    }

    #[test]
    fn the_expert_gives_the_gold_when_the_answer_is_absent() {
        let mut p = problem();
        p.answer = None;
        let verdicts = judge_group(&p, &[rollout(0, GOOD, FinishReason::Stop)], &JudgeParams {}).expect("math");
        assert!(verdicts[0].correct);
        p.expert_response = None;
        let verdicts = judge_group(&p, &[rollout(0, GOOD, FinishReason::Stop)], &JudgeParams {}).expect("math");
        assert_eq!(verdicts[0].outcome, Outcome::NoAnswer);
        assert!(verdicts[0].detail.as_deref().is_some_and(|d| d.contains("no answer")));
    }

    #[test]
    fn code_is_refused_rather_than_guessed() {
        let code = Problem { domain: Domain::Code, ..problem() };
        assert!(judge_group(&code, &[], &JudgeParams {}).is_err());
    }
}

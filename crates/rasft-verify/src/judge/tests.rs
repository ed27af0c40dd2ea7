//! Groups made by hand: right, wrong, double, looping, empty and broken completions.

use super::*;
use Rejection::{Duplicate, Empty, Format, Gibberish, Loop, Shortcut, TooLong};

const GOOD: &str = "There are 12 boxes with 14 pens each, so we have 12 * 14 = 168 pens in the boxes. One more pen lies \
                    on the table next to them, therefore there are 168 + 1 = 169 pens. The total is \\boxed{169}.";
const OTHER: &str = "Count the lamps row by row: fourteen rows of twelve lamps make 168, and the spare lamp near the door \
                     brings us to 168 + 1 = 169. Hence the hall needs \\boxed{169} bulbs altogether, not counting those \
                     in the cellar.";
const WRONG: &str = "Adding the crates first gives 14 + 12 = 26, and doubling this for both sides of the yard we get 52. \
                     Nobody else brings any crates on that day. Thus the requested number must be \\boxed{52}.";
const CIRCLING: &str = "Let me see what we have. Perhaps it is the first of them. Or it is the second of them, so I look again. \
                        Perhaps it is the first of them. Or maybe not, and then what. Perhaps it is the first of them. \
                        In the end = \\boxed{169}.";

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

fn rollout(i: u32, completion: &str) -> Rollout {
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
        finish_reason: FinishReason::Stop,
    }
}

fn judge(problem: &Problem, rollouts: &[Rollout]) -> Vec<Verdict> {
    let verdicts = judge_group(problem, rollouts, &JudgeParams::default()).unwrap();
    assert_eq!(verdicts.len(), rollouts.len());
    for (verdict, rollout) in verdicts.iter().zip(rollouts) {
        assert_eq!((&verdict.rollout_id, verdict.sample_index), (&rollout.rollout_id, rollout.sample_index));
        assert_eq!(verdict.correct, verdict.outcome == Outcome::Correct);
        assert_eq!(verdict.usable, verdict.rejected_by.is_empty());
        assert_eq!(verdict.duplicate_of.is_some(), verdict.rejected_by.contains(&Duplicate));
        assert!(verdict.rejected_by.is_sorted());
    }
    verdicts
}

#[test]
fn a_mixed_group() {
    let texts = [GOOD, WRONG, GOOD, CIRCLING, "\\boxed{169}", OTHER, "", "It is the number of pens.", " \n", OTHER];
    let group: Vec<Rollout> = texts.iter().enumerate().map(|(i, text)| rollout(i as u32, text)).collect();
    let verdicts = judge(&problem(), &group);
    let outcomes: Vec<&str> = verdicts.iter().map(|v| v.outcome.as_str()).collect();
    let expected = [
        "correct",
        "wrong",
        "correct",
        "correct",
        "correct",
        "correct",
        "no_answer",
        "no_answer",
        "no_answer",
        "correct",
    ];
    assert_eq!(outcomes, expected);
    let rejected: Vec<&[Rejection]> = verdicts.iter().map(|v| v.rejected_by.as_slice()).collect();
    let expected: [&[Rejection]; 10] = [
        &[],
        &[],
        &[Duplicate],
        &[Loop],
        &[Gibberish, Shortcut, Format],
        &[],
        // Texts without three words are all alike (algorithm.md §6.1).
        &[Duplicate, Gibberish, Loop, Format, Empty],
        &[Format],
        &[Duplicate, Gibberish, Loop, Format, Empty],
        &[Duplicate],
    ];
    assert_eq!(rejected, expected);
    let originals: Vec<Option<&str>> = verdicts.iter().map(|v| v.duplicate_of.as_deref()).collect();
    let expected = [None, None, Some("r0"), None, None, None, Some("r4"), None, Some("r4"), Some("r5")];
    assert_eq!(originals, expected);
    assert_eq!(verdicts[1].extracted.as_deref(), Some("52"));
    assert_eq!(verdicts[6].detail.as_deref(), Some("the completion is empty"));
}

#[test]
fn the_sample_that_comes_first_is_kept_wherever_it_stands() {
    let group = [rollout(7, GOOD), rollout(2, GOOD), rollout(5, WRONG), rollout(3, GOOD)];
    let verdicts = judge(&problem(), &group);
    let originals: Vec<Option<&str>> = verdicts.iter().map(|v| v.duplicate_of.as_deref()).collect();
    assert_eq!(originals, [Some("r2"), None, None, Some("r2")]);
    assert!(verdicts[1].usable && verdicts[2].usable);
}

#[test]
fn a_completion_the_engine_could_not_produce_is_empty() {
    let failed = Rollout { finish_reason: FinishReason::Error, ..rollout(0, "") };
    let half = Rollout { finish_reason: FinishReason::Error, ..rollout(1, GOOD) };
    let cut = Rollout { finish_reason: FinishReason::Length, ..rollout(2, OTHER) };
    let verdicts = judge(&problem(), &[failed, half, cut]);
    for verdict in &verdicts[..2] {
        assert_eq!((verdict.outcome, verdict.method), (Outcome::NoAnswer, Method::None));
        assert!(verdict.rejected_by.contains(&Empty));
        assert!(verdict.detail.as_deref().unwrap().contains("engine"));
    }
    assert_eq!(verdicts[1].rejected_by, [Empty]);
    assert!(verdicts[2].correct && verdicts[2].usable);
}

#[test]
fn the_expert_gives_the_gold_only_when_the_answer_is_null() {
    let first = |problem: &Problem| judge(problem, &[rollout(0, GOOD)]).remove(0);
    let p = Problem { expert_response: Some("It is \\boxed{3}.".into()), ..problem() };
    assert!(first(&p).correct);
    let p = Problem { answer: None, ..p };
    assert_eq!(first(&p).outcome, Outcome::Wrong);
    // The whole solution counts, however long.
    let long = format!("{} \\boxed{{169}}", "Consider another pen. ".repeat(5000));
    assert!(first(&Problem { expert_response: Some(long), ..p.clone() }).correct);
    let without = |p: Problem, words: &str| {
        let verdict = first(&p);
        assert_eq!(verdict.outcome, Outcome::NoAnswer);
        assert!(verdict.usable, "the text is fine");
        assert_eq!(verdict.detail.as_deref(), Some(words));
    };
    without(
        Problem { expert_response: Some("No idea.".into()), ..p.clone() },
        "the problem has no answer, and none stands in its expert solution",
    );
    without(Problem { expert_response: None, ..p.clone() }, "the problem has neither an answer nor an expert solution");
    without(Problem { answer: Some("  ".into()), ..p }, "the problem's answer is blank");
}

#[test]
fn code_is_refused_rather_than_guessed() {
    let code = Problem { domain: Domain::Code, ..problem() };
    let error = judge_group(&code, &[rollout(0, GOOD)], &JudgeParams::default()).unwrap_err();
    assert_eq!(error, JudgeError::CodeNeedsSandbox { problem_id: "p".into() });
    assert!(error.to_string().contains("problem p is of domain code, which needs a sandbox"), "{error}");
    assert!(judge(&problem(), &[]).is_empty());
}

#[test]
fn pairs_say_what_was_read() {
    let report =
        judge_pair("\\frac{1}{2}", "So we get $x = 0.5$. The answer is \\boxed{0.5}.", &JudgeParams::default());
    assert_eq!((report.outcome, report.extracted.as_deref()), (Outcome::Correct, Some("0.5")));
    assert!(report.gold_form.is_some() && report.answer_form.is_some());
    let report = judge_pair("3", "I do not know.", &JudgeParams::default());
    assert_eq!((report.outcome, report.extracted), (Outcome::NoAnswer, None));
    assert!(report.detail.is_some());
}

#[test]
fn policies_reach_the_verifier() {
    let loose = JudgeParams {
        math: Options { percent: rasft_math::verifier::Percent::SignOptional, ..Options::default() },
        ..JudgeParams::default()
    };
    let outcome = |params: &JudgeParams| judge_pair("8\\%", "\\boxed{8}", params).outcome;
    assert_eq!([outcome(&JudgeParams::default()), outcome(&loose)], [Outcome::Wrong, Outcome::Correct]);
    let text = GOOD.replace("{169}", "{169\\%}");
    let group = [rollout(0, &text)];
    assert!(!judge(&problem(), &group)[0].correct);
    assert!(judge_group(&problem(), &group, &loose).unwrap()[0].correct);
    let json = serde_json::to_string(&loose).unwrap();
    assert_eq!(serde_json::from_str::<JudgeParams>(&json).unwrap(), loose);
    assert!(serde_json::from_str::<JudgeParams>("{\"maths\":{}}").is_err());
}

#[test]
fn verdicts_do_not_depend_on_threads() {
    let texts = [GOOD, WRONG, OTHER, GOOD, "nothing", "\\boxed{169}"];
    let group: Vec<Rollout> = (0..60).map(|i| rollout(i, texts[i as usize % 6])).collect();
    let with = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| judge(&problem(), &group))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn too_long_goes_by_the_sampled_tokens() {
    let rejected = |n_tokens: u32, max_length: Option<u32>| {
        let rollout = Rollout { token_ids: (0..n_tokens).collect(), ..rollout(0, GOOD) };
        let params = JudgeParams { max_length, ..JudgeParams::default() };
        let verdict = judge_group(&problem(), &[rollout], &params).unwrap().remove(0);
        assert!(verdict.correct && verdict.usable == verdict.rejected_by.is_empty());
        verdict.rejected_by
    };
    // Three tokens of prompt come on top; none of the completion means that nobody counted.
    assert_eq!(rejected(7, Some(10)), []);
    assert_eq!(rejected(8, Some(10)), [TooLong]);
    assert_eq!(rejected(8, None), []);
    assert_eq!(rejected(0, Some(1)), []);
}

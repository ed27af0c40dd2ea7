use super::*;
use rasft_types::{Domain, FinishReason};

const RIGHT: &str = "There are 12 boxes with 14 pens each, so we have 12 * 14 = 168 pens in the boxes. One more pen lies \
                     on the table next to them, therefore there are 168 + 1 = 169 pens. The total is \\boxed{169}.";
const WRONG: &str = "Adding the crates first gives 14 + 12 = 26, and doubling this for both sides of the yard we get 52. \
                     Nobody else brings any crates on that day. Thus the requested number must be \\boxed{52}.";
/// Right, and too bare to train on.
const BARE: &str = "\\boxed{169}";

const EITHER: Adaptive = Adaptive { n_min: 2, n_max: 8, until_width: Some(0.5), until_settled: true };

fn problem() -> Problem {
    Problem {
        problem_id: "p".into(),
        domain: Domain::Math,
        source: "test".into(),
        prompt: "How many pens?".into(),
        expert_response: None,
        answer: Some("169".into()),
        code: None,
        meta: "{}".into(),
    }
}

fn check(adaptive: Adaptive, texts: &[&str], expected: Option<End>) {
    let problem = problem();
    let rollout = |(i, text): (usize, &&str)| Rollout {
        rollout_id: format!("r{i}"),
        problem_id: "p".into(),
        sample_index: i as u32,
        policy_id: String::new(),
        round: 0,
        prompt_tokens: 3,
        completion: (*text).to_owned(),
        token_ids: Vec::new(),
        token_logprobs: Vec::new(),
        finish_reason: FinishReason::Stop,
    };
    let rollouts: Vec<Rollout> = texts.iter().enumerate().map(rollout).collect();
    assert_eq!(adaptive.end(&problem, &rollouts).unwrap(), expected, "{adaptive:?} {texts:?}");
}

#[test]
fn an_interval_ends_it_when_it_is_narrow() {
    let narrow = Adaptive { until_settled: false, ..EITHER };
    check(narrow, &[WRONG; 2], None);
    check(narrow, &[WRONG; 4], Some(End::Narrow));
    check(narrow, &[RIGHT; 4], Some(End::Narrow));
    check(narrow, &[RIGHT, WRONG, RIGHT, WRONG], None);
    check(narrow, &[RIGHT, WRONG, RIGHT, WRONG, RIGHT, WRONG, RIGHT, WRONG], Some(End::NMax));
    // Filters do not matter to solvability.
    check(narrow, &[BARE; 4], Some(End::Narrow));
}

#[test]
fn a_usable_right_and_a_usable_wrong_sample_settle_it() {
    check(EITHER, &[RIGHT, WRONG], Some(End::Settled));
    check(EITHER, &[RIGHT, RIGHT], None);
    check(EITHER, &[BARE, WRONG], None);
    check(Adaptive { until_settled: false, ..EITHER }, &[RIGHT, WRONG], None);
}

#[test]
fn programs_are_refused_before_the_first_sample() {
    let code = Problem { domain: Domain::Code, ..problem() };
    let refused = all_judgeable([&problem(), &code].into_iter()).unwrap_err();
    assert_eq!(refused.class(), crate::ErrorClass::BadInput);
    assert!(refused.to_string().contains("sandbox"), "{refused}");
    all_judgeable([&problem()].into_iter()).unwrap();
}

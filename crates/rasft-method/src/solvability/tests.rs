//! Every fall-back, by hand-made groups, and where the two profiles part.

use super::*;

/// A sample per letter: `c` correct, `w` wrong, `f` correct but filtered, `x` wrong and filtered, `d` correct duplicate.
fn row(plan: &str, params: &SolvabilityParams) -> Solvability {
    let texts: Vec<String> = (0..plan.len()).map(|i| format!("step {i} gives a{i} then b{i} so c{i}")).collect();
    let ids: Vec<String> = (0..plan.len()).map(|i| format!("r{i}")).collect();
    let sample = |(i, kind): (usize, char)| Sample {
        rollout_id: &ids[i],
        text: &texts[i],
        correct: matches!(kind, 'c' | 'f' | 'd'),
        usable: matches!(kind, 'c' | 'w'),
        duplicate: kind == 'd',
    };
    let samples: Vec<Sample<'_>> = plan.chars().enumerate().map(sample).collect();
    solvability("p", &samples, params)
}

fn calibrated_params() -> SolvabilityParams {
    SolvabilityParams { profile: Profile::Calibrated, ..SolvabilityParams::default() }
}

fn check_alone(plan: &str, params: &SolvabilityParams, fallback: Fallback) {
    let row = row(plan, params);
    assert_eq!(row.fallback, fallback, "{plan}");
    assert_eq!((row.expert_weight, row.rollout_weights.len(), row.rollout_ids.len()), (1.0, 0, 0), "{plan}");
}

#[test]
fn reference_fallbacks() {
    let p = SolvabilityParams::default();
    check_alone("", &p, Fallback::NotSelected);
    check_alone("fx", &p, Fallback::NoUsable);
    check_alone("ccc", &p, Fallback::ZeroVariance);
    check_alone("cdd", &p, Fallback::ZeroVariance);
    check_alone("www", &p, Fallback::NoCorrect);
    check_alone("wfx", &p, Fallback::NoCorrect);
    let alone = SolvabilityParams { max_negative_keep: 0, ..p };
    check_alone("www", &alone, Fallback::ZeroVariance);
    assert_eq!(row("ccw", &p).fallback, Fallback::None);
    // A filtered sample makes the expert's reward differ, so one correct one suffices.
    assert_eq!(row("cf", &p).fallback, Fallback::None);
}

#[test]
fn calibrated_fallbacks() {
    let p = calibrated_params();
    check_alone("", &p, Fallback::NotSelected);
    check_alone("fx", &p, Fallback::NoUsable);
    check_alone("www", &p, Fallback::NoCorrect);
    check_alone("wf", &p, Fallback::NoCorrect);
    assert_eq!(row("ccc", &p).fallback, Fallback::None);
}

#[test]
fn counts_and_trained_rollouts() {
    let row = row("wcdfcx", &SolvabilityParams::default());
    assert_eq!((row.n_samples, row.n_verified, row.n_unique, row.n_usable, row.n_correct), (6, 4, 5, 3, 2));
    assert_eq!(row.rollout_ids, ["r1", "r4"]);
    assert_eq!(row.group_rewards, [1.0 + 0.6 * 2.0, 1.0, 1.0, 0.0]);
    assert_eq!(row.difficulty_ratio, 0.6);
    assert!(row.solvability_low < row.solvability && row.solvability < row.solvability_high);
}

#[test]
fn a_duplicate_never_counts_as_usable() {
    let sample = Sample { rollout_id: "a", text: "t", correct: true, usable: true, duplicate: true };
    let row = solvability("p", &[sample], &calibrated_params());
    assert_eq!((row.n_usable, row.n_correct, row.fallback), (0, 0, Fallback::NoUsable));
    assert_eq!(row.n_verified, 1);
}

#[test]
fn without_samples_solvability_is_unknown() {
    let row = row("", &SolvabilityParams::default());
    assert!(row.solvability.is_nan());
    assert_eq!((row.solvability_low, row.solvability_high), (0.0, 1.0));
    assert!(row.group_rewards.is_empty() && row.group_advantages.is_none());
}

/// B5: under `reference` the expert's weight falls and rises again; under `calibrated` it only falls.
#[test]
fn the_profiles_disagree_where_the_reference_is_not_monotone() {
    let plans = ["wwww", "cwww", "ccww", "cccw", "cccc"];
    let expert = |p: &SolvabilityParams| plans.map(|plan| row(plan, p).expert_weight);
    let reference = expert(&SolvabilityParams::default());
    assert_eq!((reference[0], reference[4]), (1.0, 1.0));
    assert!(reference[1..4].iter().all(|w| (0.1..0.4).contains(w)), "{reference:?}");
    let calibrated = expert(&calibrated_params());
    assert_eq!(calibrated[0], 1.0);
    assert!(calibrated.windows(2).all(|w| w[1] < w[0]), "{calibrated:?}");
    assert!((calibrated[4] - (1.0 - 0.75 * 4.5 / 5.0)).abs() < 1e-15);
}

/// B7: correct rollouts weigh at most 0.0375 under `reference`; under `calibrated` they take what the expert gives up.
#[test]
fn the_profiles_disagree_on_the_mass_of_rollouts() {
    let reference = row("cccw", &SolvabilityParams::default());
    assert!(reference.rollout_weights.iter().all(|w| (0.005..=0.0375).contains(w)));
    let calibrated = row("cccw", &calibrated_params());
    assert_eq!(calibrated.rollout_weights.len(), 3);
    assert!((calibrated.rollout_weights[0] - 0.75 * 3.5 / 5.0 / 3.0).abs() < 1e-15);
    let total = calibrated.expert_weight + calibrated.rollout_weights.iter().sum::<f64>();
    assert!((total - 1.0).abs() < 1e-15);
}

#[test]
fn the_cap_wins_over_a_greater_floor() {
    let p = SolvabilityParams { rollout_floor: 0.5, rollout_cap: 0.1, ..SolvabilityParams::default() };
    assert!(row("cw", &p).rollout_weights.iter().all(|w| *w == 0.1 * 0.25));
}

#[test]
fn parameters_are_checked() {
    let p = SolvabilityParams::default();
    assert_eq!(p.validate(), Ok(()));
    let bad = SolvabilityParams { expert_weight_min: 1.5, ..p };
    assert!(matches!(bad.validate(), Err(MethodError::OutOfRange { name: "expert_weight_min", .. })));
    let bad = SolvabilityParams { adv_alpha: f64::NAN, ..p };
    assert!(matches!(bad.validate(), Err(MethodError::OutOfRange { name: "adv_alpha", .. })));
    let bad = SolvabilityParams { expert_reward_min: 4.0, ..p };
    assert!(matches!(bad.validate(), Err(MethodError::Crossed { .. })));
}

#[test]
fn unknown_parameters_are_refused() {
    let given: SolvabilityParams = serde_json::from_str(r#"{"profile": "calibrated", "adv_alpha": 0.5}"#).unwrap();
    assert_eq!(given, SolvabilityParams { adv_alpha: 0.5, ..calibrated_params() });
    let error = serde_json::from_str::<SolvabilityParams>(r#"{"adv_alhpa": 0.5}"#).unwrap_err().to_string();
    assert!(error.contains("adv_alhpa"), "{error}");
}

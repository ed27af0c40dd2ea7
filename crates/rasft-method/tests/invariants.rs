//! What holds for every input: weights, windows, similarity, extraction, selection and figures.

use proptest::prelude::*;
use rasft_method::calibration::{Quantiles, calibrate};
use rasft_method::metrics::{ProblemScore, average, bootstrap_mean, pass_at_k};
use rasft_method::routing::route;
use rasft_method::screen::{Form, no_limit, screen_group};
use rasft_method::selection::{DrawKey, choose};
use rasft_method::similarity::{DUPLICATE_THRESHOLD, deduplicate, jaccard};
use rasft_method::solvability::solvability;
use rasft_method::weights::{Counts, calibrated};
use rasft_method::window::Window;
use rasft_method::{Fallback, Profile, Sample, SolvabilityParams, code, extract, filters, interval};
use rasft_types::Route;

/// Texts that reach the filters' branches more often than random characters do.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("the sum is "),
        Just("\\boxed{"),
        Just("}"),
        Just("42"),
        Just("wait, "),
        Just("thus "),
        Just(". "),
        Just("\n"),
        Just("```python\n"),
        Just("def f(x):\n"),
        Just("    return x\n"),
        Just("\"\"\""),
        Just("é①Ⓐ\u{301}"),
        Just("\u{1c}"),
    ]
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![4 => piece, 1 => any::<String>()], 0..30).prop_map(|v| v.concat())
}

/// (correct, usable, duplicate) of each sample.
fn flags() -> impl Strategy<Value = Vec<(bool, bool, bool)>> {
    prop::collection::vec((any::<bool>(), any::<bool>(), prop::bool::weighted(0.2)), 0..9)
}

fn row(flags: &[(bool, bool, bool)], params: &SolvabilityParams) -> rasft_types::Solvability {
    let texts: Vec<String> = (0..flags.len()).map(|i| format!("first a{i} then b{i} or c{i} at last")).collect();
    let sample = |(i, &(correct, usable, duplicate)): (usize, &(bool, bool, bool))| Sample {
        rollout_id: &texts[i],
        text: &texts[i],
        correct,
        usable,
        duplicate,
    };
    solvability("p", &flags.iter().enumerate().map(sample).collect::<Vec<_>>(), params)
}

proptest! {
    #[test]
    fn rows_are_consistent(flags in flags(), alpha in -2.0..2.0f64, is_calibrated: bool) {
        let profile = if is_calibrated { Profile::Calibrated } else { Profile::Reference };
        let row = row(&flags, &SolvabilityParams { profile, adv_alpha: alpha, ..SolvabilityParams::default() });
        prop_assert!(row.expert_weight.is_finite() && row.rollout_weights.iter().all(|w| w.is_finite()));
        prop_assert_eq!(row.rollout_weights.len(), row.rollout_ids.len());
        prop_assert!(row.n_correct <= row.n_usable && row.n_usable <= row.n_unique && row.n_unique <= row.n_samples);
        prop_assert!(row.n_correct <= row.n_verified && row.n_verified <= row.n_samples);
        if row.fallback == Fallback::None {
            prop_assert_eq!(row.rollout_ids.len(), row.n_correct as usize);
            prop_assert!(row.n_correct > 0);
        } else {
            prop_assert_eq!(row.expert_weight, 1.0);
            prop_assert!(row.rollout_ids.is_empty());
        }
        if let Some(advantages) = &row.group_advantages {
            prop_assert_eq!(advantages.len(), row.group_rewards.len());
            prop_assert!(advantages.iter().all(|a| a.abs() <= 1.0));
        }
    }

    #[test]
    fn reference_rollout_weights_stay_in_their_band(flags in flags()) {
        let row = row(&flags, &SolvabilityParams::default());
        prop_assert!(row.rollout_weights.iter().all(|w| (0.005..=0.0375).contains(w)));
        prop_assert!((0.0..=1.0).contains(&row.expert_weight));
    }

    #[test]
    fn calibrated_mass_is_one(flags in flags(), w0 in 0.0..=1.0f64) {
        let params = SolvabilityParams { profile: Profile::Calibrated, expert_weight_min: w0, ..SolvabilityParams::default() };
        let row = row(&flags, &params);
        let total = row.expert_weight + row.rollout_weights.iter().sum::<f64>();
        prop_assert!((total - 1.0).abs() < 1e-12);
        prop_assert!((w0..=1.0).contains(&row.expert_weight));
    }

    #[test]
    fn calibrated_expert_weight_falls_with_solvability(n in 1usize..64, k in 1usize..64, w0 in 0.0..0.99f64) {
        let weight = |n_verified: usize| {
            let n_correct = k.min(n_verified);
            let counts = Counts { n_samples: n, n_verified, n_unique: n, n_usable: n, n_correct, n_negatives: 0 };
            calibrated(&counts, w0).expert
        };
        for v in 0..n {
            prop_assert!(weight(v + 1) < weight(v), "v {} of {}", v, n);
        }
        prop_assert!(weight(n) > w0);
    }

    #[test]
    fn jaccard_is_a_similarity(a in text(), b in text()) {
        let j = jaccard(&a, &b);
        prop_assert!((0.0..=1.0).contains(&j));
        prop_assert_eq!(j, jaccard(&b, &a));
        prop_assert_eq!(jaccard(&a, &a), 1.0);
        prop_assert_eq!(jaccard(&a, &format!("  {a}\n")), 1.0);
    }

    #[test]
    fn what_a_duplicate_points_to_is_kept(texts in prop::collection::vec(text(), 0..8)) {
        let originals = deduplicate(&texts, DUPLICATE_THRESHOLD);
        for (i, original) in originals.iter().enumerate() {
            if let Some(j) = *original {
                prop_assert!(j < i && originals[j].is_none());
                prop_assert!(jaccard(&texts[i], &texts[j]) >= DUPLICATE_THRESHOLD);
            }
        }
    }

    #[test]
    fn foreign_text_never_panics_and_filters_agree(t in text()) {
        let kept = !filters::is_gibberish(&t) && !filters::is_shortcut(&t) && filters::is_well_formed(&t);
        prop_assert_eq!(filters::rejections(&t).is_empty(), kept);
        prop_assert_eq!(screen_group(&[&t], Form::Math, no_limit)[0].is_usable(), kept);
        let _ = extract::answer(&t);
        let _ = code::entry_program(&t, Some("f"));
    }

    #[test]
    fn the_window_only_moves_up(losses in prop::collection::vec(0.0..20.0f32, 1..200), a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
        let t = calibrate(&losses, &Quantiles::default()).unwrap();
        prop_assert!(t.easy_floor <= t.start_low && t.start_low <= t.start_high && t.end_low <= t.end_high);
        let (early, late) = (Window::at(&t, a.min(b)), Window::at(&t, a.max(b)));
        let slack = 1e-12 * t.hard_probe_ceiling.abs();
        prop_assert!(early.window_low <= late.window_low + slack && early.window_high <= late.window_high + slack);
        prop_assert!(early.window_low <= early.window_high + slack);
    }

    #[test]
    fn routes_rise_with_the_loss(losses in prop::collection::vec(0.0..20.0f32, 2..50), alpha in 0.0..=1.0f64, x in 0.0..25.0f64, y in 0.0..25.0f64) {
        let window = Window::at(&calibrate(&losses, &Quantiles::default()).unwrap(), alpha);
        // The order of declaration is the order of difficulty.
        prop_assert!(route(x.min(y), &window) <= route(x.max(y), &window));
        prop_assert_eq!(route(f64::NAN, &window), Route::Never);
    }

    #[test]
    fn a_longer_choice_contains_a_shorter_one(n in 0usize..60, k in 0usize..60, seed: u64) {
        let ids: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        let key = DrawKey { seed, round: 0, purpose: "main" };
        let (few, more) = (choose(&ids, k, key), choose(&ids, k + 1, key));
        prop_assert_eq!(few.len(), k.min(n));
        prop_assert!(few.is_sorted() && few.iter().all(|i| more.contains(i)));
    }

    #[test]
    fn pass_at_k_rises_with_k(correct in prop::collection::vec(any::<bool>(), 1..40)) {
        let n = correct.len() as u32;
        let score = ProblemScore { classes: vec![None; correct.len()], correct };
        for k in 1..n {
            prop_assert!(pass_at_k(&score, k) <= pass_at_k(&score, k + 1) + 1e-12);
        }
        prop_assert!((pass_at_k(&score, 1) - average(&score)).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_their_estimate(v in 0u32..200, more in 0u32..200, seed: u64) {
        let n = v + more;
        let (low, high) = interval::jeffreys(v, n);
        prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high) && low < high);
        let values: Vec<f64> = (0..n.min(40)).map(|i| f64::from(u8::from(i < v))).collect();
        let got = bootstrap_mean(&values, 50, seed);
        prop_assert!(values.is_empty() || (got.low <= got.high && (0.0..=1.0).contains(&got.low)));
    }
}

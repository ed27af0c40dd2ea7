//! The filters against a full sort, and frequencies against probabilities.

use super::*;
use crate::sampler::softmax::{max, weigh};
use crate::testing::{noise, plain};
use crate::{Sampler, Scratch, sample_rng};

/// The filters as the definition says them: everything sorted, f64, most likely first.
fn by_definition(weights: &[f32], params: &SamplingParams) -> Vec<u32> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    order.retain(|i| weights[*i] >= params.min_p as f32);
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let total: f64 = order.iter().map(|i| f64::from(weights[*i])).sum();
    let mut mass = 0.0;
    let enough = order.iter().position(|i| {
        mass += f64::from(weights[*i]);
        mass >= params.top_p * total
    });
    order.truncate(enough.map_or(order.len(), |at| at + 1));
    order.into_iter().map(|i| i as u32).collect()
}

fn weighed(logits: &[f32], temperature: f64) -> (Vec<f32>, Vec<f64>) {
    let (mut weights, mut sums) = (Vec::new(), Vec::new());
    weigh(logits, max(logits), temperature, &mut weights, &mut sums);
    (weights, sums)
}

fn filtered(weights: &[f32], sums: &[f64], params: &SamplingParams) -> Vec<u32> {
    let mut keys = vec![7, 7, 7];
    filter(weights, sums, params, &mut keys);
    keys.into_iter().map(id).collect()
}

#[test]
fn filters_leave_what_the_definition_leaves() {
    for (n, spread) in [(1, 1.0), (5, 2.0), (100, 4.0), (1000, 8.0), (20_000, 6.0)] {
        let mut logits: Vec<f32> = noise(n, n as u64).iter().map(|u| u * spread).collect();
        // Quarter steps make many ties.
        logits.iter_mut().step_by(2).for_each(|z| *z = (*z * 4.0).round() / 4.0);
        let (weights, sums) = weighed(&logits, 0.9);
        for top_k in [0, 1, 2, 40, 700, 100_000] {
            for top_p in [1e-9, 0.3, 0.95, 0.999_99, 1.0] {
                for min_p in [0.0, 1e-3, 0.2, 1.0] {
                    if top_k == 0 && top_p == 1.0 && min_p == 0.0 {
                        continue;
                    }
                    let params = SamplingParams { top_k, top_p, min_p, ..plain() };
                    let expected = by_definition(&weights, &params);
                    let got = filtered(&weights, &sums, &params);
                    // Sums of thousands of weights differ in the last bits: the two may end one token apart.
                    let same = expected.len().min(got.len());
                    let apart = expected.len().abs_diff(got.len());
                    assert!(got[..same] == expected[..same] && apart <= usize::from(n > 100), "{n} {params:?}");
                }
            }
        }
    }
}

#[test]
fn filters_by_hand() {
    // Probabilities .4 .3 .2 .1, weights relative to the largest.
    let weights = [0.5, 1.0, 0.25, 0.75];
    let sums = [2.5];
    let check = |top_k, top_p, min_p, expected: &[u32]| {
        let params = SamplingParams { top_k, top_p, min_p, ..plain() };
        assert_eq!(filtered(&weights, &sums, &params), expected, "{params:?}");
    };
    check(2, 1.0, 0.0, &[1, 3]);
    check(0, 1.0, 0.5, &[1, 3, 0]);
    check(0, 0.4, 0.0, &[1]);
    check(0, 0.41, 0.0, &[1, 3]);
    check(0, 0.95, 0.0, &[1, 3, 0, 2]);
    // Among the two that top-k leaves, the first has 4/7.
    check(2, 0.57, 0.0, &[1]);
    check(2, 0.58, 0.0, &[1, 3]);
    // Among the three that min-p leaves, the first two have 7/9.
    check(0, 0.77, 0.5, &[1, 3]);
    check(0, 0.78, 0.5, &[1, 3, 0]);
}

#[test]
fn equal_tokens_are_kept_from_the_lowest_id_on() {
    let weights = [1.0; 300];
    let sums = [128.0, 128.0, 44.0];
    let check = |params: SamplingParams, n: u32| {
        assert_eq!(filtered(&weights, &sums, &params), (0..n).collect::<Vec<_>>(), "{params:?}");
    };
    check(SamplingParams { top_k: 7, ..plain() }, 7);
    check(SamplingParams { top_p: 0.5, ..plain() }, 150);
    check(SamplingParams { min_p: 1.0, ..plain() }, 300);
}

/// Frequencies of 40,000 draws over 24 tokens against the filtered, renormalised probabilities.
fn frequencies(params: &SamplingParams) {
    let logits: Vec<f32> = noise(24, 5).iter().map(|u| 3.0 * u).collect();
    let (weights, _) = weighed(&logits, params.temperature);
    let kept = by_definition(&weights, params);
    let total: f64 = kept.iter().map(|i| f64::from(weights[*i as usize])).sum();
    let n = 40_000;
    let mut sampler = Sampler::new(sample_rng(42, "frequencies", 0), &[], params);
    let mut scratch = Scratch::default();
    let mut counts = [0u32; 24];
    for _ in 0..n {
        counts[sampler.next(&logits, params, &mut scratch).unwrap().0 as usize] += 1;
    }
    let mut chi2 = 0.0;
    for (i, count) in counts.iter().enumerate() {
        if !kept.contains(&(i as u32)) {
            assert_eq!(*count, 0, "token {i} {params:?}");
            continue;
        }
        let expected = f64::from(n) * f64::from(weights[i]) / total;
        chi2 += (f64::from(*count) - expected).powi(2) / expected;
    }
    // Mean and standard deviation of chi-square with d degrees of freedom are d and √2d.
    let d = (kept.len() - 1) as f64;
    assert!(chi2 < d + 4.0 * (2.0 * d).sqrt(), "{chi2} with {d} degrees of freedom, {params:?}");
}

#[test]
fn draws_follow_the_probabilities() {
    frequencies(&plain());
    frequencies(&SamplingParams { temperature: 0.7, ..plain() });
    frequencies(&SamplingParams { temperature: 1.6, ..plain() });
    frequencies(&SamplingParams { top_p: 0.8, ..plain() });
    frequencies(&SamplingParams { top_k: 5, ..plain() });
    frequencies(&SamplingParams { min_p: 0.1, ..plain() });
    frequencies(&SamplingParams { temperature: 0.9, top_p: 0.95, top_k: 12, min_p: 0.02, ..plain() });
}

#[test]
fn the_ends_of_the_unit_interval_are_the_first_and_the_last_token() {
    let (weights, sums) = weighed(&noise(1000, 9), 1.0);
    let just_below_one = 1.0 - f64::EPSILON / 2.0;
    let keys = &mut Vec::new();
    assert_eq!(draw(&weights, &sums, &plain(), 0.0, keys), 0);
    assert_eq!(draw(&weights, &sums, &plain(), just_below_one, keys), 999);
    let params = SamplingParams { top_k: 10, ..plain() };
    let order = by_definition(&weights, &params);
    assert_eq!(draw(&weights, &sums, &params, 0.0, keys), order[0]);
    assert_eq!(draw(&weights, &sums, &params, just_below_one, keys), order[9]);
    // Tokens of weight 0 are never drawn.
    assert_eq!(draw(&[0.0, 1.0, 0.0], &[1.0], &plain(), 0.0, keys), 1);
    assert_eq!(draw(&[0.0, 1.0, 0.0], &[1.0 + 1e-9], &plain(), just_below_one, keys), 1);
}

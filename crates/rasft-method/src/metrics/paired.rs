//! Two models on the same problems.

use super::bootstrap::{bootstrap_mean, stream};
use rand_chacha::rand_core::Rng;

/// Non-zero differences up to which every sign pattern is enumerated.
const MAX_ENUMERATED: usize = 20;
/// Slack of "at least as extreme": sums of the same numbers in another order may differ by rounding.
const SLACK: f64 = 1e-9;

/// A paired comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Mean of `model − baseline` over problems.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided p-value of the sign-flip test.
    pub p_value: f64,
}

/// Difference of two models on the same problems, with the percentile bootstrap over problems of the *differences* and the p-value of
/// [`sign_flip_p_value`].
///
/// # Shapes
/// `baseline`, `model` (n problems,), the same problems in the same order; problems beyond the shorter one are ignored.
///
/// # Source
/// Efron, Tibshirani 1993, §8.3 (paired resampling).
pub fn paired(baseline: &[f64], model: &[f64], resamples: u32, seed: u64) -> Paired {
    let differences: Vec<f64> = baseline.iter().zip(model).map(|(a, b)| b - a).collect();
    let interval = bootstrap_mean(&differences, resamples, seed);
    let p_value = sign_flip_p_value(&differences, resamples, seed);
    Paired { difference: interval.value, low: interval.low, high: interval.high, p_value }
}

/// Two-sided p-value of the paired permutation test: the chance, if every difference had either sign with probability ½, of a sum at least
/// as far from 0.
///
/// Exact if all non-zero differences are of one size (then it is the sign test, for 0/1 scores McNemar's exact test) or if there are at most 20
/// of them; otherwise estimated from `resamples` random sign patterns as `(1 + #extreme)/(1 + resamples)`. 1 if all are zero.
///
/// # Source
/// Fisher 1935; Good 2005, Permutation, parametric and bootstrap tests of hypotheses, §3.
pub fn sign_flip_p_value(differences: &[f64], resamples: u32, seed: u64) -> f64 {
    let sizes: Vec<f64> = differences.iter().filter(|d| **d != 0.0).map(|d| d.abs()).collect();
    let Some(&first) = sizes.first() else { return 1.0 };
    let scale: f64 = sizes.iter().sum();
    let observed = differences.iter().sum::<f64>().abs() - SLACK * scale;
    if sizes.iter().all(|s| (s - first).abs() <= SLACK * first) {
        let n_positive = differences.iter().filter(|d| **d > 0.0).count();
        sign_test(n_positive, sizes.len())
    } else if sizes.len() <= MAX_ENUMERATED {
        enumerated(&sizes, observed)
    } else {
        estimated(&sizes, observed, resamples, seed)
    }
}

/// `min(1, 2·P(X ≤ min(v, n−v)))`, X ~ Binomial(n, ½).
fn sign_test(n_positive: usize, n: usize) -> f64 {
    let few = n_positive.min(n - n_positive);
    // Terms C(n, i)/2ⁿ by recurrence on logarithms: 2ⁿ overflows for thousands of problems.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for i in 0..few {
        log_term += ((n - i) as f64 / (i + 1) as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

fn enumerated(sizes: &[f64], observed: f64) -> f64 {
    let n_patterns = 1u32 << sizes.len();
    let sum =
        |pattern: u32| sizes.iter().enumerate().map(|(i, s)| if pattern >> i & 1 == 1 { *s } else { -s }).sum::<f64>();
    let extreme = (0..n_patterns).filter(|&p| sum(p).abs() >= observed).count();
    extreme as f64 / f64::from(n_patterns)
}

fn estimated(sizes: &[f64], observed: f64, resamples: u32, seed: u64) -> f64 {
    let mut rng = stream(seed, "sign flip");
    let mut flipped_sum = || {
        let mut sum = 0.0;
        for chunk in sizes.chunks(64) {
            let mut signs = rng.next_u64();
            for size in chunk {
                sum += if signs & 1 == 1 { *size } else { -size };
                signs >>= 1;
            }
        }
        sum
    };
    let extreme = (0..resamples).filter(|_| flipped_sum().abs() >= observed).count();
    (1 + extreme) as f64 / (1.0 + f64::from(resamples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_test_by_hand() {
        // 1 of 6 one way: 2·(1 + 6)/64.
        assert!((sign_flip_p_value(&[1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 0.0], 100, 1) - 14.0 / 64.0).abs() < 1e-12);
        assert_eq!(sign_flip_p_value(&[1.0, -1.0], 100, 1), 1.0);
        assert_eq!(sign_flip_p_value(&[0.0, 0.0], 100, 1), 1.0);
        assert_eq!(sign_flip_p_value(&[], 100, 1), 1.0);
    }

    #[test]
    fn sign_test_survives_thousands_of_problems() {
        let p = sign_test(2500, 5000);
        assert!((p - 1.0).abs() < 1e-12);
        // z = (2500−2400)/√1250 ≈ 2.83 less the continuity correction.
        assert!((sign_test(2400, 5000) - 0.0049).abs() < 2e-4, "{}", sign_test(2400, 5000));
    }

    #[test]
    fn the_three_ways_agree() {
        let sizes = [1.0; 12];
        let observed = 8.0 - SLACK * 12.0;
        let exact = sign_test(10, 12);
        assert!((enumerated(&sizes, observed) - exact).abs() < 1e-12);
        let rough = estimated(&sizes, observed, 40_000, 3);
        assert!((rough - exact).abs() < 0.005, "{rough} {exact}");
    }

    #[test]
    fn unequal_differences_are_enumerated() {
        // Sums of ±1 ±2 ±4: only ±7 is as far out as 7; two of eight patterns.
        assert_eq!(sign_flip_p_value(&[1.0, 2.0, 4.0], 10, 1), 0.25);
    }

    #[test]
    fn a_paired_comparison_is_tighter_than_two_single_ones() {
        let a: Vec<f64> = (0..200).map(|i| f64::from(i % 10) / 10.0).collect();
        let b: Vec<f64> = a.iter().enumerate().map(|(i, x)| x + if i % 5 == 0 { 0.1 } else { 0.0 }).collect();
        let got = paired(&a, &b, 2000, 9);
        assert!((got.difference - 0.02).abs() < 1e-12 && got.low > 0.0 && got.high < 0.04, "{got:?}");
        assert!(got.p_value < 1e-9, "{got:?}");
        let same = paired(&a, &a, 2000, 9);
        assert_eq!((same.difference, same.low, same.high, same.p_value), (0.0, 0.0, 0.0, 1.0));
    }
}

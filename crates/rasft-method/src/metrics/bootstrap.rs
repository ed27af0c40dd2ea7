//! The percentile bootstrap over problems.

use crate::interval::jeffreys;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Resamples unless asked otherwise.
pub const RESAMPLES: u32 = 10_000;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Mean of per-problem values with its 95 % percentile-bootstrap interval: problems are resampled with replacement, the ends are the
/// 2.5 % and 97.5 % quantiles (type 7) of the resampled means.
///
/// # Shapes
/// `values` (n problems,). NaN everywhere for n = 0; without resamples the interval is the value.
///
/// # Source
/// Efron, Tibshirani 1993, An introduction to the bootstrap, §13.3.
pub fn bootstrap_mean(values: &[f64], resamples: u32, seed: u64) -> Interval {
    let value = super::mean(values);
    if values.is_empty() || resamples == 0 {
        return Interval { value, low: value, high: value };
    }
    let mut rng = stream(seed, "bootstrap");
    let n = values.len() as u32;
    let resample = |_| (0..n).map(|_| values[below(&mut rng, n) as usize]).sum::<f64>() / f64::from(n);
    let mut means: Vec<f64> = (0..resamples).map(resample).collect();
    means.sort_unstable_by(f64::total_cmp);
    Interval { value, low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// [`bootstrap_mean`] of a rate over problems, values from 0 to 1.
///
/// Where every problem has 0, or every problem 1, all resamples are alike and the bootstrap would claim certainty; there the
/// interval is [`jeffreys`]' for so many successes among n problems, so that 0 of 30 reads 0 to 8 %.
///
/// # Shapes
/// As [`bootstrap_mean`].
///
/// # Source
/// Brown, Cai, DasGupta 2001, as [`jeffreys`].
pub fn bootstrap_rate(values: &[f64], resamples: u32, seed: u64) -> Interval {
    let n = values.len() as u32;
    let all = |of: f64| n > 0 && values.iter().all(|value| *value == of);
    let certain = if all(0.0) { Some(0) } else { all(1.0).then_some(n) };
    match certain {
        None => bootstrap_mean(values, resamples, seed),
        Some(successes) => {
            let (low, high) = jeffreys(successes, n);
            Interval { value: super::mean(values), low, high }
        }
    }
}

/// The random stream of one purpose.
pub(super) fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"rasft metrics").update(&seed.to_le_bytes()).update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// A uniform number below `n` (≥ 1), without bias.
///
/// Written out here so that an upgrade of the random-number crates cannot change published intervals.
///
/// # Source
/// Lemire 2019, Fast random integer generation in an interval.
fn below(rng: &mut ChaCha8Rng, n: u32) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(n);
        // The low half is uneven below 2³² mod n only.
        if product as u32 >= n || product as u32 >= n.wrapping_neg() % n {
            return (product >> 32) as u32;
        }
    }
}

/// Type-7 quantile of sorted values, f64.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let h = (sorted.len() - 1) as f64 * q;
    let at = h.floor() as usize;
    let next = (at + 1).min(sorted.len() - 1);
    sorted[at] + (h - h.floor()) * (sorted[next] - sorted[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_about_that_of_the_normal_approximation() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let got = bootstrap_mean(&values, RESAMPLES, 42);
        let half = 1.96 * (0.25f64 * 0.75 / 400.0).sqrt();
        assert_eq!(got.value, 0.25);
        assert!((got.low - (0.25 - half)).abs() < 0.004 && (got.high - (0.25 + half)).abs() < 0.004, "{got:?}");
        assert_eq!(got, bootstrap_mean(&values, RESAMPLES, 42));
        assert_ne!(got, bootstrap_mean(&values[..399], RESAMPLES, 43));
    }

    #[test]
    fn edges() {
        assert!(bootstrap_mean(&[], 100, 1).value.is_nan());
        assert_eq!(bootstrap_mean(&[0.5; 9], 100, 1), Interval { value: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(bootstrap_mean(&[0.0, 1.0], 0, 1), Interval { value: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn a_rate_of_none_or_all_is_not_certain() {
        let none = bootstrap_rate(&[0.0; 30], 100, 1);
        assert!(none.value == 0.0 && none.low == 0.0 && (0.07..0.09).contains(&none.high), "{none:?}");
        let all = bootstrap_rate(&[1.0; 30], 100, 1);
        assert!(all.value == 1.0 && all.high == 1.0 && (all.low - (1.0 - none.high)).abs() < 1e-12, "{all:?}");
        let some: Vec<f64> = (0..30).map(|i| f64::from(u8::from(i == 7))).collect();
        assert_eq!(bootstrap_rate(&some, 100, 1), bootstrap_mean(&some, 100, 1));
        assert_eq!(bootstrap_rate(&[0.5; 9], 100, 1), bootstrap_mean(&[0.5; 9], 100, 1));
        assert!(bootstrap_rate(&[], 100, 1).value.is_nan());
    }

    #[test]
    fn numbers_below_n_are_even() {
        let mut rng = stream(7, "test");
        let mut hits = [0u32; 6];
        for _ in 0..60_000 {
            hits[below(&mut rng, 6) as usize] += 1;
        }
        assert!(hits.iter().all(|h| (9_500..10_500).contains(h)), "{hits:?}");
        assert_eq!(below(&mut rng, 1), 0);
    }
}

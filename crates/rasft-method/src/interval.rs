//! The Jeffreys interval of a success rate.

use statrs::function::beta::inv_beta_reg;

/// Mass outside a 95 % interval, on each side.
const TAIL: f64 = 0.025;

/// 95 % equal-tailed Jeffreys interval of a rate with `successes` among `n` trials.
///
/// The 2.5 % and 97.5 % quantiles of Beta(v+½, n−v+½); by convention the lower end is 0 at v = 0 and the upper end 1 at v = n,
/// so that without trials the interval is [0, 1].
///
/// # Source
/// Brown, Cai, DasGupta 2001, Interval estimation for a binomial proportion, §3.1.2; design.md §5 (solvability).
pub fn jeffreys(successes: u32, n: u32) -> (f64, f64) {
    let (v, n) = (f64::from(successes.min(n)), f64::from(n));
    let (a, b) = (v + 0.5, n - v + 0.5);
    let low = if v == 0.0 { 0.0 } else { inv_beta_reg(a, b, TAIL) };
    // The upper quantile through the mirrored distribution: exact symmetry between v and n−v.
    let high = if v == n { 1.0 } else { 1.0 - inv_beta_reg(b, a, TAIL) };
    (low, high)
}

/// Mean of the Jeffreys posterior: `s̃ = (v+½)/(n+1)`.
///
/// # Source
/// algorithm.md Part A (calibrated).
pub fn jeffreys_mean(successes: usize, n: usize) -> f64 {
    (successes as f64 + 0.5) / (n as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::function::beta::beta_reg;

    #[test]
    fn conventional_ends() {
        assert_eq!(jeffreys(0, 0), (0.0, 1.0));
        assert_eq!(jeffreys(0, 4).0, 0.0);
        assert_eq!(jeffreys(4, 4).1, 1.0);
    }

    #[test]
    fn ends_cut_off_the_tails() {
        for n in [1u32, 2, 3, 8, 16, 100, 1000] {
            for v in 0..=n.min(60) {
                let (low, high) = jeffreys(v, n);
                let rate = f64::from(v) / f64::from(n);
                assert!(low <= rate && rate <= high, "{v}/{n}: {low} {high}");
                let (a, b) = (f64::from(v) + 0.5, f64::from(n - v) + 0.5);
                if v > 0 {
                    assert!((beta_reg(a, b, low) - TAIL).abs() < 1e-9, "{v}/{n} low {low}");
                }
                if v < n {
                    assert!((beta_reg(a, b, high) - (1.0 - TAIL)).abs() < 1e-9, "{v}/{n} high {high}");
                }
            }
        }
    }

    #[test]
    fn symmetric() {
        let ((a, b), (c, d)) = (jeffreys(3, 10), jeffreys(7, 10));
        assert!((a - (1.0 - d)).abs() < 1e-15 && (b - (1.0 - c)).abs() < 1e-15);
    }
}

//! Maxima, exponentials and their sums over a whole vocabulary, in fixed lanes.
//!
//! Invariant: a result depends on the values alone: own arithmetic without the platform's `exp`, sums in a fixed order. The
//! loops are written so that the compiler turns them into vector instructions, of whatever width the CPU has; nothing else
//! is clever here.

use rasft_model::ops::simd::multiversion;

/// Values worked on side by side.
const LANES: usize = 16;
/// Values summed in f32 before they go to an f64: 8 additions per lane, an error below 8 · 2⁻²⁴ of the sum.
pub(crate) const BLOCK: usize = 128;

/// Below this, e^x counts as 0: it is 1.2e-38 there, the edge of the normal f32.
const LEAST: f32 = -87.0;
/// Adding and subtracting 1.5 · 2²³ rounds a small f32 to an integer.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has few bits, so that its product with a small integer is exact (Cody and Waite, 1980).
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x ≤ 0, or −∞, with a relative error below 2e-7; 0 below −87.
///
/// `x = n·ln 2 + r`, |r| ≤ ½ ln 2, and the Taylor series of e^r up to r⁷ (the rest is below 6e-9).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let series = r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)))));
    let e_r = 1.0 + (r + r * r * (0.5 + series));
    // The low bits of `shifted` are n in two's complement; adding n to the exponent multiplies by 2ⁿ.
    let power = shifted.to_bits() << 23;
    let scaled = f32::from_bits(e_r.to_bits().wrapping_add(power));
    if x >= LEAST { scaled } else { 0.0 }
}

multiversion! {
    /// Largest value; −∞ of an empty slice. NaNs are passed over: see [`finite_max`].
    pub(crate) fn max(values: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, z) in lanes.iter_mut().zip(chunk) {
                *lane = if *z > *lane { *z } else { *lane };
            }
        }
        lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, z| if *z > m { *z } else { m })
    }
}

multiversion! {
    /// Largest value; `None` of an empty slice, or when some value is not a finite number.
    pub(crate) fn finite_max(values: &[f32]) -> Option<f32> {
        // 0·z is NaN exactly if z is not finite, and a NaN never leaves a sum.
        let (mut lanes, mut zeros) = ([f32::NEG_INFINITY; LANES], [0.0f32; LANES]);
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for ((lane, zero), z) in lanes.iter_mut().zip(&mut zeros).zip(chunk) {
                *lane = if *z > *lane { *z } else { *lane };
                *zero += 0.0 * z;
            }
        }
        let finite = zeros.iter().all(|zero| *zero == 0.0) && rest.iter().all(|z| z.is_finite());
        let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, z| if *z > m { *z } else { m });
        (finite && !values.is_empty()).then_some(largest)
    }
}

/// Σ of one block, f32 lanes and then f64.
#[inline(always)]
fn block_sum(block: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = block.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, z) in lanes.iter_mut().zip(chunk) {
            *lane += term(*z);
        }
    }
    let whole: f64 = lanes.iter().map(|lane| f64::from(*lane)).sum();
    whole + rest.iter().map(|z| f64::from(term(*z))).sum::<f64>()
}

/// Log-probability of `token` under the softmax of `logits` as they are: `log p = z_token − m − ln Σ_v exp(z_v − m)`,
/// `m = max z`.
///
/// # Shapes
/// logits (V), finite, nats. Terms and partial sums of 128 are f32, the sum of these is f64: within 1e-6 of exact.
///
/// # Panics
/// There is no such token.
#[must_use]
pub fn logprob(logits: &[f32], token: u32) -> f32 {
    logprob_below(logits, max(logits), token)
}

/// [`logprob`] where the largest logit `m` is known.
pub(crate) fn logprob_below(logits: &[f32], m: f32, token: u32) -> f32 {
    (f64::from(logits[token as usize]) - f64::from(m) - sum_of_exp(logits, m).ln()) as f32
}

multiversion! {
    fn sum_of_exp(logits: &[f32], m: f32) -> f64 {
        let mut sum = 0.0;
        for block in logits.chunks(BLOCK) {
            sum += block_sum(block, |z| exp(z - m));
        }
        sum
    }
}

/// Writes the weights `exp((z − m)/T)`, `m = max z`, and the sum of each [`BLOCK`] of them to `sums`.
pub(crate) fn weigh(scores: &[f32], m: f32, temperature: f64, weights: &mut Vec<f32>, sums: &mut Vec<f64>) {
    weights.resize(scores.len(), 0.0);
    sums.clear();
    weigh_blocks(scores, m, (1.0 / temperature) as f32, weights, sums);
}

multiversion! {
    fn weigh_blocks(scores: &[f32], m: f32, scale: f32, weights: &mut [f32], sums: &mut Vec<f64>) {
        for (scores, weights) in scores.chunks(BLOCK).zip(weights.chunks_mut(BLOCK)) {
            for (w, z) in weights.iter_mut().zip(scores) {
                *w = exp((z - m) * scale);
            }
            sums.push(block_sum(weights, |w| w));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn exp_is_close_everywhere() {
        let mut worst = 0.0f64;
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!([exp(-87.1), exp(-1e30), exp(f32::NEG_INFINITY)], [0.0; 3]);
    }

    #[test]
    fn logprob_is_close_to_f64() {
        for (n, spread) in [(1, 1.0), (2, 30.0), (128, 4.0), (1000, 9.0), (49_152, 3.0), (151_936, 12.0)] {
            let logits: Vec<f32> = noise(n, n as u64).iter().map(|u| u * spread - 7.0).collect();
            let m = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let lse = f64::from(m) + logits.iter().map(|z| f64::from(z - m).exp()).sum::<f64>().ln();
            for token in [0, n / 3, n - 1] {
                let expected = f64::from(logits[token]) - lse;
                let got = f64::from(logprob(&logits, token as u32));
                assert!((got - expected).abs() < 1e-6 * expected.abs().max(1.0), "{n} {token}: {got} {expected}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_seen_in_every_place() {
        let mut values = noise(61, 1);
        assert_eq!(finite_max(&values), Some(max(&values)));
        assert_eq!(finite_max(&[f32::MIN, f32::MAX, -0.0]), Some(f32::MAX));
        assert_eq!(finite_max(&[]), None);
        for at in 0..61 {
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let good = std::mem::replace(&mut values[at], odd);
                assert_eq!(finite_max(&values), None, "{odd} at {at}");
                values[at] = good;
            }
        }
    }

    #[test]
    fn the_maximum_is_found_in_every_place() {
        for at in 0..61 {
            let mut values = noise(61, 2);
            values[at] = 3.0;
            assert_eq!((max(&values), finite_max(&values)), (3.0, Some(3.0)));
        }
    }

    #[test]
    fn weights_and_their_sums() {
        let logits: Vec<f32> = noise(300, 3);
        let (mut weights, mut sums) = (Vec::new(), Vec::new());
        let m = max(&logits);
        weigh(&logits, m, 0.5, &mut weights, &mut sums);
        assert_eq!(sums.len(), 3);
        for (w, z) in weights.iter().zip(&logits) {
            assert!((w - ((z - m) / 0.5).exp()).abs() < 1e-6);
        }
        let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        assert!((sums.iter().sum::<f64>() - total).abs() < 1e-5 * total);
    }
}

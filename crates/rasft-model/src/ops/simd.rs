//! Compiling one body for several CPU generations, and the arithmetic every kernel shares.
//!
//! Invariant: the versions of a function differ in speed only. Sums are written out in lanes and `mul_add` is always
//! fused, so a compiler may not reorder them and every CPU gives the same bits.

use std::sync::LazyLock;

/// Lanes of a [`sum_of_products`]; four 512-bit vectors, enough to hide the latency of a fused multiply-add.
pub(crate) const LANES: usize = 64;

/// What one prefetch brings.
pub(crate) const LINE_BYTES: usize = 64;

/// What the CPU can do, in the order we would rather have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 512-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the target guarantees.
    Portable,
}

/// The best level of this CPU.
#[inline]
pub fn level() -> Level {
    // Every tile asks.
    static LEVEL: LazyLock<Level> = LazyLock::new(detected);
    *LEVEL
}

fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("fma")
        {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Defines a function whose body is compiled once per [`Level`](crate::ops::simd::Level) and chosen at run time.
#[macro_export]
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                body($($arg),*)
            }

            match $crate::ops::simd::level() {
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Level::Avx512 => {
                    #[expect(unsafe_code, reason = "calls the version for the CPU we run on")]
                    // SAFETY: `level` found every feature the callee is compiled with.
                    unsafe { avx512($($arg),*) }
                }
                #[cfg(target_arch = "x86_64")]
                $crate::ops::simd::Level::Avx2 => {
                    #[expect(unsafe_code, reason = "calls the version for the CPU we run on")]
                    // SAFETY: `level` found every feature the callee is compiled with.
                    unsafe { avx2($($arg),*) }
                }
                $crate::ops::simd::Level::Portable => body($($arg),*),
            }
        }
    };
}
pub use multiversion;

/// Asks for memory that will be read soon. What must wait for a page is found out early, and side by side.
#[inline]
pub(crate) fn prefetch(values: &[f32]) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(LINE_BYTES / size_of::<f32>()) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        #[expect(unsafe_code, reason = "an intrinsic")]
        // SAFETY: a prefetch touches no memory.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast())
        };
    }
}

/// Values of one vector of the widest CPUs.
const VECTOR: usize = 16;

/// Adds up lanes in one fixed tree.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `Σ a[i]·b[i]` through 64 lanes by index.
#[inline(always)]
pub(crate) fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_full, a_rest) = a.as_chunks::<LANES>();
    let (b_full, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_full.iter().zip(b_full) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane = x.mul_add(y, *lane);
    }
    sum_lanes(lanes)
}

/// `Σ a[i]·w[i]·b[i]` through 64 lanes by index.
#[inline(always)]
pub(crate) fn sum_of_weighted_products(a: &[f32], w: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_full, a_rest) = a.as_chunks::<LANES>();
    let (w_full, w_rest) = w.as_chunks::<LANES>();
    let (b_full, b_rest) = b.as_chunks::<LANES>();
    for ((x, w), y) in a_full.iter().zip(w_full).zip(b_full) {
        for i in 0..LANES {
            lanes[i] = (x[i] * w[i]).mul_add(y[i], lanes[i]);
        }
    }
    for (lane, ((&x, &w), &y)) in lanes.iter_mut().zip(a_rest.iter().zip(w_rest).zip(b_rest)) {
        *lane = (x * w).mul_add(y, *lane);
    }
    sum_lanes(lanes)
}

/// The largest value; −∞ for none. The order does not matter, a NaN is passed over.
#[inline(always)]
pub(crate) fn max_of(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (full, rest) = x.as_chunks::<LANES>();
    for chunk in full {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let (vectors, tail) = rest.as_chunks::<VECTOR>();
    for (vector, lanes) in vectors.iter().zip(lanes.as_chunks_mut::<VECTOR>().0) {
        for i in 0..VECTOR {
            lanes[i] = if vector[i] > lanes[i] { vector[i] } else { lanes[i] };
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane = if value > *lane { value } else { *lane };
    }
    // A tree, because a chain of 64 takes as long as all the rest of a short row.
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = if lanes[i + half] > lanes[i] { lanes[i + half] } else { lanes[i] };
        }
        half /= 2;
    }
    lanes[0]
}

/// `x ← exp(x − shift)` in place; returns the sum through 64 lanes by index.
#[inline(always)]
pub(crate) fn exp_and_sum(x: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (full, rest) = x.as_chunks_mut::<LANES>();
    for chunk in full {
        for i in 0..LANES {
            chunk[i] = exp(chunk[i] - shift);
            lanes[i] += chunk[i];
        }
    }
    // What is left in whole vectors, too: a sequence has any length, and most of them are short.
    let (vectors, tail) = rest.as_chunks_mut::<VECTOR>();
    let at = vectors.len() * VECTOR;
    for (vector, lanes) in vectors.iter_mut().zip(lanes.as_chunks_mut::<VECTOR>().0) {
        for i in 0..VECTOR {
            vector[i] = exp(vector[i] - shift);
            lanes[i] += vector[i];
        }
    }
    if !tail.is_empty() {
        let mut padded = [f32::NEG_INFINITY; VECTOR];
        padded[..tail.len()].copy_from_slice(tail);
        padded.iter_mut().for_each(|value| *value = exp(*value - shift));
        tail.copy_from_slice(&padded[..tail.len()]);
        lanes[at..].iter_mut().zip(tail).for_each(|(lane, value)| *lane += *value);
    }
    sum_lanes(lanes)
}

/// `eˣ` within 2 units in the last place; 0 below −87.3, ∞ above 88.3, NaN for NaN.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2` (Cody and Waite's two-part ln 2), a degree-7 Taylor polynomial of `eʳ`
/// (remainder below 6e-9), and `2ⁿ` put together from its bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// 1.5·2²³: adding it rounds to an integer that stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 cut to 15 bits, so that its product with n is exact, and what is left of it.
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let y = p * power;
    let y = if x < -87.3 { 0.0 } else { y };
    if x > 88.3 { f32::INFINITY } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    multiversion! {
        fn exp_all(x: &mut [f32]) {
            for value in x {
                *value = exp(*value);
            }
        }
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let x: Vec<f32> = (0..1_000_000).map(|i| -87.29 + i as f32 * 1.755e-4).collect();
        let mut y = x.clone();
        exp_all(&mut y);
        let mut worst = 0f64;
        for (&x, &y) in x.iter().zip(&y).filter(|(x, _)| **x < 88.29) {
            let exact = f64::from(x).exp();
            let ulp = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            worst = worst.max((f64::from(y) - exact).abs() / ulp);
            assert_eq!(y.to_bits(), exp(x).to_bits(), "versions differ at {x}");
        }
        assert!(worst <= 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_saturates() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_agree_with_plain_sums() {
        for n in [0, 1, 15, 16, 33, 63, 64, 65, 127, 200] {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let exact: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            assert!((f64::from(sum_of_products(&a, &b)) - exact).abs() < 1e-5);
            let top = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max_of(&a), top);
            for at in 0..n {
                let mut a = a.clone();
                a[(at + 1) % n] = f32::NAN;
                a[at] = 2.0;
                assert_eq!(max_of(&a), 2.0, "at {at} of {n}");
            }
            let mut e = a.clone();
            let sum = exp_and_sum(&mut e, 0.5);
            let exact: f64 = a.iter().map(|&x| f64::from(x - 0.5).exp()).sum();
            assert!((f64::from(sum) - exact).abs() < 1e-4 * exact.max(1.0));
        }
    }
}

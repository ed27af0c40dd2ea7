//! Decimals against exact values.
//!
//! A decimal equals an exact value if it has at least twelve significant digits and is the value cut off or rounded at
//! its last digit. A value that can be written with those digits must be written so: 18.000000000001 is not 18. Decimals
//! of sixteen digits and more may carry the noise of binary floating point in the last two.

use crate::expr::Expr;
use crate::verifier::{Options, Tolerance};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, Signed, ToPrimitive};

/// Digits from which a decimal stands for the exact value it approximates (`verify/README.md`: ≥ 12).
const EXACT_DIGITS: u32 = 12;

/// Decimals this long come from binary floating point, whose last digits are noise (0.30000000000000004).
const NOISE_DIGITS: u32 = 16;
/// Such a decimal equals a short exact value within 10^-[`NOISE`] of it.
const NOISE: i64 = 14;
/// The same as a double: a literal, because `powi` may round differently from machine to machine.
pub(super) const NOISE_RELATIVE: f64 = 1e-14;
/// Numerator and denominator together of a short exact value: both sides far from needing sixteen digits.
const NOISE_FREE_BITS: u64 = 40;

/// A decimal as written.
#[derive(Debug, Clone)]
pub(super) struct Approximation {
    pub value: BigRational,
    /// The worth of the last digit.
    pub unit: BigRational,
    pub digits: u32,
}

/// The decimal that an expression is: a literal, perhaps negated, in percent, or times a power of ten.
pub(super) fn approximation(e: &Expr) -> Option<Approximation> {
    match e {
        Expr::Dec(value, d) => {
            Some(Approximation { value: value.clone(), unit: power_of_ten(-d.places)?, digits: d.digits })
        }
        Expr::Neg(a) => approximation(a).map(|x| Approximation { value: -x.value, ..x }),
        Expr::Degree(a) => approximation(a),
        Expr::Percent(a) => approximation(a).map(|x| scaled(x, &power_of_ten_exact(-2))),
        Expr::Mul(v) => match v.as_slice() {
            [a, Expr::Pow(ten, n)] if **ten == Expr::int(10) => {
                let n = signed_integer(n)?;
                approximation(a).and_then(|x| Some(scaled(x, &power_of_ten(n)?)))
            }
            _ => None,
        },
        _ => None,
    }
}

fn scaled(x: Approximation, by: &BigRational) -> Approximation {
    Approximation { value: x.value * by, unit: x.unit * by, digits: x.digits }
}

fn signed_integer(e: &Expr) -> Option<i64> {
    match e {
        Expr::Num(v) if v.is_integer() => v.numer().to_i64(),
        Expr::Neg(a) => signed_integer(a).map(|n| -n),
        _ => None,
    }
}

fn power_of_ten(n: i64) -> Option<BigRational> {
    (n.abs() <= 5_000).then(|| power_of_ten_exact(n))
}

fn power_of_ten_exact(n: i64) -> BigRational {
    let p = BigRational::from_integer(Pow::pow(BigInt::from(10u8), n.unsigned_abs()));
    if n < 0 { p.recip() } else { p }
}

/// Whether the options let a decimal stand for exact values at all, given its digits.
pub(super) fn may_stand(x: &Approximation, options: &Options) -> bool {
    x.digits >= EXACT_DIGITS
        || matches!(options.tolerance, Some(Tolerance::Rounded { min_digits }) if x.digits >= min_digits)
}

/// Whether a decimal stands for an exact rational value.
pub(super) fn stands_for(x: &Approximation, exact: &BigRational, options: &Options) -> bool {
    let is_short = exact.numer().bits() + exact.denom().bits() <= NOISE_FREE_BITS;
    if x.digits >= NOISE_DIGITS && is_short && (&x.value - exact).abs() <= exact.abs() * power_of_ten_exact(-NOISE) {
        return true;
    }
    if !may_stand(x, options) || (exact / &x.unit).is_integer() {
        return false;
    }
    (&x.value - exact).abs() < x.unit
}

/// Whether a decimal is as long as binary floating point makes them.
pub(super) fn is_noisy(x: &Approximation) -> bool {
    x.digits >= NOISE_DIGITS
}

/// Whether two rationals are equal under the tolerance option; integers never are unless equal.
pub(super) fn within_tolerance(a: &BigRational, b: &BigRational, options: &Options) -> bool {
    let Some(Tolerance::Relative(r)) = options.tolerance else { return false };
    if a.is_integer() && b.is_integer() {
        return false;
    }
    let scale = a.abs().max(b.abs());
    BigRational::from_float(r).is_some_and(|r| (a - b).abs() <= r * scale)
}

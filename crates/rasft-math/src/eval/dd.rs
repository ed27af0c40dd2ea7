//! Double-double arithmetic: an unevaluated sum of two doubles, about 31 significant digits.
//!
//! Only IEEE additions, multiplications, divisions, square roots and fused multiply-adds are used, so results are
//! bit-identical on every machine.
//!
//! # Source
//! T. J. Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18 (1971);
//! Y. Hida, X. S. Li, D. H. Bailey, "Library for double-double and quad-double arithmetic" (2007).

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Relative error bound of one operation.
pub const UNIT: f64 = 8e-32;

/// hi + lo with |lo| ≤ ulp(hi)/2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dd {
    /// Leading part.
    pub hi: f64,
    /// What is left.
    pub lo: f64,
}

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

fn quick_two_sum(a: f64, b: f64) -> Dd {
    let s = a + b;
    Dd { hi: s, lo: b - (s - a) }
}

impl Dd {
    /// 0.
    pub const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    /// 1.
    pub const ONE: Self = Self { hi: 1.0, lo: 0.0 };
    /// π.
    pub const PI: Self = Self { hi: std::f64::consts::PI, lo: 1.224_646_799_147_353_2e-16 };
    /// ln 2.
    pub const LN_2: Self = Self { hi: std::f64::consts::LN_2, lo: 2.319_046_813_846_299_6e-17 };

    /// An exactly represented number.
    pub const fn new(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }

    /// |x|.
    pub fn abs(self) -> Self {
        if self.hi < 0.0 { -self } else { self }
    }

    /// Whether it is a finite number.
    pub fn is_finite(self) -> bool {
        self.hi.is_finite() && self.lo.is_finite()
    }

    /// x·2ᵏ.
    pub fn scale(self, power: i32) -> Self {
        // Two steps keep the factor itself in range.
        let half = power / 2;
        let (a, b) = (pow2(half), pow2(power - half));
        Self { hi: self.hi * a * b, lo: self.lo * a * b }
    }

    /// x·y for a double y.
    pub fn times(self, y: f64) -> Self {
        let p = self.hi * y;
        let e = self.hi.mul_add(y, -p) + self.lo * y;
        quick_two_sum(p, e)
    }

    /// √x for x ≥ 0.
    pub fn sqrt(self) -> Self {
        if self.hi <= 0.0 {
            return Self::ZERO;
        }
        let s = self.hi.sqrt();
        let s = Self::new(s);
        // One Newton step from a double's root.
        let step = (self - s * s) / s.times(2.0);
        let s = s + step;
        s + (self - s * s) / s.times(2.0)
    }

    /// The nearest integer, as a double.
    pub fn round(self) -> f64 {
        (self.hi + self.lo).round()
    }

    /// ⌊x⌋.
    pub fn floor(self) -> Self {
        let f = self.hi.floor();
        if f == self.hi { quick_two_sum(f, self.lo.floor()) } else { Self::new(f) }
    }

    /// The rational, correctly to the format's precision; `None` beyond the range of doubles.
    pub fn from_rational(v: &BigRational) -> Option<Self> {
        if v.is_zero() {
            return Some(Self::ZERO);
        }
        if let (Some(n), Some(d)) = (v.numer().to_i64(), v.denom().to_i64())
            && n.unsigned_abs() < (1 << 53)
            && d < (1 << 53)
        {
            return Some(Self::new(n as f64) / Self::new(d as f64));
        }
        let shift = 120 - (v.numer().bits() as i64 - v.denom().bits() as i64);
        let scaled: BigInt = if shift >= 0 {
            (v.numer().abs() << shift.unsigned_abs()) / v.denom()
        } else {
            v.numer().abs() / (v.denom() << shift.unsigned_abs())
        };
        // 120 or 121 bits: the high and the low half are exact sums of doubles.
        let low_mask = (BigInt::from(1u8) << 53) - 1u8;
        let low = (&scaled & &low_mask).to_f64()?;
        let middle: BigInt = &scaled >> 53;
        let mid = (middle & &low_mask).to_f64()?;
        let high: BigInt = &scaled >> 106;
        let high = high.to_f64()?;
        let sum = Self::new(high * pow2(106)) + Self::new(mid * pow2(53)) + Self::new(low);
        let power = i32::try_from(-shift).ok()?;
        if !(-1150..=900).contains(&power) {
            return None;
        }
        let magnitude = sum.scale(power);
        (magnitude.is_finite() && magnitude.hi > 1e-290).then_some(if v.is_negative() { -magnitude } else { magnitude })
    }
}

/// 2ᵏ, exactly; 0 or ∞ out of range.
fn pow2(k: i32) -> f64 {
    match k {
        -1022..=1023 => f64::from_bits(((k + 1023) as u64) << 52),
        1024.. => f64::INFINITY,
        _ => 0.0,
    }
}

impl Neg for Dd {
    type Output = Self;
    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl Add for Dd {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        let (s, e) = two_sum(self.hi, o.hi);
        let (t, f) = two_sum(self.lo, o.lo);
        let r = quick_two_sum(s, e + t);
        quick_two_sum(r.hi, r.lo + f)
    }
}

impl Sub for Dd {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        self + (-o)
    }
}

impl Mul for Dd {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        let p = self.hi * o.hi;
        let e = self.hi.mul_add(o.hi, -p) + (self.hi * o.lo + self.lo * o.hi);
        quick_two_sum(p, e)
    }
}

impl Div for Dd {
    type Output = Self;
    /// Long division, three quotient digits of a double each.
    fn div(self, y: Self) -> Self {
        let q1 = self.hi / y.hi;
        let r = self - y.times(q1);
        let q2 = r.hi / y.hi;
        let r = r - y.times(q2);
        let q3 = r.hi / y.hi;
        quick_two_sum(q1, q2) + Self::new(q3)
    }
}

//! Complex double-doubles with an error bound: the true value lies within `err` of the centre.

use super::dd::{Dd, UNIT};
use super::elementary::{self, ERROR};

/// A disc that holds the true value.
#[derive(Debug, Clone, Copy)]
pub struct Ball {
    /// Real part of the centre.
    pub re: Dd,
    /// Imaginary part of the centre.
    pub im: Dd,
    /// Radius.
    pub err: f64,
}

impl Ball {
    /// An exact real number.
    pub fn real(re: Dd) -> Self {
        Self { re, im: Dd::ZERO, err: 0.0 }
    }

    /// A real number known to double-double precision.
    pub fn rounded(re: Dd) -> Self {
        Self { re, im: Dd::ZERO, err: re.hi.abs() * UNIT }
    }

    fn with(re: Dd, im: Dd, err: f64) -> Option<Self> {
        (re.is_finite() && im.is_finite() && err.is_finite()).then_some(Self { re, im, err })
    }

    /// A bound of |centre| from above (by less than a factor 2).
    pub fn size(self) -> f64 {
        self.re.hi.abs() + self.im.hi.abs()
    }

    /// Whether the centre is on the real axis.
    pub fn is_real(self) -> bool {
        self.im.hi == 0.0
    }

    /// Whether 0 is in the disc.
    pub fn may_be_zero(self) -> bool {
        self.re.hi.abs().max(self.im.hi.abs()) <= self.err
    }

    /// −z.
    pub fn negated(self) -> Self {
        Self { re: -self.re, im: -self.im, err: self.err }
    }

    /// z + w.
    pub fn plus(self, o: Self) -> Option<Self> {
        let (re, im) = (self.re + o.re, self.im + o.im);
        // A sum's rounding error is relative to the result, except for what cancels below the format.
        let err = self.err + o.err + (re.hi.abs() + im.hi.abs()) * UNIT + (self.size() + o.size()) * 1e-33;
        Self::with(re, im, err)
    }

    /// z − w.
    pub fn minus(self, o: Self) -> Option<Self> {
        self.plus(o.negated())
    }

    /// z·w.
    pub fn times(self, o: Self) -> Option<Self> {
        let err = self.size() * o.err + o.size() * self.err + self.err * o.err + self.size() * o.size() * 2.0 * UNIT;
        if self.is_real() && o.is_real() {
            return Self::with(self.re * o.re, Dd::ZERO, err);
        }
        Self::with(self.re * o.re - self.im * o.im, self.re * o.im + self.im * o.re, err)
    }

    /// z/w; `None` if w may be zero.
    pub fn over(self, o: Self) -> Option<Self> {
        let size = o.re.hi.abs().max(o.im.hi.abs());
        if size <= o.err * 2.0 {
            return None;
        }
        let low = size - o.err;
        if o.is_real() {
            let (re, im) = (self.re / o.re, self.im / o.re);
            let q = re.hi.abs() + im.hi.abs();
            return Self::with(re, im, (self.err + q * o.err) / low + q * 4.0 * UNIT);
        }
        let norm = o.re * o.re + o.im * o.im;
        let re = (self.re * o.re + self.im * o.im) / norm;
        let im = (self.im * o.re - self.re * o.im) / norm;
        let q = re.hi.abs() + im.hi.abs();
        let scale = self.size() / low;
        Self::with(re, im, (self.err + q * o.err) / low + (q + scale) * 8.0 * UNIT)
    }

    /// zⁿ for an integer n, by squaring.
    pub fn powi(self, n: i64) -> Option<Self> {
        let mut acc = Self::real(Dd::ONE);
        let (mut base, mut k) = (self, n.unsigned_abs());
        while k > 0 {
            if k & 1 == 1 {
                acc = acc.times(base)?;
            }
            k >>= 1;
            if k > 0 {
                base = base.times(base)?;
            }
        }
        if n < 0 { Self::real(Dd::ONE).over(acc) } else { Some(acc) }
    }

    /// eᶻ.
    pub fn exp(self) -> Option<Self> {
        let m = elementary::exp(self.re)?;
        let grow = self.err * 1.1;
        if grow > 0.1 {
            return None;
        }
        if self.is_real() {
            return Self::with(m, Dd::ZERO, m.hi * (grow + ERROR));
        }
        let (s, c) = elementary::sin_cos(self.im)?;
        Self::with(m * c, m * s, m.hi * (grow + 4.0 * ERROR))
    }

    /// The principal logarithm; `None` if z may be zero.
    pub fn ln(self) -> Option<Self> {
        let size = self.re.hi.abs().max(self.im.hi.abs());
        if size <= self.err * 4.0 {
            return None;
        }
        let spread = self.err / (size - self.err) * 1.1;
        if self.is_real() {
            let re = elementary::ln(self.re.abs())?;
            let im = if self.re.hi < 0.0 { Dd::PI } else { Dd::ZERO };
            return Self::with(re, im, spread + ERROR * (re.hi.abs() + 0.01) + im.hi * UNIT);
        }
        // On the cut the disc holds values of both sides.
        if self.re.hi < 0.0 && self.im.hi.abs() <= self.err {
            return None;
        }
        let norm = self.re * self.re + self.im * self.im;
        let re = elementary::ln(norm)?.times(0.5);
        let im = elementary::atan2(self.im, self.re)?;
        Self::with(re, im, spread + 4.0 * ERROR * (re.hi.abs() + im.hi.abs() + 1.0))
    }

    /// The principal square root.
    pub fn sqrt(self) -> Option<Self> {
        if self.may_be_zero() {
            return (self.err == 0.0).then_some(Self::real(Dd::ZERO));
        }
        if self.is_real() {
            let r = self.re.abs().sqrt();
            let err = self.err / r.hi + r.hi * 4.0 * UNIT;
            return if self.re.hi > 0.0 { Self::with(r, Dd::ZERO, err) } else { Self::with(Dd::ZERO, r, err) };
        }
        self.ln()?.times(Self::real(Dd::new(0.5)))?.exp()
    }

    /// sin z and cos z.
    pub fn sin_cos(self) -> Option<(Self, Self)> {
        if self.err > 0.1 {
            return None;
        }
        if self.is_real() {
            let (s, c) = elementary::sin_cos(self.re)?;
            let err = self.err * 1.1 + ERROR;
            return Some((Self::with(s, Dd::ZERO, err)?, Self::with(c, Dd::ZERO, err)?));
        }
        let iz = Self { re: -self.im, im: self.re, err: self.err };
        let (p, q) = (iz.exp()?, iz.negated().exp()?);
        let half = Self::real(Dd::new(0.5));
        let c = p.plus(q)?.times(half)?;
        let d = p.minus(q)?.times(half)?;
        Some((Self { re: d.im, im: -d.re, err: d.err }, c))
    }

    /// arctan of a real number.
    pub fn atan(self) -> Option<Self> {
        if !self.is_real() {
            return None;
        }
        let a = elementary::atan2(self.re, Dd::ONE)?;
        Self::with(a, Dd::ZERO, self.err + 4.0 * ERROR)
    }

    /// arcsin of a real number in [−1, 1].
    pub fn asin(self) -> Option<Self> {
        if !self.is_real() {
            return None;
        }
        let rest = Dd::ONE - self.re * self.re;
        if rest.hi < 0.0 || (rest.hi <= 4.0 * self.err && self.err > 0.0) {
            // At ±1 exactly the value is known; near it the slope is unbounded.
            return None;
        }
        let c = rest.sqrt();
        let a = elementary::atan2(self.re, c)?;
        let slope = if c.hi > 0.0 { 1.0 / c.hi } else { 0.0 };
        Self::with(a, Dd::ZERO, (self.err * 2.0 + UNIT * 4.0) * slope + 4.0 * ERROR)
    }
}

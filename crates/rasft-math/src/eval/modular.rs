//! Rational functions modulo a prime: an identity holds iff it holds at a random point, but for a chance below 2⁻⁵⁰.
//!
//! Symbols, π and e are formal variables with fixed pseudo-random values; i is a square root of −1, which exists because
//! the prime is 1 modulo 4. Values are fractions (n, d) that are never reduced, so an equation keeps its numerator.

use super::Stop;
use crate::budget::Budget;
use crate::expr::{Expr, Func};
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

/// The largest prime below 2⁶² that is 1 modulo 4.
const P: u64 = 4_611_686_018_427_387_817;
/// A square root of −1 modulo [`P`].
const I: u64 = 4_490_822_397_581_186_023;

/// A fraction modulo the prime; the denominator is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Residue {
    /// Numerator.
    pub n: u64,
    /// Denominator.
    pub d: u64,
}

impl Residue {
    fn int(n: u64) -> Self {
        Self { n, d: 1 }
    }

    fn checked(n: u64, d: u64) -> Result<Self, Stop> {
        if d == 0 { Err(Stop::Undefined) } else { Ok(Self { n, d }) }
    }

    /// Equality as fractions.
    pub fn same(self, other: Self) -> bool {
        mul(self.n, other.d) == mul(other.n, self.d)
    }

    fn add(self, o: Self) -> Self {
        if self.d == o.d {
            return Self { n: add(self.n, o.n), d: self.d };
        }
        Self { n: add(mul(self.n, o.d), mul(o.n, self.d)), d: mul(self.d, o.d) }
    }

    fn mul(self, o: Self) -> Self {
        Self { n: mul(self.n, o.n), d: mul(self.d, o.d) }
    }
}

/// a·b mod p.
pub fn mul(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(P)) as u64
}

fn add(a: u64, b: u64) -> u64 {
    let s = a + b;
    if s >= P { s - P } else { s }
}

fn pow(mut base: u64, mut exponent: u64) -> u64 {
    let mut acc = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            acc = mul(acc, base);
        }
        base = mul(base, base);
        exponent >>= 1;
    }
    acc
}

/// A fixed pseudo-random number for a name (FNV-1a, then the finaliser of SplitMix64).
pub fn hash(name: &str, salt: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for b in name.bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

fn reduce(n: &BigInt) -> u64 {
    if let Some(small) = n.to_i64() {
        return small.rem_euclid(P as i64) as u64;
    }
    n.mod_floor(&BigInt::from(P)).to_u64().unwrap_or(0)
}

fn rational(v: &BigRational) -> Result<Residue, Stop> {
    Residue::checked(reduce(v.numer()), reduce(v.denom()))
}

/// Evaluates at the point numbered `salt`.
///
/// # Errors
/// [`Stop::NotHere`] unless the expression is a rational function with integer exponents.
pub fn eval(expr: &Expr, salt: u64, budget: &Budget) -> Result<Residue, Stop> {
    budget.spend(1)?;
    match expr {
        Expr::Num(v) | Expr::Dec(v, _) | Expr::Based { value: v, .. } => {
            budget.spend(super::exact::bits(v) / 64)?;
            rational(v)
        }
        Expr::Sym(name) => Ok(Residue::int(hash(name, salt) % P)),
        Expr::Pi => Ok(Residue::int(hash("\u{3c0}", salt) % P)),
        Expr::E => Ok(Residue::int(hash("\u{212f}", salt) % P)),
        Expr::I => Ok(Residue::int(I)),
        Expr::Neg(a) => {
            let v = eval(a, salt, budget)?;
            Ok(Residue { n: (P - v.n) % P, d: v.d })
        }
        Expr::Degree(a) => eval(a, salt, budget),
        Expr::Percent(a) => Ok(eval(a, salt, budget)?.mul(Residue { n: 1, d: 100 })),
        Expr::Add(v) => v.iter().try_fold(Residue::int(0), |acc, e| Ok(acc.add(eval(e, salt, budget)?))),
        Expr::Mul(v) => v.iter().try_fold(Residue::int(1), |acc, e| Ok(acc.mul(eval(e, salt, budget)?))),
        Expr::Div(a, b) => {
            let (a, b) = (eval(a, salt, budget)?, eval(b, salt, budget)?);
            Residue::checked(mul(a.n, b.d), mul(a.d, b.n))
        }
        Expr::Pow(a, b) => {
            let base = eval(a, salt, budget)?;
            let exponent = super::exact::eval(b, budget)?;
            if !exponent.is_integer() {
                return Err(Stop::NotHere);
            }
            budget.spend(64)?;
            let k = exponent.numer().magnitude().to_u64().ok_or(Stop::Huge)?;
            if k == 0 && base.n.is_zero() {
                return Err(Stop::Undefined);
            }
            let (n, d) = (pow(base.n, k), pow(base.d, k));
            if exponent.numer().sign() == num_bigint::Sign::Minus {
                Residue::checked(d, n)
            } else {
                Ok(Residue { n, d })
            }
        }
        Expr::Func(Func::Mod, _) => Err(Stop::NotHere),
        Expr::Root(..) | Expr::Func(..) | Expr::Range { .. } => rational(&super::exact::eval(expr, budget)?),
        Expr::Inf | Expr::PlusMinus(..) | Expr::Opaque(_) => Err(Stop::NotHere),
    }
}

#[cfg(test)]
mod tests {
    use super::{I, P, mul};

    #[test]
    fn i_squared_is_minus_one() {
        assert_eq!(mul(I, I), P - 1);
    }
}

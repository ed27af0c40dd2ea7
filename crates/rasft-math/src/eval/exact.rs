//! Exact rational values.
//!
//! Powers, factorials and sums pay for the length of their result before they are computed, so `9^{9^{9^9}}` costs a
//! comparison, not a computation.

use super::Stop;
use crate::budget::Budget;
use crate::expr::{Expr, Func};
use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

type Value = Result<BigRational, Stop>;

/// Results longer than this many bits are [`Stop::Huge`].
const MAX_BITS: u64 = 60_000;
/// Sums and products of more terms are [`Stop::Huge`].
const MAX_TERMS: u64 = 2_000;
const MAX_FACTORIAL: u64 = 3_000;

/// Evaluates exactly.
///
/// # Errors
/// [`Stop`] if the value is not rational, undefined, too large, or the budget runs out.
pub fn eval(expr: &Expr, budget: &Budget) -> Value {
    budget.spend(1)?;
    match expr {
        Expr::Num(v) | Expr::Dec(v, _) | Expr::Based { value: v, .. } => {
            pay(bits(v), true, budget)?;
            Ok(v.clone())
        }
        Expr::Neg(a) => Ok(-eval(a, budget)?),
        Expr::Degree(a) => eval(a, budget),
        Expr::Percent(a) => Ok(eval(a, budget)? / BigRational::from_integer(100.into())),
        Expr::Add(terms) => fold(terms, BigRational::zero(), budget, |a, b| a + b),
        Expr::Mul(factors) => fold(factors, BigRational::one(), budget, |a, b| a * b),
        Expr::Div(a, b) => {
            let (a, b) = (eval(a, budget)?, eval(b, budget)?);
            if b.is_zero() {
                return Err(Stop::Undefined);
            }
            pay(bits(&a) + bits(&b), false, budget)?;
            sized(a / b)
        }
        Expr::Pow(a, b) => power(&eval(a, budget)?, &eval(b, budget)?, budget),
        Expr::Root(index, a) => {
            let index = small(&eval(index, budget)?).filter(|n| *n > 0).ok_or(Stop::NotHere)?;
            root(&eval(a, budget)?, index, budget)
        }
        Expr::Func(func, args) => function(*func, args, budget),
        Expr::Range { product, var, from, to, body } => range(*product, var, from, to, body, budget),
        Expr::Sym(_) | Expr::Pi | Expr::E | Expr::I | Expr::Inf | Expr::PlusMinus(..) | Expr::Opaque(_) => {
            Err(Stop::NotHere)
        }
    }
}

/// The number of bits of numerator and denominator.
pub fn bits(v: &BigRational) -> u64 {
    v.numer().bits() + v.denom().bits()
}

/// Refuses results that are too long.
fn sized(v: BigRational) -> Value {
    if bits(&v) > MAX_BITS { Err(Stop::Huge) } else { Ok(v) }
}

/// Pays for reducing a fraction of this many bits, which is quadratic in its length; integers need no reduction.
fn pay(bits: u64, integers: bool, budget: &Budget) -> Result<(), Stop> {
    let words = bits / 64;
    budget.spend(1 + if integers { words / 16 } else { words * words / 2 })?;
    Ok(())
}

fn fold(
    items: &[Expr],
    start: BigRational,
    budget: &Budget,
    f: impl Fn(BigRational, BigRational) -> BigRational,
) -> Value {
    let mut acc = start;
    for item in items {
        let value = eval(item, budget)?;
        pay(bits(&acc) + bits(&value), acc.is_integer() && value.is_integer(), budget)?;
        acc = sized(f(acc, value))?;
    }
    Ok(acc)
}

fn small(v: &BigRational) -> Option<u64> {
    if v.is_integer() { v.numer().to_u64() } else { None }
}

fn integer(v: &BigRational) -> Result<BigInt, Stop> {
    if v.is_integer() { Ok(v.numer().clone()) } else { Err(Stop::NotHere) }
}

fn power(base: &BigRational, exponent: &BigRational, budget: &Budget) -> Value {
    if exponent.is_zero() {
        return if base.is_zero() { Err(Stop::Undefined) } else { Ok(BigRational::one()) };
    }
    if base.is_one() {
        return Ok(BigRational::one());
    }
    if base.is_zero() {
        return if exponent.is_positive() { Ok(BigRational::zero()) } else { Err(Stop::Undefined) };
    }
    if !exponent.is_integer() {
        let index = exponent.denom().to_u64().ok_or(Stop::NotHere)?;
        let rooted = root(base, index, budget)?;
        return power(&rooted, &BigRational::from_integer(exponent.numer().clone()), budget);
    }
    let n = exponent.numer();
    if (-base).is_one() {
        return Ok(if n.is_even() { BigRational::one() } else { base.clone() });
    }
    let count = n.magnitude().to_u64().ok_or(Stop::Huge)?;
    let estimate = bits(base).saturating_mul(count);
    if estimate > MAX_BITS {
        return Err(Stop::Huge);
    }
    budget.spend(1 + (estimate / 640).pow(2))?;
    let magnitude = Pow::pow(base.clone(), count);
    Ok(if n.sign() == Sign::Minus { magnitude.recip() } else { magnitude })
}

/// The real root, if it is rational.
fn root(a: &BigRational, index: u64, budget: &Budget) -> Value {
    let index32 = u32::try_from(index).map_err(|_| Stop::NotHere)?;
    if a.is_negative() && index.is_even() || index == 0 {
        return Err(Stop::NotHere);
    }
    budget.spend(1 + (bits(a) / 256).pow(2))?;
    let one = |n: &BigUint| -> Option<BigInt> {
        let r = n.nth_root(index32);
        (Pow::pow(&r, index32) == *n).then(|| BigInt::from(r))
    };
    let n = one(a.numer().magnitude()).ok_or(Stop::NotHere)?;
    let d = one(a.denom().magnitude()).ok_or(Stop::NotHere)?;
    let r = BigRational::new(n, d);
    Ok(if a.is_negative() { -r } else { r })
}

fn function(func: Func, args: &[Expr], budget: &Budget) -> Value {
    if matches!(
        func,
        Func::Fact
            | Func::DoubleFact
            | Func::Binom
            | Func::Perm
            | Func::Abs
            | Func::Floor
            | Func::Ceil
            | Func::Gcd
            | Func::Lcm
    ) || matches!(func, Func::Min | Func::Max | Func::Mod | Func::Re | Func::Conj | Func::LogBase | Func::Log)
    {
        let values: Vec<BigRational> = args.iter().map(|a| eval(a, budget)).collect::<Result<_, _>>()?;
        return of_rationals(func, &values, budget);
    }
    // Transcendental functions are rational at few rational points, and the numeric layer knows them.
    Err(Stop::NotHere)
}

fn of_rationals(func: Func, v: &[BigRational], budget: &Budget) -> Value {
    match (func, v) {
        (Func::Abs, [a]) => Ok(a.abs()),
        (Func::Floor, [a]) => Ok(a.floor()),
        (Func::Ceil, [a]) => Ok(a.ceil()),
        (Func::Re | Func::Conj, [a]) => Ok(a.clone()),
        (Func::Fact, [a]) => falling(a, 1, budget),
        (Func::DoubleFact, [a]) => falling(a, 2, budget),
        (Func::Binom, [n, k]) => binomial(n, k, budget),
        (Func::Perm, [n, k]) => Ok(binomial(n, k, budget)? * falling(k, 1, budget)?),
        (Func::Min, [first, rest @ ..]) => Ok(rest.iter().fold(first.clone(), |a, b| a.min(b.clone()))),
        (Func::Max, [first, rest @ ..]) => Ok(rest.iter().fold(first.clone(), |a, b| a.max(b.clone()))),
        (Func::Gcd | Func::Lcm, [_, ..]) => {
            let mut acc = integer(&v[0])?;
            for b in &v[1..] {
                let b = integer(b)?;
                pay(acc.bits() + b.bits(), false, budget)?;
                acc = if func == Func::Gcd { acc.gcd(&b) } else { acc.lcm(&b) };
            }
            sized(BigRational::from_integer(acc))
        }
        (Func::Mod, [a, m]) => {
            let (a, m) = (integer(a)?, integer(m)?);
            if m.is_zero() {
                return Err(Stop::Undefined);
            }
            Ok(BigRational::from_integer(a.mod_floor(&m)))
        }
        (Func::LogBase, [b, x]) => logarithm(b, x),
        (Func::Log, [x]) => logarithm(&BigRational::from_integer(10.into()), x),
        _ => Err(Stop::NotHere),
    }
}

/// n(n−step)(n−2·step)…
fn falling(n: &BigRational, step: u64, budget: &Budget) -> Value {
    if !n.is_integer() || n.is_negative() {
        return Err(Stop::NotHere);
    }
    let n = n.numer().to_u64().filter(|n| *n <= MAX_FACTORIAL).ok_or(Stop::Huge)?;
    budget.spend(1 + n * n / 256)?;
    let mut acc = BigInt::one();
    let mut k = n;
    while k > 1 {
        acc *= k;
        k = k.saturating_sub(step);
    }
    Ok(BigRational::from_integer(acc))
}

fn binomial(n: &BigRational, k: &BigRational, budget: &Budget) -> Value {
    if !n.is_integer() || !k.is_integer() {
        return Err(Stop::NotHere);
    }
    if k.is_negative() || (!n.is_negative() && k > n) {
        return Ok(BigRational::zero());
    }
    let mut count = k.numer().clone();
    if !n.is_negative() {
        count = count.min(n.numer() - k.numer());
    }
    let count = count.to_u64().filter(|c| *c <= MAX_FACTORIAL).ok_or(Stop::Huge)?;
    budget.spend(1 + count.saturating_mul(n.numer().bits() + count) / 32)?;
    let mut acc = BigInt::one();
    for j in 0..count {
        acc = acc * (n.numer() - BigInt::from(j)) / BigInt::from(j + 1);
    }
    sized(BigRational::from_integer(acc))
}

/// log_b x when it is an integer of moderate size.
fn logarithm(base: &BigRational, x: &BigRational) -> Value {
    if !base.is_positive() || base.is_one() || !x.is_positive() {
        return Err(Stop::Undefined);
    }
    if x.is_one() {
        return Ok(BigRational::zero());
    }
    let (mut acc, up) = (BigRational::one(), (x > &BigRational::one()) == (base > &BigRational::one()));
    for k in 1..=64i64 {
        acc = if up { acc * base } else { acc / base };
        if acc == *x {
            return Ok(BigRational::from_integer((if up { k } else { -k }).into()));
        }
        if bits(&acc) > bits(x) + bits(base) {
            break;
        }
    }
    Err(Stop::NotHere)
}

fn range(product: bool, var: &str, from: &Expr, to: &Expr, body: &Expr, budget: &Budget) -> Value {
    let (from, to) = (integer(&eval(from, budget)?)?, integer(&eval(to, budget)?)?);
    let mut acc = if product { BigRational::one() } else { BigRational::zero() };
    if to < from {
        return Ok(acc);
    }
    let count = (&to - &from).to_u64().filter(|n| *n < MAX_TERMS).ok_or(Stop::Huge)?;
    for j in 0..=count {
        let index = Expr::Num(BigRational::from_integer(&from + BigInt::from(j)));
        budget.spend(4)?;
        let value = eval(&body.substitute(var, &index), budget)?;
        pay(bits(&acc) + bits(&value), acc.is_integer() && value.is_integer(), budget)?;
        acc = sized(if product { acc * value } else { acc + value })?;
    }
    Ok(acc)
}

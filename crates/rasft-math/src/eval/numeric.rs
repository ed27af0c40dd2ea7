//! Numerical values with error bounds, over the reals where an expression is real.
//!
//! In [`Mode::Real`] a step that leaves the real line is [`Stop::NotHere`], so points outside an expression's natural
//! domain do not count; odd roots of negative numbers are real, as at school. [`Mode::Complex`] takes principal values.

use super::Stop;
use super::ball::Ball;
use super::dd::Dd;
use super::exact;
use crate::budget::Budget;
use crate::expr::{Expr, Func};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

/// Where values live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The real line.
    Real,
    /// The complex plane.
    Complex,
}

/// Values of the symbols.
pub trait Assignment {
    /// The value of a symbol.
    fn value(&self, name: &str) -> Option<Ball>;
}

/// Sums of more terms are not evaluated.
const MAX_TERMS: u64 = 2_000;

/// Terms that stand for an infinite series.
const FORMAL_TERMS: i64 = 24;

/// An evaluation at one point.
pub struct Evaluator<'a> {
    /// Where values live.
    pub mode: Mode,
    /// The point.
    pub at: &'a dyn Assignment,
    /// What pays.
    pub budget: &'a Budget,
}

type Value = Result<Ball, Stop>;

fn some(v: Option<Ball>) -> Value {
    v.ok_or(Stop::NotHere)
}

impl Evaluator<'_> {
    /// The value of an expression.
    ///
    /// # Errors
    /// [`Stop`] where it has none in this mode, or none that double-doubles can hold.
    pub fn eval(&self, expr: &Expr) -> Value {
        self.budget.spend(4)?;
        match expr {
            Expr::Num(v) | Expr::Dec(v, _) | Expr::Based { value: v, .. } => self.rational(v),
            Expr::Sym(name) => some(self.at.value(name)),
            Expr::Pi => Ok(Ball::rounded(Dd::PI)),
            Expr::E => Ok(Ball::rounded(Dd { hi: std::f64::consts::E, lo: 1.445_646_891_729_250_2e-16 })),
            Expr::I if self.mode == Mode::Complex => Ok(Ball { re: Dd::ZERO, im: Dd::ONE, err: 0.0 }),
            Expr::Neg(a) => Ok(self.eval(a)?.negated()),
            Expr::Degree(a) => self.eval(a),
            Expr::Percent(a) => some(self.eval(a)?.over(Ball::real(Dd::new(100.0)))),
            Expr::Add(v) => v.iter().try_fold(Ball::real(Dd::ZERO), |acc, e| some(acc.plus(self.eval(e)?))),
            Expr::Mul(v) => v.iter().try_fold(Ball::real(Dd::ONE), |acc, e| some(acc.times(self.eval(e)?))),
            Expr::Div(a, b) => some(self.eval(a)?.over(self.eval(b)?)),
            Expr::Pow(a, b) => self.power(a, b),
            Expr::Root(index, a) => {
                let n = exact::eval(index, self.budget)?;
                if n.is_zero() {
                    return Err(Stop::Undefined);
                }
                self.rational_power(self.eval(a)?, &n.recip())
            }
            Expr::Func(func, args) => self.function(*func, args),
            Expr::Range { product, var, from, to, body } => self.range(*product, var, from, to, body),
            Expr::I | Expr::Inf | Expr::PlusMinus(..) | Expr::Opaque(_) => Err(Stop::NotHere),
        }
    }

    fn rational(&self, v: &BigRational) -> Value {
        self.budget.spend(1 + (exact::bits(v) / 256).pow(2))?;
        some(Dd::from_rational(v).map(Ball::rounded))
    }

    fn power(&self, base: &Expr, exponent: &Expr) -> Value {
        if *base == Expr::E {
            return self.exp(self.eval(exponent)?);
        }
        let b = self.eval(base)?;
        match exact::eval(exponent, self.budget) {
            Ok(q) => return self.rational_power(b, &q),
            Err(Stop::NotHere) => {}
            Err(other) => return Err(other),
        }
        let e = self.eval(exponent)?;
        // An integer that came from a symbol (n in (−1)ⁿ at an integer point).
        if e.is_real() && e.err < 1e-9 && e.re.round() == e.re.hi && e.re.lo == 0.0 && e.re.hi.abs() < 1e6 {
            return some(b.powi(e.re.hi as i64));
        }
        if self.mode == Mode::Real && (!b.is_real() || b.re.hi <= 0.0) {
            return Err(Stop::NotHere);
        }
        self.budget.spend(60)?;
        self.exp(some(self.ln(b)?.times(e))?)
    }

    fn rational_power(&self, b: Ball, q: &BigRational) -> Value {
        if q.is_integer() {
            let n = q.numer().to_i64().filter(|n| n.abs() < 1 << 40).ok_or(Stop::Huge)?;
            self.budget.spend(8)?;
            return some(b.powi(n));
        }
        let negative_real = b.is_real() && b.re.hi < 0.0;
        if *q.denom() == 2.into() && !(negative_real && self.mode == Mode::Real) {
            let n = q.numer().to_i64().filter(|n| n.abs() < 1 << 40).ok_or(Stop::Huge)?;
            return some(b.sqrt().and_then(|r| r.powi(n)));
        }
        if b.may_be_zero() {
            return if b.err == 0.0 && q.is_positive() { Ok(Ball::real(Dd::ZERO)) } else { Err(Stop::NotHere) };
        }
        self.budget.spend(60)?;
        let exponent = self.rational(q)?;
        if negative_real && q.denom().is_odd() && self.mode == Mode::Real {
            let magnitude = self.exp(some(self.ln(b.negated())?.times(exponent))?)?;
            return Ok(if q.numer().is_odd() { magnitude.negated() } else { magnitude });
        }
        self.exp(some(self.ln(b)?.times(exponent))?)
    }

    fn exp(&self, z: Ball) -> Value {
        self.budget.spend(30)?;
        some(z.exp())
    }

    fn ln(&self, z: Ball) -> Value {
        self.budget.spend(50)?;
        if self.mode == Mode::Real && (!z.is_real() || z.re.hi <= 0.0) {
            return Err(Stop::NotHere);
        }
        some(z.ln())
    }

    fn function(&self, func: Func, args: &[Expr]) -> Value {
        if matches!(func, Func::Fact | Func::DoubleFact | Func::Binom | Func::Perm | Func::Gcd | Func::Lcm | Func::Mod)
        {
            return self.combinatorial(func, args);
        }
        if let (Func::LogBase, [b, x]) = (func, args) {
            return some(self.ln(self.eval(x)?)?.over(self.ln(self.eval(b)?)?));
        }
        if matches!(func, Func::Min | Func::Max) {
            return self.extremum(func, args);
        }
        let [arg] = args else { return Err(Stop::NotHere) };
        let x = self.eval(arg)?;
        self.budget.spend(40)?;
        let one = Ball::real(Dd::ONE);
        let sc = |x: Ball| x.sin_cos().ok_or(Stop::NotHere);
        match func {
            Func::Sin => Ok(sc(x)?.0),
            Func::Cos => Ok(sc(x)?.1),
            Func::Tan => sc(x).and_then(|(s, c)| some(s.over(c))),
            Func::Cot => sc(x).and_then(|(s, c)| some(c.over(s))),
            Func::Sec => sc(x).and_then(|(_, c)| some(one.over(c))),
            Func::Csc => sc(x).and_then(|(s, _)| some(one.over(s))),
            Func::Asin => some(x.asin()),
            Func::Acos => some(x.asin().and_then(|a| Ball::rounded(Dd::PI.times(0.5)).minus(a))),
            Func::Atan => some(x.atan()),
            Func::Acot => some(x.atan().and_then(|a| Ball::rounded(Dd::PI.times(0.5)).minus(a))),
            Func::Asec => {
                some(one.over(x).and_then(Ball::asin).and_then(|a| Ball::rounded(Dd::PI.times(0.5)).minus(a)))
            }
            Func::Acsc => some(one.over(x).and_then(Ball::asin)),
            Func::Sinh | Func::Cosh | Func::Tanh | Func::Coth | Func::Sech | Func::Csch => self.hyperbolic(func, x),
            Func::Asinh | Func::Acosh | Func::Atanh => self.inverse_hyperbolic(func, x),
            Func::Cis if self.mode == Mode::Complex => self.exp(Ball { re: -x.im, im: x.re, err: x.err }),
            Func::Exp => self.exp(x),
            Func::Ln => self.ln(x),
            Func::Log => some(self.ln(x)?.over(self.ln(Ball::real(Dd::new(10.0)))?)),
            Func::Abs => absolute(x),
            Func::Floor | Func::Ceil => step(func, x),
            Func::Re => Ok(Ball { im: Dd::ZERO, ..x }),
            Func::Im => Ok(Ball { re: x.im, im: Dd::ZERO, err: x.err }),
            Func::Conj => Ok(Ball { im: -x.im, ..x }),
            _ => Err(Stop::NotHere),
        }
    }

    fn hyperbolic(&self, func: Func, x: Ball) -> Value {
        let (p, q) = (self.exp(x)?, self.exp(x.negated())?);
        let half = Ball::real(Dd::new(0.5));
        some(match func {
            Func::Sinh => p.minus(q).and_then(|d| d.times(half)),
            Func::Cosh => p.plus(q).and_then(|d| d.times(half)),
            Func::Sech => p.plus(q).and_then(|d| Ball::real(Dd::new(2.0)).over(d)),
            Func::Csch => p.minus(q).and_then(|d| Ball::real(Dd::new(2.0)).over(d)),
            Func::Coth => p.plus(q).zip(p.minus(q)).and_then(|(a, b)| a.over(b)),
            _ => p.minus(q).zip(p.plus(q)).and_then(|(a, b)| a.over(b)),
        })
    }

    /// ln(x + √(x² ± 1)) and ½ ln((1 + x)/(1 − x)).
    fn inverse_hyperbolic(&self, func: Func, x: Ball) -> Value {
        let one = Ball::real(Dd::ONE);
        if func == Func::Atanh {
            let ratio = one.plus(x).zip(one.minus(x)).and_then(|(a, b)| a.over(b));
            return some(self.ln(some(ratio)?)?.times(Ball::real(Dd::new(0.5))));
        }
        let square = some(x.times(x))?;
        let inside = some(if func == Func::Asinh { square.plus(one) } else { square.minus(one) })?;
        if self.mode == Mode::Real && inside.re.hi < 0.0 {
            return Err(Stop::NotHere);
        }
        self.ln(some(inside.sqrt().and_then(|r| r.plus(x)))?)
    }

    fn extremum(&self, func: Func, args: &[Expr]) -> Value {
        let mut best: Option<Ball> = None;
        for arg in args {
            let x = self.eval(arg)?;
            if !x.is_real() {
                return Err(Stop::NotHere);
            }
            best = Some(match best {
                Some(b) if (b.re.hi < x.re.hi) == (func == Func::Min) => b,
                _ => x,
            });
        }
        some(best)
    }

    /// Functions of integers: the arguments must be integers at this point.
    fn combinatorial(&self, func: Func, args: &[Expr]) -> Value {
        let exact_args = args
            .iter()
            .map(|a| {
                let v = self.eval(a)?;
                let n = v.re.round();
                let is_integer =
                    v.is_real() && n.abs() < 9e15 && (v.re - Dd::new(n)).hi.abs() <= v.err.max(1e-25) && v.err < 1e-9;
                if is_integer { Ok(Expr::int(n as i64)) } else { Err(Stop::NotHere) }
            })
            .collect::<Result<Vec<_>, Stop>>()?;
        self.rational(&exact::eval(&Expr::Func(func, exact_args), self.budget)?)
    }

    fn range(&self, product: bool, var: &str, from: &Expr, to: &Expr, body: &Expr) -> Value {
        let bound = |e: &Expr| -> Result<i64, Stop> {
            let v = self.eval(e)?;
            let n = v.re.round();
            if v.is_real() && (v.re - Dd::new(n)).hi.abs() <= v.err.max(1e-25) && n.abs() < 1e15 {
                Ok(n as i64)
            } else {
                Err(Stop::NotHere)
            }
        };
        let from = bound(from)?;
        // An infinite series is compared as a formal one, by its first terms.
        let to = if *to == Expr::Inf { from.saturating_add(FORMAL_TERMS) } else { bound(to)? };
        if to.saturating_sub(from) >= MAX_TERMS as i64 {
            return Err(Stop::Huge);
        }
        let mut acc = Ball::real(if product { Dd::ONE } else { Dd::ZERO });
        for k in from..=to {
            self.budget.spend(4)?;
            let value = self.eval(&body.substitute(var, &Expr::int(k)))?;
            acc = some(if product { acc.times(value) } else { acc.plus(value) })?;
        }
        Ok(acc)
    }
}

fn absolute(x: Ball) -> Value {
    if x.is_real() {
        return Ok(Ball { re: x.re.abs(), ..x });
    }
    let norm = Ball::real(Dd::ZERO).plus(Ball { re: x.re, im: Dd::ZERO, err: x.err });
    let (re, im) = (norm.ok_or(Stop::NotHere)?, Ball { re: x.im, im: Dd::ZERO, err: x.err });
    some(re.times(re).zip(im.times(im)).and_then(|(a, b)| a.plus(b)).and_then(Ball::sqrt))
}

fn step(func: Func, x: Ball) -> Value {
    if !x.is_real() {
        return Err(Stop::NotHere);
    }
    let nearest = x.re.round();
    let distance = (x.re - Dd::new(nearest)).hi.abs();
    // A value this close to an integer is taken for it when the bound allows: ⌊log₂ 8⌋ is 3.
    if distance <= x.err {
        return Ok(Ball::real(Dd::new(nearest)));
    }
    let floor = x.re.floor();
    let is_integer = (x.re - floor).hi == 0.0;
    Ok(Ball::real(if func == Func::Floor || is_integer { floor } else { floor + Dd::ONE }))
}

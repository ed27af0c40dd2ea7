//! Scalars and quantities.

use super::decimal::{approximation, is_noisy, stands_for, within_tolerance};
use super::{Compared, Comparer, Same};
use crate::budget::Exhausted;
use crate::eval::{Stop, exact};
use crate::expr::{Expr, Func};
use crate::units::Unit;
use crate::verifier::{Percent, UnitMismatch};
use num_rational::BigRational;
use num_traits::One;
use rasft_types::Method;

impl Comparer<'_> {
    /// Scalars with their units.
    pub(super) fn quantities(&self, x: &Expr, u: Option<&Unit>, y: &Expr, v: Option<&Unit>) -> Compared {
        // `12h` beside 12 hours: the letter is the unit that the other side spells out.
        let (bare_x, bare_y) =
            (u.is_none().then(|| letter_unit(x)).flatten(), v.is_none().then(|| letter_unit(y)).flatten());
        if let (Some(u), Some((number, v))) = (u, bare_y)
            && u.measures_like(&v)
        {
            return self.quantities(x, Some(u), &number, Some(&v));
        }
        if let (Some((number, u)), Some(v)) = (bare_x, v)
            && u.measures_like(v)
        {
            return self.quantities(&number, Some(&u), y, Some(v));
        }
        let (Some(u), Some(v)) = (u, v) else { return self.scalars(x, y) };
        match u.conversion(v) {
            Some(factor) if factor.is_one() => self.scalars(x, y),
            Some(factor) => self.scalars(&Expr::Mul(vec![x.clone(), Expr::Num(factor)]), y),
            None if self.options.unit_mismatch == UnitMismatch::Ignore => self.scalars(x, y),
            None => Ok(Same::No),
        }
    }

    /// Scalars.
    pub(super) fn scalars(&self, x: &Expr, y: &Expr) -> Compared {
        if x == y {
            return Ok(Same::Yes(Method::Exact));
        }
        if let (Expr::Based { base: a, .. }, Expr::Based { base: b, .. }) = (x, y)
            && a != b
        {
            // 204_5 and 54 (in base ten) are one number, 204_5 and 204_6 never are what was asked for.
            return Ok(Same::No);
        }
        if let Some(angle) = radians(x, y) {
            return self.plain_scalars(&angle, y);
        }
        if let Some(angle) = radians(y, x) {
            return self.plain_scalars(x, &angle);
        }
        let same = self.plain_scalars(x, y)?;
        if same.is_yes() || self.options.percent == Percent::Strict {
            return Ok(same);
        }
        match (x, y) {
            (Expr::Percent(a), b) | (b, Expr::Percent(a)) if !matches!(b, Expr::Percent(_)) => self.plain_scalars(a, b),
            _ => Ok(same),
        }
    }

    fn plain_scalars(&self, x: &Expr, y: &Expr) -> Compared {
        let (a, b) = (self.rational(x)?, self.rational(y)?);
        match (&a, &b) {
            (Ok(a), Ok(b)) => Ok(self.rationals(x, a, y, b)),
            // An undefined expression is equal only to itself, and that was asked before.
            (Err(Stop::Undefined), _) | (_, Err(Stop::Undefined)) => Ok(Same::No),
            _ => {
                let same = self.identity(x, y)?;
                match (same.is_yes(), natural(x, y)) {
                    (false, Some((x, y))) => self.identity(&x, &y),
                    _ => Ok(same),
                }
            }
        }
    }

    /// The exact value, budget failures apart.
    fn rational(&self, e: &Expr) -> Result<Result<BigRational, Stop>, Exhausted> {
        match exact::eval(e, self.budget) {
            Err(Stop::Budget(e)) => Err(e),
            other => Ok(other),
        }
    }

    fn rationals(&self, x: &Expr, a: &BigRational, y: &Expr, b: &BigRational) -> Same {
        if a == b {
            return Same::Yes(Method::Numeric);
        }
        let stands = match (approximation(x), approximation(y)) {
            (Some(p), None) => stands_for(&p, b, self.options),
            (None, Some(q)) => stands_for(&q, a, self.options),
            (Some(p), Some(q)) if p.digits > q.digits => is_noisy(&p) && stands_for(&p, b, self.options),
            (Some(p), Some(q)) if q.digits > p.digits => is_noisy(&q) && stands_for(&q, a, self.options),
            _ => false,
        };
        Same::from_bool(stands || within_tolerance(a, b, self.options), Method::Numeric)
    }
}

/// A number times one letter that names a unit.
fn letter_unit(e: &Expr) -> Option<(Expr, Unit)> {
    let Expr::Mul(factors) = e else { return None };
    match factors.as_slice() {
        [number, Expr::Sym(letter)] if number.is_constant() => Some((number.clone(), Unit::named(letter)?)),
        _ => None,
    }
}

/// An angle in degrees beside one in radians, which is written with π: the first in radians too.
fn radians(e: &Expr, other: &Expr) -> Option<Expr> {
    let has_pi = |e: &Expr| e.any(&mut |e| matches!(e, Expr::Pi));
    let degrees = match e {
        Expr::Degree(a) => (**a).clone(),
        Expr::Neg(a) => match &**a {
            Expr::Degree(a) => Expr::Neg(a.clone()),
            _ => return None,
        },
        _ => return None,
    };
    (has_pi(other) && !has_pi(e))
        .then(|| Expr::Mul(vec![degrees, Expr::Div(Box::new(Expr::Pi), Box::new(Expr::int(180)))]))
}

/// A logarithm without base is natural if the other side writes ln or e and no such logarithm: both sides with that
/// reading.
fn natural(x: &Expr, y: &Expr) -> Option<(Expr, Expr)> {
    let bare = |e: &Expr| e.any(&mut |e| matches!(e, Expr::Func(Func::Log, _)));
    let ln = |e: &Expr| e.any(&mut |e| matches!(e, Expr::Func(Func::Ln, _) | Expr::E));
    let read = |e: &Expr| {
        e.map(&mut |e| match e {
            Expr::Func(Func::Log, args) => Some(Expr::Func(Func::Ln, args.clone())),
            _ => None,
        })
    };
    match (bare(x), bare(y)) {
        (true, false) if ln(y) => Some((read(x), y.clone())),
        (false, true) if ln(x) => Some((x.clone(), read(y))),
        _ => None,
    }
}

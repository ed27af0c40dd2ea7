//! Identities: expressions equal, or proportional, wherever both are defined.
//!
//! Rational functions are decided modulo a prime; everything else at fixed points with error bounds. A verdict "equal"
//! needs several points at which both sides are defined and agree to far more digits than a coincidence would.

use super::decimal::{NOISE_RELATIVE, approximation, is_noisy, may_stand};
use super::{Compared, Comparer, Same};
use crate::budget::Exhausted;
use crate::eval::ball::Ball;
use crate::eval::dd::Dd;
use crate::eval::numeric::{Evaluator, Mode};
use crate::eval::points::{COMPLEX, INTEGER, Point, REAL, WALK};
use crate::eval::{Stop, modular};
use crate::expr::{Expr, Func};
use crate::verifier::Tolerance;
use rasft_types::Method;

/// Points at which both sides must agree before an identity is believed.
const ENOUGH: usize = 4;
/// Points that suffice if no more are in the common domain.
const FEW: usize = 2;

/// Absolute error from which a point can no longer vote for equality.
const COARSE: f64 = 1e-9;

/// What one point says.
enum Vote {
    Agree,
    Differ,
    /// Out of domain, or too imprecise.
    Silent,
}

impl Comparer<'_> {
    /// Whether x = y identically.
    pub(super) fn identity(&self, x: &Expr, y: &Expr) -> Compared {
        let symbols = !x.is_constant() || !y.is_constant();
        if !symbols && let Some(same) = self.decimal_constant(x, y)? {
            return Ok(same);
        }
        match self.modular_equal(x, y)? {
            Some(true) => return Ok(Same::Yes(Method::Symbolic)),
            Some(false) => return Ok(Same::No),
            None => {}
        }
        let same = if symbols {
            self.at_points(&[x, y], &mut |v| local_agreement(v[0], v[1]))?
        } else {
            self.constants(x, y)?
        };
        // Where no point decides (√(sin π)), the order of terms and factors at least does not matter.
        let reordered = same == Same::Unknown && self.sorted(x)? == self.sorted(y)?;
        Ok(if reordered { Same::Yes(Method::Symbolic) } else { same })
    }

    /// The tree with sums and products flat and in a fixed order.
    fn sorted(&self, e: &Expr) -> Result<Expr, Exhausted> {
        self.budget.spend(4)?;
        let is_sum = matches!(e, Expr::Add(_));
        let (Expr::Add(items) | Expr::Mul(items)) = e else {
            let mut failed = None;
            let mut top = true;
            let rebuilt = e.map(&mut |child| {
                if std::mem::take(&mut top) || failed.is_some() {
                    return None;
                }
                match self.sorted(child) {
                    Ok(sorted) => Some(sorted),
                    Err(error) => {
                        failed = Some(error);
                        None
                    }
                }
            });
            return failed.map_or(Ok(rebuilt), Err);
        };
        let mut flat = Vec::with_capacity(items.len());
        for item in items {
            match (self.sorted(item)?, is_sum) {
                (Expr::Add(inner), true) | (Expr::Mul(inner), false) => flat.extend(inner),
                (other, _) => flat.push(other),
            }
        }
        let mut keyed: Vec<(String, Expr)> = flat.into_iter().map(|e| (format!("{e:?}"), e)).collect();
        self.budget.spend(keyed.iter().map(|(k, _)| k.len() as u64).sum())?;
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        let items = keyed.into_iter().map(|(_, e)| e).collect();
        Ok(if is_sum { Expr::Add(items) } else { Expr::Mul(items) })
    }

    /// Whether f = c·g for a constant c ≠ 0 (c > 0 if `positive`).
    pub(super) fn proportional(&self, f: &Expr, g: &Expr, positive: bool) -> Compared {
        if !positive && let Some(answer) = self.modular_proportional(f, g)? {
            return Ok(Same::from_bool(answer, Method::Symbolic));
        }
        let mut first: Option<Ball> = None;
        self.at_points(&[f, g], &mut |v| {
            if v[0].err + v[1].err > COARSE {
                return Vote::Silent;
            }
            let Some(ratio) = v[0].over(v[1]) else { return Vote::Silent };
            if ratio.may_be_zero() {
                return if v[0].err == 0.0 { Vote::Differ } else { Vote::Silent };
            }
            if positive && ratio.re.hi < 0.0 {
                return Vote::Differ;
            }
            match first {
                None => {
                    first = Some(ratio);
                    Vote::Agree
                }
                Some(r) => agreement(r, ratio),
            }
        })
    }

    fn modular(&self, e: &Expr, salt: u64) -> Result<Option<modular::Residue>, Exhausted> {
        match modular::eval(e, salt, self.budget) {
            Ok(v) => Ok(Some(v)),
            Err(Stop::Budget(e)) => Err(e),
            Err(_) => Ok(None),
        }
    }

    fn modular_equal(&self, x: &Expr, y: &Expr) -> Result<Option<bool>, Exhausted> {
        for salt in [101, 102] {
            let (Some(a), Some(b)) = (self.modular(x, salt)?, self.modular(y, salt)?) else { return Ok(None) };
            if !a.same(b) {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    /// Proportional as rational functions, or once denominators are multiplied away: y = 1/x is xy = 1.
    fn modular_proportional(&self, f: &Expr, g: &Expr) -> Result<Option<bool>, Exhausted> {
        let mut points = Vec::with_capacity(3);
        for salt in [101, 102, 103] {
            let (Some(a), Some(b)) = (self.modular(f, salt)?, self.modular(g, salt)?) else { return Ok(None) };
            if a.n == 0 || b.n == 0 {
                return Ok(if a.n == b.n { None } else { Some(false) });
            }
            points.push((a, b));
        }
        let numerators = points.iter().map(|(a, b)| (a.n, b.n)).collect();
        let values = points.iter().map(|(a, b)| (modular::mul(a.n, b.d), modular::mul(b.n, a.d))).collect();
        Ok(Some(one_ratio(numerators) || one_ratio(values)))
    }

    /// A decimal literal against an irrational constant.
    fn decimal_constant(&self, x: &Expr, y: &Expr) -> Result<Option<Same>, Exhausted> {
        let (decimal, other) = match (approximation(x), approximation(y)) {
            (Some(d), None) => (d, y),
            (None, Some(d)) => (d, x),
            _ => return Ok(None),
        };
        let relative = match self.options.tolerance {
            Some(Tolerance::Relative(r)) => Some(r),
            _ => None,
        };
        if !may_stand(&decimal, self.options) && relative.is_none() {
            // Irrational against a short decimal: never equal, whatever the value.
            return Ok(Some(Same::No));
        }
        let Some(value) = self.constant(other, Mode::Real)? else { return Ok(None) };
        let (Some(center), Some(unit)) = (Dd::from_rational(&decimal.value), Dd::from_rational(&decimal.unit)) else {
            return Ok(None);
        };
        let distance = (value.re - center).hi.abs();
        let near = may_stand(&decimal, self.options) && distance <= unit.hi * (1.0 + 1e-9) + value.err;
        let noise = if is_noisy(&decimal) { NOISE_RELATIVE * center.hi.abs() } else { 0.0 };
        let near = near || distance <= noise;
        let tolerated = relative.is_some_and(|r| distance <= r * center.hi.abs().max(value.re.hi.abs()));
        Ok(Some(Same::from_bool(near || tolerated, Method::Numeric)))
    }

    fn constant(&self, e: &Expr, mode: Mode) -> Result<Option<Ball>, Exhausted> {
        match (Evaluator { mode, at: &REAL[0], budget: self.budget }).eval(e) {
            Ok(v) => Ok(Some(v)),
            Err(Stop::Budget(e)) => Err(e),
            // Too large to evaluate is a question of work, not of mathematics.
            Err(Stop::Huge) => Err(Exhausted),
            Err(_) => Ok(None),
        }
    }

    fn constants(&self, x: &Expr, y: &Expr) -> Compared {
        for mode in [Mode::Real, Mode::Complex] {
            let (a, b) = (self.constant(x, mode)?, self.constant(y, mode)?);
            if let (Some(a), Some(b)) = (a, b) {
                return Ok(match agreement(a, b) {
                    Vote::Agree => Same::Yes(Method::Numeric),
                    Vote::Differ => Same::No,
                    Vote::Silent => Same::Unknown,
                });
            }
        }
        Ok(Same::Unknown)
    }

    /// Votes at real, then integer, then complex points until there are enough.
    fn at_points(&self, exprs: &[&Expr; 2], vote: &mut dyn FnMut(&[Ball; 2]) -> Vote) -> Compared {
        let integers_only = exprs.iter().any(|e| e.any(&mut is_discrete));
        let steps = integers_only && exprs.iter().any(|e| e.any(&mut is_step));
        let sets: &[&[Point]] = match (steps, integers_only) {
            (true, _) => &[&WALK, &INTEGER],
            (false, true) => &[&INTEGER],
            (false, false) => &[&REAL, &INTEGER, &COMPLEX],
        };
        let enough = if steps { WALK.len() } else { ENOUGH };
        let mut huge = false;
        for set in sets {
            let mut agreed = 0;
            for point in *set {
                let evaluator = Evaluator { mode: point.mode(), at: point, budget: self.budget };
                let mut values = [Ball::real(Dd::ZERO); 2];
                let mut defined = true;
                for (slot, e) in values.iter_mut().zip(exprs) {
                    match evaluator.eval(e) {
                        Ok(v) => *slot = v,
                        Err(Stop::Budget(e)) => return Err(e),
                        Err(stop) => {
                            huge |= stop == Stop::Huge;
                            defined = false;
                            break;
                        }
                    }
                }
                if !defined {
                    continue;
                }
                match vote(&values) {
                    Vote::Agree => agreed += 1,
                    Vote::Differ => return Ok(Same::No),
                    Vote::Silent => {}
                }
                if agreed >= enough {
                    return Ok(Same::Yes(Method::Symbolic));
                }
            }
            if agreed >= FEW {
                return Ok(Same::Yes(Method::Symbolic));
            }
        }
        if huge { Err(Exhausted) } else { Ok(Same::Unknown) }
    }
}

/// Whether all pairs have the same ratio modulo the prime.
fn one_ratio(pairs: Vec<(u64, u64)>) -> bool {
    pairs.windows(2).all(|w| modular::mul(w[0].0, w[1].1) == modular::mul(w[0].1, w[1].0))
}

/// Functions of integers applied to symbols.
fn is_discrete(e: &Expr) -> bool {
    match e {
        Expr::Func(
            Func::Fact
            | Func::DoubleFact
            | Func::Binom
            | Func::Perm
            | Func::Floor
            | Func::Ceil
            | Func::Gcd
            | Func::Lcm
            | Func::Mod,
            args,
        ) => args.iter().any(|a| !a.is_constant()),
        Expr::Range { from, to, .. } => !from.is_constant() || !to.is_constant(),
        _ => false,
    }
}

/// Functions that are constant here and there and jump between.
fn is_step(e: &Expr) -> bool {
    matches!(e, Expr::Func(Func::Floor | Func::Ceil | Func::Gcd | Func::Lcm | Func::Mod, args) if args.iter().any(|a| !a.is_constant()))
}

/// Compares two discs: apart, or together and small enough for that to mean something.
fn agreement(a: Ball, b: Ball) -> Vote {
    let Some(d) = a.minus(b) else { return Vote::Silent };
    let distance = d.re.hi.abs().max(d.im.hi.abs());
    if distance > d.err {
        return Vote::Differ;
    }
    let size = a.size().max(b.size());
    let precise = d.err <= size * 1e-18 || (size <= d.err && d.err <= 1e-22);
    if precise { Vote::Agree } else { Vote::Silent }
}

/// [`agreement`] at a point, where agreement also needs a small absolute error: beside 10⁴⁰ a summand of 1 is invisible.
fn local_agreement(a: Ball, b: Ball) -> Vote {
    match agreement(a, b) {
        Vote::Agree if a.err + b.err > COARSE => Vote::Silent,
        vote => vote,
    }
}

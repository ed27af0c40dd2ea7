//! Sets of reals: unions of intervals and points, from brackets, set builders and inequalities.

use super::{Compared, Comparer, Same};
use crate::answer::{Joint, Rel, Value};
use crate::budget::Exhausted;
use crate::eval::Stop;
use crate::eval::exact;
use crate::eval::numeric::{Evaluator, Mode};
use crate::eval::points::REAL;
use crate::expr::Expr;
use crate::lex::Bracket;
use rasft_types::Method;

/// An end of an interval; infinite ends are never closed.
#[derive(Debug, Clone)]
struct End {
    /// The exact value; `None` at infinity.
    value: Option<Expr>,
    /// For ordering.
    x: f64,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Interval {
    low: End,
    high: End,
}

impl Interval {
    fn is_empty(&self) -> bool {
        self.low.x > self.high.x || (self.low.x == self.high.x && !(self.low.closed && self.high.closed))
    }
}

type Set = Vec<Interval>;
type Maybe<T> = Result<Option<T>, Exhausted>;

const LINE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

impl Comparer<'_> {
    /// Compares two values as sets of reals; [`Same::Unknown`] if one is none.
    pub(super) fn real_sets(&self, a: &Value, b: &Value) -> Compared {
        let (Some(x), Some(y)) = (self.set(a)?, self.set(b)?) else {
            return self.union_as_written(a, b);
        };
        let (x, y) = (merge(x), merge(y));
        if x.len() != y.len() {
            return Ok(Same::No);
        }
        let mut same = Same::Yes(Method::Exact);
        for (p, q) in x.iter().zip(&y) {
            for (e, f) in [(&p.low, &q.low), (&p.high, &q.high)] {
                same = same.and(self.ends(e, f)?);
            }
        }
        Ok(same)
    }

    /// Unions whose ends are symbolic: the parts in any order.
    fn union_as_written(&self, a: &Value, b: &Value) -> Compared {
        match (a, b) {
            (Value::Union(x), Value::Union(y)) => self.unordered(x, y),
            (Value::Builder(x, p), Value::Builder(y, q)) => {
                let renamed = match (x, y) {
                    (Expr::Sym(from), Expr::Sym(_)) => rename(p, from, y),
                    _ => (**p).clone(),
                };
                self.values(&renamed, q)
            }
            _ => Ok(Same::Unknown),
        }
    }

    fn ends(&self, e: &End, f: &End) -> Compared {
        match (&e.value, &f.value) {
            (None, None) => Ok(Same::from_bool(e.x == f.x, Method::Exact)),
            (Some(v), Some(w)) if e.closed == f.closed => self.scalars(v, w),
            _ => Ok(Same::No),
        }
    }

    fn set(&self, v: &Value) -> Maybe<Set> {
        match v {
            Value::Row { open, close, items } if items.len() == 2 => {
                self.bracketed(*open, *close, &items[0], &items[1])
            }
            Value::Set(items) => {
                let mut out = Vec::new();
                for item in items {
                    let Value::Scalar(e, _) = item else { return Ok(None) };
                    let Some(end) = self.end(e, true)? else { return Ok(None) };
                    out.push(Interval { low: end.clone(), high: end });
                }
                Ok(Some(out))
            }
            Value::Union(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    let Some(set) = self.set(part)? else { return Ok(None) };
                    out.extend(set);
                }
                Ok(Some(out))
            }
            Value::Without(a, b) => {
                let (Some(a), Some(b)) = (self.set(a)?, self.set(b)?) else { return Ok(None) };
                Ok(Some(intersect(&a, &complement(&b))))
            }
            Value::Scalar(Expr::Sym(name), None) if matches!(name.as_str(), "mathbb R" | "\\R") => {
                Ok(Some(vec![line()]))
            }
            Value::Words(w) if matches!(w.as_str(), "all real numbers" | "all reals" | "all real" | "real numbers") => {
                Ok(Some(vec![line()]))
            }
            Value::Builder(_, condition) => self.set(condition),
            Value::Relation(terms, rels) => self.condition(terms, rels),
            Value::List(items, joint) => {
                let mut sets = Vec::new();
                for item in items {
                    if !super::relation::is_inequality(item) {
                        return Ok(None);
                    }
                    let Some(set) = self.set(item)? else { return Ok(None) };
                    sets.push(set);
                }
                Ok(Some(combine(sets, *joint)))
            }
            _ => Ok(None),
        }
    }

    fn bracketed(&self, open: Bracket, close: Bracket, a: &Value, b: &Value) -> Maybe<Set> {
        let (Value::Scalar(a, _), Value::Scalar(b, _)) = (a, b) else { return Ok(None) };
        if open == Bracket::Angle {
            return Ok(None);
        }
        let (Some(low), Some(high)) = (self.end(a, open == Bracket::Square)?, self.end(b, close == Bracket::Square)?)
        else {
            return Ok(None);
        };
        Ok(Some(vec![Interval { low, high }]))
    }

    fn end(&self, e: &Expr, closed: bool) -> Maybe<End> {
        match e {
            Expr::Inf => return Ok(Some(End { value: None, x: f64::INFINITY, closed: false })),
            Expr::Neg(a) if **a == Expr::Inf => {
                return Ok(Some(End { value: None, x: f64::NEG_INFINITY, closed: false }));
            }
            _ => {}
        }
        Ok(self.approximate(e)?.map(|x| End { value: Some(e.clone()), x, closed }))
    }

    /// A constant's value as a double.
    fn approximate(&self, e: &Expr) -> Maybe<f64> {
        if !e.is_constant() {
            return Ok(None);
        }
        match (Evaluator { mode: Mode::Real, at: &REAL[0], budget: self.budget }).eval(e) {
            Ok(v) if v.is_real() => Ok(Some(v.re.hi)),
            Err(Stop::Budget(e)) => Err(e),
            _ => Ok(None),
        }
    }

    /// A chain of relations in one symbol, linear in it.
    fn condition(&self, terms: &[Value], rels: &[Rel]) -> Maybe<Set> {
        if let ([_, set], [Rel::In]) = (terms, rels) {
            return self.set(set);
        }
        let mut exprs = Vec::new();
        for t in terms {
            let Value::Scalar(e, _) = t else { return Ok(None) };
            exprs.push(e);
        }
        let mut symbols: Vec<String> = exprs.iter().flat_map(|e| e.symbols()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let [symbol] = symbols.as_slice() else { return Ok(None) };
        let mut set = vec![line()];
        for (pair, rel) in exprs.windows(2).zip(rels) {
            let Some(part) = self.linear(pair[0], pair[1], *rel, symbol)? else { return Ok(None) };
            set = intersect(&set, &part);
        }
        Ok(Some(set))
    }

    /// Solves l rel r for the symbol.
    fn linear(&self, l: &Expr, r: &Expr, rel: Rel, symbol: &str) -> Maybe<Set> {
        let is_symbol = |e: &Expr| matches!(e, Expr::Sym(s) if s == symbol);
        let (bound, rel) = if is_symbol(l) && r.is_constant() {
            (r.clone(), rel)
        } else if is_symbol(r) && l.is_constant() {
            (l.clone(), flip(rel))
        } else {
            let Some((bound, negative)) = self.linear_bound(l, r, symbol)? else { return Ok(None) };
            (bound, if negative { flip(rel) } else { rel })
        };
        let infinite = |x: f64| End { value: None, x, closed: false };
        let (minus, plus) = (infinite(LINE.0), infinite(LINE.1));
        let closed = matches!(rel, Rel::Le | Rel::Ge | Rel::Eq);
        let Some(end) = self.end(&bound, closed)? else { return Ok(None) };
        Ok(match rel {
            Rel::Lt | Rel::Le => Some(vec![Interval { low: minus, high: end }]),
            Rel::Gt | Rel::Ge => Some(vec![Interval { low: end, high: plus }]),
            Rel::Eq => Some(vec![Interval { low: end.clone(), high: end }]),
            Rel::Ne => Some(vec![Interval { low: minus, high: end.clone() }, Interval { low: end, high: plus }]),
            Rel::Approx | Rel::In => None,
        })
    }

    /// For l − r = c₁·x + c₀: −c₀/c₁, and whether c₁ is negative.
    fn linear_bound(&self, l: &Expr, r: &Expr, symbol: &str) -> Maybe<(Expr, bool)> {
        let g = |x: i64| {
            let at = Expr::int(x);
            Expr::Add(vec![l.substitute(symbol, &at), Expr::Neg(Box::new(r.substitute(symbol, &at)))])
        };
        let minus = |a: Expr, b: Expr| Expr::Add(vec![a, Expr::Neg(Box::new(b))]);
        let (c0, c1) = (g(0), minus(g(1), g(0)));
        for x in [2, 5] {
            let line = Expr::Add(vec![Expr::Mul(vec![Expr::int(x), c1.clone()]), c0.clone()]);
            if !self.scalars(&g(x), &line)?.is_yes() {
                return Ok(None);
            }
        }
        let slope = match self.approximate(&c1)? {
            Some(slope) if slope != 0.0 => slope,
            _ => return Ok(None),
        };
        let bound = Expr::Neg(Box::new(Expr::Div(Box::new(c0), Box::new(c1))));
        let bound = match exact::eval(&bound, self.budget) {
            Ok(v) => Expr::Num(v),
            Err(Stop::Budget(e)) => return Err(e),
            Err(_) => bound,
        };
        Ok(Some((bound, slope < 0.0)))
    }
}

fn rename(v: &Value, from: &str, to: &Expr) -> Value {
    match v {
        Value::Scalar(e, u) => Value::Scalar(e.substitute(from, to), u.clone()),
        Value::Relation(terms, rels) => {
            Value::Relation(terms.iter().map(|t| rename(t, from, to)).collect(), rels.clone())
        }
        other => other.clone(),
    }
}

pub(super) fn flip(rel: Rel) -> Rel {
    match rel {
        Rel::Lt => Rel::Gt,
        Rel::Le => Rel::Ge,
        Rel::Gt => Rel::Lt,
        Rel::Ge => Rel::Le,
        other => other,
    }
}

fn line() -> Interval {
    let end = |x: f64| End { value: None, x, closed: false };
    Interval { low: end(LINE.0), high: end(LINE.1) }
}

/// The higher low end or the lower high end; open wins a tie.
fn tighter(a: &End, b: &End, low: bool) -> End {
    if a.x == b.x {
        return if a.closed { b.clone() } else { a.clone() };
    }
    if (a.x > b.x) == low { a.clone() } else { b.clone() }
}

fn intersect(a: &[Interval], b: &[Interval]) -> Set {
    let mut out = Vec::new();
    for p in a {
        for q in b {
            let both = Interval { low: tighter(&p.low, &q.low, true), high: tighter(&p.high, &q.high, false) };
            if !both.is_empty() {
                out.push(both);
            }
        }
    }
    out
}

fn complement(a: &[Interval]) -> Set {
    let mut rest = vec![line()];
    for p in a {
        let opened = |e: &End| End { closed: !e.closed && e.value.is_some(), ..e.clone() };
        let (l, h) = (line().low, line().high);
        let mut outside = Vec::new();
        if p.low.value.is_some() {
            outside.push(Interval { low: l, high: opened(&p.low) });
        }
        if p.high.value.is_some() {
            outside.push(Interval { low: opened(&p.high), high: h });
        }
        rest = intersect(&rest, &outside);
    }
    rest
}

/// Conditions joined by "or" unite, others intersect, unless nothing would be left.
fn combine(sets: Vec<Set>, joint: Joint) -> Set {
    if joint != Joint::Or {
        let common = sets.iter().fold(vec![line()], |acc, s| intersect(&acc, s));
        if !common.is_empty() {
            return common;
        }
    }
    sets.into_iter().flatten().collect()
}

/// Sorted, touching and overlapping intervals joined.
fn merge(mut set: Set) -> Set {
    set.retain(|i| !i.is_empty());
    set.sort_by(|a, b| a.low.x.total_cmp(&b.low.x).then(b.low.closed.cmp(&a.low.closed)));
    let mut out: Set = Vec::new();
    for next in set {
        if let Some(last) = out.last_mut()
            && (next.low.x < last.high.x || (next.low.x == last.high.x && (next.low.closed || last.high.closed)))
        {
            let longer = next.high.x > last.high.x || (next.high.x == last.high.x && next.high.closed);
            if longer {
                last.high = next.high;
            }
            continue;
        }
        out.push(next);
    }
    out
}

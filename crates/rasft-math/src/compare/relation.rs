//! Equations, inequalities, assignments.

use super::interval::flip;
use super::{Compared, Comparer, Same};
use crate::answer::{Rel, Value};
use crate::expr::{Expr, Func};
use num_traits::Zero;
use rasft_types::Method;

/// Whether a value is a chain of relations other than equations.
pub(super) fn is_inequality(v: &Value) -> bool {
    matches!(v, Value::Relation(_, rels) if rels.iter().any(|r| matches!(r, Rel::Lt | Rel::Le | Rel::Gt | Rel::Ge | Rel::Ne)))
}

/// Whether a term only names what the other side is worth: a symbol, f(x), |AB|, x + y, a label in words.
fn is_name(v: &Value) -> bool {
    match v {
        // A left side that could not be read is still only a name: (f ∘ g)(x).
        Value::Words(_) | Value::Opaque(_) => true,
        Value::Scalar(e, None) => is_name_expr(e),
        Value::Row { items, .. } => items.iter().all(is_name),
        _ => false,
    }
}

fn is_name_expr(e: &Expr) -> bool {
    match e {
        Expr::Sym(_) => true,
        Expr::Mul(v) => {
            v.iter().enumerate().all(|(i, e)| is_name_expr(e) || (i > 0 && matches!(e, Expr::Num(_) | Expr::Neg(_))))
        }
        Expr::Add(v) => v.iter().all(is_name_expr),
        Expr::Div(a, b) => is_name_expr(a) && is_name_expr(b),
        // f ∘ g is read as f° g.
        Expr::Pow(a, _) | Expr::Degree(a) => is_name_expr(a),
        Expr::Func(Func::Abs, v) => v.iter().all(is_name_expr),
        Expr::Func(_, v) => v.iter().any(|e| !e.is_constant()),
        // `e = 3` and `i = 2` assign to the letters.
        Expr::E | Expr::I => true,
        _ => false,
    }
}

fn is_constant(v: &Value) -> bool {
    match v {
        Value::Scalar(e, _) => e.is_constant(),
        Value::Row { items, .. } | Value::Set(items) | Value::List(items, _) => items.iter().all(is_constant),
        Value::Matrix(rows) => rows.iter().flatten().all(is_constant),
        _ => false,
    }
}

/// What a chain of equalities says a name is worth: `x = 2 + 4 = 6` is 6, `40/3 = a` is 40/3, `x ∈ S` is S.
pub(super) fn assigned_value(v: &Value) -> Option<Value> {
    let Value::Relation(terms, rels) = v else { return None };
    let (first, last) = (terms.first()?, terms.last()?);
    if let [Rel::In] = rels.as_slice() {
        return is_name(first).then(|| last.clone());
    }
    if !rels.iter().all(|r| matches!(r, Rel::Eq | Rel::Approx)) {
        return None;
    }
    // An approximation adds nothing: what precedes it is meant.
    let exact_terms = rels.iter().position(|r| *r == Rel::Approx).map_or(terms.len(), |i| i + 1);
    let terms = &terms[..exact_terms];
    if let [only] = terms {
        return if is_name(only) { Some(last.clone()) } else { Some(only.clone()) };
    }
    let last = terms.last()?;
    if is_name(first) {
        // ⌊√n⌋ = W names W.
        let backwards = terms.len() == 2 && is_symbol(last) && is_formula(first);
        return Some(if backwards { first.clone() } else { last.clone() });
    }
    if terms.iter().all(is_constant) {
        return Some(last.clone());
    }
    // `2 = x`; but `… = 0` states an equation.
    (terms.len() == 2 && is_symbol(last) && !matches!(first, Value::Scalar(e, _) if is_zero(e))).then(|| first.clone())
}

/// A function's value other than an application like f(x).
fn is_formula(v: &Value) -> bool {
    matches!(v, Value::Scalar(Expr::Func(..) | Expr::Add(_) | Expr::Div(..) | Expr::Pow(..), None))
}

fn is_symbol(v: &Value) -> bool {
    matches!(v, Value::Scalar(Expr::Sym(_), None))
}

/// The term of a chain of equalities that names the others' worth.
fn named(terms: &[Value]) -> Option<&Value> {
    let (first, last) = (terms.first()?, terms.last()?);
    if is_name(first) { Some(first) } else { Some(last).filter(|v| is_symbol(v)) }
}

fn is_zero(e: &Expr) -> bool {
    matches!(e, Expr::Num(v) if v.is_zero())
}

impl Comparer<'_> {
    /// Compares two values at least one of which is a relation.
    pub(super) fn relations(&self, a: &Value, b: &Value) -> Compared {
        let (Value::Relation(x, p), Value::Relation(y, q)) = (a, b) else {
            return self.relation_against_other(a, b);
        };
        if is_inequality(a) || is_inequality(b) || p.contains(&Rel::In) || q.contains(&Rel::In) {
            return self.conditions(a, b);
        }
        // Both define: the same name, or a name and a function's value, worth the same.
        if let (Some(v), Some(w)) = (assigned_value(a), assigned_value(b)) {
            let same_name = named(x).is_some() && named(x) == named(y);
            let words = !matches!(v, Value::Words(_))
                && (matches!(x.first(), Some(Value::Words(_))) || matches!(y.first(), Some(Value::Words(_))));
            let arithmetic = x.iter().all(is_constant) || y.iter().all(is_constant);
            // y and f(x) name the same thing, f and g do not.
            let function = |t: &[Value]| matches!(t.first(), Some(Value::Scalar(Expr::Mul(_), _)));
            let lone = |t: &[Value]| t.first().is_some_and(is_symbol);
            let alias = (function(x) && lone(y)) || (lone(x) && function(y));
            let same = self.values(&v, &w)?;
            if same.is_yes() && (same_name || words || arithmetic || alias) {
                return Ok(same);
            }
            if same_name
                && x.len() == 2
                && y.len() == 2
                && is_symbol(&x[0])
                && !same.is_yes()
                && !self.mentions(&v, &x[0])
                && !self.mentions(&w, &x[0])
            {
                return Ok(same);
            }
        }
        let (Some(f), Some(g)) = (equation(x), equation(y)) else {
            let same = self.in_order(x, y)?;
            let reversed: Vec<Value> = y.iter().rev().cloned().collect();
            return if same.is_yes() { Ok(same) } else { self.in_order(x, &reversed) };
        };
        let same = self.proportional(&f, &g, false)?;
        let (cleared_f, cleared_g) = (without_denominators(&f), without_denominators(&g));
        if same.is_yes() || (cleared_f.is_none() && cleared_g.is_none()) {
            return Ok(same);
        }
        // y = eˣ/x is xy = eˣ.
        self.proportional(&cleared_f.unwrap_or(f), &cleared_g.unwrap_or(g), false)
    }

    fn mentions(&self, v: &Value, symbol: &Value) -> bool {
        match (v, symbol) {
            (Value::Scalar(e, _), Value::Scalar(Expr::Sym(s), _)) => {
                e.any(&mut |e| matches!(e, Expr::Sym(t) if t == s))
            }
            _ => true,
        }
    }

    fn relation_against_other(&self, a: &Value, b: &Value) -> Compared {
        let (relation, other) = if matches!(a, Value::Relation(..)) { (a, b) } else { (b, a) };
        if is_inequality(relation) {
            if !self.options.inequality_is_interval && matches!(other, Value::Row { .. } | Value::Union(_)) {
                return Ok(Same::No);
            }
            return self.real_sets(relation, other);
        }
        let Some(value) = assigned_value(relation) else { return Ok(Same::No) };
        let same = self.values(&value, other)?;
        // π ≈ 3.14 also says 3.14.
        match relation {
            Value::Relation(terms, rels) if !same.is_yes() && rels.contains(&Rel::Approx) => match terms.last() {
                Some(last) => self.values(last, other),
                None => Ok(same),
            },
            _ => Ok(same),
        }
    }

    /// Inequalities and memberships.
    fn conditions(&self, a: &Value, b: &Value) -> Compared {
        let same = self.real_sets(a, b)?;
        if same != Same::Unknown {
            return Ok(same);
        }
        let (Value::Relation(x, p), Value::Relation(y, q)) = (a, b) else { return Ok(Same::Unknown) };
        if p.contains(&Rel::In) || q.contains(&Rel::In) {
            return match (assigned_value(a), assigned_value(b)) {
                (Some(v), Some(w)) => self.values(&v, &w),
                _ => Ok(Same::Unknown),
            };
        }
        let ([x1, x2], [y1, y2], [r], [s]) = (x.as_slice(), y.as_slice(), p.as_slice(), q.as_slice()) else {
            return Ok(Same::from_bool(a == b, Method::Exact));
        };
        // f > 0 or f ≥ 0, so that only a positive factor may differ.
        let oriented = |l: &Value, r: &Value, rel: Rel| {
            let upward = matches!(rel, Rel::Gt | Rel::Ge);
            let pair = if upward { [l.clone(), r.clone()] } else { [r.clone(), l.clone()] };
            Some((equation(&pair)?, if upward { rel } else { flip(rel) }))
        };
        match (oriented(x1, x2, *r), oriented(y1, y2, *s)) {
            (Some((f, r)), Some((g, s))) if r == s => self.proportional(&f, &g, r != Rel::Ne),
            (Some(_), Some(_)) => Ok(Same::No),
            _ => Ok(Same::Unknown),
        }
    }
}

/// A sum multiplied by the denominators of its terms; `None` if there are none.
fn without_denominators(e: &Expr) -> Option<Expr> {
    fn collect(e: &Expr, out: &mut Vec<Expr>) {
        match e {
            Expr::Add(v) | Expr::Mul(v) => v.iter().for_each(|e| collect(e, out)),
            Expr::Neg(a) => collect(a, out),
            Expr::Div(a, b) => {
                collect(a, out);
                if !b.is_constant() && !out.contains(b) && out.len() < 4 {
                    out.push((**b).clone());
                }
            }
            _ => {}
        }
    }
    let mut factors = Vec::new();
    collect(e, &mut factors);
    if factors.is_empty() {
        return None;
    }
    factors.push(e.clone());
    Some(Expr::Mul(factors))
}

/// l − r of an equation with two sides.
fn equation(terms: &[Value]) -> Option<Expr> {
    match terms {
        [Value::Scalar(l, _), Value::Scalar(r, _)] => Some(Expr::Add(vec![l.clone(), Expr::Neg(Box::new(r.clone()))])),
        _ => None,
    }
}

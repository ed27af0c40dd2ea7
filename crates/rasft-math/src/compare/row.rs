//! Tuples, intervals as written, matrices, ratios: ordered.

use super::{Compared, Comparer, Same};
use crate::answer::Value;
use crate::expr::Expr;
use crate::lex::Bracket;
use rasft_types::Method;

/// Whether an expression may be a vector written with i, j and k.
pub(super) fn is_component_sum(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Sym(s) if matches!(s.as_str(), "j" | "k")))
}

impl Comparer<'_> {
    /// Brackets and items agree. Angle brackets and parentheses both write a vector.
    pub(super) fn rows(&self, a: &Value, b: &Value) -> Compared {
        let (Value::Row { open: o1, close: c1, items: x }, Value::Row { open: o2, close: c2, items: y }) = (a, b)
        else {
            return Ok(Same::Unknown);
        };
        let plain = |b: Bracket| if b == Bracket::Angle { Bracket::Paren } else { b };
        if plain(*o1) != plain(*o2) || plain(*c1) != plain(*c2) {
            return Ok(Same::No);
        }
        self.in_order(x, y)
    }

    /// Same shape, same entries; a row and a column of the same entries are equal only by option.
    pub(super) fn matrices(&self, x: &[Vec<Value>], y: &[Vec<Value>]) -> Compared {
        let shape = |m: &[Vec<Value>]| (m.len(), m.first().map_or(0, Vec::len));
        let (s, t) = (shape(x), shape(y));
        let transposed = s != t && s == (t.1, t.0) && (s.0 == 1 || s.1 == 1);
        if s != t && !(transposed && self.options.row_is_column) {
            return Ok(Same::No);
        }
        let (x, y): (Vec<Value>, Vec<Value>) =
            (x.iter().flatten().cloned().collect(), y.iter().flatten().cloned().collect());
        self.in_order(&x, &y)
    }

    /// A one-column or one-row matrix against a tuple.
    pub(super) fn vector(&self, matrix: &[Vec<Value>], items: &[Value]) -> Compared {
        if matrix.len() != 1 && matrix.iter().any(|r| r.len() != 1) {
            return Ok(Same::No);
        }
        let entries: Vec<Value> = matrix.iter().flatten().cloned().collect();
        self.in_order(&entries, items)
    }

    /// A tuple against a sum of multiples of i, j and k.
    pub(super) fn components(&self, items: &[Value], sum: &Expr) -> Compared {
        let mut terms = Vec::with_capacity(items.len());
        for (item, unit) in items.iter().zip([Expr::I, Expr::Sym("j".to_owned()), Expr::Sym("k".to_owned())]) {
            let Value::Scalar(e, _) = item else { return Ok(Same::No) };
            terms.push(Expr::Mul(vec![e.clone(), unit]));
        }
        if !(2..=3).contains(&items.len()) {
            return Ok(Same::No);
        }
        self.scalars(&Expr::Add(terms), sum)
    }

    /// Equal up to a common factor: x₀·yᵢ = y₀·xᵢ.
    pub(super) fn ratios(&self, x: &[Expr], y: &[Expr]) -> Compared {
        if x.len() != y.len() || x.is_empty() {
            return Ok(Same::No);
        }
        let mut same = Same::Yes(Method::Exact);
        for (a, b) in x.iter().zip(y).skip(1) {
            let cross = |p: &Expr, q: &Expr| Expr::Mul(vec![p.clone(), q.clone()]);
            same = same.and(self.scalars(&cross(&x[0], b), &cross(&y[0], a))?);
        }
        Ok(same)
    }
}

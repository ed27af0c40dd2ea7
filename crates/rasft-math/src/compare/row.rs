//! Tuples, intervals as written, matrices, ratios: ordered.

use super::{Compared, Comparer, Same};
use crate::answer::Value;
use crate::expr::Expr;
use crate::lex::Bracket;
use rasft_types::Method;

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

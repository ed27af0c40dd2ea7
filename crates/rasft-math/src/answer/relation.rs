//! Relation signs.

use super::split::top_level;
use super::{Rel, Value};
use crate::expr::Expr;
use crate::lex::{Kind, Stream};

pub(super) fn relation(kind: &Kind) -> Option<Rel> {
    match kind {
        Kind::Op('=') => Some(Rel::Eq),
        Kind::Op('≈') => Some(Rel::Approx),
        Kind::Op('≡') => Some(Rel::Eq),
        Kind::Op('≠') => Some(Rel::Ne),
        Kind::Op('<') => Some(Rel::Lt),
        Kind::Op('≤') => Some(Rel::Le),
        Kind::Op('>') => Some(Rel::Gt),
        Kind::Op('≥') => Some(Rel::Ge),
        Kind::Op('∈') => Some(Rel::In),
        _ => None,
    }
}

/// k ∈ ℤ and the like.
pub(super) fn is_domain(v: &Value) -> bool {
    matches!(v, Value::Relation(terms, rels)
        if rels.as_slice() == [Rel::In]
            && matches!(terms.last(), Some(Value::Scalar(Expr::Sym(name), None)) if name.starts_with("mathbb ")))
}

/// The relation signs of a range at its top level.
pub(super) fn signs(stream: &Stream, start: usize, end: usize) -> Vec<(usize, Rel)> {
    let mut out = Vec::new();
    top_level(stream, start, end, |i, kind| {
        if let Some(rel) = relation(kind) {
            out.push((i, rel));
        }
    });
    out
}

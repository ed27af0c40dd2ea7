//! One shape for values that are written in several: ± becomes two values, lists are flat, single items stand alone.

use crate::answer::{Joint, Rel, Value};
use crate::expr::Expr;

/// The value with signs expanded and lists flattened.
pub(super) fn normal(value: &Value) -> Value {
    match value {
        Value::List(items, joint) => {
            let mut flat = Vec::with_capacity(items.len());
            for item in items {
                match normal(item) {
                    Value::List(inner, _) => flat.extend(inner),
                    other => flat.push(other),
                }
            }
            exclude_each(&mut flat);
            single_or(flat, |v| Value::List(v, *joint))
        }
        Value::Set(items) => {
            let mut flat = Vec::with_capacity(items.len());
            for item in items {
                match normal(item) {
                    Value::List(inner, _) => flat.extend(inner),
                    other => flat.push(other),
                }
            }
            Value::Set(flat)
        }
        _ if has_sign(value) => {
            // x ≠ ±2 excludes both.
            let excludes = matches!(value, Value::Relation(_, rels) if rels.contains(&Rel::Ne));
            let joint = if excludes { Joint::And } else { Joint::Or };
            Value::List(vec![with_sign(value, true), with_sign(value, false)], joint)
        }
        // x ∈ S says S.
        Value::Relation(terms, rels) if matches!(rels.as_slice(), [Rel::In]) && terms.len() == 2 => normal(&terms[1]),
        // {x | x = …} is what x may be.
        Value::Builder(_, condition) => match &**condition {
            Value::Relation(_, rels) if rels.iter().all(|r| *r == Rel::Eq) => normal(condition),
            Value::List(_, Joint::Or | Joint::Comma) => normal(condition),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

/// `x ≠ 1, 2` says x ≠ 1 and x ≠ 2.
fn exclude_each(items: &mut [Value]) {
    let Some((Value::Relation(terms, rels), rest)) = items.split_first_mut() else { return };
    if let ([name, Value::Scalar(..)], [Rel::Ne]) = (terms.as_slice(), rels.as_slice()) {
        for item in rest.iter_mut().take_while(|i| matches!(i, Value::Scalar(..))) {
            *item = Value::Relation(vec![name.clone(), item.clone()], vec![Rel::Ne]);
        }
    }
}

fn single_or(mut items: Vec<Value>, list: impl FnOnce(Vec<Value>) -> Value) -> Value {
    if items.len() == 1 { items.remove(0) } else { list(items) }
}

fn signed(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::PlusMinus(..)))
}

fn has_sign(value: &Value) -> bool {
    match value {
        Value::Scalar(e, _) => signed(e),
        Value::Row { items, .. } | Value::Relation(items, _) => items.iter().any(has_sign),
        _ => false,
    }
}

fn with_sign(value: &Value, plus: bool) -> Value {
    match value {
        Value::Scalar(e, unit) => Value::Scalar(e.with_sign(plus), unit.clone()),
        Value::Row { open, close, items } => {
            Value::Row { open: *open, close: *close, items: items.iter().map(|v| with_sign(v, plus)).collect() }
        }
        Value::Relation(terms, rels) => {
            Value::Relation(terms.iter().map(|v| with_sign(v, plus)).collect(), rels.clone())
        }
        other => other.clone(),
    }
}

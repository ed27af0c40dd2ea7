//! Lists and sets: unordered.

use super::{Compared, Comparer, Same};
use crate::answer::{Joint, Rel, Value};
use rasft_types::Method;

impl Comparer<'_> {
    /// Compares two values at least one of which is a list or a set.
    pub(super) fn collections(&self, a: &Value, b: &Value) -> Compared {
        // Conditions joined by "and"/"or" are sets of reals, not lists of answers.
        if self.is_condition(a) || self.is_condition(b) {
            let same = self.real_sets(a, b)?;
            if same != Same::Unknown {
                return Ok(same);
            }
        }
        if let Some(same) = self.assignments(a, b)? {
            return Ok(same);
        }
        let is_set = |v: &Value| matches!(v, Value::Set(_));
        let is_interval = |v: &Value| matches!(v, Value::Union(_) | Value::Without(..) | Value::Builder(..));
        if is_interval(a) || is_interval(b) {
            return self.real_sets(a, b);
        }
        if is_set(a) && matches!(b, Value::Words(w) if is_empty_set(w))
            || is_set(b) && matches!(a, Value::Words(w) if is_empty_set(w))
        {
            let empty = |v: &Value| matches!(v, Value::Set(items) if items.is_empty());
            return Ok(Same::from_bool(empty(a) || empty(b), Method::Exact));
        }
        let (mut x, mut y) = (items(a), items(b));
        if is_set(a) || is_set(b) {
            x = self.distinct(x)?;
            y = self.distinct(y)?;
        }
        self.unordered(&x, &y)
    }

    fn is_condition(&self, v: &Value) -> bool {
        match v {
            Value::List(items, _) => items.iter().any(super::relation::is_inequality),
            other => super::relation::is_inequality(other),
        }
    }

    /// `x = 1, y = 2` against the same in any order, or against (1, 2); `None` if neither side is such a list.
    fn assignments(&self, a: &Value, b: &Value) -> Result<Option<Same>, crate::budget::Exhausted> {
        let (x, y) = (assigned(a), assigned(b));
        match (x, y) {
            (Some(_), Some(_)) => {
                let (Value::List(x, _), Value::List(y, _)) = (a, b) else { return Ok(None) };
                self.unordered(x, y).map(Some)
            }
            (Some(values), None) => self.against_row(a, &values, b),
            (None, Some(values)) => self.against_row(b, &values, a),
            (None, None) => Ok(None),
        }
    }

    /// Assignments, worth `values`, against a row of values or (a, b) = (1, 2).
    fn against_row(
        &self,
        assignments: &Value,
        values: &[Value],
        other: &Value,
    ) -> Result<Option<Same>, crate::budget::Exhausted> {
        let items = match other {
            Value::Row { items, .. } | Value::List(items, Joint::Comma) => items,
            Value::Relation(terms, rels) => match (terms.as_slice(), rels.as_slice()) {
                ([Value::Row { items: names, .. }, Value::Row { items: theirs, .. }], [Rel::Eq])
                    if names.len() == theirs.len() =>
                {
                    let Value::List(ours, _) = assignments else { return Ok(None) };
                    let theirs: Vec<Value> = names
                        .iter()
                        .zip(theirs)
                        .map(|(n, v)| Value::Relation(vec![n.clone(), v.clone()], vec![Rel::Eq]))
                        .collect();
                    return self.unordered(ours, &theirs).map(Some);
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.in_order(values, items).map(Some)
    }

    /// Equal item by item.
    pub(super) fn in_order(&self, x: &[Value], y: &[Value]) -> Compared {
        if x.len() != y.len() {
            return Ok(Same::No);
        }
        let mut same = Same::Yes(Method::Exact);
        for (a, b) in x.iter().zip(y) {
            same = same.and(self.values(a, b)?);
            if same == Same::No {
                break;
            }
        }
        Ok(same)
    }

    /// Equal as multisets.
    pub(super) fn unordered(&self, x: &[Value], y: &[Value]) -> Compared {
        if x.len() != y.len() {
            return Ok(Same::No);
        }
        let mut free: Vec<&Value> = y.iter().collect();
        let mut same = Same::Yes(Method::Exact);
        for a in x {
            let mut found = None;
            for (i, b) in free.iter().enumerate() {
                let this = self.values(a, b)?;
                if this.is_yes() {
                    found = Some((i, this));
                    break;
                }
            }
            let Some((i, this)) = found else { return Ok(Same::No) };
            free.remove(i);
            same = same.and(this);
        }
        Ok(same)
    }

    fn distinct(&self, items: Vec<Value>) -> Result<Vec<Value>, crate::budget::Exhausted> {
        let mut out: Vec<Value> = Vec::with_capacity(items.len());
        for item in items {
            let mut known = false;
            for seen in &out {
                if self.values(seen, &item)?.is_yes() {
                    known = true;
                    break;
                }
            }
            if !known {
                out.push(item);
            }
        }
        Ok(out)
    }
}

fn is_empty_set(words: &str) -> bool {
    matches!(words, "empty set" | "none" | "no solution" | "empty")
}

/// The members, assignments to one symbol stripped: `x = -1, 3` is −1 and 3.
fn items(v: &Value) -> Vec<Value> {
    match v {
        Value::List(items, _) | Value::Set(items) => {
            items.iter().map(|i| super::relation::assigned_value(i).unwrap_or_else(|| i.clone())).collect()
        }
        other => vec![super::relation::assigned_value(other).unwrap_or_else(|| other.clone())],
    }
}

/// The values of a list of assignments to different symbols.
fn assigned(v: &Value) -> Option<Vec<Value>> {
    let Value::List(items, Joint::Comma | Joint::And) = v else { return None };
    let mut names: Vec<&Value> = Vec::new();
    let mut values = Vec::new();
    for item in items {
        let Value::Relation(terms, _) = item else { return None };
        values.push(super::relation::assigned_value(item)?);
        let name = terms.first()?;
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    (values.len() > 1).then_some(values)
}

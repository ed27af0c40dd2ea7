//! The reader: typed values from tokens.

use super::split::{by_op, joint, parts, top_level};
use super::{Joint, Rel, Value, prose, relation};
use crate::budget::{Budget, Exhausted};
use crate::lex::{Bracket, Kind, Stream};
use crate::parse::{ParseError, Parser, canonical_text};
use crate::units;

pub(super) struct Reader<'a> {
    pub stream: &'a Stream,
    pub budget: &'a Budget,
}

type Read = Result<Value, Exhausted>;

impl Reader<'_> {
    pub(super) fn answer(&self) -> Read {
        let (start, end) = self.trim(0, self.stream.tokens.len());
        if start >= end {
            return Ok(Value::Opaque(String::new()));
        }
        self.value(start, end)
    }

    fn value(&self, start: usize, end: usize) -> Read {
        self.budget.spend(1 + (end - start) as u64)?;
        let braced = (start, end);
        let (mut start, mut end) = self.unwrap_braces(start, end);
        if braced != (start, end) {
            (start, end) = self.trim(start, end);
        }
        if start >= end {
            return Ok(Value::Opaque(String::new()));
        }
        let (items, joint) = parts(self.stream, start, end);
        if items.len() > 1 {
            let mut values = items.iter().map(|(a, b)| self.value(*a, *b)).collect::<Result<Vec<_>, _>>()?;
            // `…, k ∈ ℤ` says what k is, not what the answer is.
            while values.len() > 1 && values.last().is_some_and(relation::is_domain) {
                values.pop();
            }
            return Ok(if values.len() == 1 { values.remove(0) } else { Value::List(values, joint) });
        }
        let (start, end) = items.first().copied().unwrap_or((start, end));
        if !relation::signs(self.stream, start, end).is_empty() {
            return self.relation(start, end);
        }
        if let Some(value) = self.set_algebra(start, end)? {
            return Ok(value);
        }
        if let Some(value) = self.bracketed(start, end)? {
            return Ok(value);
        }
        self.scalar(start, end)
    }

    /// `{{x}}` is x, at any level.
    fn unwrap_braces(&self, mut start: usize, mut end: usize) -> (usize, usize) {
        while end > start + 1
            && self.stream.kind(start) == Some(&Kind::Open(Bracket::Brace))
            && self.stream.partner(start) == Some(end - 1)
        {
            start += 1;
            end -= 1;
        }
        (start, end)
    }

    fn relation(&self, start: usize, end: usize) -> Read {
        let signs = relation::signs(self.stream, start, end);
        let mut terms = Vec::with_capacity(signs.len() + 1);
        let mut rels = Vec::with_capacity(signs.len());
        let mut from = start;
        for (i, rel) in &signs {
            // "≤ =" and the like: an empty term merges two signs.
            if *i > from || terms.is_empty() {
                terms.push(self.term(from, *i)?);
                rels.push(*rel);
            }
            from = i + 1;
        }
        if from >= end {
            rels.pop();
        } else {
            terms.push(self.term(from, end)?);
        }
        if rels.is_empty() {
            return Ok(terms.pop().unwrap_or_else(|| Value::Opaque(String::new())));
        }
        Ok(Value::Relation(terms, rels))
    }

    /// One side of a relation; the left side may be a label in words.
    fn term(&self, start: usize, end: usize) -> Read {
        if start >= end {
            return Ok(Value::Words(String::new()));
        }
        let value = self.value(start, end)?;
        let is_label = matches!(value, Value::Opaque(_))
            && (start..end).any(|i| matches!(self.stream.kind(i), Some(Kind::Text(_))));
        Ok(if is_label { Value::Words(canonical_text(self.stream, start, end)) } else { value })
    }

    /// Unions and differences.
    fn set_algebra(&self, start: usize, end: usize) -> Result<Option<Value>, Exhausted> {
        let without = by_op(self.stream, start, end, '∖');
        if let [(a, b), (c, d)] = without[..] {
            return Ok(Some(Value::Without(Box::new(self.value(a, b)?), Box::new(self.value(c, d)?))));
        }
        let parts = by_op(self.stream, start, end, '∪');
        if parts.len() < 2 {
            return Ok(None);
        }
        let values = parts.into_iter().map(|(a, b)| self.value(a, b)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Value::Union(values)))
    }

    /// A range that is one bracketed whole.
    fn bracketed(&self, start: usize, end: usize) -> Result<Option<Value>, Exhausted> {
        // `t(0, 4]`: a letter before an interval is its variable.
        let first = if matches!(self.stream.kind(start), Some(Kind::Word(_))) && self.is_half_open(start + 1, end) {
            start + 1
        } else {
            start
        };
        if let Some(value) = self.transposed(start, end)? {
            return Ok(Some(value));
        }
        let whole = self.stream.partner(first) == Some(end.wrapping_sub(1)) && end > first + 1;
        if !whole {
            return Ok(match self.stream.kind(start) {
                Some(Kind::Cmd(c)) if c == "emptyset" && end == start + 1 => Some(Value::Set(Vec::new())),
                _ => None,
            });
        }
        let (Some(open), Some(close)) =
            (self.stream.kind(first).and_then(Kind::opens), self.stream.kind(end - 1).and_then(Kind::closes))
        else {
            return Ok(None);
        };
        let (a, b) = (first + 1, end - 1);
        match open {
            Bracket::Set => self.set(a, b).map(Some),
            Bracket::Env => self.matrix(first, end),
            Bracket::Paren | Bracket::Square | Bracket::Angle => self.row(open, close, a, b),
            _ => Ok(None),
        }
    }

    /// `(…)^T`: a matrix on its side; a tuple stays one, since it is a vector either way.
    fn transposed(&self, start: usize, end: usize) -> Result<Option<Value>, Exhausted> {
        let Some(close) = self.stream.partner(start).filter(|p| *p > start && *p + 1 < end) else { return Ok(None) };
        let mark = |kind: Option<&Kind>| match kind {
            Some(Kind::Word(w)) => w == "T",
            Some(Kind::Cmd(c)) => matches!(c.as_str(), "top" | "intercal"),
            _ => false,
        };
        let braced = self.stream.kind(close + 2) == Some(&Kind::Open(Bracket::Brace));
        let (at, length) = if braced { (close + 3, 5) } else { (close + 2, 3) };
        if self.stream.kind(close + 1) != Some(&Kind::Op('^')) || !mark(self.stream.kind(at)) || close + length != end {
            return Ok(None);
        }
        Ok(match self.value(start, close + 1)? {
            Value::Matrix(rows) => {
                let width = rows.first().map_or(0, Vec::len);
                Some(Value::Matrix((0..width).map(|j| rows.iter().map(|r| r[j].clone()).collect()).collect()))
            }
            row @ Value::Row { .. } => Some(row),
            _ => None,
        })
    }

    fn is_half_open(&self, start: usize, end: usize) -> bool {
        let kinds = (self.stream.kind(start), end.checked_sub(1).and_then(|i| self.stream.kind(i)));
        matches!(
            kinds,
            (Some(Kind::Open(Bracket::Paren)), Some(Kind::Close(Bracket::Square)))
                | (Some(Kind::Open(Bracket::Square)), Some(Kind::Close(_)))
        ) && self.stream.partner(start) == end.checked_sub(1)
    }

    fn row(&self, open: Bracket, close: Bracket, a: usize, b: usize) -> Result<Option<Value>, Exhausted> {
        let mut commas = false;
        let mut words = false;
        top_level(self.stream, a, b, |_, kind| match kind {
            Kind::Op(',' | ';') => commas = true,
            kind => words |= joint(kind).is_some(),
        });
        if commas && !words {
            let items = parts(self.stream, a, b).0.iter().map(|(s, e)| self.value(*s, *e)).collect::<Result<_, _>>()?;
            return Ok(Some(Value::Row { open, close, items }));
        }
        // Parentheses around one thing.
        let inner = self.value(a, b)?;
        Ok(match inner {
            Value::Opaque(_) => None,
            Value::Scalar(e, None) if open == Bracket::Square => {
                Some(Value::Row { open, close, items: vec![Value::Scalar(e, None)] })
            }
            other => Some(other),
        })
    }

    fn set(&self, a: usize, b: usize) -> Read {
        if a >= b {
            return Ok(Value::Set(Vec::new()));
        }
        let mut bar = None;
        top_level(self.stream, a, b, |i, kind| {
            if matches!(kind, Kind::Op('|' | ':')) && bar.is_none() {
                bar = Some(i);
            }
        });
        if let Some(bar) = bar.filter(|i| *i > a && *i + 1 < b) {
            let symbol = match self.value(a, bar)? {
                Value::Scalar(e, _) => e,
                // {x ∈ ℝ | …}
                Value::Relation(terms, rels) if rels == [Rel::In] => match terms.into_iter().next() {
                    Some(Value::Scalar(e, _)) => e,
                    _ => return Ok(self.opaque(a, b)),
                },
                _ => return Ok(self.opaque(a, b)),
            };
            return Ok(Value::Builder(symbol, Box::new(self.value(bar + 1, b)?)));
        }
        Ok(match self.value(a, b)? {
            Value::List(items, _) => Value::Set(items),
            Value::Opaque(_) => self.opaque(a, b),
            one => Value::Set(vec![one]),
        })
    }

    fn matrix(&self, begin: usize, end: usize) -> Result<Option<Value>, Exhausted> {
        match self.stream.kind(begin) {
            Some(Kind::Begin(name)) if matches!(name.as_str(), "cases" | "dcases" | "rcases") => {
                return self.cases(begin, end).map(Some);
            }
            Some(Kind::Begin(name))
                if matches!(name.as_str(), "pmatrix" | "bmatrix" | "matrix" | "array" | "smallmatrix" | "Bmatrix") => {}
            _ => return Ok(None),
        }
        let rows = self.cells(begin, end)?;
        let regular = rows.first().is_some_and(|first: &Vec<Value>| rows.iter().all(|r| r.len() == first.len()));
        Ok(regular.then_some(Value::Matrix(rows)))
    }

    /// `\begin{cases}`: a system of relations, or pairs of a value and its condition.
    fn cases(&self, begin: usize, end: usize) -> Read {
        let rows = self.cells(begin, end)?;
        let items = rows
            .into_iter()
            .map(|mut row| match row.len() {
                1 => row.remove(0),
                _ => Value::Row { open: Bracket::Paren, close: Bracket::Paren, items: row },
            })
            .collect();
        Ok(Value::List(items, Joint::Comma))
    }

    fn cells(&self, begin: usize, end: usize) -> Result<Vec<Vec<Value>>, Exhausted> {
        let mut rows = Vec::new();
        for (a, b) in by_op(self.stream, begin + 1, end - 1, '\n') {
            if a >= b {
                continue;
            }
            let cells = by_op(self.stream, a, b, '&')
                .into_iter()
                .map(|(s, e)| self.trim(s, e))
                .map(|(s, e)| self.value(s, e))
                .collect::<Result<Vec<_>, _>>()?;
            rows.push(cells);
        }
        Ok(rows)
    }

    fn scalar(&self, start: usize, end: usize) -> Read {
        let ratio = by_op(self.stream, start, end, ':');
        if ratio.len() > 1 {
            let mut terms = Vec::new();
            for (a, b) in ratio {
                match self.value(a, b)? {
                    Value::Scalar(e, _) => terms.push(e),
                    _ => return Ok(self.opaque(start, end)),
                }
            }
            return Ok(Value::Ratio(terms));
        }
        if start >= end {
            return Ok(self.opaque(start, end));
        }
        if let Some(words) = self.words(start, end) {
            return Ok(Value::Words(words));
        }
        match Parser::new(self.stream, start, end, self.budget).prefix() {
            Ok((expr, at)) if at == end => Ok(Value::Scalar(expr, None)),
            Ok((expr, at)) => Ok(match units::read(self.stream, at, end) {
                Some(unit) => Value::Scalar(expr, Some(unit)),
                None => self.opaque(start, end),
            }),
            Err(ParseError::Budget(e)) => Err(e),
            Err(ParseError::Unreadable) => Ok(self.opaque(start, end)),
        }
    }

    /// Nothing but words, one of them too long for a product of letters.
    fn words(&self, start: usize, end: usize) -> Option<String> {
        let mut words: Vec<&str> = Vec::new();
        for i in start..end {
            match self.stream.kind(i)? {
                Kind::Word(w) | Kind::Text(w) if !crate::parse::is_function_name(w) => words.push(w),
                _ => return None,
            }
        }
        let long = words.iter().any(|w| w.len() > 3 && !crate::parse::is_constant_name(w));
        long.then(|| prose::normal_words(&words.join(" ")))
    }

    fn opaque(&self, start: usize, end: usize) -> Value {
        Value::Opaque(canonical_text(self.stream, start, end))
    }
}

//! Equality of typed values.
//!
//! Each pair of types has one rule, and rules are symmetric where mathematics is. Brackets, order, bases and units decide
//! here, by type, never as text.

mod decimal;
mod identity;
mod interval;
mod list;
mod normal;
mod relation;
mod row;
mod scalar;

use crate::answer::{Answer, Value, choice_letter, is_word_answer};
use crate::budget::{Budget, Exhausted};
use crate::verifier::Options;
use rasft_types::Method;

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// Equal, and by what means.
    Yes(Method),
    /// Not equal.
    No,
    /// Could not be decided; counts as not equal.
    Unknown,
}

impl Same {
    /// Whether equality was established.
    pub fn is_yes(self) -> bool {
        matches!(self, Self::Yes(_))
    }

    fn from_bool(equal: bool, method: Method) -> Self {
        if equal { Self::Yes(method) } else { Self::No }
    }

    /// Both hold; the weaker method is reported.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes(a), Self::Yes(b)) => Self::Yes(if rank(a) >= rank(b) { a } else { b }),
            (Self::No, _) | (_, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }
}

fn rank(method: Method) -> u8 {
    match method {
        Method::Exact => 0,
        Method::Numeric => 1,
        _ => 2,
    }
}

type Compared = Result<Same, Exhausted>;

/// A comparison under way.
pub struct Comparer<'a> {
    /// The policies.
    pub options: &'a Options,
    /// What pays.
    pub budget: &'a Budget,
}

/// Whether two texts are the same phrase ("June 6"), whatever commands set it: at least one word, no mathematics.
fn same_phrase(a: &str, b: &str) -> bool {
    let (a, b) = (plain_phrase(a), plain_phrase(b));
    a.is_some() && a == b
}

fn plain_phrase(text: &str) -> Option<String> {
    let plain = crate::answer::unwrap_text(text);
    let is_phrase =
        plain.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '.' | ',' | ':' | '-' | '\''));
    let has_word = plain.split(|c: char| !c.is_alphabetic()).any(|w| w.chars().count() > 2);
    (is_phrase && has_word).then(|| crate::answer::normal_words(&plain))
}

impl Comparer<'_> {
    /// Compares two answers.
    ///
    /// # Errors
    /// [`Exhausted`] when the budget runs out.
    pub fn answers(&self, gold: &Answer, answer: &Answer) -> Compared {
        if !gold.canonical.is_empty() && gold.canonical == answer.canonical {
            return Ok(Same::Yes(Method::Exact));
        }
        if let (Some((a, a_alone)), Some((b, b_alone))) = (choice_letter(&gold.text), choice_letter(&answer.text))
            && (a_alone || b_alone)
        {
            return Ok(Same::from_bool(a == b, Method::Exact));
        }
        if gold.canonical.is_empty() || answer.canonical.is_empty() {
            return Ok(Same::No);
        }
        let same = self.values(&gold.value, &answer.value)?;
        let opaque = !gold.is_readable() || !answer.is_readable();
        Ok(if opaque && !same.is_yes() && same_phrase(&gold.text, &answer.text) {
            Same::Yes(Method::Exact)
        } else {
            same
        })
    }

    /// Compares two values.
    ///
    /// # Errors
    /// [`Exhausted`] when the budget runs out.
    pub fn values(&self, a: &Value, b: &Value) -> Compared {
        self.budget.spend(2)?;
        if a == b && !matches!(a, Value::Opaque(_)) {
            return Ok(Same::Yes(Method::Exact));
        }
        let (a, b) = (normal::normal(a), normal::normal(b));
        if matches!(a, Value::List(..) | Value::Set(_)) || matches!(b, Value::List(..) | Value::Set(_)) {
            return self.collections(&a, &b);
        }
        self.single(&a, &b)
    }

    /// Compares two values neither of which is a list.
    fn single(&self, a: &Value, b: &Value) -> Compared {
        match (a, b) {
            (Value::Words(x), Value::Words(y)) => Ok(Same::from_bool(is_word_answer(x, y), Method::Exact)),
            (Value::Relation(..), _) | (_, Value::Relation(..)) => self.relations(a, b),
            (Value::Scalar(x, u), Value::Scalar(y, v)) => self.quantities(x, u.as_ref(), y, v.as_ref()),
            (Value::Row { .. }, Value::Row { .. }) => self.rows(a, b),
            (Value::Matrix(x), Value::Matrix(y)) => self.matrices(x, y),
            (Value::Matrix(m), Value::Row { items, .. }) | (Value::Row { items, .. }, Value::Matrix(m)) => {
                self.vector(m, items)
            }
            (Value::Row { items, .. }, Value::Scalar(e, None)) | (Value::Scalar(e, None), Value::Row { items, .. })
                if row::is_component_sum(e) =>
            {
                self.components(items, e)
            }
            (Value::Ratio(x), Value::Ratio(y)) => self.ratios(x, y),
            (Value::Opaque(x), Value::Opaque(y)) => {
                Ok(if !x.is_empty() && x == y { Same::Yes(Method::Exact) } else { Same::Unknown })
            }
            (Value::Opaque(_), _) | (_, Value::Opaque(_)) => Ok(Same::Unknown),
            _ => self.real_sets(a, b),
        }
    }
}

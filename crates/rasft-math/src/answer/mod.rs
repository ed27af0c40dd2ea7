//! From an answer's text to a typed value.
//!
//! What a bracket, a comma, a relation sign or a word means is decided here and kept in the type, so that comparison never
//! strips anything as text. Invariant: a value's nesting is bounded by [`crate::lex::MAX_DEPTH`].

mod choice;
mod prose;
mod read;
mod relation;
mod split;
mod trim;

pub(crate) use choice::unwrap_text;
pub use choice::{choice_letter, choice_text};
pub use prose::{is_word_answer, normal_words};

use crate::budget::{Budget, Exhausted};
use crate::expr::Expr;
use crate::lex::{self, Bracket};
use crate::units::Unit;

/// Relation signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rel {
    /// =
    Eq,
    /// ≈
    Approx,
    /// ≠
    Ne,
    /// <
    Lt,
    /// ≤
    Le,
    /// >
    Gt,
    /// ≥
    Ge,
    /// ∈
    In,
}

/// How the parts of a list were joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// Commas or semicolons only.
    Comma,
    /// The word "and".
    And,
    /// The word "or".
    Or,
}

/// What an answer is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar, perhaps with a unit.
    Scalar(Expr, Option<Unit>),
    /// Several answers in no particular order.
    List(Vec<Value>, Joint),
    /// A finite set.
    Set(Vec<Value>),
    /// An ordered row in brackets: a tuple, a point, or an interval.
    Row {
        /// `(` or `[` or `⟨`.
        open: Bracket,
        /// `)` or `]` or `⟩`.
        close: Bracket,
        /// What is between the commas.
        items: Vec<Value>,
    },
    /// A union of sets.
    Union(Vec<Value>),
    /// The first set without the second.
    Without(Box<Value>, Box<Value>),
    /// A matrix, row by row.
    Matrix(Vec<Vec<Value>>),
    /// A chain of relations: one term more than signs.
    Relation(Vec<Value>, Vec<Rel>),
    /// {symbol | condition}.
    Builder(Expr, Box<Value>),
    /// a : b : …
    Ratio(Vec<Expr>),
    /// Words.
    Words(String),
    /// Anything else, comparable only as written.
    Opaque(String),
}

/// An answer that was read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Its tokens in canonical spelling: equal texts are equal answers.
    pub canonical: String,
    /// What it is.
    pub value: Value,
}

impl Answer {
    /// Whether it could be read as something more than its text.
    pub fn is_readable(&self) -> bool {
        !matches!(self.value, Value::Opaque(_))
    }
}

/// Reads an answer.
///
/// # Errors
/// [`Exhausted`] when the budget runs out; whatever cannot be read otherwise is [`Value::Opaque`].
pub fn read_answer(text: &str, budget: &Budget) -> Result<Answer, Exhausted> {
    let trimmed = strip_markup(text);
    let stream = lex::tokenize(trimmed, budget)?;
    let canonical = crate::parse::canonical_text(&stream, 0, stream.tokens.len());
    let value = match prose::words_of(&stream) {
        Some(words) => prose::word_value(&words),
        None => read::Reader { stream: &stream, budget }.answer()?,
    };
    Ok(Answer { text: trimmed.to_owned(), canonical, value })
}

/// Removes Markdown emphasis, math delimiters and sentence punctuation around an answer.
pub fn strip_markup(text: &str) -> &str {
    let mut s = text.trim();
    loop {
        let before = s.len();
        s = s.trim_matches(|c: char| c.is_whitespace() || matches!(c, '`' | '\u{200b}' | '\u{feff}'));
        for mark in ["**", "__", "$$", "\\[", "\\]", "\\(", "\\)"] {
            s = s.strip_prefix(mark).unwrap_or(s);
            s = s.strip_suffix(mark).unwrap_or(s);
        }
        for mark in ["$", "*", "_"] {
            if s.len() > 2 * mark.len() && s.starts_with(mark) && s.ends_with(mark) && !s.ends_with("\\$") {
                s = &s[mark.len()..s.len() - mark.len()];
            }
        }
        if let Some(rest) = s.strip_suffix(['.', ',', ';', ':'])
            && !rest.ends_with(['\\', '.'])
        {
            s = rest;
        }
        if s.len() == before {
            return s;
        }
    }
}

//! From tokens to [`Expr`]: scalars only (lists, relations and brackets that mean something belong to [`crate::answer`]).
//!
//! Precedence, loosest first: sums; products, quotients and juxtaposition from left to right; signs; powers, factorials,
//! percent and degrees. A function without parentheses takes the product that follows, up to the next function, operator
//! or parenthesis: `\sin 2\pi x \cos y` is sin(2πx)·cos y.

mod atom;
mod function;
mod group;
mod product;

pub use function::{is_constant_name, is_function_name};

use crate::budget::{Budget, Exhausted};
use crate::expr::Expr;
use crate::lex::{Bracket, Gap, Kind, MAX_DEPTH, Stream};

/// Why tokens are not an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// They are something else.
    #[error("not an expression")]
    Unreadable,
    /// The budget ran out.
    #[error(transparent)]
    Budget(#[from] Exhausted),
}

/// How deep the parser recurses; a bracket takes three levels.
const MAX_RECURSION: usize = 3 * MAX_DEPTH;

pub(crate) type Parsed = Result<Expr, ParseError>;

/// A cursor over part of a stream.
pub struct Parser<'a> {
    stream: &'a Stream,
    at: usize,
    /// Letters already taken from the word at `at`.
    letters: usize,
    end: usize,
    depth: usize,
    /// A symbol was read: words that follow are no longer units.
    seen_symbol: bool,
    budget: &'a Budget,
}

impl<'a> Parser<'a> {
    /// A parser of tokens `start..end`.
    pub fn new(stream: &'a Stream, start: usize, end: usize, budget: &'a Budget) -> Self {
        Self { stream, at: start, letters: 0, end, depth: 0, seen_symbol: false, budget }
    }

    /// Reads the longest expression at the cursor; gives it and the index of the first token after it.
    ///
    /// # Errors
    /// [`ParseError`] if no expression starts here or the budget runs out.
    pub fn prefix(mut self) -> Result<(Expr, usize), ParseError> {
        let (start, end) = (self.at, self.end);
        if let Some(expr) = self.infix(start, end)? {
            return Ok((expr, end));
        }
        let expr = self.sum()?;
        if self.letters > 0 {
            return Err(ParseError::Unreadable);
        }
        Ok((expr, self.at))
    }

    fn inner(&mut self, start: usize, end: usize) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_RECURSION {
            return Err(ParseError::Unreadable);
        }
        let saved = (self.at, self.letters, self.end);
        (self.at, self.letters, self.end) = (start, 0, end);
        let result = self.sum();
        let finished = self.at == self.end && self.letters == 0;
        (self.at, self.letters, self.end) = saved;
        self.depth -= 1;
        if finished { result } else { result.and(Err(ParseError::Unreadable)) }
    }

    fn kind(&self) -> Option<&'a Kind> {
        self.kind_at(self.at)
    }

    fn kind_at(&self, i: usize) -> Option<&'a Kind> {
        if i < self.end { self.stream.kind(i) } else { None }
    }

    fn gap(&self) -> Gap {
        if self.at < self.end { self.stream.tokens[self.at].gap } else { Gap::None }
    }

    fn op(&self) -> Option<char> {
        match self.kind() {
            Some(Kind::Op(c)) if self.letters == 0 => Some(*c),
            _ => None,
        }
    }

    fn bump(&mut self) {
        self.at += 1;
        self.letters = 0;
    }

    /// The closing bracket's index for the opening one at the cursor.
    fn partner(&self) -> Result<usize, ParseError> {
        self.stream.partner(self.at).filter(|p| *p > self.at && *p < self.end).ok_or(ParseError::Unreadable)
    }

    /// What is left of the word at the cursor.
    fn word(&self) -> Option<&'a str> {
        match self.kind() {
            Some(Kind::Word(w)) => w.get(self.letters..),
            _ => None,
        }
    }

    fn take_letters(&mut self, n: usize) {
        self.letters += n;
        if self.word().is_none_or(str::is_empty) {
            self.bump();
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut terms = vec![self.signed_term()?];
        while let Some('+' | '-' | '±' | '∓') = self.op() {
            terms.push(self.signed_term()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::Add(terms) })
    }

    fn signed_term(&mut self) -> Parsed {
        let sign = self.op();
        match sign {
            Some('+') => {
                self.bump();
                self.term()
            }
            Some('-') => {
                self.bump();
                Ok(Expr::Neg(Box::new(self.term()?)))
            }
            Some(c @ ('±' | '∓')) => {
                self.bump();
                Ok(Expr::PlusMinus(c == '±', Box::new(self.term()?)))
            }
            _ => self.term(),
        }
    }
}

/// The tokens' canonical text: what two spellings of the same tokens have in common.
pub fn canonical_text(stream: &Stream, start: usize, end: usize) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    // Braces around one token are spelling; around more they say what belongs together.
    let is_spelling = |i: usize| stream.partner(i).is_some_and(|p| p.abs_diff(i) <= 2);
    for (i, token) in stream.tokens.iter().enumerate().take(end).skip(start) {
        // Writing to a string cannot fail.
        let _ = match &token.kind {
            Kind::Num(n) if n.digits.is_empty() => write!(out, "{} ", n.value),
            Kind::Num(n) => write!(out, "{} ", n.digits),
            Kind::Word(w) => write!(out, "{w} "),
            Kind::Text(t) => write!(out, "{} ", t.to_lowercase()),
            Kind::Cmd(c) | Kind::Begin(c) | Kind::End(c) => write!(out, "\\{c} "),
            Kind::Open(Bracket::Brace) | Kind::Close(Bracket::Brace) if is_spelling(i) => Ok(()),
            Kind::Open(Bracket::Brace) => write!(out, "{{ "),
            Kind::Close(Bracket::Brace) => write!(out, "}} "),
            Kind::Open(b) => write!(out, "<{b:?} "),
            Kind::Close(b) => write!(out, "{b:?}> "),
            Kind::Op(c) => write!(out, "{c} "),
        };
    }
    out.truncate(out.trim_end().len());
    out
}

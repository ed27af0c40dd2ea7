//! From characters to tokens.
//!
//! The lexer knows LaTeX's spelling (sizing commands, spacing, text commands, Unicode twins, thousands separators) and
//! nothing of mathematics. Invariant: linear in the input but for text commands, which may nest a few levels deep;
//! brackets in the result that match carry each other's index, redundant nesting is gone.

mod brackets;
mod command;
mod number;
mod scan;
mod token;
mod unicode;

pub use brackets::{MAX_DEPTH, Stream};
pub use number::Literal;
pub use token::{Bracket, Gap, Kind, Token};

use crate::budget::{Budget, Exhausted};

/// Reads a string.
///
/// # Errors
/// [`Exhausted`] when the budget does not cover the input's length.
pub fn tokenize(text: &str, budget: &Budget) -> Result<Stream, Exhausted> {
    budget.spend(8 + text.len() as u64 / 4)?;
    Ok(Stream::new(scan::Scanner::new(text).run()))
}

//! Matching brackets, once, for everything downstream.
//!
//! Invariant: `partner` is symmetric, nests properly, and no match is deeper than [`MAX_DEPTH`] (deeper brackets count as
//! unmatched, which makes the answer unparsable). `((x))` is one pair. A half-open interval's `(a, b]` matches.

use super::token::{Bracket, Gap, Kind, Token};

/// How deep brackets may nest after redundant ones are gone; also the parser's recursion limit.
pub const MAX_DEPTH: usize = 96;

const NONE: u32 = u32::MAX;

/// Tokens with their brackets matched.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The tokens.
    pub tokens: Vec<Token>,
    partner: Vec<u32>,
}

impl Stream {
    /// Matches brackets and drops redundant pairs.
    pub fn new(tokens: Vec<Token>) -> Self {
        let partner = match_brackets(&tokens, usize::MAX);
        let dead = redundant(&tokens, &partner);
        if !dead.iter().any(|d| *d) {
            let partner = match_brackets(&tokens, MAX_DEPTH);
            return Self { tokens, partner };
        }
        let mut kept = Vec::with_capacity(tokens.len());
        let mut gap = Gap::None;
        for (mut token, dead) in tokens.into_iter().zip(dead) {
            gap = gap.max(token.gap);
            if !dead {
                token.gap = gap;
                gap = Gap::None;
                kept.push(token);
            }
        }
        let partner = match_brackets(&kept, MAX_DEPTH);
        Self { tokens: kept, partner }
    }

    /// The index of the bracket that matches the one at `i`.
    pub fn partner(&self, i: usize) -> Option<usize> {
        self.partner.get(i).filter(|p| **p != NONE).map(|p| *p as usize)
    }

    /// The kind of token `i`.
    pub fn kind(&self, i: usize) -> Option<&Kind> {
        self.tokens.get(i).map(|t| &t.kind)
    }

    /// Whether every bracket has a partner.
    pub fn is_balanced(&self) -> bool {
        self.tokens
            .iter()
            .enumerate()
            .all(|(i, t)| (t.kind.opens().is_none() && t.kind.closes().is_none()) || self.partner(i).is_some())
    }
}

fn compatible(open: Bracket, close: Bracket) -> bool {
    use Bracket::{Paren, Square};
    open == close || matches!((open, close), (Paren, Square) | (Square, Paren))
}

fn match_brackets(tokens: &[Token], max_depth: usize) -> Vec<u32> {
    let mut partner = vec![NONE; tokens.len()];
    let mut stack: Vec<(Bracket, usize)> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if let Some(open) = token.kind.opens() {
            stack.push((open, i));
        } else if let Some(close) = token.kind.closes()
            && let Some(&(open, j)) = stack.last()
            && compatible(open, close)
        {
            stack.pop();
            if stack.len() < max_depth {
                partner[i] = j as u32;
                partner[j] = i as u32;
            }
        }
    }
    partner
}

/// Marks the inner pair of `((x))`, `{{x}}`, `({x})`, `{(x)}`: same content, one pair is enough.
///
/// The outer pair of a mixed nest goes when it is a brace, the inner one otherwise, so that what remains still says
/// whether a parenthesis was written. `\frac{(x)}{y}` keeps its brace: a brace pair goes only when another remains.
fn redundant(tokens: &[Token], partner: &[u32]) -> Vec<bool> {
    let mut dead = vec![false; tokens.len()];
    for i in 0..tokens.len().saturating_sub(1) {
        let (Some(outer), Some(inner)) = (tokens[i].kind.opens(), tokens[i + 1].kind.opens()) else {
            continue;
        };
        let (p, q) = (partner[i], partner[i + 1]);
        if p == NONE || q == NONE || q + 1 != p {
            continue;
        }
        let same_close = |a: usize, b: u32, kind| {
            tokens[a].kind.opens() == Some(kind) && tokens[b as usize].kind.closes() == Some(kind)
        };
        let redundant = match (outer, inner) {
            (Bracket::Paren, Bracket::Paren) => {
                same_close(i, p, Bracket::Paren) && same_close(i + 1, q, Bracket::Paren)
            }
            (Bracket::Brace | Bracket::Paren | Bracket::Set, Bracket::Brace) => true,
            _ => false,
        };
        if redundant {
            dead[i + 1] = true;
            dead[q as usize] = true;
        }
    }
    dead
}

//! What stands around an answer: lead-ins, labels, side conditions, sentence punctuation.

use super::prose;
use super::read::Reader;
use super::split::top_level;
use crate::lex::{Bracket, Gap, Kind};

impl Reader<'_> {
    /// Without lead-ins ("Answer:"), sentence punctuation, and side conditions ("where …").
    pub(super) fn trim(&self, mut start: usize, mut end: usize) -> (usize, usize) {
        while start < end {
            let skip = match self.stream.kind(start) {
                Some(Kind::Op('.' | ',' | ';' | ':' | '=' | '≈' | '→' | '\n' | '&')) => 1,
                Some(Kind::Text(t)) if end > start + 1 && prose::is_lead(t) => 1,
                Some(Kind::Text(t) | Kind::Word(t)) if t.to_ascii_lowercase().starts_with("all") => {
                    self.such_that(start, end)
                }
                // The condition of a case.
                Some(Kind::Text(t) | Kind::Word(t))
                    if end > start + 1 && matches!(t.as_str(), "if" | "for" | "when") =>
                {
                    1
                }
                Some(Kind::Word(w)) if end > start + 1 && matches!(w.as_str(), "US" | "USD" | "EUR" | "GBP" | "Rs") => {
                    1
                }
                Some(Kind::Word(_)) => self.label(start, end).max(self.lead_in(start, end)),
                _ => 0,
            };
            if skip == 0 {
                break;
            }
            start += skip;
        }
        end = self.before_conditions(start, end);
        while end > start
            && matches!(self.stream.kind(end - 1), Some(Kind::Op('.' | ',' | ';' | ':' | '\n' | '&' | '?')))
        {
            end -= 1;
        }
        (start, end)
    }

    /// The end of the answer itself, before "where …", "(k ∈ ℤ)" and the like.
    fn before_conditions(&self, start: usize, end: usize) -> usize {
        let mut cut = end;
        top_level(self.stream, start, end, |i, kind| {
            if let Kind::Text(t) | Kind::Word(t) = kind {
                let first = t
                    .split(|c: char| !c.is_alphabetic())
                    .find(|w| !w.is_empty())
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                if matches!(first.as_str(), "where" | "for" | "with" | "if" | "when" | "since" | "because") && i > start
                {
                    cut = cut.min(i);
                }
            }
        });
        let end = cut;
        // `… (k ∈ ℤ)`
        if let Some(open) = self.stream.partner(end.wrapping_sub(1)).filter(|p| *p > start && *p < end) {
            let mut condition = false;
            top_level(self.stream, open + 1, end - 1, |_, kind| condition |= *kind == Kind::Op('∈'));
            if condition && self.stream.kind(open) == Some(&Kind::Open(Bracket::Paren)) {
                return open;
            }
        }
        end
    }

    /// The tokens up to the condition in "all x such that x > 3"; none in other texts.
    fn such_that(&self, start: usize, end: usize) -> usize {
        let is = |i: usize, word: &str| matches!(self.stream.kind(i), Some(Kind::Text(t) | Kind::Word(t)) if t == word);
        (start + 1..end.saturating_sub(1))
            .take(6)
            .find_map(|i| match () {
                () if is(i, "such that") => Some(i + 1 - start),
                () if is(i, "such") && is(i + 1, "that") => Some(i + 2 - start),
                () => None,
            })
            .filter(|n| start + n < end)
            .unwrap_or(0)
    }

    /// The tokens of a label with a colon, as in "Domain: (0, 1)".
    fn label(&self, start: usize, end: usize) -> usize {
        let words = (start..end).take_while(|i| matches!(self.stream.kind(*i), Some(Kind::Word(_)))).count();
        let long = (start..start + words).any(|i| matches!(self.stream.kind(i), Some(Kind::Word(w)) if w.len() > 2));
        let colon = self.stream.kind(start + words) == Some(&Kind::Op(':')) && start + words + 1 < end;
        if long && colon { words + 1 } else { 0 }
    }

    /// How many words lead in to a number, as in "about 20" or "a total of 25 apples".
    fn lead_in(&self, start: usize, end: usize) -> usize {
        let prose = |i: usize| match self.stream.kind(i) {
            Some(Kind::Word(w)) => {
                !crate::parse::is_function_name(w) && !matches!(w.as_str(), "and" | "or" | "pi" | "sqrt" | "no")
            }
            _ => false,
        };
        let words = (start..end).take_while(|i| prose(*i)).count();
        let apart = (start + 1..=start + words).all(|i| i < end && self.stream.tokens[i].gap == Gap::Soft);
        let long = (start..start + words).any(|i| matches!(self.stream.kind(i), Some(Kind::Word(w)) if w.len() > 2));
        let number = matches!(self.stream.kind(start + words), Some(Kind::Num(_) | Kind::Op('-')));
        if long && apart && number { words } else { 0 }
    }
}

//! Bracketed groups, arguments of commands, fractions.

use super::{ParseError, Parsed, Parser, canonical_text};
use crate::expr::{Expr, Func};
use crate::lex::{Bracket, Kind};
use num_bigint::BigInt;
use num_rational::BigRational;

impl Parser<'_> {
    /// The bracketed expression at the cursor; moves past it.
    pub(super) fn bracketed(&mut self) -> Parsed {
        let close = self.partner()?;
        let start = self.at + 1;
        let result = match self.infix(start, close)? {
            Some(expr) => expr,
            None => self.inner(start, close)?,
        };
        self.at = close;
        self.bump();
        Ok(result)
    }

    /// `a \over b` or `n \choose k`, if the tokens are one of them.
    pub(super) fn infix(&mut self, start: usize, close: usize) -> Result<Option<Expr>, ParseError> {
        Ok(match self.infix_command(start, close) {
            Some((i, "over")) => Some(Expr::Div(Box::new(self.inner(start, i)?), Box::new(self.inner(i + 1, close)?))),
            Some((i, _)) => Some(Expr::Func(Func::Binom, vec![self.inner(start, i)?, self.inner(i + 1, close)?])),
            None => None,
        })
    }

    /// `\over` or `\choose` directly inside a group.
    fn infix_command(&self, start: usize, close: usize) -> Option<(usize, &'static str)> {
        let mut i = start;
        while i < close {
            match self.stream.kind(i) {
                Some(Kind::Cmd(c)) if c == "over" => return Some((i, "over")),
                Some(Kind::Cmd(c)) if c == "choose" => return Some((i, "choose")),
                Some(k) if k.opens().is_some() => i = self.stream.partner(i).map_or(i, |p| p.max(i)),
                _ => {}
            }
            i += 1;
        }
        None
    }

    /// Expressions between commas inside the parentheses at the cursor; moves past them.
    pub(super) fn arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        let close = self.partner()?;
        let mut out = Vec::new();
        let mut start = self.at + 1;
        let mut i = start;
        while i <= close {
            match self.stream.kind(i) {
                Some(Kind::Op(',')) => {
                    out.push(self.inner(start, i)?);
                    start = i + 1;
                }
                _ if i == close => out.push(self.inner(start, i)?),
                Some(k) if k.opens().is_some() => i = self.stream.partner(i).map_or(i, |p| p.max(i)),
                _ => {}
            }
            i += 1;
        }
        self.at = close;
        self.bump();
        Ok(out)
    }

    /// An argument of a command: a group, or one atom.
    pub(super) fn argument(&mut self) -> Parsed {
        match self.kind() {
            Some(Kind::Open(Bracket::Brace)) => self.bracketed(),
            Some(_) => self.atom(),
            None => Err(ParseError::Unreadable),
        }
    }

    /// The two arguments after `\frac` or `\binom`. Unbraced digits are taken one at a time, as TeX does; what is left of
    /// the second numeral comes back as a further factor.
    pub(super) fn fraction_arguments(&mut self) -> Result<(Expr, Expr, Option<Expr>), ParseError> {
        if let Some(Kind::Num(n)) = self.kind() {
            let digits = n.digits.as_str();
            if digits.len() >= 2 {
                self.bump();
                return Ok((literal(&digits[..1])?, literal(&digits[1..2])?, rest(&digits[2..])?));
            }
        }
        let first = self.argument()?;
        if let Some(Kind::Num(n)) = self.kind()
            && n.digits.len() >= 2
        {
            let digits = n.digits.as_str();
            self.bump();
            return Ok((first, literal(&digits[..1])?, rest(&digits[1..])?));
        }
        Ok((first, self.argument()?, None))
    }

    /// The text of a subscript or an accent's argument; moves past it.
    pub(super) fn label(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        match self.kind() {
            Some(Kind::Open(Bracket::Brace)) => {
                let close = self.partner()?;
                self.at = close;
                self.bump();
                Ok(canonical_text(self.stream, start + 1, close))
            }
            Some(Kind::Word(_)) => {
                let letter = self.word().and_then(|w| w.get(..1)).unwrap_or_default().to_owned();
                self.take_letters(1);
                Ok(letter)
            }
            Some(Kind::Num(_) | Kind::Cmd(_) | Kind::Text(_) | Kind::Op('*' | '+' | '-' | '\'')) => {
                self.bump();
                Ok(canonical_text(self.stream, start, start + 1))
            }
            _ => Err(ParseError::Unreadable),
        }
    }

    /// The bar that closes the one at the cursor: the next at the same level.
    pub(super) fn bar_partner(&self) -> Option<usize> {
        let mut i = self.at + 1;
        while i < self.end {
            match self.stream.kind(i) {
                Some(Kind::Op('|')) if i > self.at + 1 => return Some(i),
                Some(k) if k.opens().is_some() => i = self.stream.partner(i).filter(|p| *p < self.end)?,
                Some(k) if k.closes().is_some() => return None,
                _ => {}
            }
            i += 1;
        }
        None
    }
}

fn literal(digits: &str) -> Parsed {
    let n: BigInt = digits.parse().map_err(|_| ParseError::Unreadable)?;
    Ok(Expr::Num(BigRational::from_integer(n)))
}

fn rest(digits: &str) -> Result<Option<Expr>, ParseError> {
    if digits.is_empty() { Ok(None) } else { literal(digits).map(Some) }
}

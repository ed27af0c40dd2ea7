//! Products, quotients, juxtaposition, mixed numbers.

use super::{ParseError, Parsed, Parser};
use crate::expr::{Expr, Func};
use crate::lex::{Bracket, Gap, Kind};
use crate::units;

impl Parser<'_> {
    pub(super) fn term(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > super::MAX_RECURSION {
            return Err(ParseError::Unreadable);
        }
        let result = self.term_inner();
        self.depth -= 1;
        result
    }

    fn term_inner(&mut self) -> Parsed {
        let mut factors = vec![self.first_factor()?];
        loop {
            match self.op() {
                Some('*') => {
                    self.bump();
                    factors.push(self.signed_factor()?);
                }
                // `1.50 / \mathrm{lb}`: a unit follows, which is not the parser's.
                Some('/') if matches!(self.kind_at(self.at + 1), Some(Kind::Text(_))) => break,
                Some('/') => {
                    self.bump();
                    let divisor = self.signed_factor()?;
                    let dividend = product(factors);
                    factors = vec![Expr::Div(Box::new(dividend), Box::new(divisor))];
                }
                _ if matches!(self.kind(), Some(Kind::Cmd(c)) if c == "mod") => {
                    self.bump();
                    let modulus = self.signed_factor()?;
                    factors = vec![Expr::Func(Func::Mod, vec![product(factors), modulus])];
                }
                _ if self.continues_product() => factors.push(self.factor()?),
                _ => break,
            }
        }
        Ok(product(factors))
    }

    /// A numeral followed by a fraction of numerals is a mixed number.
    fn first_factor(&mut self) -> Parsed {
        let whole = match self.kind() {
            Some(Kind::Num(n)) if !n.digits.is_empty() => n.value.clone(),
            _ => return self.signed_factor(),
        };
        let fraction = match self.kind_at(self.at + 1) {
            Some(Kind::Cmd(c)) if c == "frac" => {
                let start = self.at;
                self.bump();
                let parsed = self.frac_literal();
                if parsed.is_none() {
                    self.at = start;
                }
                parsed
            }
            Some(Kind::Num(n)) if !n.digits.is_empty() => {
                match (self.kind_at(self.at + 2), self.kind_at(self.at + 3)) {
                    (Some(Kind::Op('/')), Some(Kind::Num(d))) if !d.digits.is_empty() && n.value < d.value => {
                        let fraction =
                            Expr::Div(Box::new(Expr::Num(n.value.clone())), Box::new(Expr::Num(d.value.clone())));
                        self.at += 4;
                        Some(fraction)
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match fraction {
            Some(fraction) => {
                let mixed = Expr::Add(vec![Expr::Num(whole), fraction]);
                self.postfix(mixed)
            }
            None => self.signed_factor(),
        }
    }

    /// `\frac` with two plain integers, the cursor being on the command; otherwise `None`.
    fn frac_literal(&mut self) -> Option<Expr> {
        let start = self.at;
        self.bump();
        let parsed = self.fraction_arguments().ok();
        match parsed {
            Some((Expr::Num(n), Expr::Num(d), None)) if self.op() != Some('^') => {
                Some(Expr::Div(Box::new(Expr::Num(n)), Box::new(Expr::Num(d))))
            }
            _ => {
                self.at = start;
                None
            }
        }
    }

    pub(super) fn signed_factor(&mut self) -> Parsed {
        let mut negative = false;
        while let Some(c @ ('-' | '+')) = self.op() {
            negative ^= c == '-';
            self.bump();
        }
        let factor = self.factor()?;
        Ok(if negative { Expr::Neg(Box::new(factor)) } else { factor })
    }

    pub(super) fn factor(&mut self) -> Parsed {
        let base = self.atom()?;
        self.postfix(base)
    }

    /// Whether the next token continues a product without an operator.
    fn continues_product(&self) -> bool {
        let Some(kind) = self.kind() else { return false };
        match kind {
            Kind::Num(_) => !matches!(self.at.checked_sub(1).and_then(|i| self.stream.kind(i)), Some(Kind::Num(_))),
            Kind::Word(_) => !self.is_unit_word(),
            Kind::Open(Bracket::Brace) => !self.is_unit_group(),
            Kind::Open(Bracket::Paren | Bracket::Square | Bracket::Floor | Bracket::Ceil | Bracket::Bar) => true,
            // μm
            Kind::Cmd(c) if c == "mu" && !self.seen_symbol => !matches!(self.kind_at(self.at + 1), Some(Kind::Text(_))),
            Kind::Cmd(c) => !matches!(c.as_str(), "over" | "choose" | "mod" | "mathbb" | "emptyset"),
            Kind::Op('|') => self.bar_partner().is_some(),
            _ => false,
        }
    }

    /// A word after a number that names a unit or a thing counted rather than a product of letters.
    pub(super) fn is_unit_word(&self) -> bool {
        let Some(word) = self.word() else { return false };
        if self.seen_symbol || self.letters > 0 {
            return false;
        }
        if word.len() < 2 {
            // `2.45e6 m^{-1}`: only a measured quantity is written so.
            let scientific =
                matches!(self.at.checked_sub(1).and_then(|i| self.stream.kind(i)), Some(Kind::Num(n)) if n.scientific);
            return scientific && self.gap() > Gap::None && units::is_unit(word);
        }
        let is_last_function = super::is_function_name(word) && self.kind_at(self.at + 1).is_some();
        if units::is_unit(word) && !is_last_function {
            return true;
        }
        self.gap() > Gap::None
            && word.len() > 2
            && !super::is_function_name(word)
            && !super::function::is_constant_name(word)
    }

    fn is_unit_group(&self) -> bool {
        let close = self.partner().unwrap_or(self.at);
        !self.seen_symbol
            && close == self.at + 2
            && matches!(self.kind_at(self.at + 1), Some(Kind::Word(w)) if units::is_unit(w))
    }
}

pub(super) fn product(mut factors: Vec<Expr>) -> Expr {
    if factors.len() == 1 { factors.remove(0) } else { Expr::Mul(factors) }
}

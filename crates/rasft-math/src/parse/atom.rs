//! Atoms and what may follow one: powers, subscripts, factorials, percent, degrees, primes.

use super::function::{constant_named, is_function_name, is_greek};
use super::product::product;
use super::{ParseError, Parsed, Parser, canonical_text};
use crate::expr::{Expr, Func};
use crate::lex::{Bracket, Gap, Kind, Literal};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;

impl Parser<'_> {
    pub(super) fn atom(&mut self) -> Parsed {
        self.budget.spend(1)?;
        self.depth += 1;
        if self.depth > super::MAX_RECURSION {
            return Err(ParseError::Unreadable);
        }
        let result = self.atom_inner();
        self.depth -= 1;
        result
    }

    fn atom_inner(&mut self) -> Parsed {
        match self.kind() {
            Some(Kind::Num(n)) => {
                self.bump();
                self.numeral(n)
            }
            Some(Kind::Word(_)) => self.word_atom(),
            Some(Kind::Cmd(name)) => self.command(name),
            Some(Kind::Open(Bracket::Paren)) => {
                let (open, close) = (self.at, self.partner()?);
                let inner = self.bracketed()?;
                self.based_group(inner, open, close)
            }
            Some(Kind::Open(Bracket::Square | Bracket::Brace)) => self.bracketed(),
            Some(Kind::Open(bracket @ (Bracket::Floor | Bracket::Ceil | Bracket::Bar))) => {
                let func = match bracket {
                    Bracket::Floor => Func::Floor,
                    Bracket::Ceil => Func::Ceil,
                    _ => Func::Abs,
                };
                Ok(Expr::Func(func, vec![self.bracketed()?]))
            }
            Some(Kind::Op('|')) => {
                let close = self.bar_partner().ok_or(ParseError::Unreadable)?;
                let inner = self.inner(self.at + 1, close)?;
                self.at = close;
                self.bump();
                Ok(Expr::Func(Func::Abs, vec![inner]))
            }
            _ => Err(ParseError::Unreadable),
        }
    }

    /// A numeral, perhaps in a named base.
    fn numeral(&mut self, n: &Literal) -> Parsed {
        if self.op() == Some('_') && !n.digits.is_empty() {
            self.bump();
            let base = self.label()?;
            return in_base(&n.digits, &base);
        }
        Ok(match n.decimal {
            Some(decimal) => Expr::Dec(n.value.clone(), decimal),
            None => Expr::Num(n.value.clone()),
        })
    }

    /// `(2516)_8`
    fn based_group(&mut self, inner: Expr, open: usize, close: usize) -> Parsed {
        if self.op() != Some('_') {
            return Ok(inner);
        }
        match self.stream.kind(open + 1) {
            Some(Kind::Num(n)) if close == open + 2 && !n.digits.is_empty() => {
                self.bump();
                let base = self.label()?;
                in_base(&n.digits, &base)
            }
            _ => Err(ParseError::Unreadable),
        }
    }

    fn word_atom(&mut self) -> Parsed {
        let word = self.word().unwrap_or_default();
        if let Some(constant) = constant_named(word) {
            self.take_letters(word.len());
            return Ok(constant);
        }
        if word == "sqrt" || word == "cbrt" {
            self.take_letters(word.len());
            return self.root(if word == "sqrt" { 2 } else { 3 });
        }
        if is_greek(word) {
            self.take_letters(word.len());
            self.seen_symbol = true;
            return Ok(Expr::Sym(format!("\\{word}")));
        }
        // `sin`, `sinx`: a function's name with at most one letter after it.
        let name_len = (2..=word.len())
            .rev()
            .find(|n| word.is_char_boundary(*n) && word.len() - n <= 1 && is_function_name(&word[..*n]));
        if let Some(n) = name_len.filter(|n| *n == word.len() || *n >= 3) {
            let name = &word[..n];
            self.take_letters(n);
            return self.function(name);
        }
        let letter = word.get(..1).ok_or(ParseError::Unreadable)?;
        self.take_letters(1);
        match letter {
            "e" => Ok(Expr::E),
            "i" => Ok(Expr::I),
            _ => {
                self.seen_symbol = true;
                Ok(self.application(letter).unwrap_or_else(|| Expr::Sym(letter.to_owned())))
            }
        }
    }

    /// `f(x,y)`, `I(0)`: a letter applied to several arguments or to a numeral is one symbol.
    fn application(&mut self, letter: &str) -> Option<Expr> {
        if self.letters > 0 || !matches!(self.kind(), Some(Kind::Open(Bracket::Paren))) {
            return None;
        }
        let close = self.partner().ok()?;
        let mut i = self.at + 1;
        let mut commas = false;
        while i < close {
            match self.stream.kind(i) {
                Some(Kind::Op(',')) => commas = true,
                Some(k) if k.opens().is_some() => i = self.stream.partner(i)?,
                _ => {}
            }
            i += 1;
        }
        let numeral = close == self.at + 2 && matches!(self.kind_at(self.at + 1), Some(Kind::Num(_)));
        if !(commas || numeral && self.gap() == Gap::None) {
            return None;
        }
        let name = format!("{letter} {}", canonical_text(self.stream, self.at, close + 1));
        self.at = close;
        self.bump();
        Some(Expr::Sym(name))
    }

    fn command(&mut self, name: &str) -> Parsed {
        match name {
            "frac" => {
                self.bump();
                let (n, d, more) = self.fraction_arguments()?;
                let quotient = Expr::Div(Box::new(n), Box::new(d));
                Ok(product(std::iter::once(quotient).chain(more).collect()))
            }
            "binom" => {
                self.bump();
                let (n, k, more) = self.fraction_arguments()?;
                let binomial = Expr::Func(Func::Binom, vec![n, k]);
                Ok(product(std::iter::once(binomial).chain(more).collect()))
            }
            "sqrt" | "cbrt" => {
                self.bump();
                self.root(if name == "sqrt" { 2 } else { 3 })
            }
            "sum" | "prod" => {
                self.bump();
                self.range(name == "prod")
            }
            "int" | "iint" | "oint" | "lim" | "limsup" | "liminf" => {
                let text = canonical_text(self.stream, self.at, self.end);
                self.at = self.end;
                self.letters = 0;
                Ok(Expr::Opaque(text))
            }
            _ if is_function_name(name) => {
                self.bump();
                self.function(name)
            }
            _ => {
                self.bump();
                if let Some(constant) = constant_named(name) {
                    return Ok(constant);
                }
                self.seen_symbol = true;
                if let Some(vector) = self.unit_vector(name) {
                    return Ok(vector);
                }
                if name.starts_with("accent:") || matches!(name, "overline" | "mathbb" | "operatorname") {
                    return Ok(Expr::Sym(format!("{name} {}", self.label()?)));
                }
                Ok(Expr::Sym(format!("\\{name}")))
            }
        }
    }

    /// `\hat{\imath}`, `\vec{j}`: the letter alone, as `\mathbf{i}` is read.
    fn unit_vector(&mut self, name: &str) -> Option<Expr> {
        if !matches!(name, "accent:hat" | "accent:vec") {
            return None;
        }
        let start = self.at;
        let vector = match self.label().ok()?.as_str() {
            "i" | "\\imath" => Expr::I,
            "j" | "\\jmath" => Expr::Sym("j".to_owned()),
            "k" => Expr::Sym("k".to_owned()),
            _ => {
                self.at = start;
                self.letters = 0;
                return None;
            }
        };
        Some(vector)
    }

    /// Everything that binds tighter than multiplication.
    pub(super) fn postfix(&mut self, mut base: Expr) -> Parsed {
        loop {
            match self.op() {
                Some('^') => {
                    self.bump();
                    base = self.power(base)?;
                }
                Some('_') => {
                    let Expr::Sym(name) = &base else { return Err(ParseError::Unreadable) };
                    let name = name.clone();
                    self.bump();
                    base = Expr::Sym(format!("{name}_{}", self.label()?));
                }
                Some('!') => {
                    self.bump();
                    let double = self.op() == Some('!');
                    if double {
                        self.bump();
                    }
                    base = Expr::Func(if double { Func::DoubleFact } else { Func::Fact }, vec![base]);
                }
                Some('%') => {
                    self.bump();
                    base = Expr::Percent(Box::new(base));
                }
                Some('°') => {
                    self.bump();
                    base = self.degrees(base);
                }
                Some('\'') => match base {
                    Expr::Sym(name) => {
                        self.bump();
                        base = Expr::Sym(format!("{name}'"));
                    }
                    Expr::Num(_) | Expr::Dec(..) if self.after_value() => {
                        self.bump();
                        base = Expr::Degree(Box::new(base));
                    }
                    other => return Ok(other),
                },
                _ if matches!(self.kind(), Some(Kind::Text(t) | Kind::Word(t)) if matches!(t.as_str(), "percent" | "percents" | "per cent")) =>
                {
                    self.bump();
                    base = Expr::Percent(Box::new(base));
                }
                _ => return Ok(base),
            }
        }
    }

    /// Whether nothing follows the prime at the cursor, so that it marks minutes, seconds or feet.
    fn after_value(&self) -> bool {
        matches!(self.kind_at(self.at + 1), None | Some(Kind::Op('\'' | '"')))
    }

    /// An angle, with the minutes and seconds that may follow.
    fn degrees(&mut self, whole: Expr) -> Expr {
        let mut parts = vec![whole];
        for (mark, worth) in [(1, 60), (2, 3600)] {
            let Some(Kind::Num(n)) = self.kind() else { break };
            let Some(after) = self.primes(self.at + 1, mark) else { continue };
            parts.push(Expr::Div(Box::new(Expr::Num(n.value.clone())), Box::new(Expr::int(worth))));
            self.at = after;
        }
        Expr::Degree(Box::new(sum_of(parts)))
    }

    /// The index after exactly `count` primes at `at`, raised or not.
    fn primes(&self, at: usize, count: usize) -> Option<usize> {
        let mut i = at;
        let raised = self.kind_at(i) == Some(&Kind::Op('^'));
        i += usize::from(raised);
        let braced = raised && self.kind_at(i) == Some(&Kind::Open(Bracket::Brace));
        i += usize::from(braced);
        let mut seen = 0;
        while let Some(Kind::Op(c @ ('\'' | '"'))) = self.kind_at(i) {
            seen += if *c == '"' { 2 } else { 1 };
            i += 1;
        }
        (seen == count).then_some(i + usize::from(braced))
    }

    fn power(&mut self, base: Expr) -> Parsed {
        if self.op() == Some('°') {
            self.bump();
            return Ok(self.degrees(base));
        }
        if let (Some(Kind::Open(Bracket::Brace)), Ok(close)) = (self.kind(), self.partner()) {
            let marks = (self.at + 1..close).map(|i| self.stream.kind(i));
            if marks.clone().count() == 1 && marks.clone().all(|k| k == Some(&Kind::Op('°'))) {
                self.at = close;
                self.bump();
                return Ok(self.degrees(base));
            }
            if close > self.at + 1 && marks.clone().all(|k| matches!(k, Some(Kind::Op('\'' | '*')))) {
                let count = close - self.at - 1;
                self.at = close;
                self.bump();
                return match base {
                    Expr::Sym(name) => Ok(Expr::Sym(format!("{name}{}", "'".repeat(count)))),
                    Expr::Num(_) | Expr::Dec(..) => Ok(Expr::Degree(Box::new(base))),
                    _ => Err(ParseError::Unreadable),
                };
            }
        }
        let negative = self.op() == Some('-');
        if negative {
            self.bump();
        }
        let mut exponent = self.argument()?;
        // 2^{3}^{2} is an error in LaTeX; plain text means a tower.
        if self.op() == Some('^') {
            self.depth += 1;
            if self.depth > super::MAX_RECURSION {
                return Err(ParseError::Unreadable);
            }
            self.bump();
            exponent = self.power(exponent)?;
            self.depth -= 1;
        }
        if negative {
            exponent = Expr::Neg(Box::new(exponent));
        }
        Ok(Expr::Pow(Box::new(base), Box::new(exponent)))
    }
}

fn in_base(digits: &str, base: &str) -> Parsed {
    let base = base.trim();
    let named = || crate::words::number_from_words(base).and_then(|n| u32::try_from(n).ok());
    let base: u32 = base.parse().ok().or_else(named).filter(|b| (2..=36).contains(b)).ok_or(ParseError::Unreadable)?;
    let value = BigInt::parse_bytes(digits.as_bytes(), base).ok_or(ParseError::Unreadable)?;
    if value.to_u8().is_none() && digits.len() > 4_000 {
        return Err(ParseError::Unreadable);
    }
    Ok(Expr::Based { value: BigRational::from_integer(value), base })
}

fn sum_of(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 { parts.remove(0) } else { Expr::Add(parts) }
}

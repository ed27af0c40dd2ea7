//! Functions, roots, sums and products.

use super::product::product;
use super::{ParseError, Parsed, Parser};
use crate::expr::{Expr, Func};
use crate::lex::{Bracket, Kind};

fn func_named(name: &str) -> Option<Func> {
    Some(match name {
        "sin" => Func::Sin,
        "cos" => Func::Cos,
        "tan" => Func::Tan,
        "cot" => Func::Cot,
        "sec" => Func::Sec,
        "csc" | "cosec" => Func::Csc,
        "arcsin" | "asin" => Func::Asin,
        "arccos" | "acos" => Func::Acos,
        "arctan" | "atan" => Func::Atan,
        "arccot" | "acot" => Func::Acot,
        "arcsec" | "asec" => Func::Asec,
        "arccsc" | "acsc" => Func::Acsc,
        "arcsinh" | "asinh" | "arsinh" => Func::Asinh,
        "arccosh" | "acosh" | "arcosh" => Func::Acosh,
        "arctanh" | "atanh" | "artanh" => Func::Atanh,
        "coth" => Func::Coth,
        "sech" => Func::Sech,
        "csch" => Func::Csch,
        "cis" => Func::Cis,
        "sinh" => Func::Sinh,
        "cosh" => Func::Cosh,
        "tanh" => Func::Tanh,
        "exp" => Func::Exp,
        "ln" => Func::Ln,
        "log" => Func::Log,
        "abs" | "Abs" => Func::Abs,
        "floor" => Func::Floor,
        "ceil" => Func::Ceil,
        "gcd" => Func::Gcd,
        "lcm" => Func::Lcm,
        "min" => Func::Min,
        "max" => Func::Max,
        "Re" => Func::Re,
        "Im" => Func::Im,
        _ => return None,
    })
}

/// Whether letters in a row are a function's name.
pub fn is_function_name(name: &str) -> bool {
    func_named(name).is_some()
}

/// The constant of this name.
pub(super) fn constant_named(name: &str) -> Option<Expr> {
    match name {
        "pi" => Some(Expr::Pi),
        "infty" | "infinity" | "inf" | "oo" => Some(Expr::Inf),
        "imath" => Some(Expr::I),
        "e" => Some(Expr::E),
        _ => None,
    }
}

/// A Greek letter's name written out as a word.
pub(super) fn is_greek(word: &str) -> bool {
    const NAMES: [&str; 16] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "sigma", "omega", "phi", "psi", "rho", "tau",
        "kappa", "Delta", "Omega",
    ];
    NAMES.contains(&word)
}

/// Whether a word is a constant's name.
pub fn is_constant_name(name: &str) -> bool {
    constant_named(name).is_some() || is_greek(name) || name == "sqrt"
}

impl Parser<'_> {
    /// The call of `name`, the cursor being after it.
    pub(super) fn function(&mut self, name: &str) -> Parsed {
        let func = func_named(name).ok_or(ParseError::Unreadable)?;
        let (mut power, mut base) = (None, None);
        loop {
            match self.op() {
                Some('^') if power.is_none() => {
                    self.bump();
                    let negative = self.op() == Some('-');
                    if negative {
                        self.bump();
                    }
                    let exponent = self.argument()?;
                    power = Some(if negative { Expr::Neg(Box::new(exponent)) } else { exponent });
                }
                Some('_') if base.is_none() => {
                    self.bump();
                    base = Some(self.argument()?);
                }
                _ => break,
            }
        }
        let args = self.call_arguments(func)?;
        Ok(apply(func, args, power, base))
    }

    fn call_arguments(&mut self, func: Func) -> Result<Vec<Expr>, ParseError> {
        let several = matches!(func, Func::Gcd | Func::Lcm | Func::Min | Func::Max);
        match self.kind() {
            Some(Kind::Open(Bracket::Paren | Bracket::Set)) if several => self.arguments(),
            Some(Kind::Open(Bracket::Paren | Bracket::Brace | Bracket::Square)) => Ok(vec![self.bracketed()?]),
            _ => Ok(vec![self.bare_argument()?]),
        }
    }

    /// The product that a function without parentheses takes.
    fn bare_argument(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > super::MAX_RECURSION {
            return Err(ParseError::Unreadable);
        }
        let mut factors = vec![self.signed_factor()?];
        loop {
            let more = match self.kind() {
                Some(Kind::Word(_)) => {
                    let word = self.word().unwrap_or_default();
                    !is_function_name(word) && !self.is_unit_word()
                }
                Some(Kind::Cmd(c)) => {
                    !is_function_name(c)
                        && !matches!(
                            c.as_str(),
                            "over" | "choose" | "mod" | "mathbb" | "emptyset" | "sum" | "prod" | "int"
                        )
                }
                Some(Kind::Num(_)) => !matches!(self.stream.kind(self.at - 1), Some(Kind::Num(_))),
                _ => false,
            };
            if !more {
                break;
            }
            factors.push(self.factor()?);
        }
        self.depth -= 1;
        Ok(product(factors))
    }

    /// `[n]{x}`, `{x}`, `(x)` or one atom, the cursor being after the root sign.
    pub(super) fn root(&mut self, default_index: i64) -> Parsed {
        let mut index = Expr::int(default_index);
        if matches!(self.kind(), Some(Kind::Open(Bracket::Square))) {
            index = self.bracketed()?;
        }
        let radicand = match self.kind() {
            Some(Kind::Open(Bracket::Brace | Bracket::Paren)) => self.bracketed()?,
            _ => self.atom()?,
        };
        Ok(Expr::Root(Box::new(index), Box::new(radicand)))
    }

    /// `_{k=a}^{b} body`, the cursor being after the sign.
    pub(super) fn range(&mut self, product: bool) -> Parsed {
        let (mut lower, mut to) = (None, None);
        for _ in 0..2 {
            match self.op() {
                Some('_') => {
                    self.bump();
                    let close = self.partner()?;
                    let Some(Kind::Word(var)) = self.kind_at(self.at + 1) else { return Err(ParseError::Unreadable) };
                    if self.kind_at(self.at + 2) != Some(&Kind::Op('=')) {
                        return Err(ParseError::Unreadable);
                    }
                    lower = Some((var.clone(), self.inner(self.at + 3, close)?));
                    self.at = close;
                    self.bump();
                }
                Some('^') => {
                    self.bump();
                    to = Some(self.argument()?);
                }
                _ => {}
            }
        }
        let ((var, from), to) = lower.zip(to).ok_or(ParseError::Unreadable)?;
        let body = self.term()?;
        // `i` and `e` are constants elsewhere, here they are the index.
        let constant = match var.as_str() {
            "i" => Some(Expr::I),
            "e" => Some(Expr::E),
            _ => None,
        };
        let body = match constant {
            Some(c) => body.map(&mut |e| (*e == c).then(|| Expr::Sym(var.clone()))),
            None => body,
        };
        Ok(Expr::Range { product, var, from: Box::new(from), to: Box::new(to), body: Box::new(body) })
    }
}

fn inverse(func: Func) -> Option<Func> {
    Some(match func {
        Func::Sin => Func::Asin,
        Func::Cos => Func::Acos,
        Func::Tan => Func::Atan,
        Func::Cot => Func::Acot,
        Func::Sec => Func::Asec,
        Func::Csc => Func::Acsc,
        Func::Sinh => Func::Asinh,
        Func::Cosh => Func::Acosh,
        Func::Tanh => Func::Atanh,
        _ => return None,
    })
}

/// Whether the function takes an angle, so that a degree sign in its argument means what it says.
fn takes_angle(func: Func) -> bool {
    matches!(func, Func::Sin | Func::Cos | Func::Tan | Func::Cot | Func::Sec | Func::Csc | Func::Cis)
}

fn apply(func: Func, mut args: Vec<Expr>, power: Option<Expr>, base: Option<Expr>) -> Expr {
    if takes_angle(func) {
        for arg in &mut args {
            if arg.any(&mut |e| matches!(e, Expr::Degree(_))) {
                *arg = arg.map(&mut |e| match e {
                    Expr::Degree(x) => {
                        Some(Expr::Div(Box::new(Expr::Mul(vec![(**x).clone(), Expr::Pi])), Box::new(Expr::int(180))))
                    }
                    _ => None,
                });
            }
        }
    }
    let minus_one = power.as_ref().is_some_and(|p| matches!(p, Expr::Neg(one) if **one == Expr::int(1)));
    if minus_one && let Some(inverse) = inverse(func) {
        return Expr::Func(inverse, args);
    }
    let call = match (func, base) {
        (Func::Log, Some(Expr::E)) => Expr::Func(Func::Ln, args),
        (Func::Log, Some(base)) => Expr::Func(Func::LogBase, std::iter::once(base).chain(args).collect()),
        (Func::Exp, _) => args.into_iter().next().map_or(Expr::E, |x| Expr::Pow(Box::new(Expr::E), Box::new(x))),
        _ => Expr::Func(func, args),
    };
    match power {
        Some(power) => Expr::Pow(Box::new(call), Box::new(power)),
        None => call,
    }
}

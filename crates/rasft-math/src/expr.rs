//! The expression tree of scalars.
//!
//! Invariant: built only by the parser, so its depth is bounded by [`crate::lex::MAX_DEPTH`] and it may be walked by
//! recursion. Numbers are exact; a decimal keeps how many digits were written.

use num_rational::BigRational;

/// How a decimal literal was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// Digits after the point, less the exponent: the last digit is worth `10^-places`.
    pub places: i64,
    /// Significant digits.
    pub digits: u32,
}

/// Functions of scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Func {
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Cotangent.
    Cot,
    /// Secant.
    Sec,
    /// Cosecant.
    Csc,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Inverse cotangent.
    Acot,
    /// Inverse secant.
    Asec,
    /// Inverse cosecant.
    Acsc,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// Hyperbolic cotangent.
    Coth,
    /// Hyperbolic secant.
    Sech,
    /// Hyperbolic cosecant.
    Csch,
    /// cos + i sin.
    Cis,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Hyperbolic tangent.
    Tanh,
    /// Exponential.
    Exp,
    /// Natural logarithm.
    Ln,
    /// Logarithm whose base was not written.
    Log,
    /// Logarithm to a base: arguments (base, x).
    LogBase,
    /// Absolute value.
    Abs,
    /// Greatest integer not above.
    Floor,
    /// Least integer not below.
    Ceil,
    /// Factorial.
    Fact,
    /// Double factorial.
    DoubleFact,
    /// Binomial coefficient (n, k).
    Binom,
    /// Number of arrangements (n, k).
    Perm,
    /// Greatest common divisor.
    Gcd,
    /// Least common multiple.
    Lcm,
    /// Least of.
    Min,
    /// Greatest of.
    Max,
    /// Remainder (a, m).
    Mod,
    /// Real part.
    Re,
    /// Imaginary part.
    Im,
    /// Complex conjugate.
    Conj,
}

/// A scalar expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// An exact number written without a point.
    Num(BigRational),
    /// A number written with a point or an exponent.
    Dec(BigRational, Decimal),
    /// A numeral in a named base.
    Based {
        /// Its value.
        value: BigRational,
        /// The base.
        base: u32,
    },
    /// A symbol, subscript and accents included.
    Sym(String),
    /// π.
    Pi,
    /// Euler's number.
    E,
    /// The imaginary unit.
    I,
    /// +∞.
    Inf,
    /// Negation.
    Neg(Box<Expr>),
    /// Sum.
    Add(Vec<Expr>),
    /// Product.
    Mul(Vec<Expr>),
    /// Quotient.
    Div(Box<Expr>, Box<Expr>),
    /// Power.
    Pow(Box<Expr>, Box<Expr>),
    /// Root: (index, radicand).
    Root(Box<Expr>, Box<Expr>),
    /// A function's value.
    Func(Func, Vec<Expr>),
    /// A sum or product over an integer range.
    Range {
        /// Product rather than sum.
        product: bool,
        /// The index.
        var: String,
        /// First value.
        from: Box<Expr>,
        /// Last value.
        to: Box<Expr>,
        /// What is added or multiplied.
        body: Box<Expr>,
    },
    /// ±x (`true`) or ∓x (`false`).
    PlusMinus(bool, Box<Expr>),
    /// x %.
    Percent(Box<Expr>),
    /// x°.
    Degree(Box<Expr>),
    /// Something that can be compared only as written (an integral, a limit, a derivative).
    Opaque(String),
}

impl Expr {
    /// An integer.
    pub fn int(n: i64) -> Self {
        Self::Num(BigRational::from_integer(n.into()))
    }

    /// Calls `f` on every node, parents first.
    pub fn visit(&self, f: &mut dyn FnMut(&Expr)) {
        f(self);
        self.children(&mut |c| c.visit(f));
    }

    /// Calls `f` on each direct child.
    pub fn children<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Neg(a) | Self::PlusMinus(_, a) | Self::Percent(a) | Self::Degree(a) => f(a),
            Self::Add(v) | Self::Mul(v) | Self::Func(_, v) => v.iter().for_each(f),
            Self::Div(a, b) | Self::Pow(a, b) | Self::Root(a, b) => {
                f(a);
                f(b);
            }
            Self::Range { from, to, body, .. } => {
                f(from);
                f(to);
                f(body);
            }
            _ => {}
        }
    }

    /// Whether some node satisfies `test`.
    pub fn any(&self, test: &mut dyn FnMut(&Expr) -> bool) -> bool {
        if test(self) {
            return true;
        }
        let mut found = false;
        self.children(&mut |c| found = found || c.any(test));
        found
    }

    /// The free symbols, sorted, each once.
    pub fn symbols(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.collect_symbols(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    fn collect_symbols(&self, out: &mut Vec<String>) {
        match self {
            Self::Sym(s) => out.push(s.clone()),
            Self::Range { var, from, to, body, .. } => {
                from.collect_symbols(out);
                to.collect_symbols(out);
                let mut inner = Vec::new();
                body.collect_symbols(&mut inner);
                out.extend(inner.into_iter().filter(|s| s != var));
            }
            _ => self.children(&mut |c| c.collect_symbols(out)),
        }
    }

    /// Whether it has no free symbol.
    pub fn is_constant(&self) -> bool {
        self.symbols().is_empty()
    }

    /// The tree with each ±x replaced by x or −x (and ∓x by the opposite).
    pub fn with_sign(&self, plus: bool) -> Expr {
        self.map(&mut |e| match e {
            Self::PlusMinus(up, a) => {
                let inner = a.with_sign(plus);
                Some(if *up == plus { inner } else { Self::Neg(Box::new(inner)) })
            }
            _ => None,
        })
    }

    /// The tree with a symbol replaced.
    pub fn substitute(&self, name: &str, by: &Expr) -> Expr {
        self.map(&mut |e| match e {
            Self::Sym(s) if s == name => Some(by.clone()),
            _ => None,
        })
    }

    /// Rebuilds the tree: `f` gives a node's replacement, or `None` to descend into it.
    pub fn map(&self, f: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
        if let Some(new) = f(self) {
            return new;
        }
        match self {
            Self::Neg(a) => Self::Neg(Box::new(a.map(f))),
            Self::PlusMinus(s, a) => Self::PlusMinus(*s, Box::new(a.map(f))),
            Self::Percent(a) => Self::Percent(Box::new(a.map(f))),
            Self::Degree(a) => Self::Degree(Box::new(a.map(f))),
            Self::Add(v) => Self::Add(v.iter().map(|e| e.map(f)).collect()),
            Self::Mul(v) => Self::Mul(v.iter().map(|e| e.map(f)).collect()),
            Self::Func(name, v) => Self::Func(*name, v.iter().map(|e| e.map(f)).collect()),
            Self::Div(a, b) => Self::Div(Box::new(a.map(f)), Box::new(b.map(f))),
            Self::Pow(a, b) => Self::Pow(Box::new(a.map(f)), Box::new(b.map(f))),
            Self::Root(a, b) => Self::Root(Box::new(a.map(f)), Box::new(b.map(f))),
            Self::Range { product, var, from, to, body } => Self::Range {
                product: *product,
                var: var.clone(),
                from: Box::new(from.map(f)),
                to: Box::new(to.map(f)),
                body: Box::new(body.map(f)),
            },
            leaf => leaf.clone(),
        }
    }
}

//! Tokens.

use super::number::Literal;

/// Kinds of brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bracket {
    /// `( )`
    Paren,
    /// `[ ]`
    Square,
    /// `{ }`, LaTeX's invisible group.
    Brace,
    /// `\{ \}`
    Set,
    /// `⌊ ⌋`
    Floor,
    /// `⌈ ⌉`
    Ceil,
    /// `⟨ ⟩`
    Angle,
    /// `\left| \right|`
    Bar,
    /// `\begin{…} \end{…}`
    Env,
}

/// White space before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// None.
    None,
    /// Blanks, which LaTeX ignores.
    Soft,
    /// A spacing command or `~`.
    Explicit,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A numeral.
    Num(Literal),
    /// A run of Latin letters.
    Word(String),
    /// A command that is not punctuation, spacing or an operator: `frac`, `pi`, `sin`.
    Cmd(String),
    /// The words of a text command.
    Text(String),
    /// An opening bracket.
    Open(Bracket),
    /// A closing bracket.
    Close(Bracket),
    /// `\begin{name}`.
    Begin(String),
    /// `\end{name}`.
    End(String),
    /// An operator or punctuation mark in canonical spelling (`≤` for every way to write it); `\n` is `\\`.
    Op(char),
}

/// A token and the gap before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// White space before it.
    pub gap: Gap,
}

impl Kind {
    /// The bracket this opens.
    pub fn opens(&self) -> Option<Bracket> {
        match self {
            Self::Open(b) => Some(*b),
            Self::Begin(_) => Some(Bracket::Env),
            _ => None,
        }
    }

    /// The bracket this closes.
    pub fn closes(&self) -> Option<Bracket> {
        match self {
            Self::Close(b) => Some(*b),
            Self::End(_) => Some(Bracket::Env),
            _ => None,
        }
    }
}

//! What the lexer does with each LaTeX command.

use super::token::Bracket;

/// Classes of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// White space.
    Space,
    /// Nothing: sizing and style.
    Drop,
    /// Nothing, and neither is its argument.
    DropArgument,
    /// An operator in canonical spelling.
    Op(char),
    /// An opening bracket.
    Open(Bracket),
    /// A closing bracket.
    Close(Bracket),
    /// Its argument is words.
    Text,
    /// Its argument is the name of a function or a unit, or letters in another face.
    Face,
    /// An accent: the next letter is another symbol.
    Accent,
    /// A command under this name.
    Name(&'static str),
    /// Any other.
    Other,
}

/// The class of the command `name` (without backslash).
pub fn classify(name: &str) -> Class {
    use Class::{Accent, Drop, DropArgument, Face, Name, Op, Space, Text};
    match name {
        "," | ";" | ":" | "!" | " " | ">" | "quad" | "qquad" | "enspace" | "thinspace" | "negthinspace"
        | "medspace" | "newline" | "par" => Space,
        "left" | "right" | "middle" | "big" | "Big" | "bigg" | "Bigg" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl"
        | "biggr" | "Biggl" | "Biggr" | "bigm" | "displaystyle" | "textstyle" | "scriptstyle" | "limits"
        | "nolimits" | "boxed" | "fbox" | "mathstrut" | "nonumber" | "rm" | "bf" | "it" | "em" | "large" | "Large"
        | "small" | "centering" | "noindent" | "ensuremath" | "underline" | "hline" | "cdotp" | "mathop"
        | "mathrel" | "mathbin" | "euro" | "pounds" | "textdollar" | "texteuro" | "allowbreak" | "protect" | "!!"
        | "therefore" | "relax" => Drop,
        "hspace" | "vspace" | "label" | "tag" | "color" | "textcolor" | "colorbox" | "hphantom" | "vphantom"
        | "phantom" | "kern" | "hskip" => DropArgument,
        "cdot" | "times" | "ast" | "bullet" | "star" | "centerdot" => Op('*'),
        "div" => Op('/'),
        "pm" => Op('±'),
        "mp" => Op('∓'),
        "le" | "leq" | "leqslant" | "leqq" => Op('≤'),
        "ge" | "geq" | "geqslant" | "geqq" => Op('≥'),
        "lt" => Op('<'),
        "gt" => Op('>'),
        "ne" | "neq" => Op('≠'),
        "approx" | "simeq" | "sim" | "thickapprox" | "approxeq" | "cong" => Op('≈'),
        "equiv" => Op('≡'),
        "in" => Op('∈'),
        "cup" | "bigcup" => Op('∪'),
        "cap" | "bigcap" => Op('∩'),
        "setminus" | "smallsetminus" | "backslash" => Op('∖'),
        "to" | "rightarrow" | "Rightarrow" | "implies" | "longrightarrow" | "Longrightarrow" | "mapsto" | "iff"
        | "Leftrightarrow" => Op('→'),
        "mid" | "vert" => Op('|'),
        "colon" => Op(':'),
        "ldots" | "dots" | "cdots" | "dotsc" | "dotsb" | "vdots" | "ddots" => Op('…'),
        "%" => Op('%'),
        "degree" | "textdegree" | "circ" | "deg" => Op('°'),
        "prime" => Op('\''),
        "\\" | "cr" | "tabularnewline" => Op('\n'),
        "text" | "textbf" | "textrm" | "textit" | "textnormal" | "mbox" | "hbox" | "textsf" | "texttt" | "textsc"
        | "emph" | "textup" | "textmd" => Text,
        "mathrm" | "mathbf" | "operatorname" | "mathit" | "mathsf" | "mathtt" | "boldsymbol" | "bm" | "mathcal"
        | "mathscr" | "mathfrak" | "mathnormal" | "pmb" => Face,
        "bar" | "hat" | "vec" | "dot" | "ddot" | "tilde" | "widehat" | "widetilde" | "overrightarrow"
        | "overleftarrow" => Accent,
        "overline" => Name("overline"),
        "dfrac" | "tfrac" | "cfrac" | "frac" | "sfrac" | "nicefrac" => Name("frac"),
        "dbinom" | "tbinom" | "binom" => Name("binom"),
        "varnothing" | "emptyset" => Name("emptyset"),
        "varphi" => Name("phi"),
        "vartheta" => Name("theta"),
        "varepsilon" => Name("epsilon"),
        "varrho" => Name("rho"),
        "arctg" => Name("arctan"),
        "tg" => Name("tan"),
        "ctg" => Name("cot"),
        "lg" => Name("log"),
        "exponentialE" => Name("e"),
        "dif" | "differentialD" => Name("d"),
        "reals" | "Reals" => Name("R"),
        "bmod" | "pmod" | "mod" => Name("mod"),
        _ => bracket(name).unwrap_or(Class::Other),
    }
}

fn bracket(name: &str) -> Option<Class> {
    use Class::{Close, Open};
    Some(match name {
        "{" | "lbrace" => Open(Bracket::Set),
        "}" | "rbrace" => Close(Bracket::Set),
        "lfloor" => Open(Bracket::Floor),
        "rfloor" => Close(Bracket::Floor),
        "lceil" => Open(Bracket::Ceil),
        "rceil" => Close(Bracket::Ceil),
        "langle" => Open(Bracket::Angle),
        "rangle" => Close(Bracket::Angle),
        "lvert" | "lVert" => Open(Bracket::Bar),
        "rvert" | "rVert" => Close(Bracket::Bar),
        "lbrack" => Open(Bracket::Square),
        "rbrack" => Close(Bracket::Square),
        "lparen" => Open(Bracket::Paren),
        "rparen" => Close(Bracket::Paren),
        _ => return None,
    })
}

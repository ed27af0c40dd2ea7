//! The scanner: one pass over the characters.

use super::command::{Class, classify};
use super::number;
use super::token::{Bracket, Gap, Kind, Token};
use super::unicode::{Twin, digit_value, twin};

/// How deep text commands may nest.
const TEXT_DEPTH: usize = 3;

pub(super) struct Scanner {
    chars: Vec<char>,
    at: usize,
    gap: Gap,
    open: Vec<Bracket>,
    out: Vec<Token>,
    depth: usize,
    /// Inside a text command that mixes words and mathematics: words of several letters are text.
    words_are_text: bool,
    /// Inside a text command that holds a unit: single letters are text too.
    letters_are_units: bool,
}

impl Scanner {
    pub(super) fn new(text: &str) -> Self {
        Self::with(text.chars().collect(), 0, false)
    }

    fn with(chars: Vec<char>, depth: usize, words_are_text: bool) -> Self {
        let out = Vec::with_capacity(chars.len() / 2 + 4);
        Self { chars, at: 0, gap: Gap::None, open: Vec::new(), out, depth, words_are_text, letters_are_units: false }
    }

    pub(super) fn run(mut self) -> Vec<Token> {
        while let Some(&c) = self.chars.get(self.at) {
            self.step(c);
        }
        self.out
    }

    fn push(&mut self, kind: Kind) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        self.out.push(Token { kind, gap });
    }

    fn push_open(&mut self, bracket: Bracket) {
        self.open.push(bracket);
        self.push(Kind::Open(bracket));
    }

    fn push_close(&mut self, bracket: Bracket) {
        self.open.pop();
        self.push(Kind::Close(bracket));
    }

    fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn next_is(&self, offset: usize, c: char) -> bool {
        self.chars.get(self.at + offset) == Some(&c)
    }

    fn step(&mut self, c: char) {
        let dotted = c == '.' && self.chars.get(self.at + 1).is_some_and(|d| digit_value(*d).is_some() || *d == '\\');
        if digit_value(c).is_some() || dotted {
            let lists =
                matches!(self.open.last(), Some(Bracket::Paren | Bracket::Square | Bracket::Set | Bracket::Angle));
            if let Some((literal, end)) = number::read(&self.chars, self.at, !lists) {
                self.at = end;
                self.push(literal.map_or(Kind::Op('?'), Kind::Num));
                return;
            }
        }
        if c.is_ascii_alphabetic() {
            self.word();
            return;
        }
        self.at += 1;
        match c {
            ' ' | '\t' | '\n' | '\r' => self.widen(Gap::Soft),
            '\\' => self.command(),
            '$' | '`' | '#' => self.widen(Gap::Soft),
            '~' => self.widen(Gap::Explicit),
            // Outside of matrices an alignment mark is layout.
            '&' if self.open.last() != Some(&Bracket::Env) => self.widen(Gap::Soft),
            '{' => self.push_open(Bracket::Brace),
            '}' => self.push_close(Bracket::Brace),
            '(' => self.push_open(Bracket::Paren),
            ')' => self.push_close(Bracket::Paren),
            '[' => self.push_open(Bracket::Square),
            ']' => self.push_close(Bracket::Square),
            '*' if self.next_is(0, '*') => self.two(Kind::Op('^')),
            '<' if self.next_is(0, '=') => self.two(Kind::Op('≤')),
            '>' if self.next_is(0, '=') => self.two(Kind::Op('≥')),
            '=' if self.next_is(0, '=') => self.two(Kind::Op('=')),
            '-' if self.next_is(0, '>') => self.two(Kind::Op('→')),
            _ if c.is_ascii() => self.push(Kind::Op(c)),
            _ => self.twin(c),
        }
    }

    fn two(&mut self, kind: Kind) {
        self.at += 1;
        self.push(kind);
    }

    fn word(&mut self) {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(char::is_ascii_alphabetic) {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        // `np.arcsin`: a library's prefix.
        if matches!(word.as_str(), "np" | "math" | "sympy") && self.next_is(0, '.') {
            self.at += 1;
            return;
        }
        let is_text = (self.words_are_text && word.len() > 1) || self.letters_are_units;
        self.push(if is_text { Kind::Text(word) } else { Kind::Word(word) });
    }

    fn twin(&mut self, c: char) {
        match twin(c) {
            Some(Twin::Op('(')) => self.push_open(Bracket::Paren),
            Some(Twin::Op(')')) => self.push_close(Bracket::Paren),
            Some(Twin::Op('[')) => self.push_open(Bracket::Square),
            Some(Twin::Op(']')) => self.push_close(Bracket::Square),
            Some(Twin::Op(op)) => self.push(Kind::Op(op)),
            Some(Twin::Cmd(name)) => self.named(name),
            Some(Twin::Letter(letter)) => self.push(Kind::Word(letter.to_string())),
            Some(Twin::Super(first)) => self.script('^', first, true),
            Some(Twin::Sub(first)) => self.script('_', first, false),
            Some(Twin::Fraction(n, d)) => {
                let text: Vec<char> = format!("\\frac{{{n}}}{{{d}}}").chars().collect();
                self.inline(text, false);
            }
            Some(Twin::Space) => self.widen(Gap::Soft),
            Some(Twin::Skip) => {}
            None if c.is_alphabetic() => {
                let start = self.at - 1;
                while self.chars.get(self.at).is_some_and(|c| c.is_alphabetic()) {
                    self.at += 1;
                }
                let word = self.chars[start..self.at].iter().collect();
                self.push(Kind::Text(word));
            }
            None => self.push(Kind::Op(c)),
        }
    }

    /// A run of superscript or subscript characters is one group.
    fn script(&mut self, op: char, first: char, superscript: bool) {
        let mut text = vec![first];
        while let Some(&c) = self.chars.get(self.at) {
            match twin(c) {
                Some(Twin::Super(x)) if superscript => text.push(x),
                Some(Twin::Sub(x)) if !superscript => text.push(x),
                _ => break,
            }
            self.at += 1;
        }
        self.push(Kind::Op(op));
        self.push(Kind::Open(Bracket::Brace));
        self.inline(text, false);
        self.push(Kind::Close(Bracket::Brace));
    }

    /// Splices the tokens of another piece of text.
    fn inline(&mut self, text: Vec<char>, words_are_text: bool) {
        if self.depth >= TEXT_DEPTH {
            let words = text.into_iter().collect();
            self.push(Kind::Text(words));
            return;
        }
        let tokens = Scanner::with(text, self.depth + 1, words_are_text).run();
        self.splice(tokens);
    }

    fn splice(&mut self, mut tokens: Vec<Token>) {
        if let Some(first) = tokens.first_mut() {
            first.gap = first.gap.max(std::mem::replace(&mut self.gap, Gap::None));
        }
        self.out.append(&mut tokens);
    }

    fn command(&mut self) {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(char::is_ascii_alphabetic) {
            self.at += 1;
        }
        if self.at == start {
            let Some(&c) = self.chars.get(self.at) else { return };
            self.at += 1;
            match c {
                '$' | '(' | ')' | '[' | ']' | '#' | '&' | '_' => self.widen(Gap::Soft),
                '|' => self.push(Kind::Op('|')),
                _ => self.class(classify(c.encode_utf8(&mut [0; 4])), ""),
            }
            return;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        self.class(classify(&name), &name);
    }

    fn named(&mut self, name: &str) {
        self.class(classify(name), name);
    }

    fn class(&mut self, class: Class, name: &str) {
        match class {
            Class::Space => self.widen(Gap::Explicit),
            Class::Drop => self.drop_command(name),
            Class::DropArgument => {
                self.argument();
                self.widen(Gap::Explicit);
            }
            Class::Op(op) => self.push(Kind::Op(op)),
            Class::Open(bracket) => self.push_open(bracket),
            Class::Close(bracket) => self.push_close(bracket),
            Class::Text => self.text(),
            Class::Face => self.face(),
            Class::Accent => self.push(Kind::Cmd(format!("accent:{name}"))),
            Class::Name(name) => self.push(Kind::Cmd(name.to_owned())),
            Class::Other => match name {
                "begin" | "end" => self.environment(name == "begin"),
                _ => self.push(Kind::Cmd(name.to_owned())),
            },
        }
    }

    /// `\left` and `\right` make a bare bar a bracket; a following `.` is no delimiter.
    fn drop_command(&mut self, name: &str) {
        self.widen(Gap::Soft);
        if name != "left" && name != "right" {
            return;
        }
        while self.chars.get(self.at) == Some(&' ') {
            self.at += 1;
        }
        match self.chars.get(self.at) {
            Some('.') => self.at += 1,
            Some('|') => {
                self.at += 1;
                if name == "left" {
                    self.push_open(Bracket::Bar);
                } else {
                    self.push_close(Bracket::Bar);
                }
            }
            _ => {}
        }
    }

    /// The command's argument: a group's content or one character. Moves past it.
    fn argument(&mut self) -> Vec<char> {
        let mut i = self.at;
        while self.chars.get(i) == Some(&' ') {
            i += 1;
        }
        if self.chars.get(i) != Some(&'{') {
            let one: Vec<char> = self.chars.get(i).copied().filter(|c| !matches!(c, '\\' | '}')).into_iter().collect();
            self.at = i + one.len();
            return one;
        }
        let start = i + 1;
        let mut level = 0usize;
        while let Some(&c) = self.chars.get(i) {
            match c {
                '\\' => i += 1,
                '{' => level += 1,
                '}' => {
                    level -= 1;
                    if level == 0 {
                        self.at = i + 1;
                        return self.chars[start..i].to_vec();
                    }
                }
                _ => {}
            }
            i += 1;
        }
        // Truncated: the rest is the argument.
        self.at = self.chars.len();
        self.chars[start.min(self.at)..].to_vec()
    }

    fn text(&mut self) {
        let content = self.argument();
        let has_word = content.windows(2).any(|w| w[0].is_alphabetic() && w[1].is_alphabetic());
        let is_plain = content.iter().all(|c| {
            c.is_alphabetic()
                || c.is_whitespace()
                || matches!(c, '-' | ',' | '.' | ':' | ';' | '\'' | '!' | '?' | '~' | '’')
        });
        if has_word && is_plain {
            let gap = content.first().is_some_and(|c| c.is_whitespace() || *c == '~');
            self.widen(if gap { Gap::Explicit } else { Gap::None });
            let spaced: String = content.iter().map(|c| if *c == '~' { ' ' } else { *c }).collect();
            self.push(Kind::Text(spaced.trim().to_owned()));
            if content.last().is_some_and(|c| c.is_whitespace()) {
                self.widen(Gap::Soft);
            }
        } else if self.follows_value() && is_unit_text(&content) {
            self.unit_text(content);
        } else {
            self.inline(content, true);
        }
    }

    fn unit_text(&mut self, content: Vec<char>) {
        self.widen(Gap::Explicit);
        let mut inner = Scanner::with(content, self.depth + 1, true);
        inner.letters_are_units = true;
        self.splice(inner.run());
    }

    /// Whether what was read last can have a unit.
    fn follows_value(&self) -> bool {
        match self.out.last().map(|t| &t.kind) {
            Some(Kind::Num(_) | Kind::Text(_) | Kind::Op('/') | Kind::Close(Bracket::Brace | Bracket::Paren)) => true,
            Some(Kind::Cmd(name)) => name == "mu",
            _ => false,
        }
    }

    fn face(&mut self) {
        let content = self.argument();
        let letters: String = content.iter().filter(|c| !c.is_whitespace() && **c != '~').collect();
        let all_letters = !letters.is_empty() && letters.chars().all(|c| c.is_ascii_alphabetic());
        if content.contains(&'~') {
            self.widen(Gap::Explicit);
        }
        if all_letters && (content.contains(&'~') || self.follows_value()) && crate::units::is_unit(&letters) {
            self.push(Kind::Text(letters));
        } else if all_letters && crate::parse::is_function_name(&letters) {
            self.push(Kind::Cmd(letters));
        } else if all_letters && (letters.len() > 1 || content.contains(&'~')) {
            self.push(Kind::Text(letters));
        } else if self.follows_value() && content.contains(&'/') && is_unit_text(&content) {
            self.unit_text(content);
        } else {
            self.inline(content, true);
        }
    }

    fn environment(&mut self, begin: bool) {
        let name: String = self.argument().into_iter().filter(|c| c.is_ascii_alphabetic()).collect();
        match name.as_str() {
            // Displays are layout, not mathematics.
            "align" | "aligned" | "equation" | "gather" | "gathered" | "split" | "center" | "math" | "displaymath" => {
                self.widen(Gap::Soft)
            }
            _ if begin => {
                let is_array = matches!(name.as_str(), "array" | "tabular");
                self.open.push(Bracket::Env);
                self.push(Kind::Begin(name));
                if is_array {
                    self.argument();
                }
            }
            _ => {
                self.open.pop();
                self.push(Kind::End(name));
            }
        }
    }
}

/// `\text{m}`, `\text{ m/s}`: nothing but symbols of units.
fn is_unit_text(content: &[char]) -> bool {
    let mut units = content.split(|c| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).peekable();
    let symbols_only = content.iter().all(|c| {
        c.is_ascii_alphanumeric()
            || c.is_whitespace()
            || matches!(c, '/' | '^' | '{' | '}' | '-' | '~' | '.' | '²' | '³')
    });
    let starts_with_letter =
        content.iter().find(|c| !c.is_whitespace() && **c != '~').is_some_and(char::is_ascii_alphabetic);
    units.peek().is_some()
        && symbols_only
        && starts_with_letter
        && units.all(|w| crate::units::is_unit(&w.iter().collect::<String>()))
}

//! The closed vocabulary of the world, computed from the templates themselves, and how texts are cut into it.

use super::phrases as p;
use super::themes::{ALL, NAMES};
use std::collections::BTreeSet;

/// Every word, digit and symbol that a prompt or solution can hold, as [`lex`] cuts them, sorted by bytes. Numbers are
/// digits, one by one. White space is no entry: texts hold single spaces between words and numbers and nothing else.
pub fn vocabulary() -> Vec<&'static str> {
    let mut all: BTreeSet<&'static str> = NAMES.into_iter().collect();
    all.extend(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for theme in &ALL {
        let sentences =
            [theme.start, theme.gain, theme.lose, theme.gain_groups, theme.lose_groups, theme.times, theme.share];
        all.extend(sentences.into_iter().flatten().flat_map(|template| outside_placeholders(template)));
        all.extend(theme.objects);
        all.extend(theme.containers);
    }
    let shared = [
        p::WITH_MORE,
        p::WITH_FEWER,
        p::WITH_TIMES,
        p::ASK,
        p::ASK_BOTH,
        p::OPEN,
        p::FIRST,
        p::MIDDLE,
        p::LAST,
        p::ADD,
        p::SUB,
        p::MUL,
        p::DIV,
        p::GROUPS,
        p::SECOND_MORE,
        p::SECOND_FEWER,
        p::SECOND_TIMES,
        p::BOTH,
        p::CHECK,
        p::CLOSE,
    ];
    all.extend(shared.into_iter().flatten().flat_map(|template| outside_placeholders(template)));
    all.into_iter().collect()
}

fn outside_placeholders(template: &'static str) -> impl Iterator<Item = &'static str> {
    template.split('<').enumerate().flat_map(|(i, piece)| {
        let text = if i == 0 { piece } else { piece.split_once('>').map_or("", |(_, after)| after) };
        lex(text)
    })
}

/// Cuts a text into words, digits and symbols: runs of ASCII letters (with the backslash before them, as in `\boxed`),
/// single digits, and every other character that is not white space on its own.
pub fn lex(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let letters = |from: usize| from + rest[from..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let end = match first {
            '\\' => letters(1),
            c if c.is_ascii_alphabetic() => letters(0),
            c => c.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lexing() {
        let pieces: Vec<&str> = lex("So Ann has 12 + 7, and \\boxed{19}. é\\").collect();
        let expected =
            ["So", "Ann", "has", "1", "2", "+", "7", ",", "and", "\\boxed", "{", "1", "9", "}", ".", "é", "\\"];
        assert_eq!(pieces, expected);
    }
}

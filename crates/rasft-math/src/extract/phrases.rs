//! "The answer is …", "Answer: …", `#### n`.

use super::{Extracted, Source};
use crate::answer::strip_markup;

/// Phrases that introduce an answer, lower case; what follows to the end of the sentence is it.
const PHRASES: [&str; 13] = [
    "answer is",
    "answer:",
    "answer：",
    "answer**",
    "option is",
    "choice is",
    "answer should be",
    "answer would be",
    "answer =",
    "答案是",
    "答案为",
    "答案:",
    "答案：",
];

/// The line after the last `####`.
pub(super) fn hashes(text: &str) -> Option<Extracted> {
    let after = &text[text.rfind("####")? + 4..];
    let line = after.trim_start_matches('#').lines().next().unwrap_or_default();
    let line = line.trim();
    // `#### Conclusion` is a heading.
    let has_digit = line.chars().any(|c| c.is_numeric());
    (has_digit && line.len() < 200).then(|| Extracted::new(strip_markup(line), Source::Hashes))
}

/// What follows the last introducing phrase.
pub(super) fn phrase(text: &str) -> Option<Extracted> {
    let lower = text.to_ascii_lowercase();
    let mut limit = lower.len();
    while let Some((at, len)) = last_phrase(&lower[..limit]) {
        let content = sentence(&text[at + len..]);
        // A box here is one that had nothing in it.
        let says_something = content.chars().any(|c| c.is_alphanumeric() || !c.is_ascii());
        if says_something && !content.contains("\\boxed") && !content.contains("\\fbox") {
            return Some(Extracted::new(content, Source::Phrase));
        }
        limit = at;
    }
    None
}

fn last_phrase(lower: &str) -> Option<(usize, usize)> {
    PHRASES.iter().filter_map(|p| lower.rfind(p).map(|i| (i, p.len()))).max()
}

/// The answer at the start of what follows a phrase: the formula if one starts there, else the rest of the sentence.
fn sentence(after: &str) -> &str {
    let start =
        after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '：' | '*' | '_' | '=' | '#'));
    if let Some(formula) = leading_formula(start) {
        return formula;
    }
    let line = start.lines().next().unwrap_or_default();
    let end = line
        .match_indices(['.', '!', '?', '。'])
        .find(|(i, m)| ends_sentence(line, *i, m.len()))
        .map_or(line.len(), |(i, _)| i);
    let content = strip_markup(&line[..end]);
    let content = content.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | ',' | ';' | ':'));
    inner_formula(content).unwrap_or(content)
}

fn ends_sentence(line: &str, at: usize, len: usize) -> bool {
    let next = line[at + len..].chars().next();
    let before = line[..at].chars().next_back();
    // `C. 14` keeps its choice letter; `5!` keeps its factorial.
    let is_choice = line[..at].trim_start_matches(['(', '*']).chars().count() == 1
        && before.is_some_and(|c| c.is_ascii_uppercase());
    let factorial = line[at..].starts_with('!') && before.is_some_and(|c| c.is_ascii_digit() || c == ')');
    !is_choice && !factorial && next.is_none_or(|c| c.is_whitespace() || matches!(c, '*' | '$'))
}

fn leading_formula(text: &str) -> Option<&str> {
    for (open, close) in [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")] {
        if let Some(rest) = text.strip_prefix(open) {
            let end = if close == "$" { closing_dollar(rest) } else { rest.find(close) };
            let content = &rest[..end?];
            // `$5` is money.
            return (!content.trim().is_empty() && !content.contains('\n') || open != "$").then(|| content.trim());
        }
    }
    None
}

/// "x, that is $7$": a formula inside a sentence that has one formula and no other digits is the answer.
fn inner_formula(content: &str) -> Option<&str> {
    let open = content.find('$')?;
    let end = closing_dollar(&content[open + 1..])?;
    let (before, inside, after) = (&content[..open], &content[open + 1..open + 1 + end], &content[open + 2 + end..]);
    let bare = !before.chars().chain(after.chars()).any(|c| c.is_ascii_digit() || c == '$');
    (bare && !inside.trim().is_empty() && before.chars().any(char::is_alphabetic)).then(|| inside.trim())
}

fn closing_dollar(text: &str) -> Option<usize> {
    text.match_indices('$').map(|(i, _)| i).find(|i| !text[..*i].ends_with('\\'))
}

//! The reference's answer extraction, on which its filters rest.
//!
//! Deliberately absent: understanding of what an answer means. The verifier of the toolkit is `rasft-math`; this module only
//! reproduces what the published code finds in a text.

use crate::text;
use regex::Regex;
use std::sync::LazyLock;

/// Deleted from an answer, in this order (algorithm.md §7).
const WRAPPERS: [&str; 7] = ["$", "\\left", "\\right", "\\!", "\\,", "\\;", "\\:"];
/// Stripped from both ends of an answer (algorithm.md §7).
const END_CHARS: [char; 8] = [' ', '.', ',', ':', ';', '!', '?', '\t'];

/// Python's `\s`.
macro_rules! blank {
    () => {
        r"[\s\x1c-\x1f]"
    };
}

static PHRASES: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    let tail = concat!("is", blank!(), "*[:：]?", blank!(), "*(.+)$");
    ["final answer ", "answer ", "therefore.*?", "thus.*?"].map(|head| compile(&format!("(?im){head}{tail}")))
});
static NUMBER: LazyLock<Regex> = LazyLock::new(|| compile(r"-?\d+(?:\.\d+)?(?:/\d+)?"));

/// Compiles a pattern of this crate.
pub(crate) fn compile(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "every pattern is a constant of this crate and compiled by its tests")]
    Regex::new(pattern).expect("a constant pattern")
}

/// Content of the last `\boxed{…}`, stripped; `None` without one or with unbalanced braces.
///
/// # Source
/// algorithm.md §7 (boxed): escapes are ignored, no earlier box is tried.
pub fn boxed(text: &str) -> Option<&str> {
    const OPEN: &str = "\\boxed{";
    let content = &text[text.rfind(OPEN)? + OPEN.len()..];
    let mut depth = 1usize;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(text::strip(&content[..at]));
        }
    }
    None
}

/// An answer without dollar signs, spacing commands and punctuation at its ends.
///
/// # Source
/// algorithm.md §7 (strip_wrappers); plain substring deletion, so `\rightarrow` becomes `arrow` (B15).
pub fn strip_wrappers(answer: &str) -> String {
    let mut out = text::strip(answer).to_owned();
    for wrapper in WRAPPERS {
        if out.contains(wrapper) {
            out = out.replace(wrapper, "");
        }
    }
    let out = out.replace('\n', " ");
    text::strip(out.trim_matches(END_CHARS)).to_owned()
}

/// The answer that the reference reads from a response.
///
/// The last box if it is not empty; else what follows the first of four phrases; else the last number.
///
/// # Source
/// algorithm.md §7 (extract_answer).
///
/// # Deviations
/// Case-insensitive matching follows Unicode's simple folding; Python also lets `i` match `ı` and `İ`.
pub fn answer(response: &str) -> Option<String> {
    let response = text::strip(response);
    if let Some(content) = boxed(response).filter(|b| !b.is_empty()) {
        return Some(strip_wrappers(content));
    }
    for phrase in PHRASES.iter() {
        let found = phrase.captures(response).map(|c| strip_wrappers(&c[1]));
        if let Some(found) = found.filter(|f| !f.is_empty()) {
            return Some(found);
        }
    }
    NUMBER.find_iter(response).last().map(|m| m.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_counts_even_if_it_is_broken() {
        assert_eq!(boxed(r"\boxed{1} \boxed{ {2}{ 3} }"), Some("{2}{ 3}"));
        assert_eq!(boxed(r"\boxed{1} \boxed{2"), None);
        assert_eq!(boxed("no box"), None);
    }

    #[test]
    fn wrappers_go_as_plain_substrings() {
        assert_eq!(strip_wrappers(r" $\left( 1,\, 2 \right)$. "), "( 1, 2 )");
        assert_eq!(strip_wrappers(r"\rightarrow"), "arrow");
        assert_eq!(strip_wrappers("...,"), "");
    }

    #[test]
    fn phrases_come_before_numbers() {
        assert_eq!(answer("Therefore nothing.\nThus it is 1").as_deref(), Some("1"));
        assert_eq!(answer("10-63").as_deref(), Some("-63"));
        assert_eq!(answer("no digits"), None);
    }
}

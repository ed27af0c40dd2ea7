//! Text as the reference's Python sees it: which characters are blank or alphanumeric, lengths in code points.
//!
//! Rust's own `trim`, `split_whitespace` and `is_alphanumeric` differ in a few code points, and those would move
//! texts across the filters' limits.

use unicode_general_category::{GeneralCategory, get_general_category};

/// Python's `str.isspace` for one character: Unicode White_Space and the separators U+001C–U+001F.
///
/// # Source
/// algorithm.md §6 (Unicode).
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.isalnum` for one character: categories L*, Nd, Nl and No; neither marks nor Ⓐ.
///
/// # Source
/// algorithm.md §6 (Unicode).
pub fn is_alphanumeric(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LowercaseLetter, ModifierLetter, OtherLetter, OtherNumber, TitlecaseLetter,
        UppercaseLetter,
    };
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    matches!(
        get_general_category(c),
        UppercaseLetter
            | LowercaseLetter
            | TitlecaseLetter
            | ModifierLetter
            | OtherLetter
            | DecimalNumber
            | LetterNumber
            | OtherNumber
    )
}

/// Python's `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's `str.split()`: maximal runs without blanks.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|w| !w.is_empty())
}

/// Length in Unicode code points, Python's `len`.
pub fn length(text: &str) -> usize {
    text.chars().count()
}

/// Lower case, stripped, every run of blanks one space.
///
/// # Source
/// algorithm.md §6 (J₃).
pub fn normalise(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut out = String::with_capacity(lower.len());
    for word in words(&lower) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_include_the_information_separators() {
        assert_eq!(strip("\u{1c}\u{a0} a\u{1f}b \u{2028}\u{85}"), "a\u{1f}b");
        assert_eq!(words("a\u{1f}b\u{3000}c").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(!is_space('\u{200b}'));
    }

    #[test]
    fn alphanumeric_follows_categories() {
        for c in ['a', '9', 'é', '中', '①', '½', 'Ⅷ', '٣', 'ª'] {
            assert!(is_alphanumeric(c), "{c}");
        }
        for c in ['Ⓐ', '\u{301}', '_', '\u{93f}', '∑'] {
            assert!(!is_alphanumeric(c), "{c}");
        }
        assert!(is_alphanumeric('²'));
    }

    #[test]
    fn normalising_collapses_and_lowers() {
        assert_eq!(normalise("  The\n\tSUM  is\u{1d}İ "), "the sum is i\u{307}");
        assert_eq!(normalise(" \n"), "");
    }
}

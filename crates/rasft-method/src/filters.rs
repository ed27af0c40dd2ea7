//! The text filters of one completion: loop, gibberish, shortcut, well-formed.
//!
//! Each is callable alone; [`rejections`] lists the ones a completion fails by its own fault, so that a verdict can say why.
//! Invariant: `is_loop`, `is_gibberish`, `is_shortcut` and `is_well_formed` are the reference's predicates, bit for bit.

use crate::extract::{boxed, compile, strip_wrappers};
use crate::similarity::{combine, word_hashes};
use crate::text;
use rasft_types::Rejection;
use regex::Regex;
use std::sync::LazyLock;

/// Shorter texts are gibberish (algorithm.md §6).
const MIN_CHARS: usize = 20;
/// Share of symbols above which a text is gibberish (algorithm.md §6).
const MAX_SYMBOL_SHARE: f64 = 0.42;
/// Shorter texts are not well-formed (algorithm.md §6).
const MIN_SOLUTION_CHARS: usize = 80;
/// Sentences shorter than this may repeat (algorithm.md §6, Loop a).
const MIN_SENTENCE_CHARS: usize = 12;
/// Occurrences of a sentence or word run that make a loop (algorithm.md §6, Loop a and b).
const LOOP_REPEATS: usize = 3;
/// Words in a run, and the fewest words a text must have for runs to be counted (algorithm.md §6, Loop b).
const RUN_WORDS: usize = 8;
const MIN_RUN_TEXT_WORDS: usize = 30;
/// Two different ones of these make a loop (algorithm.md §6, Loop c).
const CORRECTIONS: [&str; 8] = [
    "let me correct",
    "correcting the calculation",
    "i need to correct",
    "rechecking",
    "let's correct",
    "wait,",
    "however, this is incorrect",
    "the previous reasoning was wrong",
];
/// One of these makes a worked solution (algorithm.md §6, Well-formed).
const SOLUTION_MARKS: [&str; 10] =
    ["=", "therefore", "thus", "hence", "so ", "let ", "we have", "we get", "substitute", "solve"];
/// Box contents that are a choice or a number only, in a text shorter than this, are a shortcut (algorithm.md §6, Shortcut).
const CHOICE_CHARS: usize = 180;
/// Longest such content.
const MAX_CHOICE_CONTENT: usize = 12;
/// Any box in a text shorter than this is a shortcut.
const BOX_CHARS: usize = 120;

static SHORTCUTS: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"according to the problem[, ]+the correct answer is",
        r"|based on the given information[, ]+we know that the correct answer is",
        r"|the correct answer is[\s\x1c-\x1f]*[:：]?[\s\x1c-\x1f]*\\boxed",
        r"|therefore[, ]+the correct answer is",
        r"|thus[, ]+the correct answer is",
    ))
});

/// Whether the text repeats itself.
///
/// Empty, or (a) a sentence of ≥ 12 characters three times, or (b) with ≥ 30 words a run of 8 words three times, or (c) two
/// different announcements of a correction.
///
/// # Source
/// algorithm.md §6 (Loop).
pub fn is_loop(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let normal = text::normalise(text);
    repeats_sentence(&normal) || repeats_run(&normal) || CORRECTIONS.iter().filter(|c| normal.contains(*c)).count() >= 2
}

fn repeats_sentence(normal: &str) -> bool {
    let mut sentences: Vec<&str> =
        normal.split('.').map(text::strip).filter(|s| text::length(s) >= MIN_SENTENCE_CHARS).collect();
    sentences.sort_unstable();
    occurs(&sentences)
}

fn repeats_run(normal: &str) -> bool {
    let words = word_hashes(normal);
    if words.len() < MIN_RUN_TEXT_WORDS {
        return false;
    }
    let mut runs: Vec<u64> = words.windows(RUN_WORDS).map(combine).collect();
    runs.sort_unstable();
    occurs(&runs)
}

/// Whether a sorted list holds some element [`LOOP_REPEATS`] times.
fn occurs<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.windows(LOOP_REPEATS).any(|w| w[0] == w[LOOP_REPEATS - 1])
}

/// Whether the stripped text is shorter than 20 characters, or more than 42 % symbols.
///
/// # Source
/// algorithm.md §6 (Gibberish) without its Loop part.
pub fn is_noise(text: &str) -> bool {
    let stripped = text::strip(text);
    let (mut n, mut symbols) = (0usize, 0usize);
    for c in stripped.chars() {
        n += 1;
        symbols += usize::from(!text::is_alphanumeric(c) && !text::is_space(c));
    }
    n < MIN_CHARS || symbols as f64 / n as f64 > MAX_SYMBOL_SHARE
}

/// [`is_noise`] or [`is_loop`] of the stripped text.
///
/// # Source
/// algorithm.md §6 (Gibberish).
pub fn is_gibberish(text: &str) -> bool {
    is_noise(text) || is_loop(text::strip(text))
}

/// Whether the text states an answer without a solution.
///
/// One of five phrases; or a box that holds only choices and digits in < 180 characters; or any box in < 120.
///
/// # Source
/// algorithm.md §6 (Shortcut).
pub fn is_shortcut(text: &str) -> bool {
    let stripped = text::strip(text);
    if SHORTCUTS.is_match(&stripped.to_lowercase()) {
        return true;
    }
    let Some(content) = boxed(stripped) else { return false };
    let n_chars = text::length(stripped);
    n_chars < BOX_CHARS || (n_chars < CHOICE_CHARS && is_choice(&strip_wrappers(content)))
}

fn is_choice(content: &str) -> bool {
    let allowed = |c: char| matches!(c, 'A'..='D' | 'a'..='d' | '①'..='⑨' | '0'..='9' | ',' | '，' | ' ');
    (1..=MAX_CHOICE_CONTENT).contains(&text::length(content)) && content.chars().all(allowed)
}

/// Whether the stripped text has ≥ 80 characters, a box and a word of a worked solution.
///
/// # Source
/// algorithm.md §6 (Well-formed) without its Gibberish part.
pub fn has_solution_form(text: &str) -> bool {
    let stripped = text::strip(text);
    if text::length(stripped) < MIN_SOLUTION_CHARS || boxed(stripped).is_none() {
        return false;
    }
    let lower = stripped.to_lowercase();
    SOLUTION_MARKS.iter().any(|mark| lower.contains(mark))
}

/// [`has_solution_form`] and not [`is_gibberish`].
///
/// # Source
/// algorithm.md §6 (Well-formed).
pub fn is_well_formed(text: &str) -> bool {
    has_solution_form(text) && !is_gibberish(text)
}

/// The filters that a mathematical completion fails, each for its own reason, in the order of [`Rejection::ALL`].
///
/// Empty exactly if the reference keeps the text (duplicates and length aside): neither gibberish nor shortcut, and well-formed.
/// A loop counts as [`Rejection::Loop`] only, although the reference's Gibberish contains it.
pub fn rejections(text: &str) -> Vec<Rejection> {
    let stripped = text::strip(text);
    let checks = [
        (Rejection::Gibberish, is_noise(stripped)),
        (Rejection::Loop, is_loop(stripped)),
        (Rejection::Shortcut, is_shortcut(stripped)),
        (Rejection::Format, !has_solution_form(stripped)),
        (Rejection::Empty, stripped.is_empty()),
    ];
    checks.into_iter().filter(|(_, fails)| *fails).map(|(rejection, _)| rejection).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Let the unknown total be T. There are 12 boxes with 14 pens each, which makes 168 pens in boxes. \
                        One more pen lies on the table, so the total T = 168 + 1 = 169. The result is \\boxed{169}.";

    fn check(text: &str, expected: &[Rejection]) {
        assert_eq!(rejections(text), expected, "{text}");
        let kept = !is_gibberish(text) && !is_shortcut(text) && is_well_formed(text);
        assert_eq!(kept, expected.is_empty(), "{text}");
    }

    #[test]
    fn a_solution_passes() {
        check(GOOD, &[]);
        check(&format!("\n  {GOOD}\t"), &[]);
    }

    #[test]
    fn each_filter_names_itself() {
        use Rejection::{Empty, Format, Gibberish, Loop, Shortcut};
        check("", &[Gibberish, Loop, Format, Empty]);
        check(" \n", &[Gibberish, Loop, Format, Empty]);
        check(&"+-*/".repeat(30), &[Gibberish, Format]);
        check(&format!("{GOOD} Wait, let me correct that."), &[Loop]);
        check(&format!("{GOOD} Therefore, the correct answer is 169."), &[Shortcut]);
        check(&GOOD.replace("\\boxed{169}", "169"), &[Format]);
        check(
            "The total is so obviously \\boxed{169} that nothing else needs to be said about the total.",
            &[Shortcut],
        );
    }

    #[test]
    fn runs_need_thirty_words() {
        let run = "a b c d e f g h ";
        assert!(!is_loop(&run.repeat(3)));
        assert!(is_loop(&run.repeat(4)));
    }

    #[test]
    fn whitespace_is_not_empty_for_the_loop_rule() {
        assert!(is_loop(""));
        assert!(!is_loop(" "));
        assert!(is_gibberish(" "));
    }
}

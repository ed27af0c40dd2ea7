//! Where a gold answer stands in an expert solution, and how one is appended.

use rasft_math::{Extracted, Source, extract};

/// How an expert solution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalAnswer {
    /// With a line `The final answer is \boxed{gold}.`, unless the text has a box already. For GSM8K it takes the place of the
    /// `#### gold` line, which no answer format but GSM8K's own knows. Without it such experts fail the format filter
    /// (algorithm.md §6), and a model trained on them never learns to box.
    Boxed,
    /// As the source has it.
    AsIs,
}

/// The boxed answer of a worked solution: its last box, or the boxes joined to it by commas or "and"; none without a closed
/// box. Phrases and last numbers, which a judge falls back to, are too unsure for a gold.
pub fn boxed(solution: &str) -> Option<String> {
    let boxed = |found: &Extracted| matches!(found.source, Source::Boxed | Source::Boxes);
    extract(solution).filter(boxed).map(|found| found.text).filter(|text| !text.is_empty())
}

/// The text with a boxed final answer: unchanged if it has a box, otherwise with one more line.
pub fn with_box(text: &str, gold: &str) -> String {
    if boxed(text).is_some() {
        return text.to_owned();
    }
    let text = text.trim_end();
    let separator = if text.is_empty() { "" } else { "\n" };
    format!("{text}{separator}The final answer is \\boxed{{{}}}.", without_dollars(gold))
}

/// The text without the `$` that switch math mode; `\$`, the currency, stays.
fn without_dollars(gold: &str) -> String {
    let mut out = String::with_capacity(gold.len());
    for c in gold.chars() {
        if c != '$' || out.ends_with('\\') {
            out.push(c);
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_boxes_count() {
        let cases = [
            ("so \\boxed{1}. No: it is \\boxed{\\frac{1}{2}}.", Some("\\frac{1}{2}")),
            ("\\boxed{ 7 }", Some("7")),
            ("it is 3, \\boxed{2", None),
            ("$\\boxed{3}$ and $\\boxed{5}$", Some("3, 5")),
            ("the answer is 5", None),
            ("#### 5", None),
            ("\\boxed{}", None),
            ("no box", None),
        ];
        for (text, expected) in cases {
            assert_eq!(boxed(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn box_is_added_once() {
        let cases = [
            ("We get 5.\n", "5", "We get 5.\nThe final answer is \\boxed{5}."),
            ("We get \\boxed{5}.", "5", "We get \\boxed{5}."),
            ("x", "$69$,$84$", "x\nThe final answer is \\boxed{69,84}."),
            ("x", "\\$3", "x\nThe final answer is \\boxed{\\$3}."),
            ("", "5", "The final answer is \\boxed{5}."),
        ];
        for (text, gold, expected) in cases {
            assert_eq!(with_box(text, gold), expected);
        }
    }
}

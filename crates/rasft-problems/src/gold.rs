//! Where a gold answer stands in an expert solution, and how one is appended.

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

/// The content of the last `\boxed{…}`, trimmed; none when there is no box, it is empty, or its braces do not close.
///
/// # Source
/// algorithm.md §7, "boxed".
pub fn last_boxed(text: &str) -> Option<&str> {
    const OPEN: &str = "\\boxed{";
    let start = text.rfind(OPEN)? + OPEN.len();
    let mut depth = 1usize;
    for (i, byte) in text[start..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(text[start..start + i].trim()).filter(|content| !content.is_empty());
        }
    }
    None
}

/// The text with a boxed final answer: unchanged if it has a box, otherwise with one more line.
pub fn with_box(text: &str, gold: &str) -> String {
    if last_boxed(text).is_some() {
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
    fn last_box_with_balanced_braces_counts() {
        let cases = [
            ("so \\boxed{1} or \\boxed{\\frac{1}{2}}.", Some("\\frac{1}{2}")),
            ("\\boxed{ 7 }", Some("7")),
            ("\\boxed{1} then \\boxed{2", None),
            ("\\boxed{}", None),
            ("no box", None),
        ];
        for (text, expected) in cases {
            assert_eq!(last_boxed(text), expected, "{text}");
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

//! Finding the answer in a response.
//!
//! In this order: the last `\boxed` or `\fbox` with something in it (with the boxes joined to it by commas or "and");
//! `#### n`; the last "answer is …", "Answer: …" or the like; then, unless there was an empty or truncated box, whichever
//! comes in the latest line: the last `$…$` of a line that has one, else its last number. After `</think>` only what
//! follows counts, if anything is found there.
//!
//! Invariant: linear in the response's length; the text returned is a slice of the response, or slices joined by commas.

mod boxes;
mod fallback;
mod phrases;

/// How the answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// One box.
    Boxed,
    /// Several boxes joined.
    Boxes,
    /// A box that the end of the text cut off.
    TruncatedBox,
    /// `#### n`.
    Hashes,
    /// "The answer is …".
    Phrase,
    /// The last `$…$`.
    LastMath,
    /// The last number.
    LastNumber,
}

/// An answer's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The text.
    pub text: String,
    /// How it was found.
    pub source: Source,
}

impl Extracted {
    fn new(text: &str, source: Source) -> Self {
        Self { text: text.trim().to_owned(), source }
    }
}

/// Finds the answer in a response.
pub fn extract(response: &str) -> Option<Extracted> {
    let tail = response.rfind("</think>").map(|i| &response[i + "</think>".len()..]);
    tail.and_then(extract_from).or_else(|| extract_from(response))
}

fn extract_from(text: &str) -> Option<Extracted> {
    let found = boxes::last(text);
    if let boxes::Found::Content(extracted) = found {
        return Some(extracted);
    }
    let by_words = phrases::hashes(text).or_else(|| phrases::phrase(text));
    if by_words.is_some() || matches!(found, boxes::Found::Empty) {
        return by_words;
    }
    fallback::last_line(text)
}

/// The gold answer of a worked solution: the same rules, over the whole text.
pub fn gold_from_solution(solution: &str) -> Option<String> {
    extract_from(solution).map(|e| e.text)
}

#[cfg(test)]
mod tests {
    use super::{Source, extract};

    fn check(text: &str, expected: Option<(&str, Source)>) {
        let got = extract(text);
        assert_eq!(got.as_ref().map(|e| (e.text.as_str(), e.source)), expected, "{text}");
    }

    #[test]
    fn boxes() {
        check("so \\boxed{1} or rather $\\boxed{\\frac{1}{2}}$.", Some(("\\frac{1}{2}", Source::Boxed)));
        check("$\\boxed{3}$ and $\\boxed{5}$.", Some(("3, 5", Source::Boxes)));
        check("\\boxed{3}, \\boxed{4} and \\boxed{5}", Some(("3, 4, 5", Source::Boxes)));
        check("\\boxed 5", Some(("5", Source::Boxed)));
        check("\\boxed{\\{1,2\\}}", Some(("\\{1,2\\}", Source::Boxed)));
        check("\\boxed{\\boxed{7}}", Some(("7", Source::Boxed)));
        check("\\fbox{8}", Some(("8", Source::Boxed)));
        check("first \\boxed{2}, later \\boxed{43", Some(("43", Source::TruncatedBox)));
        check("the answer is $\\boxed{", None);
        check("it is 5 \\boxed{}", None);
        check("\\boxed{} the answer is 93", Some(("93", Source::Phrase)));
        check("<think>\\boxed{1}</think> so \\boxed{2}", Some(("2", Source::Boxed)));
    }

    #[test]
    fn words() {
        check("x = 3\n#### 1,234", Some(("1,234", Source::Hashes)));
        check("The answer is 5/8.", Some(("5/8", Source::Phrase)));
        check("**Answer: 31**", Some(("31", Source::Phrase)));
        check("**Final Answer**\n$-\\frac{1}{2}$", Some(("-\\frac{1}{2}", Source::Phrase)));
        check("So the correct option is (C).", Some(("(C)", Source::Phrase)));
        check("We get $x=7$.\nAltogether there are 25 of them.", Some(("25", Source::LastNumber)));
        check("Hence the value is $x = 22$ apples.", Some(("x = 22", Source::LastMath)));
        check("nothing here", None);
    }
}

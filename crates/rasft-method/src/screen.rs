//! Which samples of one problem may be trained on: de-duplication, text filters, and the length limit.

use crate::similarity::{DUPLICATE_THRESHOLD, deduplicate};
use crate::{code, filters, text};
use rasft_types::{CodeSpec, Rejection};
use std::borrow::Cow;

/// What a completion has to look like.
#[derive(Debug, Clone, Copy)]
pub enum Form<'a> {
    /// A worked solution with a box.
    Math,
    /// A program.
    Code(&'a CodeSpec),
}

/// What the screen found of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screened<'a> {
    /// The text that would be trained on: stripped, and cut to the limit.
    pub text: Cow<'a, str>,
    /// Index of the kept earlier sample that this one duplicates.
    pub duplicate_of: Option<usize>,
    /// Everything that speaks against the sample, in the order of [`Rejection::ALL`]; empty if it is usable.
    pub rejected_by: Vec<Rejection>,
}

impl Screened<'_> {
    /// Whether the sample passed.
    pub fn is_usable(&self) -> bool {
        self.rejected_by.is_empty()
    }
}

/// Screens the samples of one problem.
///
/// `fit` gives the text as the length limit leaves it, `None` if nothing fits; callers without a limit pass [`no_limit`].
/// A cut text must pass the filters again. Duplicates are found among the raw texts and filtered like all others, so that a
/// verdict names every reason; k_total is the number of samples without `duplicate_of`.
///
/// # Shapes
/// As many results as samples, same order.
///
/// # Source
/// algorithm.md §6.1–§6.3.
pub fn screen_group<'a>(
    samples: &[&'a str],
    form: Form<'_>,
    fit: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> Vec<Screened<'a>> {
    let originals = deduplicate(samples, DUPLICATE_THRESHOLD);
    let screen = |(sample, duplicate_of): (&&'a str, Option<usize>)| {
        let (text, mut rejected_by) = screen_text(sample, form, &fit);
        if duplicate_of.is_some() {
            rejected_by.insert(0, Rejection::Duplicate);
        }
        Screened { text, duplicate_of, rejected_by }
    };
    samples.iter().zip(originals).map(screen).collect()
}

/// The `fit` of [`screen_group`] that leaves every text as it is.
pub fn no_limit(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

fn screen_text<'a>(
    sample: &'a str,
    form: Form<'_>,
    fit: impl Fn(&'a str) -> Option<Cow<'a, str>>,
) -> (Cow<'a, str>, Vec<Rejection>) {
    let stripped = text::strip(sample);
    // Indentation at the beginning is part of a program.
    let base = if matches!(form, Form::Math) { stripped } else { sample };
    let mut rejected_by = rejections(base, form);
    let Some(fitted) = fit(base) else {
        rejected_by.push(Rejection::TooLong);
        return (Cow::Borrowed(base), rejected_by);
    };
    if fitted != base {
        // The form is asked of what is trained on: a cut can take a broken last box away as well as a good one.
        rejected_by.retain(|r| *r != Rejection::Format);
        rejected_by.extend(rejections(&fitted, form));
        rejected_by.sort_unstable();
        rejected_by.dedup();
    }
    (fitted, rejected_by)
}

fn rejections(text: &str, form: Form<'_>) -> Vec<Rejection> {
    match form {
        Form::Math => filters::rejections(text),
        Form::Code(code) => code::rejections(text, code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Let the unknown total be T. There are 12 boxes with 14 pens each, which makes 168 pens in boxes. \
                        One more pen lies on the table, so the total T = 168 + 1 = 169. The result is \\boxed{169}.";

    #[test]
    fn a_duplicate_of_an_unusable_sample_is_a_duplicate_still() {
        let bad = "+-*/ ".repeat(40);
        let out = screen_group(&[&bad, &bad, GOOD, GOOD], Form::Math, no_limit);
        assert_eq!(out[0].rejected_by, [Rejection::Gibberish, Rejection::Loop, Rejection::Format]);
        assert_eq!(out[1].duplicate_of, Some(0));
        assert!(out[2].is_usable());
        assert_eq!((out[3].duplicate_of, &out[3].rejected_by[..]), (Some(2), &[Rejection::Duplicate][..]));
    }

    #[test]
    fn the_limit_cuts_or_drops() {
        let cut = |text: &'static str| Some(Cow::Borrowed(&text[..150]));
        assert_eq!(screen_group(&[GOOD], Form::Math, cut)[0].rejected_by, [Rejection::Format]);
        assert_eq!(screen_group(&[GOOD], Form::Math, |_| None)[0].rejected_by, [Rejection::TooLong]);
    }

    #[test]
    fn programs_keep_their_indentation() {
        let spec = CodeSpec { entry_point: Some("f".into()), prompt_is_prefix: true, ..CodeSpec::default() };
        let out = screen_group(&["    return sum(values) / len(values)\n"], Form::Code(&spec), no_limit);
        assert!(out[0].is_usable(), "{:?}", out[0].rejected_by);
    }
}

//! Options change what they say and nothing else; classes group equal answers.

use rasft_math::verifier::{Percent, UnitMismatch};
use rasft_math::{Options, Tolerance, Verifier};

fn equal(options: Options, gold: &str, answer: &str) -> bool {
    let verifier = Verifier::new(options);
    let there = verifier.equivalent(gold, answer).is_correct();
    assert_eq!(there, verifier.equivalent(answer, gold).is_correct(), "{gold} {answer}");
    there
}

#[test]
fn rounded_decimals() {
    let strict = Options::default();
    let rounded = Options { tolerance: Some(Tolerance::Rounded { min_digits: 3 }), ..strict };
    for (gold, answer) in
        [("\\frac13", "0.333"), ("12\\pi", "37.70"), ("\\sqrt2", "1.41421"), ("\\frac{2}{3}", "0.667")]
    {
        assert!(!equal(strict, gold, answer), "{gold} {answer}");
        assert!(equal(rounded, gold, answer), "{gold} {answer}");
    }
    for (gold, answer) in
        [("\\frac13", "0.33"), ("\\frac13", "0.335"), ("12\\pi", "37.80"), ("1.25", "1.26"), ("25000", "25001")]
    {
        assert!(!equal(rounded, gold, answer), "{gold} {answer}");
    }
}

#[test]
fn relative_tolerance() {
    let relative = Options { tolerance: Some(Tolerance::Relative(0.01)), ..Options::default() };
    assert!(equal(relative, "2.15", "2.16"));
    assert!(equal(relative, "\\pi", "3.14"));
    assert!(!equal(relative, "25000", "25001"), "integers are exact");
    assert!(!equal(relative, "3.2e-27", "5.9e-27"), "relative, never absolute");
}

#[test]
fn percent_and_units() {
    let strict = Options::default();
    let loose = Options { percent: Percent::SignOptional, unit_mismatch: UnitMismatch::Ignore, ..strict };
    assert!(!equal(strict, "17.5\\%", "17.5") && equal(loose, "17.5\\%", "17.5"));
    assert!(equal(loose, "17.5\\%", "0.175"));
    assert!(!equal(loose, "17.5\\%", "18.5"));
    assert!(!equal(strict, "40 \\text{ kg}", "40 \\text{ L}") && equal(loose, "40 \\text{ kg}", "40 \\text{ L}"));
}

#[test]
fn shapes() {
    let strict = Options::default();
    let column = Options { row_is_column: true, ..strict };
    let (row, col) = ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}");
    assert!(!equal(strict, row, col) && equal(column, row, col));
    let apart = Options { inequality_is_interval: false, ..strict };
    assert!(equal(strict, "x>5", "(5,\\infty)") && !equal(apart, "x>5", "(5,\\infty)"));
}

#[test]
fn classes_of_equal_answers() {
    let answers: Vec<Option<String>> = ["1/2", "0.5", "", "3", "\\frac{2}{4}", "x=3", "no", "50\\%"]
        .iter()
        .map(|s| Some((*s).to_owned()))
        .chain([None])
        .collect();
    let classes = Verifier::default().classes(&answers);
    assert_eq!(classes, [Some(0), Some(0), None, Some(1), Some(0), Some(1), Some(2), Some(0), None]);
}

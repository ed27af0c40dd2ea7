//! Any input: no panic, an end within the budget, symmetry, reflexivity.

use proptest::prelude::*;
use rasft_math::{Verifier, extract};

/// Pieces of LaTeX, brackets matched or not.
const PIECES: [&str; 72] = [
    "\\frac",
    "\\sqrt",
    "\\left(",
    "\\right)",
    "\\left[",
    "\\right]",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\\{",
    "\\}",
    "|",
    "x",
    "y",
    "n",
    "i",
    "e",
    "\\pi",
    "1",
    "2",
    "0",
    "12",
    "3.5",
    ".5",
    "1e3",
    "1,000",
    "^",
    "_",
    "+",
    "-",
    "*",
    "/",
    "=",
    "<",
    "\\ge",
    "\\le",
    "\\in",
    ",",
    ";",
    ":",
    "!",
    "%",
    "^\\circ",
    "\\text{ and }",
    "\\text{ cm}",
    "\\mathrm{~m}",
    "\\sin",
    "\\log_2",
    "\\ln",
    "\\sum_{k=1}^{4}",
    "\\binom",
    "\\pm",
    "\\cup",
    "\\infty",
    "\\mid",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "&",
    "\\\\",
    "\\boxed{",
    "$",
    "\\int",
    "\\overline",
    "\\cdot",
    "^{-1}",
    " ",
    "no solution",
    "√",
    "−",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24).prop_map(|v| v.concat())
}

/// Expressions that are well formed.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (1u32..40).prop_map(|n| n.to_string()),
        (1u32..400).prop_map(|n| format!("{}.{}", n / 10, n % 10)),
        prop::sample::select(vec!["x".to_owned(), "y".to_owned(), "\\pi".to_owned(), "e".to_owned()]),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}+{b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("\\frac{{{a}}}{{{b}+1}}")),
            inner.clone().prop_map(|a| format!("({a})^{{2}}")),
            inner.clone().prop_map(|a| format!("\\sqrt{{{a}}}")),
            inner.clone().prop_map(|a| format!("\\sin({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_string_panics(a in ".{0,80}", b in ".{0,80}") {
        let verifier = Verifier::default();
        let _ = verifier.verify(&a, &b);
        let _ = verifier.equivalent(&a, &b);
        let _ = extract(&a);
    }

    #[test]
    fn soup_is_symmetric(a in soup(), b in soup()) {
        let verifier = Verifier::default();
        let (there, back) = (verifier.equivalent(&a, &b), verifier.equivalent(&b, &a));
        prop_assert_eq!(there.is_correct(), back.is_correct(), "{} {}", a, b);
    }

    #[test]
    fn soup_is_reflexive(a in soup()) {
        let report = Verifier::default().equivalent(&a, &a);
        let says_nothing = report.answer_form.as_deref().is_none_or(str::is_empty);
        prop_assert!(report.is_correct() || says_nothing, "{a}: {report:?}");
    }

    #[test]
    fn expressions_equal_themselves_rewritten(a in expression(), b in expression()) {
        let verifier = Verifier::default();
        let rewritten = format!("{b}+{a}");
        let report = verifier.equivalent(&format!("{a}+{b}"), &rewritten);
        prop_assert!(report.is_correct(), "{a} + {b}: {report:?}");
        let more = verifier.equivalent(&format!("{a}+{b}"), &format!("{rewritten}+1"));
        prop_assert!(!more.is_correct(), "{a} + {b} + 1: {more:?}");
    }
}

//! The reference's verdicts and extractions: agreement except where the reference is mathematically wrong or poor.

mod common;

use common::{rows, shared};
use rasft_math::{Verifier, extract};

/// Where the reference is wrong or poor, by reason; pairs count in both orders.
const DISAGREEMENTS: [(&str, &[(&str, &str)]); 14] = [
    ("the reference strips both to nothing and calls nothings equal (algorithm.md B15)", &[("", ""), (".", ",")]),
    ("the reference does not read thousands separators", &[("18000", "18,000"), ("24000", "24,000")]),
    (
        "the reference reads Python numerals, where `_` separates digits; in mathematics it is a subscript",
        &[("18_0", "180"), ("24_0", "240")],
    ),
    (
        "the reference compares words letter by letter, text commands included",
        &[("nan", "NaN"), ("\\text{B}", "B"), ("yes", "Yes")],
    ),
    (
        "fewer than twelve digits of an infinite decimal are an approximation; the reference takes any difference below 1e-8 for none",
        &[("\\frac{1}{3}", "0.3333333333"), ("\\frac{1}{3}", "0.33333333")],
    ),
    (
        "the reference does not read this notation",
        &[
            ("\\dfrac{18}{4}", "\\frac{18}{4}"),
            ("\\frac45", "4/5"),
            ("\\sqrt{16}", "2\\sqrt{4}"),
            ("\\frac{\\sqrt{4}}{2}", "sqrt(4)/2"),
            ("x^2-1", "(x-1)(x+1)"),
            ("4x", "4*x"),
            ("2\\pi", "2*pi"),
            ("\\pi", "pi"),
            ("\\infty", "oo"),
            ("\\cdot", "*"),
            ("3\\cdot 4", "12"),
            ("3 \\times 4", "12"),
            ("\\dfrac{24}{5}", "\\frac{24}{5}"),
            ("\\frac56", "5/6"),
            ("\\sqrt{20}", "2\\sqrt{5}"),
            ("\\frac{\\sqrt{5}}{2}", "sqrt(5)/2"),
            ("5x", "5*x"),
        ],
    ),
    (
        "the reference compares lists and tuples character by character",
        &[("(18,4)", "(18, 4)"), ("[18,4]", "[18, 4]"), ("(24,5)", "(24, 5)"), ("[24,5]", "[24, 5]")],
    ),
    (
        "the set of one value is that value, and bare braces are LaTeX groups",
        &[("\\{18\\}", "{18}"), ("\\{24\\}", "{24}")],
    ),
    ("the reference does not read percent", &[("18\\%", "18%"), ("18%", "0.18"), ("24\\%", "24%"), ("24%", "0.24")]),
    ("the reference strips a leading point (algorithm.md B15)", &[(".5", "5"), (".5", "0.5")]),
    (
        "the reference does not read units; a bare one does not change a value",
        &[("18 cm", "18"), ("18^\\circ", "18"), ("24 cm", "24"), ("24^\\circ", "24")],
    ),
    (
        "the reference does not read assignments",
        &[("x=18", "18"), ("x = 18", "x=18"), ("x=24", "24"), ("x = 24", "x=24")],
    ),
    ("only sympy calls the imaginary unit I", &[("I^2", "-1")]),
    ("the reference takes anything below 1e-8 for zero", &[("1e-9", "0"), ("1e-8", "0")]),
];

fn is_listed(gold: &str, answer: &str) -> bool {
    let same = |(a, b): &(&str, &str)| (*a, *b) == (gold, answer) || (*b, *a) == (gold, answer);
    DISAGREEMENTS.iter().any(|(_, pairs)| pairs.iter().any(same))
}

#[test]
fn verify() {
    let Some(shared) = shared() else { return };
    let verifier = Verifier::default();
    let mut unexplained = Vec::new();
    let (mut agreed, mut listed) = (0, 0);
    for row in rows(&shared.join("golden/verify.jsonl")) {
        let (Some(gold), Some(answer)) = (row["gt"].as_str(), row["pred"].as_str()) else {
            assert_eq!(row["correct"], false);
            continue;
        };
        let expected = row["correct"].as_bool() == Some(true);
        let got = verifier.equivalent(gold, answer).is_correct();
        match (got == expected, is_listed(gold, answer)) {
            (true, false) => agreed += 1,
            (false, true) => listed += 1,
            (agree, _) => {
                unexplained.push(format!("{gold:?} {answer:?}: reference {expected}, here {got}, agree {agree}"))
            }
        }
    }
    println!("{agreed} rows agree, {listed} differ for listed reasons");
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

/// Whether a reason applies to a text.
type Applies = fn(&str) -> bool;

/// Where extraction is better than the reference's: beginnings of texts (or whole texts) and why.
const BETTER: [(&str, Applies); 6] = [
    ("a phrase without \"answer\" is no announcement; the last number of the line is taken without its words", |t| {
        t.starts_with("Therefore the length") || t.starts_with("thus this gives")
    }),
    ("a minus right after a digit subtracts (algorithm.md B14)", |t| t.starts_with("10-")),
    ("a thousands separator does not end a number", |t| t.len() == 5 && t.as_bytes()[1] == b','),
    ("a leading point belongs to the number", |t| t.starts_with('.') || t.starts_with("\\boxed{.")),
    ("of several points the last is the decimal point", |t| t.matches('.').count() == 2 && t.len() <= 8),
    ("the box's text is kept as written; the reader knows spacing commands and arrows", |t| {
        t.starts_with("\\boxed{") && (t.contains("\\!") || t.contains("arrow") || t.contains("?!"))
    }),
];

#[test]
fn extraction() {
    let Some(shared) = shared() else { return };
    let mut different = Vec::new();
    let (mut agreed, mut better) = (0, 0);
    for row in rows(&shared.join("golden/extraction.jsonl")) {
        let Some(response) = row["text"].as_str() else { continue };
        let got = extract(response).map(|e| e.text);
        let reference = row["answer"].as_str();
        let same = match (&got, reference) {
            (Some(g), Some(r)) => Verifier::default().equivalent(r, g).is_correct(),
            (None, None) => true,
            _ => false,
        };
        if same {
            agreed += 1;
        } else if BETTER.iter().any(|(_, applies)| applies(response)) {
            better += 1;
        } else {
            different.push(format!("{response:?}: reference {reference:?}, here {got:?}"));
        }
    }
    println!("{agreed} rows agree, {better} differ for listed reasons");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

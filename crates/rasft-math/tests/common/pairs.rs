//! Pairs of answers, both ways round.

use rasft_math::Verifier;

/// Every pair has the expected verdict with either side as the gold answer.
pub fn check(rows: &[(&str, &str)], expected: bool) {
    let verifier = Verifier::default();
    let mut bad = Vec::new();
    for (gold, answer) in rows {
        for (a, b) in [(gold, answer), (answer, gold)] {
            let report = verifier.equivalent(a, b);
            if report.is_correct() != expected {
                bad.push(format!("{a:?} {b:?}: {report:?}"));
            }
        }
    }
    assert!(bad.is_empty(), "expected {expected}:\n{}", bad.join("\n"));
}

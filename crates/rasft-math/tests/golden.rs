//! The reference's verdicts and extractions: agreement except where the reference is mathematically wrong or poor.

mod common;

use common::{rows, shared, text};
use rasft_math::{Verifier, extract};

#[test]
fn verify() {
    let Some(shared) = shared() else { return };
    let verifier = Verifier::default();
    let mut unexplained = Vec::new();
    let mut agreed = 0;
    for row in rows(&shared.join("golden/verify.jsonl")) {
        let (Some(gold), Some(answer)) = (row["gt"].as_str(), row["pred"].as_str()) else {
            assert_eq!(row["correct"], false);
            continue;
        };
        let expected = row["correct"].as_bool() == Some(true);
        let got = verifier.equivalent(gold, answer).is_correct();
        if got == expected {
            agreed += 1;
        } else {
            unexplained.push(format!("{gold:?} {answer:?}: reference {expected}, here {got}"));
        }
    }
    println!("{agreed} agreed");
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[test]
fn extraction() {
    let Some(shared) = shared() else { return };
    let mut different = Vec::new();
    for row in rows(&shared.join("golden/extraction.jsonl")) {
        let Some(response) = row["text"].as_str() else { continue };
        let got = extract(response).map(|e| e.text);
        let reference = row["answer"].as_str();
        let same = match (&got, reference) {
            (Some(g), Some(r)) => Verifier::default().equivalent(r, g).is_correct(),
            (None, None) => true,
            _ => false,
        };
        if !same {
            different.push(format!("{:?}: reference {reference:?}, here {got:?}", text(&row, "text")));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

//! The labelled development corpus (`shared/verify/cases_dev.jsonl`): the table per kind, and the thresholds.

mod common;

use common::{rows, shared};
use rasft_math::Verifier;
use std::collections::BTreeMap;
use std::time::Instant;

/// A string field, empty if absent.
fn text<'a>(row: &'a serde_json::Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[derive(Default)]
struct Tally {
    right: u32,
    false_negative: u32,
    false_positive: u32,
    debatable: u32,
    debatable_right: u32,
}

impl Tally {
    fn scored(&self) -> u32 {
        self.right + self.false_negative + self.false_positive
    }

    fn add(&mut self, o: &Tally) {
        self.right += o.right;
        self.false_negative += o.false_negative;
        self.false_positive += o.false_positive;
        self.debatable += o.debatable;
        self.debatable_right += o.debatable_right;
    }
}

#[test]
fn cases_dev() {
    let Some(shared) = shared() else { return };
    let cases = rows(&shared.join("verify/cases_dev.jsonl"));
    let verifier = Verifier::default();
    let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
    let mut micros = Vec::with_capacity(cases.len());
    let mut unscored_negative_rows = 0u32;
    for case in &cases {
        let start = Instant::now();
        let report = verifier.verify(text(case, "gold"), text(case, "response"));
        micros.push((start.elapsed().as_micros(), text(case, "id")));
        let tally = kinds.entry(text(case, "kind").to_owned()).or_default();
        let expected = case["expected"].as_bool() == Some(true);
        let right = report.is_correct() == expected;
        if case["debatable"].as_bool() == Some(true) {
            tally.debatable += 1;
            tally.debatable_right += u32::from(right);
            continue;
        }
        unscored_negative_rows += u32::from(!expected);
        match (right, expected) {
            (true, _) => tally.right += 1,
            (false, true) => tally.false_negative += 1,
            (false, false) => tally.false_positive += 1,
        }
        if !right {
            println!(
                "{} {} {}: gold {:?} extracted {:?} answer {:?} -> {:?} | {:?} | {:?}",
                text(case, "id"),
                text(case, "kind"),
                if expected { "missed" } else { "ACCEPTED" },
                text(case, "gold"),
                report.extracted,
                text(case, "answer").chars().take(80).collect::<String>(),
                report.outcome,
                report.gold_form,
                report.answer_form,
            );
        }
    }
    let all = print_table(&kinds);
    micros.sort_unstable();
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize].0;
    println!("slowest: {:?}", &micros[micros.len() - 12..]);
    let total: u128 = micros.iter().map(|m| m.0).sum();
    println!(
        "microseconds: p50 {} p99 {} max {} mean {:.1}",
        at(0.5),
        at(0.99),
        at(1.0),
        total as f64 / micros.len() as f64
    );
    let scored = f64::from(all.scored());
    let positives = scored - f64::from(unscored_negative_rows);
    let (accuracy, fn_rate, fp_rate) = (
        f64::from(all.right) / scored,
        f64::from(all.false_negative) / positives,
        f64::from(all.false_positive) / f64::from(unscored_negative_rows),
    );
    println!(
        "accuracy {:.2} %  false negatives {:.2} %  false positives {:.2} %",
        accuracy * 100.0,
        fn_rate * 100.0,
        fp_rate * 100.0
    );
    assert!(accuracy >= 0.99, "accuracy {accuracy}");
    assert!(fn_rate <= 0.015, "false negatives {fn_rate}");
    assert!(fp_rate <= 0.003, "false positives {fp_rate}");
    for strict in ["int_big_near", "base", "scientific", "interval_forms", "percent"] {
        assert_eq!(kinds[strict].false_positive, 0, "{strict}");
    }
    for (kind, tally) in &kinds {
        assert!(f64::from(tally.right) >= 0.95 * f64::from(tally.scored()), "{kind}");
    }
}

fn print_table(kinds: &BTreeMap<String, Tally>) -> Tally {
    println!("{:<22} {:>6} {:>6} {:>4} {:>4} {:>10}", "kind", "scored", "right", "fn", "fp", "debatable");
    let mut all = Tally::default();
    for (kind, t) in kinds {
        println!(
            "{kind:<22} {:>6} {:>6} {:>4} {:>4} {:>5}/{}",
            t.scored(),
            t.right,
            t.false_negative,
            t.false_positive,
            t.debatable_right,
            t.debatable
        );
        all.add(t);
    }
    println!(
        "{:<22} {:>6} {:>6} {:>4} {:>4} {:>5}/{}",
        "all",
        all.scored(),
        all.right,
        all.false_negative,
        all.false_positive,
        all.debatable_right,
        all.debatable
    );
    all
}

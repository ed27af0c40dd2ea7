//! The labelled development corpus (`shared/verify/cases_dev.jsonl`): the table per kind, and the thresholds.

mod common;

use common::{rows, shared};
use rasft_math::{Report, Verifier};
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
    positives: u32,
    debatable: u32,
    debatable_right: u32,
}

impl Tally {
    fn scored(&self) -> u32 {
        self.right + self.false_negative + self.false_positive
    }

    fn count(&mut self, case: &serde_json::Value, report: &Report) {
        let expected = case["expected"].as_bool() == Some(true);
        let right = report.is_correct() == expected;
        if case["debatable"].as_bool() == Some(true) {
            self.debatable += 1;
            self.debatable_right += u32::from(right);
            return;
        }
        self.positives += u32::from(expected);
        match (right, expected) {
            (true, _) => self.right += 1,
            (false, true) => self.false_negative += 1,
            (false, false) => self.false_positive += 1,
        }
        if !right {
            let verdict = if expected { "missed" } else { "ACCEPTED" };
            println!(
                "{} {} {verdict}: gold {:?}, {report:?}",
                text(case, "id"),
                text(case, "kind"),
                text(case, "gold")
            );
        }
    }

    fn add(&mut self, o: &Tally) {
        self.right += o.right;
        self.false_negative += o.false_negative;
        self.false_positive += o.false_positive;
        self.positives += o.positives;
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
    for case in &cases {
        let start = Instant::now();
        let report = verifier.verify(text(case, "gold"), text(case, "response"));
        micros.push(start.elapsed().as_micros());
        kinds.entry(text(case, "kind").to_owned()).or_default().count(case, &report);
        if let Some(found) = &report.extracted {
            let back = verifier.equivalent(found, text(case, "gold"));
            assert_eq!(
                back.is_correct(),
                report.is_correct(),
                "{} depends on the order of its sides",
                text(case, "id")
            );
        }
    }
    let all = print_table(&kinds);
    print_times(micros);
    let accuracy = f64::from(all.right) / f64::from(all.scored());
    let fn_rate = f64::from(all.false_negative) / f64::from(all.positives);
    let fp_rate = f64::from(all.false_positive) / f64::from(all.scored() - all.positives);
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

/// Times are printed, not asserted: the machine decides them.
fn print_times(mut micros: Vec<u128>) {
    micros.sort_unstable();
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize];
    let total: u128 = micros.iter().sum();
    println!(
        "microseconds: p50 {} p99 {} max {} mean {:.1}",
        at(0.5),
        at(0.99),
        at(1.0),
        total as f64 / micros.len() as f64
    );
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

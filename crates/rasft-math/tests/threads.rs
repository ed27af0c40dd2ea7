//! Verdicts depend on the input alone: not on threads, not on what else the machine does.

mod common;

use common::{rows, shared};
use rasft_math::{Report, Verifier};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Labelled cases, and inputs that use up the budget.
fn cases() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = [
        "9^{9^{9^{9}}}",
        "\\prod_{k=1}^{1000} (x+k)",
        "\\sum_{k=1}^{2000} \\frac{1}{k}",
        "\\sum_{k=1}^{2000} \\sin(kx)",
        "(x+1)^{5000}",
        "3000!/2999!",
        "\\binom{5000}{2500}",
    ]
    .iter()
    .flat_map(|text| [(*text, "64"), ("x^2+3000", *text), (*text, *text)])
    .map(|(gold, answer)| (gold.to_owned(), format!("\\boxed{{{answer}}}")))
    .collect();
    let braces = format!("\\boxed{{{}7{}}}", "{".repeat(50_000), "}".repeat(50_000));
    all.push(("7".to_owned(), braces));
    if let Some(shared) = shared() {
        let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        all.extend(
            rows(&shared.join("verify/cases_dev.jsonl")).iter().map(|row| (text(row, "gold"), text(row, "response"))),
        );
    }
    all
}

fn judge(cases: &[(String, String)], threads: usize) -> Vec<Report> {
    let verifier = Verifier::default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
    pool.install(|| cases.par_iter().map(|(gold, response)| verifier.verify(gold, response)).collect())
}

#[test]
fn one_thread_two_threads_and_a_busy_machine_agree() {
    let cases = cases();
    let one = judge(&cases, 1);
    assert_eq!(one, judge(&cases, 2));
    // Threads that keep every core busy, and more of them than cores, while two judge.
    let done = AtomicBool::new(false);
    let busy = std::thread::available_parallelism().map_or(2, usize::from) * 3;
    let under_load = std::thread::scope(|scope| {
        for seed in 0..busy as u64 {
            let done = &done;
            scope.spawn(move || {
                let mut x = seed | 1;
                while !done.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    }
                    std::hint::black_box(x);
                }
            });
        }
        let reports = judge(&cases, 2);
        done.store(true, Ordering::Relaxed);
        reports
    });
    assert_eq!(one, under_load);
    assert!(one.iter().any(|r| r.outcome == rasft_types::Outcome::Budget));
}

//! Judges labelled cases over and over and prints speed, latency and verdicts as JSON, for `make bench-verify`.
//!
//! Usage: `judge_cases CASES.jsonl THREADS PASSES`. Reading the file is not timed; every pass judges every row anew.

use rasft_math::Verifier;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::time::Instant;

/// The value below which `percent` of sorted `values` lie.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Gold answers and responses.
fn load(path: &str) -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rows: Vec<Value> =
        std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(rows.iter().map(|row| (text(row, "gold"), text(row, "response"))).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [cases, threads, passes] = args.as_slice() else {
        return Err("usage: judge_cases CASES THREADS PASSES".into());
    };
    let (threads, passes): (usize, usize) = (threads.parse()?, passes.parse()?);
    let pairs = load(cases)?;
    if pairs.is_empty() || passes == 0 {
        return Err("nothing to judge".into());
    }
    let verifier = Verifier::default();
    let judge = |(gold, response): &(String, String)| {
        let start = Instant::now();
        let correct = verifier.verify(gold, response).is_correct();
        (correct, start.elapsed().as_secs_f64() * 1e6)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let first: Vec<bool> = pool.install(|| pairs.par_iter().map(judge).map(|r| r.0).collect());
    let mut calls = Vec::with_capacity(passes * pairs.len());
    let mut of_case = vec![Vec::with_capacity(passes); pairs.len()];
    let start = Instant::now();
    for _ in 0..passes {
        let results: Vec<(bool, f64)> = pool.install(|| pairs.par_iter().map(judge).collect());
        for (i, (correct, micros)) in results.into_iter().enumerate() {
            if correct != first[i] {
                return Err(format!("row {i} changed its verdict").into());
            }
            of_case[i].push(micros);
            calls.push(micros);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    calls.sort_by(f64::total_cmp);
    // A case's median over the passes: what it costs where nothing else interrupts the thread.
    let slowest = of_case.iter_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        quantile(times, 50)
    });
    let slowest = slowest.fold(0.0, f64::max);
    let report = json!({
        "cases_per_second": (passes * pairs.len()) as f64 / seconds,
        "calls": calls.len(),
        "p50_us": quantile(&calls, 50),
        "p99_us": quantile(&calls, 99),
        "max_us": calls[calls.len() - 1],
        "slowest_case_us": slowest,
        "verdicts": first.iter().map(|c| if *c { '1' } else { '0' }).collect::<String>(),
    });
    println!("{report}");
    Ok(())
}

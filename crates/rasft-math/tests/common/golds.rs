//! The gold answers of the benchmarks.

use super::common::rows;
use rasft_math::gold_from_solution;
use serde_json::Value;
use std::path::Path;

/// The benchmarks under `data/bench`.
pub const BENCHMARKS: [&str; 9] =
    ["aime24", "aime25", "amc23", "gsm8k", "math_oai", "minerva_math", "olympiadbench", "svamp", "mawps"];

/// The gold answers of a benchmark's row.
fn of_row(row: &Value) -> Vec<String> {
    if let Some(list) = row["final_answer"].as_array() {
        return list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    }
    for field in ["target", "Answer", "answer"] {
        match &row[field] {
            Value::Number(n) => return vec![n.to_string()],
            Value::String(s) if s.contains("####") => return gold_from_solution(s).into_iter().collect(),
            Value::String(s) => return vec![s.clone()],
            _ => {}
        }
    }
    row["solution"].as_str().and_then(gold_from_solution).into_iter().collect()
}

/// The gold answers of a benchmark, in order.
pub fn golds(shared: &Path, bench: &str) -> Vec<String> {
    let dir = shared.join("data/bench").join(bench);
    let mut files: Vec<_> = std::fs::read_dir(&dir).expect("benchmark").map(|f| f.expect("entry").path()).collect();
    files.sort();
    let mut all: Vec<String> = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jsonl"))
        .flat_map(|f| rows(f))
        .flat_map(|r| of_row(&r))
        .collect();
    all.retain(|g| !g.trim().is_empty());
    assert!(all.len() > 20, "{bench}: {} gold answers", all.len());
    all
}

//! Where the golden files are, and how their fields are read.

use serde_json::Value;
use std::path::PathBuf;

/// Rows of a golden file; `None`, with a notice, if the shared directory is absent.
pub fn golden(name: &str) -> Option<Vec<Value>> {
    let shared = std::env::var_os("RASFT_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    if !shared.is_dir() {
        println!("skipped: ../shared not found");
        return None;
    }
    let text = std::fs::read_to_string(shared.join("golden").join(name)).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty(), "{name}");
    Some(rows)
}

pub fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a string, found {value}"))
}

pub fn f64(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

pub fn usize(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("expected a count, found {value}")) as usize
}

pub fn list<'a, T>(value: &'a Value, read: impl Fn(&'a Value) -> T) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("expected a list, found {value}")).iter().map(read).collect()
}

/// Asserts |a − b| ≤ tolerance.
pub fn close(actual: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((actual - expected).abs() <= tolerance, "{what}: {actual} instead of {expected}");
}

//! Where the shared fixtures are.

use serde_json::Value;
use std::path::PathBuf;

/// The shared directory, or `None` (said aloud) when it is absent.
pub fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("RASFT_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared not found");
    None
}

/// The rows of a JSONL file.
pub fn rows(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|l| !l.trim().is_empty())
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .collect()
}

//! Filters, similarity, de-duplication and extraction against the reference's recorded answers (`golden/*.jsonl`).

mod common;
#[path = "common/flags.rs"]
mod flags;

use common::{close, f64, golden, list, str, usize};
use flags::bool;
use rasft_method::similarity::{deduplicate, jaccard};
use rasft_method::{extract, filters, text};
use rasft_types::Rejection;
use serde_json::Value;

#[test]
fn text_filters() {
    let Some(rows) = golden("text_filters.jsonl") else { return };
    for row in &rows {
        // The reference treats a missing text as an empty one here, except that it calls it a shortcut.
        let Some(t) = row["text"].as_str() else { continue };
        let what = format!("{} {}: {t:?}", row["id"], row["category"]);
        assert_eq!(filters::is_loop(t), bool(&row["loop"]), "loop {what}");
        assert_eq!(filters::is_gibberish(t), bool(&row["gibberish"]), "gibberish {what}");
        assert_eq!(filters::is_shortcut(t), bool(&row["shortcut"]), "shortcut {what}");
        assert_eq!(filters::is_well_formed(t), bool(&row["format_ok"]), "format {what}");
        assert_eq!(extract::boxed(t), row["boxed"].as_str(), "boxed {what}");
        assert_eq!(extract::answer(t).as_deref(), row["answer"].as_str(), "answer {what}");
        assert_eq!(text::length(text::strip(t)), usize(&row["stripped_len"]), "length {what}");
        check_rejections(t, row, &what);
    }
}

fn check_rejections(t: &str, row: &Value, what: &str) {
    let rejections = filters::rejections(t);
    assert_eq!(rejections.is_empty(), bool(&row["kept"]), "kept {what} {rejections:?}");
    assert_eq!(rejections.contains(&Rejection::Shortcut), bool(&row["shortcut"]), "{what}");
    let gibberish = rejections.contains(&Rejection::Gibberish) || rejections.contains(&Rejection::Loop);
    assert_eq!(gibberish, bool(&row["gibberish"]), "{what} {rejections:?}");
    assert!(rejections.is_sorted(), "{rejections:?}");
}

#[test]
fn jaccard_of_texts() {
    let (Some(rows), Some(texts)) = (golden("jaccard.jsonl"), golden("text_filters.jsonl")) else { return };
    let by_id = |id: &Value| {
        let row = texts.iter().find(|t| t["id"] == *id).unwrap();
        row["text"].as_str().unwrap_or("")
    };
    for row in &rows {
        let (a, b) = match str(&row["kind"]) {
            "text" => (str(&row["a"]), str(&row["b"])),
            _ => (by_id(&row["a"]), by_id(&row["b"])),
        };
        close(jaccard(a, b), f64(&row["jaccard"]), 1e-12, &format!("{a:?} {b:?}"));
    }
}

#[test]
fn dedupe() {
    let Some(rows) = golden("dedupe.jsonl") else { return };
    for row in &rows {
        let samples = list(&row["samples"], str);
        let kept: Vec<usize> = deduplicate(&samples, f64(&row["threshold"]))
            .iter()
            .enumerate()
            .filter_map(|(i, original)| original.is_none().then_some(i))
            .collect();
        assert_eq!(kept, list(&row["kept"], usize), "{samples:?}");
    }
}

#[test]
fn extraction() {
    let Some(rows) = golden("extraction.jsonl") else { return };
    for row in &rows {
        let Some(t) = row["text"].as_str() else { continue };
        assert_eq!(extract::boxed(t), row["boxed"].as_str(), "boxed of {t:?}");
        assert_eq!(extract::answer(t).as_deref(), row["answer"].as_str(), "answer of {t:?}");
    }
}

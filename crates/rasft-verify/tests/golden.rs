//! The recorded filters, de-duplications and refreshes of the reference, through the judge.

use rasft_types::{Domain, FinishReason, Problem, Rejection, Rollout, Verdict};
use rasft_verify::{JudgeParams, judge_group};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Rows of a golden file; none, with a notice, if the shared directory is absent.
fn golden(name: &str) -> Vec<Value> {
    let shared = std::env::var_os("RASFT_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    if !shared.is_dir() {
        println!("skipped: ../shared not found");
        return Vec::new();
    }
    let text = std::fs::read_to_string(shared.join("golden").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn judge(answer: Option<&str>, expert: Option<&str>, completions: &[&str]) -> Vec<Verdict> {
    let problem = Problem {
        problem_id: "p".into(),
        domain: Domain::Math,
        source: "golden".into(),
        prompt: "?".into(),
        expert_response: expert.map(str::to_owned),
        answer: answer.map(str::to_owned),
        code: None,
        meta: "{}".into(),
    };
    let rollout = |(i, completion): (usize, &&str)| Rollout {
        rollout_id: i.to_string(),
        problem_id: "p".into(),
        sample_index: i as u32,
        policy_id: String::new(),
        round: 0,
        prompt_tokens: 1,
        completion: (*completion).to_owned(),
        token_ids: Vec::new(),
        token_logprobs: Vec::new(),
        finish_reason: FinishReason::Stop,
    };
    let rollouts: Vec<Rollout> = completions.iter().enumerate().map(rollout).collect();
    judge_group(&problem, &rollouts, &JudgeParams::default()).unwrap()
}

/// What the reference says of a text, against the reasons of a verdict.
fn check_filters(row: &Value, verdict: &Verdict) {
    let what = format!("{} {}: {:?}", row["id"], row["category"], verdict.rejected_by);
    let by = |rejection| verdict.rejected_by.contains(&rejection);
    let own: Vec<&Rejection> = verdict.rejected_by.iter().filter(|r| **r != Rejection::Duplicate).collect();
    assert_eq!(own.is_empty(), row["kept"] == true, "kept {what}");
    assert_eq!(verdict.usable, verdict.rejected_by.is_empty(), "{what}");
    assert_eq!(by(Rejection::Shortcut), row["shortcut"] == true, "shortcut {what}");
    let gibberish = by(Rejection::Gibberish) || by(Rejection::Loop);
    assert_eq!(gibberish, row["gibberish"] == true, "gibberish {what}");
    if !gibberish {
        assert_eq!(by(Rejection::Format), row["format_ok"] != true, "format {what}");
    }
    if row["stripped_len"] != 0 {
        assert_eq!(by(Rejection::Loop), row["loop"] == true, "loop {what}");
    }
    assert_eq!(by(Rejection::Empty), row["stripped_len"] == 0, "empty {what}");
    assert!(!by(Rejection::TooLong), "{what}");
    assert!(verdict.rejected_by.is_sorted(), "{what}");
}

#[test]
fn text_filters_one_by_one_and_category_by_category() {
    let mut categories: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut n_kept = 0;
    for row in golden("text_filters.jsonl") {
        let Some(text) = row["text"].as_str() else { continue };
        let verdict = judge(Some("1"), None, &[text]).remove(0);
        check_filters(&row, &verdict);
        n_kept += usize::from(verdict.usable);
        categories.entry(row["category"].to_string()).or_default().push(row);
    }
    for (category, rows) in &categories {
        let texts: Vec<&str> = rows.iter().filter_map(|r| r["text"].as_str()).collect();
        let verdicts = judge(Some("1"), None, &texts);
        for (row, verdict) in rows.iter().zip(&verdicts) {
            check_filters(row, verdict);
            let original = verdict.duplicate_of.as_ref().map(|id| &verdicts[id.parse::<usize>().unwrap()]);
            assert!(original.is_none_or(|v| v.duplicate_of.is_none() && v.sample_index < verdict.sample_index));
            assert_eq!(original.is_some(), verdict.rejected_by.contains(&Rejection::Duplicate), "{category}");
        }
    }
    assert!(categories.is_empty() || (categories.len() > 20 && n_kept > 50), "{} {n_kept}", categories.len());
}

#[test]
fn duplicates() {
    for row in golden("dedupe.jsonl").iter().filter(|row| row["threshold"] == 0.82) {
        let samples: Vec<&str> = row["samples"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let verdicts = judge(Some("1"), None, &samples);
        let kept: Vec<u32> = verdicts.iter().filter(|v| v.duplicate_of.is_none()).map(|v| v.sample_index).collect();
        let expected: Vec<u32> = row["kept"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as u32).collect();
        assert_eq!(kept, expected, "{samples:?}");
    }
}

/// A problem of the reference's refresh that no length limit cuts: the numbers that solvability is made of.
#[test]
fn refreshes() {
    let mut n_positive = 0;
    for (n, row) in golden("pipeline.jsonl").iter().enumerate() {
        if !row["max_len"].is_null() || row["gt_answer"].is_null() {
            continue;
        }
        let samples: Vec<&str> = row["samples"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let verdicts = judge(None, row["expert_response"].as_str(), &samples);
        let what = format!("row {n}");
        let n_unique = verdicts.iter().filter(|v| v.duplicate_of.is_none()).count() as u64;
        assert_eq!(Some(n_unique), row["k_total"].as_u64(), "{what}: k_total");
        let positives: Vec<u32> = verdicts.iter().filter(|v| v.usable && v.correct).map(|v| v.sample_index).collect();
        if let Some(k_pos) = row["k_pos"].as_u64() {
            assert_eq!(positives.len() as u64, k_pos, "{what}: k_pos");
        }
        let trained = row["rollouts"].as_array().unwrap();
        if !trained.is_empty() {
            let trained: Vec<u32> = trained.iter().map(|r| r["sample"].as_u64().unwrap() as u32).collect();
            assert_eq!(positives, trained, "{what}");
            n_positive += 1;
        }
    }
    println!("{n_positive} problems with correct rollouts");
}

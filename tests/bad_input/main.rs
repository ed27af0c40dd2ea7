//! Bad input, through the real binaries: each case a clear message, the right exit code, and nothing half-written.

mod data;
mod models;
#[path = "../support/mod.rs"]
mod support;
mod usage;
mod values;

use support::{Bench, quickstart_model};

struct Case {
    name: &'static str,
    binary: &'static str,
    args: Vec<String>,
    code: i32,
    says: &'static [&'static str],
}

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn check(make: fn(&Bench) -> Vec<Case>) {
    let bench = Bench::new();
    let mut failures = Vec::new();
    for case in make(&bench) {
        let out = bench.path("out");
        let out_text = out.display().to_string();
        let mut list: Vec<&str> = case.args.iter().map(String::as_str).collect();
        if case.binary != "rasft-store" && !list.contains(&"answer") {
            list.extend(["--out", &out_text]);
        }
        let ran = bench.run(case.binary, &list);
        let mut complain = |what: String| failures.push(format!("{}: {what}\n--- stderr\n{}", case.name, ran.stderr));
        if ran.code != case.code {
            complain(format!("exit code {} instead of {}", ran.code, case.code));
        }
        for word in case.says {
            if !ran.stderr.contains(word) {
                complain(format!("the message does not say {word:?}"));
            }
        }
        if !ran.stdout.is_empty() || out.exists() {
            complain(format!("left something behind: stdout {:?}, --out exists: {}", ran.stdout, out.exists()));
        }
        if ran.stderr.contains("panicked") || ran.stderr.contains("RUST_BACKTRACE") {
            complain("panicked".to_owned());
        }
    }
    let staging = support::files_below(&bench.store().join("_tmp"));
    let staging: Vec<_> = staging.into_iter().map(|(path, _)| path).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(staging.is_empty(), "half-written files in the store: {staging:?}");
}

/// Numbers that are absurd and allowed.
#[test]
fn absurd_numbers_do_not_panic() {
    const MAX: &str = "18446744073709551615";
    let bench = Bench::new();
    let problems = bench.problems(4);
    let model = quickstart_model().display().to_string();
    let tail = format!("1:{MAX}");
    let out = bench.run(
        "rasft-score",
        &["mixture", "--for", "sft", "--problems", &problems, "--model", &model, "--slice", &tail, "--json"],
    );
    assert_eq!(out.json()["rows"].as_u64(), Some(3));
    let behind = format!("{MAX}:{MAX}");
    let out = bench.run("rasft-score", &["difficulty", "--problems", &problems, "--model", &model, "--slice", &behind]);
    assert!(out.code == 3 && out.stderr.contains("begins after the last of 4 problems"), "{}", out.stderr);
    let limits = ["--skip", "1", "--limit", MAX, "--sample", MAX];
    let out = bench.run("rasft-import", &[&["parquet", "--in", &problems, "--json"], &limits[..]].concat());
    assert_eq!(out.json()["rows"].as_u64(), Some(3));
    let far = ["synthetic", "--rows", "2", "--first-row", "18446744073699551615", "--json"];
    assert_eq!(bench.run("rasft-import", &far).json()["rows"].as_u64(), Some(2));
}

#[test]
fn bad_values() {
    check(values::cases);
}

#[test]
fn bad_data() {
    check(data::cases);
}

#[test]
fn bad_models() {
    check(models::cases);
}

#[test]
fn bad_usage() {
    check(usage::cases);
}

//! The stages one after the other on real input: the loop closes, a second run computes nothing, and bytes depend on
//! inputs and parameters alone.

mod support;

use std::path::Path;
use support::{Bench, files_below, quickstart_model};

const PROMPT: [&str; 2] = ["--system-prompt", ""];

/// One round; the paths of all results in order.
fn round(bench: &Bench) -> Vec<String> {
    let model = quickstart_model().display().to_string();
    let with = |list: &[&str]| -> Vec<String> { list.iter().chain(&PROMPT).map(ToString::to_string).collect() };
    let ok = |name: &str, list: &[String]| bench.ok(name, &list.iter().map(String::as_str).collect::<Vec<_>>());
    let p = bench.problems(24);
    let d = ok("rasft-score", &with(&["difficulty", "--problems", &p, "--model", &model, "--main-rollout-ratio", "1"]));
    let rollout = ["--problems", &p, "--model", &model, "--select", &d, "--n", "2", "--max-new-tokens", "120"];
    let r = ok("rasft-rollout", &with(&rollout));
    let v = bench.ok("rasft-verify", &["--rollouts", &r, "--problems", &p]);
    let tables = ["--problems", &p, "--rollouts", &r, "--verdicts", &v, "--difficulty", &d];
    let s = bench.ok("rasft-score", &[&["solvability"], &tables[..]].concat());
    let models = ["--solvability", &s, "--model", &model, "--reference", &model];
    let m = ok("rasft-score", &with(&[&["mixture"], &tables[..], &models[..]].concat()));
    let train = ["--mixture", &m, "--model", &model, "--steps", "2", "--batch-size", "4", "--learning-rate", "1e-4"];
    let c = bench.ok("rasft-train", &train);
    let eval = |model: &str| {
        let bench_arg = format!("synthetic={p}");
        ok(
            "rasft-eval",
            &with(&["run", "--model", model, "--bench", &bench_arg, "--limit", "6", "--max-new-tokens", "120"]),
        )
    };
    let (base, tuned) = (eval(&model), eval(&c));
    let compared = bench.ok("rasft-eval", &["compare", &format!("base={base}"), &format!("tuned={tuned}")]);
    vec![p, d, r, v, s, m, c, base, tuned, compared]
}

fn data_files(dir: &str) -> Vec<(String, Vec<u8>)> {
    let strip = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
        (path.strip_prefix(dir).expect("inside").display().to_string(), bytes)
    };
    // The manifest's `run` section holds times and the host, on purpose.
    files_below(Path::new(dir)).into_iter().map(strip).filter(|(name, _)| name != "_manifest.json").collect()
}

#[test]
fn the_loop_closes_twice_to_the_same_bytes_and_a_warm_run_computes_nothing() {
    let (first, second) = (Bench::new(), Bench::new());
    let one = round(&first);
    let two = round(&second);
    for (a, b) in one.iter().zip(&two) {
        assert_eq!(data_files(a), data_files(b), "{a} and {b}");
    }
    let (page, runs) = (first.path("report.html"), [format!("base={}", one[7]), format!("tuned={}", one[8])]);
    first.ok("rasft-eval", &["report", "--runs", &runs[0], &runs[1], "--out", &page.display().to_string()]);
    let page = std::fs::read_to_string(page).expect("the report");
    assert!(page.contains("tuned") && page.contains("Against base") && page.trim_end().ends_with("</html>"), "{page}");
    let before = files_below(&first.store()).len();
    assert_eq!(round(&first), one);
    assert_eq!(files_below(&first.store()).len(), before, "a warm round leaves the store as it was");
}

#[test]
fn rollouts_do_not_depend_on_batch_size_or_threads() {
    let model = quickstart_model().display().to_string();
    let sample = |batch: &str, jobs: &str| {
        let bench = Bench::new();
        let p = bench.problems(6);
        let mut list = vec!["--problems", &p, "--model", &model, "--n", "3", "--max-new-tokens", "60", "--seed", "7"];
        list.extend(["--batch-size", batch, "--jobs", jobs, "--system-prompt", ""]);
        let out = bench.ok("rasft-rollout", &list);
        data_files(&out)
    };
    let expected = sample("1", "1");
    for (batch, jobs) in [("16", "1"), ("1", "2"), ("16", "2"), ("7", "2")] {
        assert_eq!(sample(batch, jobs), expected, "--batch-size {batch} --jobs {jobs}");
    }
}

#[test]
fn shards_one_by_one_make_the_whole() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let p = bench.problems(9);
    let base = ["--problems", &p, "--model", &model, "--n", "1", "--max-new-tokens", "16", "--system-prompt", ""];
    for i in 0..3 {
        bench.ok("rasft-rollout", &[&base[..], &["--shard", &format!("{i}/3")]].concat());
    }
    let whole = bench.run("rasft-rollout", &[&base[..], &["--shards", "3", "--json"]].concat()).json();
    assert_eq!((whole["hits"].as_u64(), whole["misses"].as_u64(), whole["rows"].as_u64()), (Some(3), Some(0), Some(9)));
    let again = bench.run("rasft-rollout", &[&base[..], &["--shards", "3", "--dry-run", "--json"]].concat()).json();
    assert_eq!((again["hit"].as_bool(), again["dry_run"].as_bool()), (Some(true), Some(true)));
    let other = [&base[..], &["--temperature", "0.123", "--dry-run"]].concat();
    let miss = bench.run("rasft-rollout", &other);
    let reason = miss.stderr.lines().find(|line| line.contains("params.sampling.temperature")).unwrap_or_default();
    assert!(reason.contains("0.123"), "{}", miss.stderr);
}

#[test]
fn a_checkpoint_can_be_traced_to_its_rollouts() {
    let bench = Bench::new();
    let results = round(&bench);
    let lineage = bench.run("rasft-store", &["lineage", &results[6]]);
    assert_eq!(lineage.code, 0, "{}", lineage.stderr);
    for stage in ["train", "mixture", "rollout", "verify", "solvability", "difficulty", "import"] {
        assert!(lineage.stdout.contains(stage), "{stage} is missing in\n{}", lineage.stdout);
    }
    assert_eq!(bench.run("rasft-store", &["verify"]).code, 0);
}

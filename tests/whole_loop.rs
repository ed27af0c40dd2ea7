//! The stages one after the other on real input: the loop closes, a second run computes nothing, and bytes depend on
//! inputs and parameters alone.

mod support;

use std::path::Path;
use support::{Bench, files_below, quickstart_model};

const PROMPT: [&str; 2] = ["--system-prompt", ""];

/// What the stages of one round did.
struct Round {
    paths: Vec<String>,
    /// Blocks found and computed, by stage.
    hits: Vec<u64>,
    misses: Vec<u64>,
}

impl Round {
    fn run(&mut self, bench: &Bench, name: &str, args: &[&str]) -> String {
        let out = bench.run(name, &[args, &["--json"]].concat()).json();
        let path = out["path"].as_str().expect("a path").to_owned();
        self.hits.push(out["hits"].as_u64().expect("hits"));
        self.misses.push(out["misses"].as_u64().expect("misses"));
        self.paths.push(path.clone());
        path
    }
}

fn round(bench: &Bench) -> Round {
    let model = quickstart_model().display().to_string();
    let mut round = Round { paths: vec![], hits: vec![], misses: vec![] };
    let mut run = |name: &str, args: &[&str]| round.run(bench, name, args);
    let p = run("rasft-import", &["synthetic", "--rows", "24", "--levels", "1..2"]);
    let d = ["difficulty", "--problems", &p, "--model", &model, "--main-rollout-ratio", "1"];
    let d = run("rasft-score", &[&d[..], &PROMPT].concat());
    let rollout = ["--problems", &p, "--model", &model, "--select", &d, "--n", "2", "--max-new-tokens", "120"];
    let r = run("rasft-rollout", &[&rollout[..], &PROMPT].concat());
    let v = run("rasft-verify", &["--rollouts", &r, "--problems", &p]);
    let tables = ["--problems", &p, "--rollouts", &r, "--verdicts", &v, "--difficulty", &d];
    let s = run("rasft-score", &[&["solvability"], &tables[..]].concat());
    let models = ["--solvability", &s, "--model", &model, "--reference", &model];
    let m = run("rasft-score", &[&["mixture"], &tables[..], &models[..], &PROMPT].concat());
    let train = ["--mixture", &m, "--model", &model, "--steps", "2", "--batch-size", "4", "--learning-rate", "1e-4"];
    let c = run("rasft-train", &train);
    let named = format!("synthetic={p}");
    let mut eval = |model: &str| {
        let args = ["run", "--model", model, "--bench", &named, "--limit", "6", "--max-new-tokens", "120"];
        run("rasft-eval", &[&args[..], &PROMPT].concat())
    };
    let (base, tuned) = (eval(&model), eval(&c));
    run("rasft-eval", &["compare", &format!("base={base}"), &format!("tuned={tuned}")]);
    round
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
    let Round { paths: one, misses, .. } = round(&first);
    assert!(misses.iter().all(|n| *n > 0), "a cold round computes every result: {misses:?}");
    let Round { paths: two, .. } = round(&second);
    for (a, b) in one.iter().zip(&two) {
        assert_eq!(data_files(a), data_files(b), "{a} and {b}");
    }
    let (page, runs) = (first.path("report.html"), [format!("base={}", one[7]), format!("tuned={}", one[8])]);
    first.ok("rasft-eval", &["report", "--runs", &runs[0], &runs[1], "--out", &page.display().to_string()]);
    let page = std::fs::read_to_string(page).expect("the report");
    assert!(page.contains("tuned") && page.contains("Against base") && page.trim_end().ends_with("</html>"), "{page}");
    let before = files_below(&first.store());
    let Round { paths, hits, misses } = round(&first);
    assert_eq!(paths, one);
    assert!(hits.iter().all(|n| *n > 0) && misses.iter().all(|n| *n == 0), "{hits:?} {misses:?}");
    assert!(files_below(&first.store()) == before, "a warm round leaves every byte of the store as it was");
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
    assert_eq!((whole["misses"].as_u64(), whole["rows"].as_u64()), (Some(0), Some(9)));
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
    let results = round(&bench).paths;
    let lineage = bench.run("rasft-store", &["lineage", &results[6]]);
    assert_eq!(lineage.code, 0, "{}", lineage.stderr);
    for stage in ["train", "mixture", "rollout", "verify", "solvability", "difficulty", "import"] {
        assert!(lineage.stdout.contains(stage), "{stage} is missing in\n{}", lineage.stdout);
    }
    assert_eq!(bench.run("rasft-store", &["verify"]).code, 0);
}

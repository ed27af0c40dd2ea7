//! What every binary understands: completions, man pages, and flags that mean something to it.

mod support;

use support::{Bench, quickstart_model};

const BINARIES: [&str; 7] =
    ["rasft-import", "rasft-score", "rasft-rollout", "rasft-verify", "rasft-train", "rasft-eval", "rasft-store"];

#[test]
fn every_program_has_completions_and_every_command_a_man_page() {
    let bench = Bench::new();
    let pages = bench.path("man");
    for name in BINARIES {
        let page = bench.run(name, &["--man"]);
        assert!(page.code == 0 && page.stdout.contains(".TH"), "{name}: {page:?}");
        for shell in ["bash", "zsh", "fish"] {
            let completions = bench.run(name, &["--completions", shell]);
            assert!(completions.code == 0 && completions.stdout.contains(name), "{name} {shell}: {completions:?}");
        }
        assert_eq!(bench.run(name, &["--completions", "csh"]).code, 2, "{name}");
        bench.ok(name, &[&format!("--man={}", pages.display())]);
    }
    let page = |name: &str| std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(name);
    for name in BINARIES {
        assert!(page(name).contains("EXAMPLES") || page(name).contains("Examples"), "{name}");
    }
    for (name, flag) in [
        ("rasft-score-difficulty", "progress"),
        ("rasft-score-solvability", "pos"),
        ("rasft-score-mixture", "reference"),
        ("rasft-verify-answer", "gold"),
        ("rasft-eval-run", "bench"),
        ("rasft-eval-compare", "resamples"),
        ("rasft-eval-report", "runs"),
        ("rasft-store-gc", "apply"),
        ("rasft-store-lineage", "json"),
    ] {
        assert!(page(name).contains(flag), "{name} does not explain --{flag}");
    }
    let alone = bench.run("rasft-score", &["mixture", "--man"]);
    assert!(alone.stdout.contains("on\\-long") && !alone.stdout.contains("progress\\-fraction"), "{}", alone.stdout);
}

#[test]
fn help_leaves_out_what_means_nothing() {
    let bench = Bench::new();
    for (name, args, shown, hidden) in [
        ("rasft-import", &["--help"][..], "--on-bad-row", "--shard <"),
        ("rasft-rollout", &["--help"], "--shard <", "--on-bad-row"),
        ("rasft-train", &["--help"], "--steps", "--shards"),
        ("rasft-score", &["mixture", "--help"], "--shards", "--shard <"),
        ("rasft-score", &["difficulty", "--help"], "--shard <", "--on-bad-row"),
        ("rasft-eval", &["report", "--help"], "--dry-run", "--force"),
        ("rasft-store", &["gc", "--help"], "--apply", "--dry-run"),
    ] {
        let help = bench.run(name, args);
        assert!(help.code == 0 && help.stdout.contains(shown), "{name} {args:?} lacks {shown}\n{}", help.stdout);
        assert!(!help.stdout.contains(hidden), "{name} {args:?} shows {hidden}\n{}", help.stdout);
    }
}

/// What is refused on the command line stands in `[common]` for the stages that know it.
#[test]
fn common_keys_apply_to_the_stages_that_know_them() {
    let bench = Bench::new();
    let config = bench.write("x.toml", "[common]\non_bad_row = \"skip\"\nshards = 2\nshard = \"1/2\"\n");
    let p = bench.problems(4);
    let model = quickstart_model().display().to_string();
    let mixture = ["mixture", "--for", "sft", "--problems", &p, "--model", &model, "--config", &config];
    let m = bench.path(&bench.ok("rasft-score", &mixture));
    assert!(m.join("part-00001.parquet").exists(), "two shards");
    let rollout = ["--problems", &p, "--model", &model, "--n", "1", "--max-new-tokens", "4", "--config", &config];
    let r = bench.run("rasft-rollout", &[&rollout[..], &["--json"]].concat()).json();
    assert_eq!(r["rows"].as_u64(), Some(2), "the second half");
}

#[test]
fn a_report_answers_in_json_and_writes_nothing_when_asked_to_look() {
    let bench = Bench::new();
    let p = bench.problems(2);
    let model = quickstart_model().display().to_string();
    let bench_arg = format!("b={p}");
    let run = ["run", "--model", &model, "--bench", &bench_arg, "--max-new-tokens", "4"];
    let e = bench.ok("rasft-eval", &run);
    let (page, named) = (bench.path("page.html"), format!("base={e}"));
    let out = page.display().to_string();
    let report = ["report", "--runs", &named, "--out", &out, "--json"];
    let look = bench.run("rasft-eval", &[&report[..], &["--dry-run"]].concat()).json();
    assert!(look["dry_run"].as_bool() == Some(true) && !page.exists(), "{look}");
    let made = bench.run("rasft-eval", &report).json();
    assert_eq!((made["path"].as_str(), made["summary"]["benches"][0].as_str()), (Some(out.as_str()), Some("b")));
    assert!(page.exists());
}

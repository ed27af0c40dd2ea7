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
    let first = &made["summary"]["side_by_side"][0];
    assert_eq!((first["run"].as_str(), first["against"].is_null()), (Some("base"), true), "{first}");
}

/// `rasft-eval report` ends with every run beside the first; nothing solved is not nothing possible.
#[test]
fn a_report_sets_runs_side_by_side() {
    let bench = Bench::new();
    let p = bench.problems(3);
    let model = quickstart_model().display().to_string();
    let bench_arg = format!("b={p}");
    let run = |tokens: &str| {
        bench.ok("rasft-eval", &["run", "--model", &model, "--bench", &bench_arg, "--max-new-tokens", tokens])
    };
    let (cut, whole) = (format!("cut={}", run("1")), format!("whole={}", run("160")));
    let out = bench.path("page.html").display().to_string();
    let ran = bench.run("rasft-eval", &["report", "--runs", &cut, &whole, "--out", &out]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("b ")).collect();
    assert!(lines.len() == 2 && lines[0].contains("cut") && lines[1].contains("whole"), "{}", ran.stderr);
    // The Jeffreys interval of 0 of 3.
    assert!(lines[0].contains("0.0–53.6"), "{}", lines[0]);
    assert!(ran.stderr.contains("− cut") && lines[1].contains(" … "), "{}", ran.stderr);
    let page = std::fs::read_to_string(bench.path("page.html")).expect("the page");
    assert!(page.contains("against the first") && page.contains("53.6"), "{page}");
}

#[test]
fn a_miss_says_which_field_of_the_key_changed() {
    let bench = Bench::new();
    let import = |rows: &'static str| ["synthetic", "--rows", rows, "--levels", "1..2"];
    let explain = |more: &[&str], rows: &'static str| {
        bench.run("rasft-store", &[&["explain"], more, &["--", "rasft-import"], &import(rows)[..]].concat())
    };
    let none = explain(&[], "3");
    assert!(none.code == 0 && none.stdout.contains("not there") && none.stdout.contains("no other"), "{none:?}");
    bench.ok("rasft-import", &import("3"));
    let there = explain(&[], "3");
    assert!(there.code == 0 && there.stdout.contains(": there, "), "{there:?}");
    let missed = explain(&[], "4");
    assert!(missed.stdout.contains("not there") && missed.stdout.contains("rows: 3 → 4"), "{missed:?}");
    assert_eq!(bench.run("rasft-store", &["ls", "--json"]).json().as_array().map(Vec::len), Some(1), "nothing was run");
    let object = explain(&["--json"], "4").json();
    let differences = object["summary"]["nearest"]["differences"].as_array().expect("differences").clone();
    assert!(differences.iter().any(|d| d["before"] == 3 && d["now"] == 4), "{object}");
    // Of a result that is there, by path and by the beginning of its key.
    let later = bench.ok("rasft-import", &import("4"));
    let key = later.rsplit('/').next().expect("a key");
    for what in [later.as_str(), &key[..12]] {
        let ran = bench.run("rasft-store", &["explain", what]);
        assert!(ran.code == 0 && ran.stdout.contains("rows: 3 → 4"), "{what}: {ran:?}");
    }
    for (args, says) in [
        (&["explain"][..], "WHAT"),
        (&["explain", "--", "rm", "-rf"], "rasft-rollout"),
        (&["explain", "--", "rasft-import", "gsm9k"], "cannot say"),
    ] {
        let ran = bench.run("rasft-store", args);
        assert!(ran.code == 2 && ran.stderr.contains(says), "{args:?}: {ran:?}");
    }
}

#[test]
fn lineage_prints_ids_that_show_takes() {
    let bench = Bench::new();
    let p = bench.problems(2);
    let model = quickstart_model().display().to_string();
    let m = bench.ok("rasft-score", &["mixture", "--for", "sft", "--problems", &p, "--model", &model]);
    let tree = bench.run("rasft-store", &["lineage", &m]);
    let problems = tree.stdout.lines().find(|line| line.contains("problems ←")).expect("the problems");
    let id = problems.split_whitespace().nth(3).expect("an id");
    let shown = bench.run("rasft-store", &["show", id]).json();
    assert_eq!(shown["manifest"]["schema"].as_str(), Some("problems"), "{id}: {shown}");
}

/// Verdicts of some parts do not pass for verdicts of all.
#[test]
fn verdicts_of_a_part_of_the_rollouts_say_so() {
    let bench = Bench::new();
    let p = bench.problems(5);
    let model = quickstart_model().display().to_string();
    let rollout = |more: &[&str]| {
        let base = ["--problems", &p, "--model", &model, "--n", "1", "--max-new-tokens", "4"];
        bench.ok("rasft-rollout", &[&base[..], more].concat())
    };
    let verify = |rollouts: &str| {
        let ran = bench.run("rasft-verify", &["--rollouts", rollouts, "--problems", &p]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let part = rollout(&["--shard", "1/3"]);
    for _ in 0..2 {
        // The second time from the store.
        let said = verify(&part);
        assert!(said.contains("only part 1 of 3") && said.contains("warning: of only part 1 of 3"), "{said}");
    }
    let whole = rollout(&["--shards", "3"]);
    assert!(!verify(&whole).contains("part"), "all parts are there");
    let some = bench.path("some");
    std::fs::create_dir(&some).expect("folder");
    for name in ["part-00000.parquet", "part-00002.parquet"] {
        std::fs::copy(std::path::Path::new(&whole).join(name), some.join(name)).expect("copy");
    }
    let said = verify(&some.display().to_string());
    assert!(said.contains("2 of 3 parts or more; not there: 1"), "{said}");
    let one = some.join("part-00002.parquet").display().to_string();
    assert!(verify(&one).contains("only one of the 2 parts in its folder"));
}

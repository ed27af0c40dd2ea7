//! Samples are kept one by one: more of them, more problems, other shards, kills and neighbours cost only what is
//! missing, and the result has the bytes of an undisturbed run.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use support::{Bench, files_below, quickstart_model};

const TOKENS: &str = "24";

/// The flags that all runs of this file share.
fn flags<'a>(model: &'a str, problems: &'a str) -> Vec<&'a str> {
    vec!["--problems", problems, "--model", model, "--max-new-tokens", TOKENS, "--system-prompt", ""]
}

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [base, more].concat()
}

fn model() -> String {
    quickstart_model().display().to_string()
}

/// Samples found and computed (or left, in a dry run).
fn counts(json: &Value) -> (u64, u64) {
    let summary = &json["summary"];
    let computed = summary["samples_computed"].as_u64().or(summary["samples_left"].as_u64());
    (summary["samples_cached"].as_u64().expect("cached"), computed.expect("computed or left"))
}

fn run(bench: &Bench, name: &str, args: &[&str]) -> Value {
    bench.run(name, &with(args, &["--json"])).json()
}

/// The Parquet files of a data set by name.
fn tables(dir: &Value) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(dir.as_str().expect("a path"));
    let inside = |path: PathBuf| path.strip_prefix(dir).expect("inside").to_owned();
    files_below(dir)
        .into_iter()
        .map(|(path, bytes)| (inside(path), bytes))
        .filter(|(p, _)| p.extension().is_some_and(|e| e == "parquet"))
        .collect()
}

/// The same command in a store of its own.
fn undisturbed(name: &str, args: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let bench = Bench::new();
    tables(&run(&bench, name, args)["path"])
}

fn segment_files(bench: &Bench) -> Vec<PathBuf> {
    let all = files_below(&bench.store().join("samples")).into_iter().map(|(path, _)| path);
    all.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect()
}

#[test]
fn only_what_is_missing_is_computed() {
    let (bench, model) = (Bench::new(), model());
    let (p, fewer) = (bench.problems(9), bench.ok("rasft-import", &["synthetic", "--rows", "5", "--levels", "1..2"]));
    let base = flags(&model, &p);
    let few = run(&bench, "rasft-rollout", &with(&flags(&model, &fewer), &["--n", "2"]));
    assert_eq!(counts(&few), (0, 10));
    // The first five problems are the same in both sets.
    let dry = run(&bench, "rasft-rollout", &with(&base, &["--n", "2", "--dry-run"]));
    assert_eq!((counts(&dry), dry["misses"].as_u64()), ((10, 8), Some(1)));
    assert!(dry["summary"].get("units_left").is_none(), "{dry}");
    let more_problems = run(&bench, "rasft-rollout", &with(&base, &["--n", "2"]));
    assert_eq!(counts(&more_problems), (10, 8));
    assert_eq!(tables(&more_problems["path"]), undisturbed("rasft-rollout", &with(&base, &["--n", "2"])));
    let more_samples = run(&bench, "rasft-rollout", &with(&base, &["--n", "4"]));
    assert_eq!(counts(&more_samples), (18, 18));
    assert_eq!(tables(&more_samples["path"]), undisturbed("rasft-rollout", &with(&base, &["--n", "4"])));
    // Fewer samples, other shards, one part, another round, another batch: nothing is computed.
    for free in [
        &["--n", "3"][..],
        &["--n", "4", "--shards", "3"],
        &["--n", "4", "--shard", "1/3"],
        &["--n", "4", "--round", "2"],
    ] {
        let free = run(&bench, "rasft-rollout", &with(&base, free));
        assert_eq!((counts(&free).1, free["misses"].as_u64()), (0, Some(0)), "{free}");
    }
    let warm = run(&bench, "rasft-rollout", &with(&base, &["--n", "4", "--batch-size", "3"]));
    assert_eq!((warm["hit"].as_bool(), &warm["path"]), (Some(true), &more_samples["path"]));
    let forced = run(&bench, "rasft-rollout", &with(&base, &["--n", "4", "--force", "--dry-run"]));
    assert_eq!((forced["hit"].as_bool(), counts(&forced)), (Some(false), (0, 36)));
    // Another seed, temperature or prompt shares nothing.
    for other in
        [&["--seed", "7"][..], &["--temperature", "0.5"], &["--system-prompt", "Think."], &["--min-new-tokens", "2"]]
    {
        let base: Vec<&str> = base.iter().copied().take(6).collect();
        let prompt = if other[0] == "--system-prompt" { &[][..] } else { &["--system-prompt", ""] };
        let dry = run(&bench, "rasft-rollout", &[&base[..], prompt, other, &["--n", "4", "--dry-run"]].concat());
        assert_eq!(counts(&dry), (0, 36), "{other:?}");
    }
}

#[test]
fn evaluations_share_samples_with_each_other_and_with_rollouts() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(6);
    let named = format!("a={p}");
    let sampling = ["--max-new-tokens", TOKENS, "--system-prompt", "", "--temperature", "0.9", "--top-p", "0.95"];
    let base = [&["run", "--model", &model, "--bench", &named, "--repetition-penalty", "1.1"], &sampling[..]].concat();
    assert_eq!(counts(&run(&bench, "rasft-eval", &with(&base, &["--n", "2"]))), (0, 12));
    let more = run(&bench, "rasft-eval", &with(&base, &["--n", "4"]));
    assert_eq!(counts(&more), (12, 12));
    assert_eq!(tables(&more["path"]), undisturbed("rasft-eval", &with(&base, &["--n", "4"])));
    assert_eq!(counts(&run(&bench, "rasft-eval", &with(&base, &["--n", "4", "--k", "1,3"]))), (24, 0));
    assert_eq!(counts(&run(&bench, "rasft-eval", &with(&base, &["--n", "3", "--limit", "4"]))), (12, 0));
    // The same problems under a second name.
    let twice = format!("b={p}");
    let both = run(&bench, "rasft-eval", &with(&base, &["--bench", &twice, "--n", "4"]));
    assert_eq!((counts(&both), both["rows"].as_u64()), ((48, 0), Some(48)));
    let anew = Bench::new();
    assert_eq!(counts(&run(&anew, "rasft-eval", &with(&base, &["--bench", &twice, "--n", "1"]))), (6, 6));
    let rollouts = run(&bench, "rasft-rollout", &with(&flags(&model, &p), &["--n", "4"]));
    assert_eq!(counts(&rollouts), (24, 0));
}

#[test]
fn kills_at_any_moment_lose_at_most_what_is_unfinished() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(40);
    let args = with(&flags(&model, &p), &["--n", "12", "--batch-size", "16", "--jobs", "1"]);
    let expected = undisturbed("rasft-rollout", &args);
    let (mut kills, mut kept) = (0, 0);
    for attempt in 0..40 {
        let mut child = bench
            .command("rasft-rollout", &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // As often before the first segment as after it.
        std::thread::sleep(Duration::from_millis(40 + 97 * (attempt % 5)));
        if child.try_wait().expect("a child of ours").is_some() {
            break;
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        kills += 1;
        let dry = run(&bench, "rasft-rollout", &with(&args, &["--dry-run"]));
        let cached = counts(&dry).0;
        assert!(cached >= kept, "kept samples vanished: {kept}, then {cached}");
        kept = cached;
    }
    assert!(kills > 0, "the run was over before it could be killed");
    let rest = run(&bench, "rasft-rollout", &args);
    assert_eq!(tables(&rest["path"]), expected);
    assert_eq!(bench.run("rasft-store", &["verify"]).code, 0);
    let stale = bench.run("rasft-store", &["gc", "--apply"]);
    assert_eq!(stale.code, 0, "{}", stale.stderr);
}

#[test]
fn processes_side_by_side_make_the_same_bytes() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(8);
    let base = with(&flags(&model, &p), &["--n", "4"]);
    let spawn = |more: &[&str]| {
        let mut command = bench.command("rasft-rollout", &with(&base, &with(more, &["--json", "--jobs", "1"])));
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts")
    };
    let children = [spawn(&["--shard", "0/2"]), spawn(&["--shard", "1/2"]), spawn(&[]), spawn(&[])];
    let outputs: Vec<Value> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("wait");
            assert!(output.status.success());
            serde_json::from_slice(&output.stdout).expect("JSON")
        })
        .collect();
    assert_eq!(outputs[2]["path"], outputs[3]["path"]);
    assert_eq!(tables(&outputs[2]["path"]), undisturbed("rasft-rollout", &base));
    let halves = run(&bench, "rasft-rollout", &with(&base, &["--shards", "2"]));
    assert_eq!(counts(&halves), (32, 0));
    let parts: Vec<_> = outputs[..2].iter().flat_map(|o| tables(&o["path"])).collect();
    assert_eq!(tables(&halves["path"]), parts);
}

#[test]
fn a_damaged_segment_is_reported_and_can_be_made_again() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(3);
    let base = flags(&model, &p);
    bench.ok("rasft-rollout", &with(&base, &["--n", "1"]));
    let file = segment_files(&bench).pop().expect("a segment");
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::remove_file(&file).expect("remove");
    std::fs::write(&file, bytes).expect("write");
    let ran = bench.run("rasft-rollout", &with(&base, &["--n", "2"]));
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("samples") && ran.stderr.contains("expected blake3"), "{}", ran.stderr);
    assert_eq!(bench.run("rasft-store", &["verify"]).code, 4);
    std::fs::remove_dir_all(file.parent().expect("its entry")).expect("remove");
    assert_eq!(counts(&run(&bench, "rasft-rollout", &with(&base, &["--n", "2"]))), (0, 6));
}

#[test]
fn the_store_knows_samples_and_gc_keeps_them_with_their_results() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.ok("rasft-import", &["synthetic", "--rows", "3", "--levels", "1..2", "--out", "p"]);
    let p = bench.path(&p).display().to_string();
    let base = flags(&model, &p);
    bench.ok("rasft-rollout", &with(&base, &["--n", "2", "--out", "r"]));
    bench.ok("rasft-rollout", &with(&base, &["--n", "2", "--seed", "9"]));
    let listed = bench.run("rasft-store", &["ls"]);
    assert_eq!(listed.stdout.lines().filter(|line| line.contains("samples/")).count(), 2, "{}", listed.stdout);
    assert_eq!(bench.run("rasft-store", &["gc", "--apply"]).code, 0);
    assert_eq!(counts(&run(&bench, "rasft-rollout", &with(&base, &["--n", "3", "--dry-run"]))), (6, 3));
    assert_eq!(counts(&run(&bench, "rasft-rollout", &with(&base, &["--n", "2", "--seed", "9", "--dry-run"]))), (0, 6));
}

#[test]
fn force_computes_again_to_the_same_bytes() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(3);
    let base = with(&flags(&model, &p), &["--n", "2"]);
    let first = run(&bench, "rasft-rollout", &base);
    let before = tables(&first["path"]);
    let forced = run(&bench, "rasft-rollout", &with(&base, &["--force"]));
    assert_eq!((counts(&forced), tables(&forced["path"])), ((0, 6), before));
    assert_eq!(counts(&run(&bench, "rasft-rollout", &with(&base, &["--shards", "2"]))), (6, 0));
}

#[test]
fn adaptive_sampling_stops_early_and_does_not_depend_on_how_it_runs() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(12);
    let base = ["--problems", &p, "--model", &model, "--max-new-tokens", "120", "--system-prompt", ""];
    let until = |w| with(&base, &["--temperature", "0.7", "--n-min", "2", "--n-max", "8", "--until-width", w]);
    let args = until("0.6");
    let first = run(&bench, "rasft-rollout", &args);
    let adaptive = &first["summary"]["adaptive"];
    let saved = adaptive["samples_saved"].as_u64().expect("saved");
    assert_eq!(first["rows"].as_u64(), Some(96 - saved));
    assert!(saved > 0 && adaptive["problems_by_end"]["narrow"].as_u64() > Some(0), "{adaptive}");
    for other in [&["--batch-size", "1"][..], &["--batch-size", "7", "--jobs", "1"]] {
        assert_eq!(undisturbed("rasft-rollout", &with(&args, other)), tables(&first["path"]), "{other:?}");
    }
    let dry = run(&bench, "rasft-rollout", &with(&until("0.55"), &["--dry-run"]));
    assert!(counts(&dry).0 >= 96 - saved, "{dry}");
    // A plain run takes over every sample that adaptive sampling made.
    let plain = run(&bench, "rasft-rollout", &with(&base, &["--temperature", "0.7", "--n", "8"]));
    assert_eq!(counts(&plain), (96 - saved, saved));
    let parts = run(&bench, "rasft-rollout", &with(&args, &["--shards", "3"]));
    assert_eq!((counts(&parts), parts["rows"].as_u64()), ((96 - saved, 0), Some(96 - saved)));
}

#[test]
fn adaptive_sampling_needs_answers_and_a_reason_to_stop() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(2);
    let open = bench.write("open.jsonl", "{\"q\": \"Why?\", \"s\": \"Nobody knows.\"}\n");
    let open = bench.ok("rasft-import", &["jsonl", "--in", &open, "--map", "prompt=q", "--map", "expert_response=s"]);
    let adaptive = ["--n-min", "1", "--n-max", "2", "--until-width", "0.5"];
    let cases: [(&str, &[&str], i32, &str); 6] = [
        (&open, &adaptive, 3, "answer"),
        (&p, &["--n-min", "2", "--n-max", "4"], 2, "--until-width"),
        (&p, &["--n-min", "4", "--n-max", "2", "--until-settled"], 2, "n-min"),
        (&p, &["--n-min", "2"], 2, "--n-max"),
        (&p, &["--n-min", "2", "--n-max", "4", "--n", "3", "--until-settled"], 2, "--n"),
        (&p, &["--n-min", "2", "--n-max", "4", "--until-width", "1.5"], 2, "--until-width"),
    ];
    for (problems, more, code, says) in cases {
        let ran = bench.run("rasft-rollout", &with(&flags(&model, problems), more));
        assert_eq!(ran.code, code, "{more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{more:?}: {}", ran.stderr);
    }
}

#[test]
fn a_part_of_an_evaluation_has_no_figures() {
    let (bench, model) = (Bench::new(), model());
    let bench_arg = format!("a={}", bench.problems(4));
    let args = ["run", "--model", &model, "--bench", &bench_arg, "--max-new-tokens", "8", "--system-prompt", ""];
    let part = run(&bench, "rasft-eval", &with(&args, &["--shard", "1/2"]));
    let path = part["path"].as_str().expect("a path");
    assert_eq!((part["rows"].as_u64(), tables(&part["path"]).len()), (Some(2), 1));
    assert!(part["summary"]["figures"].is_null(), "{part}");
    let named = [format!("a={path}"), format!("b={path}")];
    let html = bench.path("report.html").display().to_string();
    let compare = ["compare", &named[0], &named[1]];
    let report = ["report", "--runs", &named[0], &named[1], "--out", &html];
    for args in [&compare[..], &report] {
        let ran = bench.run("rasft-eval", args);
        assert!(ran.code == 3 && ran.stderr.contains("part 1/2"), "{}: {}", ran.code, ran.stderr);
    }
    let whole = run(&bench, "rasft-eval", &args);
    assert_eq!((counts(&whole), whole["summary"]["figures"].is_array()), ((2, 2), true));
}

#[test]
fn sampling_flags_beat_what_the_file_says_of_the_other_kind() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(2);
    let plain = bench.write("plain.toml", "[rollout]\nn = 4\n");
    let adaptive = bench.write("adaptive.toml", "[rollout]\nn_min = 2\nn_max = 8\nuntil_settled = true\n");
    let cases: [(&str, &[&str], i32, u64); 5] = [
        (&plain, &["--n-min", "2", "--n-max", "8", "--until-width", "0.5"], 0, 4),
        (&plain, &["--until-width", "0.5"], 2, 0),
        (&adaptive, &["--until-width", "0.5"], 0, 4),
        (&adaptive, &["--n-min", "3"], 0, 6),
        (&adaptive, &["--n", "5"], 0, 10),
    ];
    for (file, more, code, samples) in cases {
        let args = [&flags(&model, &p)[..], &["--config", file, "--dry-run", "--json"], more].concat();
        let ran = bench.run("rasft-rollout", &args);
        assert_eq!(ran.code, code, "{more:?}: {}", ran.stderr);
        if code == 0 {
            assert_eq!(counts(&ran.json()), (0, samples), "{more:?}");
        }
    }
}

#[test]
fn memory_bounds_the_batch_and_changes_nothing() {
    let (bench, model) = (Bench::new(), model());
    let p = bench.problems(3);
    let base = with(&flags(&model, &p), &["--n", "3"]);
    let first = run(&bench, "rasft-rollout", &base);
    assert_eq!(undisturbed("rasft-rollout", &with(&base, &["--memory", "2"])), tables(&first["path"]));
    let ran = Bench::new().run("rasft-rollout", &with(&base, &["--memory", "0"]));
    assert!(ran.code == 2 && ran.stderr.contains("--memory"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn whether_prompts_fit_is_judged_over_all_problems() {
    let (bench, model) = (Bench::new(), model());
    let long = "one and ".repeat(120);
    let rows = format!("{{\"q\": \"1+1?\", \"a\": \"2\"}}\n{{\"q\": \"{long}\", \"a\": \"3\"}}\n");
    let file = bench.write("mixed.jsonl", rows);
    let p = bench.ok("rasft-import", &["jsonl", "--in", &file, "--map", "prompt=q", "--map", "answer=a"]);
    let base = with(&flags(&model, &p), &["--n", "1", "--max-length", "80"]);
    let whole = run(&bench, "rasft-rollout", &base);
    let parts = run(&bench, "rasft-rollout", &with(&base, &["--shards", "2"]));
    let count = |json: &Value| json["summary"]["finish_reasons"]["error"].as_u64();
    assert_eq!((count(&whole), count(&parts)), (Some(1), Some(1)));
}

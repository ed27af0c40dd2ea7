//! Every experiment file under `pipelines/` is accepted by every stage that it configures, to the last key.

mod support;

use serde_json::json;
use std::path::PathBuf;
use support::{Bench, model_with, root};

/// Problems in the shapes that the files import, one record each.
const RECORDS: [(&str, &str); 3] = [
    ("numina", r#"{"source":"olympiads","problem":"Find 2+3.","solution":"We add: 2+3=5, so it is \\boxed{5}."}"#),
    ("math", r#"{"problem":"Find 2+3.","solution":"We get \\boxed{5}.","answer":"5","subject":"Algebra","level":1}"#),
    ("gsm8k", r#"{"question":"Ann has 2 pens and buys 3. How many?","answer":"2+3=<<2+3=5>>5\n#### 5"}"#),
];

fn experiments() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("pipelines")).expect("pipelines");
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

/// Tables of one round, made without any file, for the stages further down to read.
struct Tables {
    problems: String,
    difficulty: String,
    rollouts: String,
    verdicts: String,
    solvability: String,
    mixture: String,
}

fn tables(bench: &Bench, model: &str) -> Tables {
    let problems = bench.problems(6);
    let difficulty = bench.ok("rasft-score", &["difficulty", "--problems", &problems, "--model", model]);
    let sampling = ["--n", "2", "--max-new-tokens", "40"];
    let rollouts = bench.ok("rasft-rollout", &[&["--problems", &problems, "--model", model], &sampling[..]].concat());
    let verdicts = bench.ok("rasft-verify", &["--rollouts", &rollouts, "--problems", &problems]);
    let judged = ["--problems", &problems, "--rollouts", &rollouts, "--verdicts", &verdicts];
    let solvability = bench.ok("rasft-score", &[&["solvability"], &judged[..]].concat());
    let rest = ["--solvability", &solvability, "--model", model, "--reference", model];
    let mixture = bench.ok("rasft-score", &[&["mixture"], &judged[..], &rest[..]].concat());
    Tables { difficulty, rollouts, verdicts, solvability, mixture, problems }
}

/// The `[import]` or `[import.section]` value of a key, by way of the tool that scripts use.
fn setting(bench: &Bench, config: &str, section: &str, key: &str) -> Option<String> {
    let ask = |name: &str| {
        let ran = bench.run("rasft-store", &["config", config, name, "none"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        Some(ran.stdout.trim().to_owned()).filter(|value| value != "none")
    };
    ask(&format!("import.{section}.{key}")).or_else(|| ask(&format!("import.{key}")))
}

#[test]
fn every_stage_accepts_every_experiment() {
    let bench = Bench::new();
    // The tiny model with room for the longest answers that any file asks for.
    let model = model_with(&bench.path("model"), &[], &[("config.json", json!({ "max_position_embeddings": 8192 }))]);
    let t = tables(&bench, &model);
    for file in experiments() {
        let config = file.display().to_string();
        let accepts = |name: &str, args: &[&str]| {
            let ran = bench.run(name, &[args, &["--config", &config, "--dry-run"]].concat());
            assert_eq!(ran.code, 0, "{config}: {name} {args:?}: {}", ran.stderr);
        };
        for section in ["train", "test"] {
            let format = setting(&bench, &config, section, "format").expect("a format");
            let record = RECORDS.iter().find(|(name, _)| *name == format);
            let input = record.map(|(name, line)| bench.write(&format!("{name}.jsonl"), format!("{line}\n")));
            let given: Vec<&str> = input.iter().flat_map(|path| ["--in", path.as_str()]).collect();
            accepts("rasft-import", &[&["--section", section], &given[..]].concat());
        }
        let judged = ["--problems", &t.problems, "--rollouts", &t.rollouts, "--verdicts", &t.verdicts];
        let rest = ["--solvability", &t.solvability, "--model", &model, "--reference", &model];
        accepts("rasft-score", &["difficulty", "--problems", &t.problems, "--model", &model]);
        accepts("rasft-rollout", &["--problems", &t.problems, "--model", &model, "--select", &t.difficulty]);
        accepts("rasft-verify", &["--rollouts", &t.rollouts, "--problems", &t.problems]);
        accepts("rasft-score", &[&["solvability"], &judged[..]].concat());
        accepts("rasft-score", &[&["mixture"], &judged[..], &rest[..]].concat());
        accepts("rasft-train", &["--mixture", &t.mixture, "--model", &model, "--steps", "2"]);
        accepts("rasft-eval", &["run", "--model", &model, "--bench", &format!("b={}", t.problems)]);
    }
}

//! Bad input, through the real binaries: each case a clear message, the right exit code, and nothing half-written.

mod support;

use serde_json::json;
use support::{Bench, model_with, quickstart_model, strings_table};

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

fn data_cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(4);
    let model = quickstart_model().display().to_string();
    let malformed =
        bench.write("bad.jsonl", "{\"question\": \"1+1?\", \"answer\": \"2\"}\n{\"question\": \"2+2?\", \n");
    let missing_field = bench.write("field.jsonl", "{\"q\": \"1+1?\", \"answer\": \"2 #### 2\"}\n");
    let text = bench.write("table.parquet", "not parquet at all");
    let good = std::fs::read(std::path::Path::new(&problems).join("part-00000.parquet")).expect("shard");
    let truncated = bench.write("cut.parquet", &good[..good.len() / 2]);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    bench.write("flipped/part-00000.parquet", &flipped);
    let manifest = std::fs::read(std::path::Path::new(&problems).join("_manifest.json")).expect("manifest");
    bench.write("flipped/_manifest.json", manifest);
    let flipped = bench.path("flipped").display().to_string();
    let foreign = strings_table(&bench.path("foreign.parquet"), &[("response", vec!["1", "2"])]);
    let empty_dir = bench.path("nothing");
    std::fs::create_dir_all(&empty_dir).expect("folder");
    let empty_file = bench.write("empty.jsonl", "");
    let empty_dir = empty_dir.display().to_string();
    vec![
        Case {
            name: "malformed JSON line",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &malformed]),
            code: 3,
            says: &["bad.jsonl", "2"],
        },
        Case {
            name: "missing field",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &missing_field]),
            code: 3,
            says: &["field.jsonl", "question"],
        },
        Case {
            name: "empty source",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", &empty_file]),
            code: 3,
            says: &["empty.jsonl"],
        },
        Case {
            name: "unknown format",
            binary: "rasft-import",
            args: args(&["gsm9k", "--in", &empty_file]),
            code: 2,
            says: &["gsm9k", "gsm8k"],
        },
        Case {
            name: "no such file",
            binary: "rasft-import",
            args: args(&["gsm8k", "--in", "absent.jsonl"]),
            code: 3,
            says: &["absent.jsonl"],
        },
        Case {
            name: "not parquet",
            binary: "rasft-rollout",
            args: args(&["--problems", &text, "--model", &model]),
            code: 3,
            says: &["table.parquet", "not a Parquet file"],
        },
        Case {
            name: "truncated parquet",
            binary: "rasft-rollout",
            args: args(&["--problems", &truncated, "--model", &model]),
            code: 4,
            says: &["cut.parquet"],
        },
        Case {
            name: "flipped bit",
            binary: "rasft-rollout",
            args: args(&["--problems", &flipped, "--model", &model]),
            code: 4,
            says: &["part-00000.parquet", "expected", "actual"],
        },
        Case {
            name: "empty data set",
            binary: "rasft-rollout",
            args: args(&["--problems", &empty_dir, "--model", &model]),
            code: 3,
            says: &["holds no Parquet file"],
        },
        Case {
            name: "wrong table",
            binary: "rasft-verify",
            args: args(&["--rollouts", &problems, "--problems", &problems]),
            code: 3,
            says: &["\"problems\"", "\"rollouts\""],
        },
        Case {
            name: "missing column",
            binary: "rasft-verify",
            args: args(&["--pairs", &foreign]),
            code: 3,
            says: &["\"gold\"", "missing", "foreign.parquet"],
        },
    ]
}

fn model_cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(2);
    let no_tokenizer = model_with(&bench.path("no-tokenizer"), &["tokenizer.json"], &[]);
    let no_template =
        model_with(&bench.path("no-template"), &[], &[("tokenizer_config.json", json!({ "chat_template": null }))]);
    let gpt2 = model_with(
        &bench.path("gpt2"),
        &[],
        &[("config.json", json!({ "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"] }))],
    );
    let narrow = model_with(&bench.path("narrow"), &[], &[("config.json", json!({ "max_position_embeddings": 8 }))]);
    let no_weights = model_with(&bench.path("no-weights"), &["model.safetensors"], &[]);
    let wrong_shape =
        model_with(&bench.path("wrong-shape"), &[], &[("config.json", json!({ "intermediate_size": 64 }))]);
    let rollout = |model: &str| args(&["--problems", &problems, "--model", model, "--n", "1", "--max-new-tokens", "4"]);
    let score = |model: &str| args(&["difficulty", "--problems", &problems, "--model", model, "--max-length", "8"]);
    vec![
        Case {
            name: "no such model",
            binary: "rasft-rollout",
            args: rollout("absent"),
            code: 3,
            says: &["absent", "does not exist"],
        },
        Case {
            name: "no tokenizer",
            binary: "rasft-rollout",
            args: rollout(&no_tokenizer),
            code: 3,
            says: &["tokenizer.json"],
        },
        Case {
            name: "no template",
            binary: "rasft-rollout",
            args: rollout(&no_template),
            code: 3,
            says: &["chat_template"],
        },
        Case {
            name: "no weights",
            binary: "rasft-rollout",
            args: rollout(&no_weights),
            code: 3,
            says: &["model.safetensors"],
        },
        Case {
            name: "unsupported architecture",
            binary: "rasft-rollout",
            args: rollout(&gpt2),
            code: 3,
            says: &["gpt2"],
        },
        Case {
            name: "weights of another shape",
            binary: "rasft-rollout",
            args: rollout(&wrong_shape),
            code: 3,
            says: &["model.safetensors"],
        },
        Case {
            name: "prompt longer than the context",
            binary: "rasft-rollout",
            args: rollout(&narrow),
            code: 3,
            says: &["context"],
        },
        Case {
            name: "nothing fits the length limit",
            binary: "rasft-score",
            args: score(&quickstart_model().display().to_string()),
            code: 3,
            says: &["--max-length"],
        },
    ]
}

fn usage_cases(bench: &Bench) -> Vec<Case> {
    let problems = bench.problems(2);
    let model = quickstart_model().display().to_string();
    let unknown_key = bench.write("key.toml", "[rollout]\ntemprature = 0.5\n");
    let unknown_table = bench.write("table.toml", "[rollouts]\nn = 1\n");
    let not_finite = bench.write("nan.toml", "[rollout]\ntemperature = nan\n");
    let wrong_type = bench.write("type.toml", "[rollout]\nn = \"many\"\n");
    let not_toml = bench.write("broken.toml", "[rollout\n");
    let base = |extra: &[&str]| {
        let mut list = args(&["--problems", &problems, "--model", &model]);
        list.extend(args(extra));
        list
    };
    vec![
        Case {
            name: "shard out of range",
            binary: "rasft-rollout",
            args: base(&["--shard", "5/4"]),
            code: 2,
            says: &["5/4", "0 <= I < N"],
        },
        Case {
            name: "unknown config key",
            binary: "rasft-rollout",
            args: base(&["--config", &unknown_key]),
            code: 2,
            says: &["key.toml", "temprature", "did you mean \"temperature\""],
        },
        Case {
            name: "unknown config table",
            binary: "rasft-rollout",
            args: base(&["--config", &unknown_table]),
            code: 2,
            says: &["rollouts", "did you mean \"rollout\""],
        },
        Case {
            name: "wrong type in config",
            binary: "rasft-rollout",
            args: base(&["--config", &wrong_type]),
            code: 2,
            says: &["type.toml", "\"n\""],
        },
        Case {
            name: "no number in config",
            binary: "rasft-rollout",
            args: base(&["--config", &not_finite]),
            code: 2,
            says: &["nan.toml", "rollout.temperature", "NaN", "a finite number"],
        },
        Case {
            name: "broken config",
            binary: "rasft-rollout",
            args: base(&["--config", &not_toml]),
            code: 2,
            says: &["broken.toml", "TOML"],
        },
        Case {
            name: "unknown flag",
            binary: "rasft-rollout",
            args: base(&["--temprature", "1"]),
            code: 2,
            says: &["temperature"],
        },
        Case {
            name: "missing input flag",
            binary: "rasft-rollout",
            args: args(&["--model", &model]),
            code: 2,
            says: &["--problems"],
        },
        Case {
            name: "temperature below zero",
            binary: "rasft-rollout",
            args: base(&["--temperature=-1"]),
            code: 2,
            says: &["temperature"],
        },
        Case {
            name: "unknown objective",
            binary: "rasft-train",
            args: args(&["--mixture", &problems, "--model", &model, "--objective", "ppo"]),
            code: 2,
            says: &["ppo", "rasft"],
        },
        Case {
            name: "batch of nothing",
            binary: "rasft-rollout",
            args: base(&["--batch-size", "0"]),
            code: 2,
            says: &["--batch-size"],
        },
        Case {
            name: "zero threads",
            binary: "rasft-rollout",
            args: base(&["--jobs", "0"]),
            code: 2,
            says: &["--jobs"],
        },
        Case {
            name: "unknown profile",
            binary: "rasft-score",
            args: args(&[
                "solvability",
                "--problems",
                &problems,
                "--rollouts",
                &problems,
                "--verdicts",
                &problems,
                "--profile",
                "best",
            ]),
            code: 2,
            says: &["reference", "calibrated"],
        },
    ]
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

/// Values out of range, given to stages whose inputs do not exist: the value is what is complained of, before any work.
fn value_cases(_: &Bench) -> Vec<Case> {
    const MAX: &str = "18446744073709551615";
    let score = ["--problems", "absent", "--model", "absent"];
    let tables = ["--problems", "absent", "--rollouts", "absent", "--verdicts", "absent"];
    let difficulty = |extra: &[&str]| args(&[&["difficulty"], &score[..], extra].concat());
    let solvability = |extra: &[&str]| args(&[&["solvability"], &tables[..], extra].concat());
    let mixture = |extra: &[&str]| args(&[&["mixture", "--for", "sft"], &score[..], extra].concat());
    let rollout = |extra: &[&str]| args(&[&score[..], extra].concat());
    let verify = |extra: &[&str]| args(&[&["--rollouts", "absent", "--problems", "absent"], extra].concat());
    let answer = |extra: &[&str]| args(&[extra, &["answer", "--gold", "1/3", "--response", "0.33"]].concat());
    let eval = |extra: &[&str]| args(&[&["run", "--model", "absent", "--bench", "b=absent"], extra].concat());
    let compare = |extra: &[&str]| args(&[&["compare", "a=absent", "b=absent"], extra].concat());
    let import = |extra: &[&str]| args(&[&["synthetic"], extra].concat());
    let table: Vec<(&'static str, Vec<String>, &'static [&'static str])> = vec![
        ("rasft-score", difficulty(&["--progress-fraction", "1.5"]), &["--progress-fraction 1.5", "from 0 to 1"]),
        (
            "rasft-score",
            difficulty(&["--progress-fraction", "nan"]),
            &["--progress-fraction", "nan", "a finite number"],
        ),
        ("rasft-score", difficulty(&["--main-rollout-ratio=-1"]), &["--main-rollout-ratio -1", "from 0 to 1"]),
        ("rasft-score", difficulty(&["--hard-probe-ratio", "2"]), &["--hard-probe-ratio 2"]),
        ("rasft-score", difficulty(&["--end-high-q", "1.1"]), &["--end-high-q 1.1", "from 0 to 1"]),
        ("rasft-score", difficulty(&["--start-low-q", "0.6"]), &["--start-low-q 0.6", "at most --start-high-q 0.45"]),
        ("rasft-score", difficulty(&["--max-length", "1"]), &["--max-length 1", "at least 2"]),
        ("rasft-score", difficulty(&["--fallback-template", "vicuna"]), &["--fallback-template vicuna", "chatml"]),
        ("rasft-score", difficulty(&["--device", "gpu"]), &["--device", "gpu", "cpu"]),
        ("rasft-score", difficulty(&["--profile", "best"]), &["--profile", "best", "reference"]),
        ("rasft-score", difficulty(&["--slice", "5"]), &["--slice 5", "START:COUNT"]),
        ("rasft-score", difficulty(&["--shards", MAX]), &["--shards 18446744073709551615", "1 to 100000"]),
        ("rasft-score", difficulty(&["--on-bad-row", "skip"]), &["--on-bad-row", "rasft-score difficulty"]),
        ("rasft-score", solvability(&["--adv-alpha", "inf"]), &["--adv-alpha", "inf", "a finite number"]),
        ("rasft-score", solvability(&["--expert-weight-min", "1.5"]), &["--expert-weight-min 1.5", "from 0 to 1"]),
        (
            "rasft-score",
            solvability(&["--expert-reward-min", "4"]),
            &["--expert-reward-min 4", "--expert-reward-max 3"],
        ),
        ("rasft-score", solvability(&["--shard", "0/2"]), &["--shard", "rasft-score solvability"]),
        ("rasft-score", mixture(&["--max-length", "0"]), &["--max-length 0", "at least 2"]),
        ("rasft-score", mixture(&["--on-long", "cut"]), &["--on-long cut", "drop or truncate"]),
        ("rasft-score", args(&[&["mixture", "--for", "ppo"], &score[..]].concat()), &["ppo", "sft"]),
        ("rasft-rollout", rollout(&["--n", "0"]), &["--n 0", "at least 1"]),
        ("rasft-rollout", rollout(&["--top-p", "1.5"]), &["--top-p 1.5", "at most 1"]),
        ("rasft-rollout", rollout(&["--max-new-tokens", "0"]), &["--max-new-tokens 0"]),
        ("rasft-rollout", rollout(&["--shards", "0"]), &["--shards 0", "1 to 100000"]),
        ("rasft-rollout", rollout(&["--shard", "0/18446744073709551615"]), &["--shard", "100000"]),
        ("rasft-rollout", rollout(&["--jobs", MAX]), &["--jobs 18446744073709551615", "1 to 1024"]),
        ("rasft-rollout", rollout(&["--on-bad-row", "skip"]), &["--on-bad-row", "means nothing", "[common]"]),
        ("rasft-rollout", rollout(&["--concurrency", "4"]), &["--concurrency", "--endpoint"]),
        ("rasft-rollout", rollout(&["--timeout", "4"]), &["--timeout", "--endpoint"]),
        ("rasft-rollout", rollout(&["--connect-timeout", "4"]), &["--connect-timeout", "--endpoint"]),
        ("rasft-rollout", rollout(&["--max-retries", "4"]), &["--max-retries", "--endpoint"]),
        ("rasft-rollout", rollout(&["--retry-pause", "4"]), &["--retry-pause", "--endpoint"]),
        ("rasft-verify", verify(&["--base", "m"]), &["--base", "rasft-verify"]),
        ("rasft-import", import(&["--base", "m"]), &["--base", "rasft-import"]),
        ("rasft-score", solvability(&["--base", "m"]), &["--base", "rasft-score solvability"]),
        ("rasft-store", args(&["gc", "--base", "m"]), &["--base", "rasft-store"]),
        ("rasft-verify", verify(&["--max-length", "0"]), &["--max-length 0", "at least 1"]),
        ("rasft-verify", verify(&["--tolerance", "2"]), &["--tolerance \"2\"", "between 0 and 1"]),
        ("rasft-verify", verify(&["--on-bad-row", "skip"]), &["--on-bad-row"]),
        ("rasft-verify", answer(&["--tolerance", "1e-4"]), &["--tolerance", "answer --tolerance 1e-4"]),
        ("rasft-verify", answer(&["--rollouts", "absent"]), &["--rollouts", "before `answer`"]),
        ("rasft-verify", answer(&["--max-length", "9"]), &["--max-length", "before `answer`"]),
        ("rasft-eval", eval(&["--k", "2"]), &["--k 2", "1 to --n 1"]),
        ("rasft-eval", eval(&["--limit", "0"]), &["--limit 0", "at least 1"]),
        ("rasft-eval", eval(&["--min-p", "2"]), &["--min-p 2", "between 0 and 1"]),
        ("rasft-eval", eval(&["--bench", "absent"]), &["--bench absent", "NAME=PATH"]),
        ("rasft-eval", compare(&["--resamples", "0"]), &["--resamples 0", "1 to 10000000"]),
        ("rasft-eval", compare(&["--resamples", "4294967295"]), &["--resamples 4294967295"]),
        ("rasft-eval", compare(&["--shards", "2"]), &["--shards", "rasft-eval compare"]),
        (
            "rasft-train",
            args(&["--mixture", "absent", "--model", "absent", "--shards", "2"]),
            &["--shards", "rasft-train"],
        ),
        ("rasft-import", import(&["--rows", MAX]), &["--rows 18446744073709551615", "1 to 10000000"]),
        ("rasft-import", import(&["--first-row", MAX]), &["--first-row 18446744073709551615"]),
        ("rasft-import", import(&["--sample", "0"]), &["--sample 0", "at least 1"]),
        ("rasft-import", import(&["--limit", "0"]), &["--limit 0", "at least 1"]),
        ("rasft-import", import(&["--levels", "0..3"]), &["--levels", "from 1 to 8"]),
        ("rasft-import", import(&["--themes", "war"]), &["--themes", "war"]),
        ("rasft-import", import(&["--shard", "0/2"]), &["--shard", "rasft-import"]),
        ("rasft-store", args(&["gc", "--apply", "--dry-run"]), &["--dry-run", "rasft-store gc"]),
    ];
    table.into_iter().map(|(binary, args, says)| Case { name: says[0], binary, args, code: 2, says }).collect()
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
    check(value_cases);
}

#[test]
fn bad_data() {
    check(data_cases);
}

#[test]
fn bad_models() {
    check(model_cases);
}

#[test]
fn bad_usage() {
    check(usage_cases);
}

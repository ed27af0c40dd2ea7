//! What cannot be trained is refused before the first step: file, row and remedy, or the flag.

use crate::fixture::{Setting, VOCAB, rows, write};
use crate::support::quickstart_model;
use rasft_types::MixtureRow;
use serde_json::{Value, json};

#[test]
fn rows_are_named_by_file_and_row() {
    type Spoil = fn(&mut MixtureRow);
    let setting = Setting::new(2);
    let cases: [(&str, Spoil, &[&str]); 7] = [
        ("vocabulary", |r| r.input_ids[1] = VOCAB, &["token 97", "vocabulary of 97", "tokenizer"]),
        ("prompt", |r| r.prompt_len = r.input_ids.len() as u32, &["prompt_len"]),
        ("no prompt", |r| r.prompt_len = 0, &["prompt_len is 0"]),
        ("weight", |r| r.weight = f64::NAN, &["weight is NaN"]),
        ("infinite", |r| r.weight = f64::INFINITY, &["weight is inf"]),
        ("reference", |r| r.ref_logprob = f32::NAN, &["ref_logprob is NaN", "--reference"]),
        ("context", |r| r.input_ids = vec![3; 70], &["70 tokens", "max_position_embeddings 64", "--max-length"]),
    ];
    for (name, spoil, says) in cases {
        let mut rows = rows(20);
        spoil(&mut rows[13]);
        let mixture = write(&setting.bench, "bad.parquet", &rows);
        let ran = setting.bench.run("rasft-train", &with(&setting, "--mixture", &mixture));
        assert_eq!(ran.code, 3, "{name}: {}", ran.stderr);
        for part in says.iter().chain(&["bad.parquet: row 13 (trajectory trajectory-13)", "hint: "]) {
            assert!(ran.stderr.contains(part), "{name}: no {part:?} in {}", ran.stderr);
        }
    }
}

/// No later loss sees what the last step makes of the weights; the first one has a learning rate of 0.
#[test]
fn weights_that_are_no_numbers_are_neither_published_nor_kept() {
    let model = quickstart_model().display().to_string();
    let kinds: [(&str, u32, &[&str]); 4] = [
        ("all weights", 2, &[]),
        ("an adapter", 2, &["--lora", "2"]),
        ("merged", 2, &["--lora", "2", "--merge"]),
        ("a checkpoint on the way", 3, &["--checkpoint-every", "2"]),
    ];
    for (what, steps, more) in kinds {
        let setting = Setting::new(steps);
        let mut args = with(&setting, "--learning-rate", "1e40");
        if more.contains(&"--lora") {
            args.retain(|arg| *arg != "--from-scratch");
            args[3] = &model;
        }
        let ran = setting.bench.run("rasft-train", &[&args[..], more].concat());
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        for part in ["has become", "is not written", "hint: the training diverged: lower --learning-rate"] {
            assert!(ran.stderr.contains(part), "{what}: no {part:?} in {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("could not be kept"), "{what}: said twice: {}", ran.stderr);
        assert!(setting.kept().is_empty(), "{what}: {:?}", setting.kept());
        assert!(ran.stdout.is_empty(), "{what}: {}", ran.stdout);
    }
}

#[test]
fn grpo_asks_for_the_behaviour_policy() {
    let setting = Setting::new(2);
    let ran = setting.run(&["--objective", "grpo"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("row 0") && ran.stderr.contains("--for grpo"), "{}", ran.stderr);
}

#[test]
fn flags_are_checked_before_any_work() {
    let setting = Setting::new(2);
    for (flags, says) in [
        (&["--objective", "ppo"][..], "grpo"),
        (&["--schedule", "step"], "cosine or linear or constant"),
        (&["--loss-normalization", "mean"], "micro-batch"),
        (&["--save-dtype", "f16"], "bf16"),
        (&["--dtype", "f16"], "f32 or bf16"),
        (&["--beta2", "1"], "beta2"),
        (&["--clip-min", "2"], "clip"),
        (&["--weight-decay=-1"], "weight decay"),
        (&["--checkpoint-every", "0"], "--checkpoint-every"),
        (&["--lora-alpha", "4"], "--lora"),
        (&["--lora", "4"], "--from-scratch"),
        (&["--objective", "asft"], "--reference"),
        (&["--device", "cuda:0"], "cuda"),
        (&["--device", "tpu"], "is not cpu"),
    ] {
        // The mixture is not there, and nobody gets so far as to notice.
        let mut args = with(&setting, "--mixture", "no-such-mixture");
        args.extend(flags.iter().copied().filter(|f| *f != "asft"));
        if flags.contains(&"asft") {
            args = setting.args(flags);
        }
        let ran = setting.bench.run("rasft-train", &args);
        assert_eq!(ran.code, 2, "{flags:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{flags:?}: no {says:?} in {}", ran.stderr);
    }
}

#[test]
fn a_mixture_of_another_tokenizer_is_refused() {
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let quickstart = quickstart_model().display().to_string();
    let problems = bench.problems(6);
    let mixture =
        bench.ok("rasft-score", &["mixture", "--problems", &problems, "--model", &quickstart, "--for", "sft"]);
    let other = crate::support::model_with(&bench.path("other"), &[], &[]);
    let path = bench.path("other/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    tokenizer["added_tokens"][0]["content"] = json!("<|another|>");
    std::fs::write(&path, tokenizer.to_string()).expect("write");
    let train = |model: &str| {
        bench.run("rasft-train", &["--mixture", &mixture, "--model", model, "--objective", "sft", "--steps", "1"])
    };
    let ran = train(&other);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("another tokenizer") && ran.stderr.contains("hint"), "{}", ran.stderr);
    assert_eq!(train(&quickstart).code, 0);
}

#[test]
fn a_reference_whose_token_ids_mean_other_text_is_refused() {
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let model = quickstart_model().display().to_string();
    let other = crate::support::model_with(&bench.path("other"), &[], &[]);
    let path = bench.path("other/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary");
    let [a, b] = [300, 301].map(|id| vocabulary.iter().find(|(_, at)| **at == id).expect("an id").0.clone());
    vocabulary.insert(a.clone(), json!(301));
    vocabulary.insert(b, json!(300));
    std::fs::write(&path, tokenizer.to_string()).expect("write");
    // Without a tokenizer, or with a token less, it is taken at its word.
    let [without, fewer] = ["without", "fewer"].map(|name| crate::support::model_with(&bench.path(name), &[], &[]));
    std::fs::remove_file(bench.path("without/tokenizer.json")).expect("remove");
    let mut tokenizer: Value =
        serde_json::from_slice(&std::fs::read(quickstart_model().join("tokenizer.json")).expect("read")).expect("JSON");
    tokenizer["added_tokens"].as_array_mut().expect("tokens").pop().expect("one");
    std::fs::write(bench.path("fewer/tokenizer.json"), tokenizer.to_string()).expect("write");
    let problems = bench.problems(6);
    let score = ["mixture", "--problems", &problems, "--model", &model, "--for", "sft"];
    let mixture = bench.ok("rasft-score", &score);
    let train = ["--mixture", &mixture, "--model", &model, "--objective", "asft", "--steps", "1"];
    for (program, args) in [("rasft-score", &score[..]), ("rasft-train", &train)] {
        let ran = bench.run(program, &[args, &["--reference", &other]].concat());
        assert_eq!(ran.code, 3, "{program}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("that of {a:?}")) && ran.stderr.contains(&other), "{}", ran.stderr);
        for fits in [&model, &without, &fewer] {
            let ran = bench.run(program, &[args, &["--reference", fits]].concat());
            assert_eq!(ran.code, 0, "{program} {fits}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_run_that_cannot_fit_into_memory_is_not_begun() {
    let setting = Setting::new(1);
    let path = setting.bench.path("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    for (key, value) in [("hidden_size", 32_768), ("intermediate_size", 131_072), ("num_hidden_layers", 400)] {
        config[key] = json!(value);
    }
    std::fs::write(&path, config.to_string()).expect("write");
    let ran = setting.run(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("does not fit into memory") && ran.stderr.contains("--lora"), "{}", ran.stderr);
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_step_before() {
    let setting = Setting::new(12);
    let mut rows = rows(40);
    rows[35].weight = 1e308;
    let mixture = write(&setting.bench, "wild.parquet", &rows);
    let args: Vec<&str> = with(&setting, "--mixture", &mixture).into_iter().filter(|f| *f != "--shuffle").collect();
    let ran = setting.bench.run("rasft-train", &args);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("step 3") && ran.stderr.contains("trajectory-32"), "{}", ran.stderr);
    assert_eq!(setting.kept().len(), 1);
    assert!(setting.kept()[0].ends_with("step-0000000002"));
}

#[test]
fn weights_that_teach_nothing_are_a_warning() {
    let setting = Setting::new(1);
    let mut rows = rows(20);
    rows.iter_mut().for_each(|r| r.weight = 0.0);
    let mixture = write(&setting.bench, "zero.parquet", &rows);
    let ran = setting.bench.run("rasft-train", &with(&setting, "--mixture", &mixture));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("all 20 trajectories of the mixture have weight 0"), "{}", ran.stderr);
}

#[test]
fn ratios_that_mostly_clip_are_a_warning() {
    let setting = Setting::new(1);
    let mut rows = rows(20);
    rows.iter_mut().for_each(|r| r.ref_logprob = -0.1);
    let mixture = write(&setting.bench, "far.parquet", &rows);
    let ran = setting.bench.run("rasft-train", &with(&setting, "--mixture", &mixture));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("100 % of the ratios are clipped"), "{}", ran.stderr);
}

/// The setting's flags with another value for one of them.
fn with<'a>(setting: &'a Setting, flag: &str, value: &'a str) -> Vec<&'a str> {
    let at = setting.flags.iter().position(|f| f == flag).expect("the flag is there");
    setting.flags.iter().enumerate().map(|(i, f)| if i == at + 1 { value } else { f.as_str() }).collect()
}

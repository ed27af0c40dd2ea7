//! Adapters and reinforcement learning through the stages, with the quickstart's model.

use crate::fixture::{Setting, data};
use crate::support::{Bench, quickstart_model};
use rasft_data::DataSet;
use rasft_types::{DifficultyRow, MixtureRow};
use std::path::Path;

fn experts(bench: &Bench) -> (String, String) {
    let model = quickstart_model().display().to_string();
    let problems = bench.problems(8);
    let mixture = bench.ok(
        "rasft-score",
        &["mixture", "--problems", &problems, "--model", &model, "--for", "sft", "--reference", &model],
    );
    (problems, mixture)
}

fn losses(bench: &Bench, problems: &str, model: &str) -> Vec<f32> {
    let table = bench.ok("rasft-score", &["difficulty", "--problems", problems, "--model", model]);
    let rows = DataSet::open(table).expect("a table").read_all::<DifficultyRow>().expect("rows");
    rows.iter().map(|row| row.expert_nll).collect()
}

#[test]
fn an_adapter_is_a_model_wherever_a_model_is_asked_for() {
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let model = quickstart_model().display().to_string();
    let (problems, mixture) = experts(bench);
    let train = |more: &[&str]| {
        let flags = ["--mixture", &mixture, "--objective", "sft", "--steps", "3", "--batch-size", "4"];
        let rate = ["--learning-rate", "1e-2", "--schedule", "constant"];
        bench.ok("rasft-train", &[&flags[..], &rate, more].concat())
    };
    let adapter = train(&["--model", &model, "--lora", "4", "--lora-targets", "q_proj,v_proj,down_proj"]);
    let names: Vec<String> = data(Path::new(&adapter)).iter().map(|(name, _)| name.display().to_string()).collect();
    assert!(names.contains(&"adapter_model.safetensors".to_owned()), "{names:?}");
    assert!(!names.contains(&"model.safetensors".to_owned()), "{names:?}");
    let merged = train(&["--model", &model, "--lora", "4", "--lora-targets", "q_proj,v_proj,down_proj", "--merge"]);
    let (before, of_adapter, of_merged) =
        (losses(bench, &problems, &model), losses(bench, &problems, &adapter), losses(bench, &problems, &merged));
    assert!(of_adapter.iter().sum::<f32>() < before.iter().sum::<f32>(), "{of_adapter:?} {before:?}");
    for (a, m) in of_adapter.iter().zip(&of_merged) {
        assert!((a - m).abs() < 1e-5, "{of_adapter:?} {of_merged:?}");
    }
    let moments = |flags: &[&str]| {
        let ran = bench
            .run("rasft-train", &[&["--mixture", &mixture, "--steps", "1", "--objective", "sft"][..], flags].concat());
        (ran.code, ran.stderr)
    };
    let (code, stderr) = moments(&["--model", &adapter, "--continue", &adapter]);
    assert!(
        code == 2
            && stderr.contains("it is an adapter")
            && stderr.contains("--lora 4 --lora-alpha 16 --lora-dropout 0.05 --lora-targets down_proj,q_proj,v_proj"),
        "{stderr}"
    );
    let lora = ["--lora", "4", "--lora-targets", "q_proj,v_proj,down_proj"];
    let (code, stderr) = moments(&[&["--model", &model, "--continue", &adapter][..], &lora].concat());
    assert!(code == 0 && stderr.contains("fresh adapter"), "{stderr}");
    let other = train(&[&["--model", &model, "--seed", "9"][..], &lora].concat());
    let (code, stderr) = moments(&[&["--model", &other, "--continue", &adapter][..], &lora].concat());
    assert!(code == 0 && stderr.contains("another adapter"), "{stderr}");
    let (code, stderr) = moments(&[&["--model", &adapter, "--continue", &adapter][..], &lora].concat());
    assert!(code == 0 && !stderr.contains("its moments go on with"), "{stderr}");
    // The next round goes on with the same adapter and its moments.
    let next = ["--model", &adapter, "--continue", &adapter, "--lora", "4"];
    train(&[&next[..], &["--lora-targets", "q_proj,v_proj,down_proj"]].concat());
    let ran =
        bench.run("rasft-train", &[&["--mixture", &mixture, "--steps", "1", "--objective", "sft"][..], &next].concat());
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("down_proj,q_proj,v_proj"), "{}", ran.stderr);
    // One from elsewhere whose scale is rank-stabilised goes on as such.
    let stabilised = bench.path("stabilised");
    std::fs::create_dir_all(&stabilised).expect("folder");
    for (name, bytes) in data(Path::new(&adapter))
        .into_iter()
        .filter(|(name, _)| name.starts_with("adapter_config.json") || name.starts_with("adapter_model.safetensors"))
    {
        let text = String::from_utf8_lossy(&bytes).replace("\"use_rslora\": false", "\"use_rslora\": true");
        let bytes = if name.ends_with("adapter_config.json") { text.into_bytes() } else { bytes };
        std::fs::write(stabilised.join(name), bytes).expect("write");
    }
    let from = stabilised.display().to_string();
    let lora = ["--lora", "4", "--lora-targets", "q_proj,v_proj,down_proj"];
    let next = train(&[&["--model", &from, "--base", &model][..], &lora].concat());
    let config = std::fs::read_to_string(Path::new(&next).join("adapter_config.json")).expect("a configuration");
    assert!(config.contains("\"use_rslora\": true"), "{config}");
    // Another base is found out.
    let other = crate::support::model_with(&bench.path("other"), &[], &[("config.json", serde_json::json!({"x": 1}))]);
    let ran = bench.run("rasft-score", &["difficulty", "--problems", &problems, "--model", &adapter, "--base", &other]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("not the base model"), "{}", ran.stderr);
}

#[test]
fn objectives_with_a_divergence_run_with_a_reference_or_with_the_adapter_off() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let (_, mixture) = experts(&bench);
    let flags = ["--mixture", &mixture, "--model", &model, "--steps", "2", "--batch-size", "4"];
    for objective in ["sft-kl", "asft"] {
        for more in [&["--reference", &model][..], &["--lora", "2"], &["--lora", "2", "--kl-weight", "0.5"]] {
            bench.ok("rasft-train", &[&flags[..], &["--objective", objective], more].concat());
        }
    }
}

#[test]
fn an_interrupted_adapter_run_with_dropout_repeats_to_the_byte() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let (_, mixture) = experts(&bench);
    let flags = ["--mixture", &mixture, "--model", &model, "--steps", "6", "--batch-size", "4", "--objective", "asft"];
    let lora = ["--lora", "4", "--lora-dropout", "0.2"];
    let stores = ["a", "b"].map(|name| bench.path(name).display().to_string());
    let whole = bench.ok("rasft-train", &[&flags[..], &lora, &["--store", &stores[0]]].concat());
    let args = [&flags[..], &lora, &["--store", &stores[1], "--checkpoint-every", "1"]].concat();
    let mut child = bench.command("rasft-train", &args).spawn().expect("it starts");
    while crate::fixture::kept(Path::new(&stores[1])).is_empty() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert_eq!(data(Path::new(&bench.ok("rasft-train", &args))), data(Path::new(&whole)));
}

/// What activations are kept and how many threads there are has no part in the bytes, and none in the key.
#[test]
fn checkpointed_gradients_of_an_adapter_end_in_the_same_bytes() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let (_, mixture) = experts(&bench);
    let targets = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";
    let flags = ["--mixture", &mixture, "--model", &model, "--steps", "3", "--batch-size", "4", "--dtype", "bf16"];
    let lora = ["--lora", "4", "--lora-dropout", "0.2", "--lora-targets", targets, "--learning-rate", "1e-2"];
    let trained = |objective: &str, name: &str, more: &[&str]| {
        let store = bench.path(name).display().to_string();
        let last = ["--objective", objective, "--store", &store];
        bench.ok("rasft-train", &[&flags[..], &lora, &last, more].concat())
    };
    for objective in ["rasft", "sft-kl"] {
        let kept = trained(objective, &format!("{objective}-kept"), &["--jobs", "1"]);
        let more = ["--jobs", "2", "--gradient-checkpointing"];
        let recomputed = trained(objective, &format!("{objective}-recomputed"), &more);
        assert_eq!(data(Path::new(&recomputed)), data(Path::new(&kept)), "{objective}");
        let again = trained(objective, &format!("{objective}-kept"), &more);
        assert_eq!(again, kept, "{objective}: the same key");
    }
}

#[test]
fn grpo_learns_from_right_and_wrong_rollouts() {
    let bench = Bench::new();
    let model = quickstart_model().display().to_string();
    let problems = bench.problems(12);
    let prompt = ["--system-prompt", ""];
    let sample = ["--problems", &problems, "--model", &model, "--n", "6", "--max-new-tokens", "140"];
    let rollouts = bench.ok("rasft-rollout", &[&sample[..], &prompt].concat());
    let verdicts = bench.ok("rasft-verify", &["--rollouts", &rollouts, "--problems", &problems]);
    let tables = ["--problems", &problems, "--rollouts", &rollouts, "--verdicts", &verdicts, "--model", &model];
    let mixture = bench.ok("rasft-score", &[&["mixture", "--for", "grpo"], &tables[..], &prompt].concat());
    let rows = DataSet::open(&mixture).expect("a table").read_all::<MixtureRow>().expect("rows");
    assert!(rows.iter().any(|r| r.weight > 0.0) && rows.iter().any(|r| r.weight < 0.0));
    for row in &rows {
        let old = row.old_logprobs.as_ref().expect("behaviour log-probabilities");
        assert_eq!(old.len(), row.input_ids.len() - row.prompt_len as usize);
    }
    let sum: f64 = rows.iter().map(|r| r.weight).sum();
    assert!(sum.abs() < 1e-6 * rows.len() as f64, "advantages of a group sum to 0: {sum}");
    let flags = ["--mixture", &mixture, "--model", &model, "--objective", "grpo", "--steps", "2", "--batch-size", "8"];
    let trained = bench.ok("rasft-train", &[&flags[..], &["--clip-high", "0.28"]].concat());
    let metrics = DataSet::open(Path::new(&trained).join("metrics.parquet")).expect("metrics");
    let first = metrics.read_all::<rasft_types::StepMetrics>().expect("rows").remove(0);
    // The policy that sampled is the one that trains: every ratio is 1 at the first step.
    assert!((first.mean_ratio - 1.0).abs() < 1e-3, "{first:?}");
    bench.ok("rasft-train", &[&flags[..], &["--kl-weight", "0.05", "--reference", &model]].concat());
}

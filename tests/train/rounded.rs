//! `--dtype bf16` as a program: the policy that trained is the one that is written, and every promise of f32 holds.

use crate::fixture::{Setting, data};
use crate::support::quickstart_model;
use serde_json::Value;
use std::path::Path;

const BF16: [&str; 2] = ["--dtype", "bf16"];

/// Types of the tensors in a safetensors file whose names begin with `prefix`.
fn types(path: &Path, prefix: &str) -> Vec<String> {
    let bytes = std::fs::read(path).expect("a file");
    let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + len]).expect("a header");
    let tensors = header.as_object().expect("tensors").iter().filter(|(name, _)| name.starts_with(prefix));
    let mut types: Vec<String> = tensors.filter_map(|(_, t)| t["dtype"].as_str().map(str::to_owned)).collect();
    types.dedup();
    types
}

#[test]
fn killed_it_ends_in_the_same_bytes_on_any_number_of_threads() {
    let every = [&BF16[..], &["--checkpoint-every", "3"]].concat();
    let setting = Setting::new(40);
    let whole = setting.bytes(&BF16);
    let mut resumed = 0;
    for trial in 0..6 {
        setting.forget();
        resumed += u32::from(setting.killed(&every, || setting.reached(3 + 6 * trial)));
        let jobs = if trial % 2 == 0 { "1" } else { "2" };
        let args: Vec<&str> = setting.args(&every).into_iter().map(|f| if f == "1" { jobs } else { f }).collect();
        assert_eq!(data(&setting.bench.run("rasft-train", &args).path()), whole, "trial {trial}");
    }
    assert!(resumed >= 4, "{resumed} of 6 went on from a checkpoint");
    let recomputed = {
        setting.forget();
        setting.bytes(&[&BF16[..], &["--gradient-checkpointing"]].concat())
    };
    assert_eq!(recomputed, whole);
}

#[test]
fn the_checkpoint_is_bf16_with_its_master_copy_and_the_next_round_goes_on() {
    let setting = Setting::new(4);
    let key = |more: &[&str]| setting.run(&[more, &["--json", "--dry-run"]].concat()).json()["key"].clone();
    assert_eq!(key(&["--dtype", "f32"]), key(&[]));
    assert_ne!(key(&BF16), key(&["--save-dtype", "bf16"]), "the passes differ");
    let dir = setting.run(&BF16).path();
    assert_eq!(types(&dir.join("model.safetensors"), ""), ["BF16"]);
    assert_eq!(types(&dir.join("optimizer.safetensors"), "master."), ["F32"]);
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json")).expect("there")).expect("JSON");
    assert_eq!(config["torch_dtype"], "bfloat16");
    let plain = setting.run(&[]).path();
    assert!(types(&plain.join("optimizer.safetensors"), "master.").is_empty());

    // A master copy goes with its weights.
    let (ours, other) = (dir.display().to_string(), plain.display().to_string());
    let next = |model: &str, more: &[&str]| {
        let flags: Vec<&str> = setting.flags.iter().map(String::as_str).collect();
        let at = flags.iter().position(|f| *f == "--model").expect("a model");
        let mut flags: Vec<&str> = flags.into_iter().filter(|f| *f != "--from-scratch").collect();
        flags[at + 1] = model;
        setting.bench.run("rasft-train", &[&flags[..], more, &["--continue", &ours]].concat())
    };
    let left_behind = "f32 copy of its weights is left behind";
    let ran = next(&ours, &BF16);
    assert!(ran.code == 0 && !ran.stderr.contains(left_behind), "{}", ran.stderr);
    let ran = next(&ours, &["--dry-run"]);
    assert!(ran.code == 0 && ran.stderr.contains(left_behind), "{}", ran.stderr);
    let ran = next(&other, &BF16);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("does not round to the model's weights"), "{}", ran.stderr);
}

#[test]
fn an_adapter_over_bf16_weights_is_written_in_f32() {
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let model = quickstart_model().display().to_string();
    let problems = bench.problems(8);
    let mixture = bench.ok("rasft-score", &["mixture", "--problems", &problems, "--model", &model, "--for", "sft"]);
    let train = |more: &[&str]| {
        let flags = ["--mixture", &mixture, "--model", &model, "--steps", "2", "--batch-size", "4", "--lora", "4"];
        bench.ok("rasft-train", &[&flags[..], &BF16, more].concat())
    };
    let adapter = train(&["--objective", "asft"]);
    assert_eq!(types(&Path::new(&adapter).join("adapter_model.safetensors"), ""), ["F32"]);
    // The quickstart's weights are bf16 on disk, so nothing is rounded: the bytes are those of f32.
    assert_eq!(types(&quickstart_model().join("model.safetensors"), ""), ["BF16"]);
    let flags = ["--mixture", &mixture, "--model", &model, "--steps", "2", "--batch-size", "4", "--lora", "4"];
    let in_f32 = bench.ok("rasft-train", &[&flags[..], &["--objective", "asft"]].concat());
    let matrices = |dir: &str| std::fs::read(Path::new(dir).join("adapter_model.safetensors")).expect("matrices");
    assert!(matrices(&adapter) == matrices(&in_f32), "the base's values are the same");
    // Over weights that bf16 does not hold, it says so, unless the trained model itself is written.
    let scratch = setting.run(&[]).path().display().to_string();
    let over = |more: &[&str]| {
        let flags = ["--mixture", &setting.flags[1], "--model", &scratch, "--steps", "1", "--lora", "2"];
        let ran = bench.run("rasft-train", &[&flags[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr.matches("rounds the weights").count()
    };
    assert_eq!((over(&BF16), over(&[]), over(&[&BF16[..], &["--merge"]].concat())), (1, 0, 0));
    let merged = train(&["--objective", "sft", "--merge"]);
    assert_eq!(types(&Path::new(&merged).join("model.safetensors"), ""), ["F32"]);
}

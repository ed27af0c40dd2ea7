//! What other programs make of it: TensorBoard reads the event files, PEFT the adapters, and we read PEFT's.

use crate::fixture::Setting;
use crate::support::{quickstart_model, root};
use std::path::PathBuf;
use std::process::Command;

/// The interpreter that `make python` or `make python-peft` prepared, if it has these packages.
fn python(place: &str, packages: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let python = target.join(place).join("venv/bin/python");
    let import = format!("import {packages}");
    let usable = Command::new(&python).args(["-c", &import]).output().is_ok_and(|o| o.status.success());
    if !usable {
        eprintln!("skipped: no Python with {packages} (`make {}` prepares one)", place.replace('/', "-"));
    }
    usable.then_some(python)
}

fn run(python: &PathBuf, script: &str, args: &[&str]) -> String {
    let out = Command::new(python).args(["-c", script]).args(args).output().expect("python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

const SCALARS: &str = r#"
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in sorted(events.Tags()["scalars"]):
    for e in events.Scalars(tag):
        print(tag, e.step, repr(e.value))
"#;

#[test]
fn tensorboard_reads_the_events() {
    let Some(python) = python("python", "tensorboard") else { return };
    let setting = Setting::new(5);
    let events = setting.bench.path("events").display().to_string();
    let checkpoint = setting.run(&["--tensorboard", &events]).path();
    let again = setting.run(&["--tensorboard", &setting.bench.path("again").display().to_string()]);
    assert!(again.stderr.contains("the run is cached"), "{}", again.stderr);
    let metrics = rasft_data::DataSet::open(checkpoint.join("metrics.parquet")).expect("metrics");
    let metrics = metrics.read_all::<rasft_types::StepMetrics>().expect("rows");
    let text = run(&python, SCALARS, &[&events]);
    let of = |tag: &str| -> Vec<(u64, f64)> {
        let lines = text.lines().filter_map(|l| l.strip_prefix(tag)).map(str::split_whitespace);
        lines.map(|mut w| (w.next().unwrap().parse().unwrap(), w.next().unwrap().parse().unwrap())).collect()
    };
    let expected = |f: fn(&rasft_types::StepMetrics) -> f64| -> Vec<(u64, f64)> {
        metrics.iter().map(|m| (m.step, f64::from(f(m) as f32))).collect()
    };
    assert_eq!(of("train/loss "), expected(|m| m.loss));
    assert_eq!(of("train/learning_rate "), expected(|m| m.learning_rate));
    assert_eq!(of("train/tokens_per_second ").len(), 5);
}

const THEIRS: &str = r#"
import json, sys
import torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, PeftModel, get_peft_model
base, ours, theirs = sys.argv[1:4]
ids = torch.tensor([[5, 9, 33, 2, 8, 40]])
def logprobs(model):
    with torch.no_grad():
        z = model(ids).logits[0, :-1].float()
    return torch.log_softmax(z, -1).gather(1, ids[0, 1:, None])[:, 0].tolist()
def load():
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
out = {"base": logprobs(load()), "ours": logprobs(PeftModel.from_pretrained(load(), ours).eval())}
torch.manual_seed(0)
config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "o_proj", "up_proj"], task_type="CAUSAL_LM")
model = get_peft_model(load(), config).eval()
for name, p in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(p, std=0.05)
out["theirs"] = logprobs(model)
model.save_pretrained(theirs)
print(json.dumps(out))
"#;

#[test]
fn peft_reads_our_adapters_and_we_read_theirs() {
    let Some(python) = python("python/peft", "torch, transformers, peft") else { return };
    let setting = Setting::new(1);
    let bench = &setting.bench;
    let model = quickstart_model().display().to_string();
    let problems = bench.problems(4);
    let mixture = bench.ok("rasft-score", &["mixture", "--problems", &problems, "--model", &model, "--for", "sft"]);
    let flags = ["--mixture", &mixture, "--model", &model, "--objective", "sft", "--steps", "4", "--batch-size", "4"];
    let lora = ["--lora", "4", "--lora-targets", "q_proj,gate_proj", "--learning-rate", "1e-2"];
    let ours = bench.ok("rasft-train", &[&flags[..], &lora].concat());
    let theirs = bench.path("theirs").display().to_string();
    let text = run(&python, THEIRS, &[&model, &ours, &theirs]);
    let out: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    for (name, path, base) in [("base", &model, None), ("ours", &ours, None), ("theirs", &theirs, Some(&model))] {
        let expected: Vec<f64> = out[name].as_array().expect("numbers").iter().map(|x| x.as_f64().unwrap()).collect();
        let actual = logprobs(path, base.map(String::as_str));
        for (a, e) in actual.iter().zip(&expected) {
            assert!((a - e).abs() < 1e-4, "{name}: {actual:?} instead of {expected:?}");
        }
        assert!(name == "base" || actual != logprobs(&model, None));
    }
}

/// Log-probabilities of a fixed sequence under a model or adapter, from the library.
fn logprobs(path: &str, base: Option<&str>) -> Vec<f64> {
    use rasft_model::{Adapter, Decoder, LoadOptions, ModelDir, Packed};
    let ids = [5u32, 9, 33, 2, 8, 40];
    let model = quickstart_model();
    let dir = if Adapter::is_at(path.as_ref()) {
        ModelDir::open_adapter(path, base.map_or(model.as_path(), std::path::Path::new)).expect("an adapter")
    } else {
        ModelDir::open(path).expect("a model")
    };
    let decoder = Decoder::load(&dir, &LoadOptions::default()).expect("weights");
    let hidden = decoder.hidden(&Packed::from_sequences(&[&ids[..5]])).expect("hidden states");
    let values =
        decoder.token_logprobs(&hidden, &ids[1..]).expect("log-probabilities").to_vec1::<f32>().expect("values");
    values.into_iter().map(f64::from).collect()
}

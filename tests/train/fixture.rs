//! A tiny model and a mixture for it, so that a run takes about a second and still has steps to be stopped between.

use crate::support::{Bench, Ran, files_below};
use rasft_data::ShardWriter;
use rasft_types::{MixtureRow, Route, TrajectorySource};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

pub const VOCAB: u32 = 97;

/// Numbers that look random and are the same every time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A model directory without weights, for `--from-scratch`.
pub fn model(bench: &Bench) -> String {
    let config = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 64,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
        "vocab_size": VOCAB, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "max_position_embeddings": 64, "eos_token_id": 2,
    });
    bench.write("model/config.json", config.to_string());
    bench.path("model").display().to_string()
}

/// Every third row has a prompt of its own, the others one in common.
pub fn rows(n: usize) -> Vec<MixtureRow> {
    let mut numbers = Numbers(11);
    let common: Vec<u32> = (0..12).map(|_| numbers.below(u64::from(VOCAB)) as u32).collect();
    let row = |i: usize| {
        let (prompt, response) = (2 + numbers.below(6), 4 + numbers.below(28));
        let mut random = |n| (0..n).map(|_| numbers.below(u64::from(VOCAB)) as u32).collect::<Vec<_>>();
        let prompt = if i.is_multiple_of(3) { random(prompt) } else { common.clone() };
        let input_ids = [&prompt[..], &random(response)].concat();
        MixtureRow {
            trajectory_id: format!("trajectory-{i}"),
            problem_id: format!("problem-{i}"),
            source: TrajectorySource::Expert,
            rollout_id: None,
            route: Route::Mid,
            round: 0,
            weight: 0.1 + numbers.below(10) as f64 / 10.0,
            prompt_text: String::new(),
            response_text: String::new(),
            input_ids,
            prompt_len: prompt.len() as u32,
            truncated: false,
            ref_logprob: -4.0 - numbers.below(10) as f32 / 10.0,
            order: i as u64,
            old_logprobs: None,
        }
    };
    (0..n).map(row).collect()
}

pub fn write(bench: &Bench, name: &str, rows: &[MixtureRow]) -> String {
    let path = bench.path(name);
    let mut writer = ShardWriter::<MixtureRow>::create(&path, "test").expect("create");
    writer.write(rows).expect("write");
    writer.finish().expect("finish");
    path.display().to_string()
}

/// A model, a mixture, and the flags of a run over them.
pub struct Setting {
    pub bench: Bench,
    pub flags: Vec<String>,
}

impl Setting {
    pub fn new(steps: u32) -> Self {
        let bench = Bench::new();
        let (model, mixture) = (model(&bench), write(&bench, "mixture.parquet", &rows(40)));
        let steps = steps.to_string();
        let flags = [
            "--mixture",
            &mixture,
            "--model",
            &model,
            "--from-scratch",
            "--steps",
            &steps,
            "--batch-size",
            "16",
            "--shuffle",
            "--learning-rate",
            "1e-3",
            "--warmup-steps",
            "3",
            "--jobs",
            "1",
            "--progress",
            "none",
        ];
        let flags = flags.map(str::to_owned).to_vec();
        Self { bench, flags }
    }

    pub fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    pub fn run(&self, more: &[&str]) -> Ran {
        self.bench.run("rasft-train", &self.args(more))
    }

    /// The bytes of a finished checkpoint, from this folder's store.
    pub fn bytes(&self, more: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
        data(&self.run(more).path())
    }

    /// Checkpoints of unfinished runs.
    pub fn kept(&self) -> Vec<PathBuf> {
        kept(&self.bench.store())
    }

    /// Starts a run and kills it when `until` holds, or when it has ended: whether a checkpoint was left behind.
    pub fn killed(&self, more: &[&str], until: impl Fn() -> bool) -> bool {
        let mut command = self.bench.command("rasft-train", &self.args(more));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        while child.try_wait().expect("a child").is_none() && !until() {
            std::thread::sleep(Duration::from_millis(2));
        }
        // One that has ended is not there to be killed.
        let _ended = child.kill();
        child.wait().expect("wait");
        !self.kept().is_empty()
    }

    /// Whether an unfinished run has a checkpoint of this step or a later one.
    pub fn reached(&self, step: u64) -> bool {
        self.kept().last().is_some_and(|dir| dir.file_name().is_some_and(|name| *name >= *format!("step-{step:010}")))
    }

    /// Forgets everything that was computed.
    pub fn forget(&self) {
        let _absent_at_first = std::fs::remove_dir_all(self.bench.store());
    }
}

/// Whole checkpoint directories of unfinished runs in a store, oldest first.
pub fn kept(store: &Path) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(store.join("_partial/train")).into_iter().flatten().flatten();
    let steps = runs.flat_map(|run| std::fs::read_dir(run.path()).into_iter().flatten().flatten());
    let mut found: Vec<PathBuf> =
        steps.filter(|e| e.file_name().to_string_lossy().starts_with("step-")).map(|e| e.path()).collect();
    found.sort();
    found
}

/// Files of a checkpoint with their bytes; the manifest's `run` section holds times and the host, on purpose.
pub fn data(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let inside = |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(dir).expect("inside").to_owned(), bytes);
    files_below(dir).into_iter().map(inside).filter(|(name, _)| name != Path::new("_manifest.json")).collect()
}

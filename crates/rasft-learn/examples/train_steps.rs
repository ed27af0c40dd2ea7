//! Our side of `make bench-train`: optimizer steps on request.
//!
//! ```text
//! train_steps score MODEL_DIR ROWS.jsonl OUT.jsonl            adds the reference's log-probabilities, as a mixture has them
//! train_steps train MODEL_DIR ROWS.jsonl MICRO_BATCH THREADS [recompute] [lora RANK DROPOUT] [bf16]
//! ```
//!
//! `lora` trains an adapter on all seven modules of a layer, `bf16` holds the weights that the passes read in bf16.
//! `train` takes one step over the next `MICRO_BATCH` rows for each line on standard input and answers with one line of JSON.

use rasft_learn::reference::score;
use rasft_learn::{
    Activations, AdamWParams, MicroBatching, Normalization, Objective, Schedule, ScheduleKind, Trainer, TrainerParams,
    Trajectory,
};
use rasft_model::lora::MODULES;
use rasft_model::{AdapterFrom, Decoder, LoadOptions, LoraConfig, ModelDir, WeightsDtype};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["score", model, rows, out] => add_reference(model, rows, out),
        ["train", model, rows, size, threads, how @ ..] => train(model, rows, size, threads, &How::of(how)?),
        _ => Err("usage: train_steps score MODEL ROWS OUT | train MODEL ROWS MICRO_BATCH THREADS [HOW]".into()),
    }
}

/// What the words at the end of the line ask for.
struct How {
    activations: Activations,
    lora: Option<LoraConfig>,
    dtype: WeightsDtype,
}

impl How {
    fn of(mut words: &[&str]) -> Result<Self, Error> {
        let mut how = Self { activations: Activations::Kept, lora: None, dtype: WeightsDtype::F32 };
        while !words.is_empty() {
            words = match words {
                ["recompute", rest @ ..] => {
                    how.activations = Activations::Recomputed;
                    rest
                }
                ["bf16", rest @ ..] => {
                    how.dtype = WeightsDtype::Bf16;
                    rest
                }
                ["lora", rank, dropout, rest @ ..] => {
                    let (rank, dropout) = (rank.parse()?, dropout.parse()?);
                    let targets = MODULES.map(str::to_owned).to_vec();
                    how.lora = Some(LoraConfig { rank, alpha: 16.0, dropout, targets, rank_stabilised: false });
                    rest
                }
                _ => return Err(format!("{words:?}: expected recompute, bf16, or lora RANK DROPOUT").into()),
            };
        }
        Ok(how)
    }

    fn decoder(&self, model: &str) -> Result<Decoder, Error> {
        let (dir, options) = (ModelDir::open(Path::new(model))?, LoadOptions::trainable());
        let options = LoadOptions { dtype: self.dtype, ..options };
        Ok(match &self.lora {
            None => Decoder::load(&dir, &options)?,
            Some(lora) => Decoder::load_with_adapter(&dir, lora, AdapterFrom::Seed(1), &options)?,
        })
    }
}

fn read_rows(path: &str) -> Result<Vec<Value>, Error> {
    std::fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn trajectory(i: usize, row: &Value) -> Result<Trajectory, Error> {
    Ok(Trajectory {
        id: format!("row {i}"),
        input_ids: serde_json::from_value(row["input_ids"].clone())?,
        prompt_len: serde_json::from_value(row["prompt_len"].clone())?,
        weight: serde_json::from_value(row["weight"].clone())?,
        ref_logprob: row["ref_logprob"].as_f64().map_or(f32::NAN, |lp| lp as f32),
        old_logprobs: Vec::new(),
    })
}

fn trajectories(rows: &[Value]) -> Result<Vec<Trajectory>, Error> {
    rows.iter().enumerate().map(|(i, row)| trajectory(i, row)).collect()
}

fn add_reference(model: &str, rows: &str, out: &str) -> Result<(), Error> {
    let decoder = Decoder::load(&ModelDir::open(Path::new(model))?, &LoadOptions::default())?;
    let mut rows = read_rows(rows)?;
    let scores = score(&decoder, &trajectories(&rows)?, 4096)?;
    let mut out = std::fs::File::create(out)?;
    for (row, score) in rows.iter_mut().zip(scores) {
        row["ref_logprob"] = json!(score.mean_logprob);
        writeln!(out, "{row}")?;
    }
    Ok(())
}

fn train(model: &str, rows: &str, size: &str, threads: &str, how: &How) -> Result<(), Error> {
    let size: usize = size.parse()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let rows = trajectories(&read_rows(rows)?)?;
    let decoder = how.decoder(model)?;
    let params = TrainerParams {
        objective: Objective::Rasft { clip_min: 0.4, clip_max: 1.2 },
        normalization: Normalization::MicroBatch,
        micro_batching: MicroBatching::Sequences(size),
        activations: how.activations,
        learning_rate: 5e-5,
        schedule: Schedule { kind: ScheduleKind::Constant, warmup_steps: 0, total_steps: 1000 },
        max_grad_norm: 1.0,
        adamw: AdamWParams { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, no_decay_norms: false },
    };
    let mut trainer = Trainer::new(decoder, params);
    let mut batches = rows.chunks(size);
    for line in std::io::stdin().lock().lines() {
        line?;
        let batch: Vec<&Trajectory> = batches.next().ok_or("no rows are left")?.iter().collect();
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let metrics = trainer.step(&batch)?;
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        let (loss, tokens, peak) = (metrics.loss, metrics.tokens, peak_rss()?);
        println!("{}", json!({"loss": loss, "seconds": seconds, "cpu": cpu, "tokens": tokens, "peak": peak}));
    }
    Ok(())
}

/// The most memory this process has held, in bytes.
fn peak_rss() -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// CPU time of all threads, in the clock ticks of /proc, a hundredth of a second each.
fn cpu_seconds() -> Result<f64, Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything: the state is field 3, user and system time are 14 and 15.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

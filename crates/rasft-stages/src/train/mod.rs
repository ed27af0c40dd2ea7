//! `rasft-train`: from a mixture to a checkpoint in the Hugging Face layout, with its metrics table beside the weights.

use crate::job::Job;
use crate::policy::{Policy, parse_device};
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs};
use rasft_data::{DataSet, FileInfo, ShardWriter};
use rasft_learn::{
    AdamWParams, MicroBatching, Normalization, Objective, Order, Schedule, Trainer, TrainerParams, TrainerState,
    Trajectory, check_trajectories, load_state, save_checkpoint,
};
use rasft_model::{Decoder, DecoderConfig, LoadOptions, WeightsDtype};
use rasft_types::{MixtureRow, StepMetrics};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

const STAGE: &str = "train";
const VERSION: u32 = 2;
/// The metrics table beside the weights.
pub const METRICS_FILE: &str = "metrics.parquet";

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Mixtures, in training order.
    pub mixture: Vec<PathBuf>,
    /// Model to start from.
    pub model: PathBuf,
    /// Checkpoint whose optimizer goes on.
    pub continue_from: Option<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Random weights instead of the model's.
    pub from_scratch: bool,
    /// Objective by name.
    pub objective: String,
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Or passes over the mixture.
    pub epochs: Option<f64>,
    /// Sequences per optimizer step.
    pub batch_size: usize,
    /// Token budget of a micro-batch.
    pub micro_batch_tokens: usize,
    /// Or its number of sequences.
    pub micro_batch_size: Option<usize>,
    /// Shuffle each epoch.
    pub shuffle: bool,
    /// Length of the schedule.
    pub schedule_steps: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Linear warm-up.
    pub warmup_steps: u64,
    /// Schedule by name.
    pub schedule: String,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// None on norms and biases.
    pub no_decay_norms: bool,
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Denominator offset.
    pub eps: f64,
    /// Clip of the global norm.
    pub max_grad_norm: f64,
    /// Lower end of the ratio.
    pub clip_min: f64,
    /// Upper end of the ratio.
    pub clip_max: f64,
    /// `global` or `micro-batch`.
    pub loss_normalization: String,
    /// dtype of the written weights.
    pub save_dtype: String,
    /// Seed of shuffling and random weights.
    pub seed: u64,
    /// Where training runs.
    #[serde(skip)]
    pub device: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            from_scratch: false,
            objective: "rasft".into(),
            steps: None,
            epochs: None,
            batch_size: 32,
            micro_batch_tokens: 4096,
            micro_batch_size: None,
            shuffle: false,
            schedule_steps: None,
            learning_rate: 5e-5,
            warmup_steps: 0,
            schedule: "cosine".into(),
            weight_decay: 0.0,
            no_decay_norms: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_grad_norm: 1.0,
            clip_min: 0.4,
            clip_max: 1.2,
            loss_normalization: "global".into(),
            save_dtype: "f32".into(),
            seed: 42,
            device: None,
        }
    }
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs or parameters, a loss that is not finite, or a disk that refuses.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    let objective = Objective::parse(&params.objective, params.clip_min, params.clip_max)?;
    if objective.kl_weight().is_some() {
        return Err(Error::usage(format!(
            "--objective {}: needs a second model in memory, which this stage cannot load yet\nhint: use rasft, sft, dft or profit",
            params.objective
        )));
    }
    let mut job = Job::new(STAGE, VERSION, params)?;
    let mut mixtures = Vec::new();
    for (i, path) in inputs.mixture.iter().enumerate() {
        mixtures.push(job.data(ctx, &format!("mixture {i}"), path)?);
    }
    let model = if params.from_scratch {
        Policy::open_without_weights(&inputs.model, ctx.store)?
    } else {
        Policy::open(&inputs.model, ctx.store)?
    };
    job.input("model", model.input_hash(), &inputs.model);
    if let Some(path) = &inputs.continue_from {
        let reference = ctx.store.input_ref(path)?;
        job.input("continue", &reference.hash, path);
    }
    produce(ctx, &job, |dir, key| {
        let config = model.dir().config()?;
        let rows = trajectories(&mixtures)?;
        check_trajectories(&rows, config.vocab_size, objective.needs_reference())?;
        let run = Run::plan(params, objective, rows.len())?;
        let trainer = load(&model, &config, inputs, params, &run)?;
        run.train(ctx, dir, key, trainer, &rows, &model, params)
    })
}

/// Rows of all mixtures in training order.
fn trajectories(mixtures: &[DataSet]) -> Result<Vec<Trajectory>, Error> {
    let columns = ["trajectory_id", "weight", "input_ids", "prompt_len", "ref_logprob", "order"];
    let mut all = Vec::new();
    for data in mixtures {
        let mut rows = data.read_columns::<MixtureRow>(&columns)?.all()?;
        rows.sort_by_key(|r| r.order); // stable: file order where `order` is absent
        all.extend(rows.into_iter().map(|r| Trajectory {
            id: r.trajectory_id,
            input_ids: r.input_ids,
            prompt_len: r.prompt_len as usize,
            weight: r.weight,
            ref_logprob: r.ref_logprob,
        }));
    }
    if all.is_empty() {
        return Err(Error::bad_input("the mixture has no rows\nhint: look at the counts in its _manifest.json"));
    }
    Ok(all)
}

/// A run with every default settled.
struct Run {
    trainer: TrainerParams,
    steps: u64,
    order: Order,
    batch_size: usize,
    dtype: WeightsDtype,
}

impl Run {
    fn plan(params: &Params, objective: Objective, n_rows: usize) -> Result<Self, Error> {
        if params.batch_size == 0 {
            return Err(Error::usage("--batch-size must be at least 1"));
        }
        let steps = match (params.steps, params.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => ((epochs.unwrap_or(1.0) * n_rows as f64) / params.batch_size as f64).ceil() as u64,
        };
        if steps == 0 || !(params.learning_rate.is_finite() && params.learning_rate >= 0.0) {
            return Err(Error::usage(
                "--steps (or --epochs) must be above 0, and --learning-rate a finite number from 0 on",
            ));
        }
        let normalization = match params.loss_normalization.as_str() {
            "global" => Normalization::Global,
            "micro-batch" => Normalization::MicroBatch,
            other => return Err(Error::usage(format!("--loss-normalization {other}: expected global or micro-batch"))),
        };
        let dtype = match params.save_dtype.as_str() {
            "f32" => WeightsDtype::F32,
            "bf16" => WeightsDtype::Bf16,
            other => return Err(Error::usage(format!("--save-dtype {other}: expected f32 or bf16"))),
        };
        let schedule = Schedule {
            kind: params.schedule.parse().map_err(Error::usage)?,
            warmup_steps: params.warmup_steps,
            total_steps: params.schedule_steps.unwrap_or(steps),
        };
        let trainer = TrainerParams {
            objective,
            normalization,
            micro_batching: params
                .micro_batch_size
                .map_or(MicroBatching::Tokens(params.micro_batch_tokens), MicroBatching::Sequences),
            learning_rate: params.learning_rate,
            schedule,
            max_grad_norm: params.max_grad_norm,
            adamw: AdamWParams {
                beta1: params.beta1,
                beta2: params.beta2,
                eps: params.eps,
                weight_decay: params.weight_decay,
                no_decay_norms: params.no_decay_norms,
            },
        };
        let order = if params.shuffle { Order::Shuffled { seed: params.seed } } else { Order::AsGiven };
        Ok(Self { trainer, steps, order, batch_size: params.batch_size, dtype })
    }

    fn train(
        &self,
        ctx: &Ctx,
        dir: &Path,
        key: &str,
        mut trainer: Trainer,
        rows: &[Trajectory],
        model: &Policy,
        params: &Params,
    ) -> Result<Product, Error> {
        if rows.iter().all(|r| r.weight == 0.0) && self.trainer.objective.needs_reference() {
            tracing::warn!("every weight of the mixture is 0: training will change nothing");
        }
        ctx.progress.start("training", self.steps, "steps");
        let (started, mut tokens) = (Instant::now(), 0);
        let mut metrics = Vec::new();
        let mut position = 0u64;
        let mut epoch = (u64::MAX, Vec::new());
        for _ in 0..self.steps {
            if ctx.cancelled() {
                return Err(Error::Interrupted(format!(
                    "stopped after {} of {} steps; the checkpoint was not written",
                    metrics.len(),
                    self.steps
                )));
            }
            let batch: Vec<&Trajectory> = (0..self.batch_size)
                .map(|_| {
                    let n = rows.len() as u64;
                    if epoch.0 != position / n {
                        epoch = (position / n, self.order.epoch(position / n, rows.len()));
                    }
                    let row = epoch.1[(position % n) as usize];
                    position += 1;
                    &rows[row]
                })
                .collect();
            let step = trainer.step(&batch)?;
            tokens += step.tokens;
            let rate = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            ctx.progress.advance(1, &format!("loss {:.4}, {rate:.0} tok/s", step.loss));
            metrics.push(step);
        }
        ctx.progress.finish();
        let state = TrainerState {
            step: trainer.optimizer().step,
            consumed: position,
            params: serde_json::to_value(params)
                .map_err(|e| Error::runtime(format!("cannot write the parameters: {e}")))?,
        };
        save_checkpoint(dir, trainer.decoder(), model.dir(), self.dtype, trainer.optimizer(), &state)?;
        product(dir, key, &metrics)
    }
}

fn load(model: &Policy, config: &DecoderConfig, inputs: &Inputs, params: &Params, run: &Run) -> Result<Trainer, Error> {
    model.verify()?;
    let options = LoadOptions { device: parse_device(params.device.as_deref())?, ..LoadOptions::trainable() };
    let decoder = if params.from_scratch {
        Decoder::init(config, params.seed, &options)?
    } else {
        Decoder::load(model.dir(), &options)?
    };
    let mut settings = run.trainer;
    let before = inputs.continue_from.as_ref().map(|path| load_state(path, &decoder, settings.adamw)).transpose()?;
    if let (Some((optimizer, _)), None) = (&before, params.schedule_steps) {
        // The schedule counts from the first step of all: it ends with the last step of this run.
        settings.schedule.total_steps = optimizer.step + run.steps;
    }
    let mut trainer = Trainer::new(decoder, settings);
    if let Some((optimizer, _)) = before {
        trainer.restore(optimizer);
    }
    Ok(trainer)
}

/// The metrics table, and every file of the checkpoint in the manifest.
fn product(dir: &Path, key: &str, metrics: &[StepMetrics]) -> Result<Product, Error> {
    let mut writer = ShardWriter::<StepMetrics>::create(&dir.join(METRICS_FILE), key)?;
    writer.write(metrics)?;
    writer.finish()?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::runtime(format!("cannot list {}: {e}", dir.display())))? {
        let entry = entry.map_err(|e| Error::runtime(format!("cannot list {}: {e}", dir.display())))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('_'));
    names.sort();
    let files = names.iter().map(|name| FileInfo::of(dir, name)).collect::<Result<Vec<_>, _>>()?;
    let last = metrics.last().cloned().unwrap_or_default();
    let sum = |f: fn(&StepMetrics) -> u64| metrics.iter().map(f).sum::<u64>();
    let summary = json!({
        "steps": metrics.len(),
        "global_step": last.step,
        "first_loss": metrics.first().map(|m| m.loss),
        "last_loss": last.loss,
        "mean_ratio": last.mean_ratio,
        "tokens": sum(|m| m.tokens),
        "sequences": sum(|m| m.sequences),
    });
    Ok(Product { schema: "checkpoint", version: 1, shards: Vec::new(), files, counts: None, summary })
}

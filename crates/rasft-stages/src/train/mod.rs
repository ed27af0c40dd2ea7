//! `rasft-train`: from a mixture to a checkpoint in the Hugging Face layout, with its metrics table beside the weights.
//!
//! A run that was killed or interrupted goes on from its last checkpoint ([`resume`]) and ends in the same bytes. Absent on
//! purpose: the training loop itself, which is `rasft_learn::train`.

mod memory;
mod resume;
mod rounding;
mod rows;
mod settings;
mod start;
mod watch;

pub use settings::{LoraParams, Params};

use crate::job::Job;
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs};
use rasft_data::{FileInfo, ShardWriter};
use rasft_learn::{RunPlan, StepDone, Trainer, TrainerParams, TrainerState, largest_micro_batch, train, warnings};
use rasft_store::Key;
use rasft_types::StepMetrics;
use resume::Kept;
use rows::Rows;
use serde_json::json;
use settings::Settings;
use start::Start;
use std::path::{Path, PathBuf};
use watch::Watch;

const STAGE: &str = "train";
/// What its result is called in manifests.
const SCHEMA: &str = "checkpoint";
const VERSION: u32 = 5;
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
    /// Frozen model that objectives with a divergence compare with.
    pub reference: Option<PathBuf>,
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs or parameters, a loss that is not finite, or a disk that refuses.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    let settings = Settings::of(params)?;
    ctx.gives(SCHEMA)?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let mut mixtures = Vec::new();
    for (i, path) in inputs.mixture.iter().enumerate() {
        mixtures.push(job.data(ctx, &format!("mixture {i}"), path)?);
    }
    let start = Start::open(ctx, &mut job, inputs, params, &settings)?;
    let outputs = produce(ctx, &job, |dir, key| {
        let rows = Rows::read(mixtures)?;
        for (mixture, tokenizer) in rows.tokenizers() {
            start.check_tokenizer(mixture, tokenizer)?;
        }
        rows.check(start.config(), settings.trainer.objective)?;
        let kept = ctx.store.partial_path(STAGE, &Key::parse(key)?)?;
        let kept = Kept::new(kept, key, params.keep_checkpoints);
        Run { ctx, params, settings: &settings, start: &start, rows: &rows, kept: &kept }.go(dir, key)
    })?;
    if outputs.misses == 0
        && !ctx.dry_run
        && let Some(dir) = &params.tensorboard
    {
        tracing::warn!(
            "no events are written to {}: the run is cached, and its metrics are in {METRICS_FILE} beside the weights; --force trains again",
            dir.display()
        );
    }
    if !ctx.dry_run {
        ctx.store.discard_partial(STAGE, &Key::parse(&outputs.key)?)?;
    }
    Ok(outputs)
}

/// One run: where it starts, what it goes through, where its checkpoints lie.
struct Run<'a> {
    ctx: &'a Ctx<'a>,
    params: &'a Params,
    settings: &'a Settings,
    start: &'a Start,
    rows: &'a Rows,
    kept: &'a Kept,
}

impl Run<'_> {
    fn go(&self, dir: &Path, key: &str) -> Result<Product, Error> {
        let rows = &self.rows.trajectories;
        let steps = self.settings.steps(rows.len());
        if self.ctx.force {
            self.kept.clear()?;
        }
        let left = self.kept.latest()?;
        if let Some(left) = &left {
            tracing::info!("going on from step {} of an unfinished run", left.metrics.len());
        }
        let TrainerParams { micro_batching, activations, .. } = self.settings.trainer;
        self.start.check_memory(largest_micro_batch(rows, micro_batching, self.params.batch_size), activations)?;
        let mut trainer = self.start.trainer(self.settings, steps, left.as_ref())?;
        let (mut metrics, consumed) = left.map_or((Vec::new(), 0), |left| (left.metrics, left.place.consumed));
        let plan = RunPlan {
            order: self.settings.order,
            batch_size: self.params.batch_size,
            steps: steps.saturating_sub(metrics.len() as u64),
            consumed,
        };
        for warning in warnings(&trainer, rows, &plan) {
            tracing::warn!("{warning}");
        }
        let consumed = self.steps(&mut trainer, &plan, steps, &mut metrics)?;
        let place = self.place(&trainer, consumed)?;
        self.start.save(dir, &trainer, &place, self.settings.save_dtype)?;
        product(dir, key, &metrics)
    }

    /// Trains what is left, with a checkpoint every so often and when the run has to stop; gives the rows consumed.
    fn steps(
        &self,
        trainer: &mut Trainer,
        plan: &RunPlan,
        steps: u64,
        metrics: &mut Vec<StepMetrics>,
    ) -> Result<u64, Error> {
        let mut watch =
            Watch::start(self.ctx, self.params.tensorboard.as_deref(), trainer, metrics.len() as u64, steps)?;
        let (mut saved, mut keeping_failed, mut consumed) = (metrics.len(), false, plan.consumed);
        let mut on_step = |done: StepDone<'_>| -> Result<(), Error> {
            metrics.push(done.metrics.clone());
            consumed = done.consumed;
            watch.step(done.metrics);
            let n = metrics.len() as u64;
            if n < steps && self.params.checkpoint_every.is_some_and(|every| n.is_multiple_of(every)) {
                self.keep(done.trainer, metrics, consumed).inspect_err(|_| keeping_failed = true)?;
                saved = metrics.len();
            }
            Ok(())
        };
        let result = train(trainer, &self.rows.trajectories, plan, self.ctx.cancel, &mut on_step);
        self.ctx.progress.finish();
        let done = metrics.len();
        // Every step that is in the metrics was a whole one, whatever failed after it.
        let keep = |trainer: &Trainer| if saved < done { self.keep(trainer, metrics, consumed) } else { Ok(()) };
        match result {
            Ok(report) if report.cancelled => {
                keep(trainer)?;
                Err(Error::Interrupted(if done == 0 {
                    format!("stopped before the first of {steps} steps")
                } else {
                    format!(
                        "stopped after {done} of {steps} steps, which are kept; the same command goes on from there"
                    )
                }))
            }
            Ok(report) => Ok(report.consumed),
            // That the state could not be kept is what `error` says.
            Err(error) if keeping_failed => Err(error),
            Err(error) => {
                match keep(trainer) {
                    Ok(()) if done == 0 => {}
                    Ok(()) => tracing::warn!(
                        "the state after step {done} is kept in {}: the same command goes on from there, with --force it begins again",
                        self.kept.dir().display()
                    ),
                    Err(e) => tracing::warn!("the state after step {done} could not be kept: {e}"),
                }
                Err(error)
            }
        }
    }

    fn keep(&self, trainer: &Trainer, metrics: &[StepMetrics], consumed: u64) -> Result<(), Error> {
        let place = self.place(trainer, consumed)?;
        self.kept.save(metrics, &|dir| self.start.keep(dir, trainer, &place))
    }

    fn place(&self, trainer: &Trainer, consumed: u64) -> Result<TrainerState, Error> {
        let params = serde_json::to_value(self.params)
            .map_err(|e| Error::runtime(format!("cannot write the parameters: {e}")))?;
        Ok(TrainerState { step: trainer.optimizer().step, consumed, params })
    }
}

/// The metrics table, and every file of the checkpoint in the manifest.
fn product(dir: &Path, key: &str, metrics: &[StepMetrics]) -> Result<Product, Error> {
    write_metrics(dir, key, metrics)?;
    let files = file_names(dir)?.iter().map(|name| FileInfo::of(dir, name)).collect::<Result<Vec<_>, _>>()?;
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
    Ok(Product { schema: SCHEMA, version: 1, shards: Vec::new(), files, counts: None, summary })
}

fn write_metrics(dir: &Path, key: &str, metrics: &[StepMetrics]) -> Result<(), Error> {
    let mut writer = ShardWriter::<StepMetrics>::create(&dir.join(METRICS_FILE), key)?;
    writer.write(metrics)?;
    writer.finish()?;
    Ok(())
}

/// Names of the files in `dir`, sorted; those that begin with `_` are the store's own.
fn file_names(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |e: std::io::Error| Error::runtime(format!("cannot list {}: {e}", dir.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('_'));
    names.sort();
    Ok(names)
}

//! `rasft-rollout`: sampled solutions of problems under the current policy.

use crate::job::Job;
use crate::produce::{Mapping, map_shards};
use crate::prompt::PromptParams;
use crate::sample::{Sampler, Setting, unit_hash};
use crate::source::Source;
use crate::{Ctx, Error, Outputs, SamplingParams, ServedPolicy};
use rasft_data::DataSet;
use rasft_types::{DifficultyRow, FinishReason, Problem, Rollout, RouteAction};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const STAGE: &str = "rollout";
const VERSION: u32 = 1;
/// Small enough that a killed run repeats little, large enough to keep all slots busy.
const PROBLEMS_PER_SHARD: usize = 256;
/// Samples of a server cost money and cannot be made again: fewer of them are lost with a killed run.
const SERVED_PROBLEMS_PER_SHARD: usize = 32;

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems.
    pub problems: PathBuf,
    /// Policy; a served one needs no more than tokenizer and template, or nothing at all.
    pub model: Option<PathBuf>,
    /// Difficulty table that selects.
    pub select: Option<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Sampling.
    pub sampling: SamplingParams,
    /// How problems are put.
    pub prompt: PromptParams,
    /// Round of the experiment.
    pub round: u32,
    /// Seed of every sample.
    pub seed: u64,
    /// Who runs the policy, if it is not we.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<ServedPolicy>,
    /// Sequences decoded at once.
    #[serde(skip)]
    pub batch_size: usize,
    /// Where the policy runs.
    #[serde(skip)]
    pub device: Option<String>,
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs or parameters, a policy that cannot be loaded, or prompts none of which fits the context.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    let mut job = Job::new(STAGE, VERSION, params)?;
    let problems = job.data(ctx, "problems", &inputs.problems)?.non_empty()?;
    let select = job.optional_data(ctx, "select", inputs.select.as_deref())?;
    let served = params.served.as_ref();
    let source = Source::open(ctx, &mut job, inputs.model.as_deref(), &params.prompt, &params.sampling, served)?;
    let mut sampler = Sampler::new(
        ctx,
        &source,
        Setting {
            sampling: &params.sampling,
            seed: params.seed,
            round: params.round,
            batch_size: params.batch_size,
            device: params.device.as_deref(),
            prompt: &params.prompt,
            served,
        },
    )?;
    let wanted = selected(problems.read_all()?, select.as_ref())?;
    let mapping = Mapping {
        units: &wanted,
        unit_hash: &unit_hash,
        shared_inputs: BTreeMap::from([("model".to_owned(), source.id().to_owned())]),
        units_per_shard: if served.is_some() { SERVED_PROBLEMS_PER_SHARD } else { PROBLEMS_PER_SHARD },
    };
    map_shards(ctx, &mut job, &mapping, |problems| sampler.sample(problems), summarise)
}

/// The problems that the difficulty table sends to rollouts, in problem order.
fn selected(problems: Vec<Problem>, select: Option<&DataSet>) -> Result<Vec<Problem>, Error> {
    let Some(select) = select else { return Ok(problems) };
    let rows = select.read_columns::<DifficultyRow>(&["problem_id", "action"])?.all()?;
    let wanted: BTreeSet<String> = rows
        .into_iter()
        .filter(|row| matches!(row.action, RouteAction::Rollout | RouteAction::Probe))
        .map(|row| row.problem_id)
        .collect();
    let known: BTreeSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
    if let Some(stranger) = wanted.iter().find(|id| !known.contains(id.as_str())) {
        return Err(Error::bad_input(format!(
            "{}: problem {stranger} is not among the problems\nhint: give the data set that the difficulty table was made from",
            select.path().display()
        )));
    }
    Ok(problems.into_iter().filter(|p| wanted.contains(&p.problem_id)).collect())
}

fn summarise(data: &DataSet) -> Result<Value, Error> {
    let (mut samples, mut tokens, mut problems) = (0u64, 0u64, BTreeSet::new());
    let mut finished: BTreeMap<&str, u64> = BTreeMap::new();
    for batch in data.read_columns::<Rollout>(&["problem_id", "token_ids", "finish_reason"])? {
        for row in batch? {
            samples += 1;
            tokens += row.token_ids.len() as u64;
            *finished.entry(row.finish_reason.as_str()).or_default() += 1;
            problems.insert(row.problem_id);
        }
    }
    let cut = finished.get(FinishReason::Length.as_str()).copied().unwrap_or(0);
    Ok(json!({
        "problems": problems.len(),
        "samples": samples,
        "tokens": tokens,
        "finish_reasons": finished,
        "length_share": if samples > 0 { cut as f64 / samples as f64 } else { 0.0 },
    }))
}

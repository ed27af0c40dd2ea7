//! `rasft-rollout`: sampled solutions of problems under the current policy.

use crate::job::Job;
use crate::produce::{Mapping, map_shards};
use crate::prompt::{PromptParams, Prompter};
use crate::sample::{Sampler, Setting, unit_hash};
use crate::{Ctx, Error, Outputs, SamplingParams, check};
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

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems.
    pub problems: PathBuf,
    /// Policy.
    pub model: PathBuf,
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
    params.sampling.validate()?;
    params.prompt.validate()?;
    check::device(params.device.as_deref())?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let problems = job.data(ctx, "problems", &inputs.problems)?.non_empty()?;
    let select = job.optional_data(ctx, "select", inputs.select.as_deref())?;
    let policy = job.policy(ctx, "model", &inputs.model)?;
    let prompter = Prompter::open(&policy, &params.prompt)?;
    let mut sampler = Sampler::new(
        ctx,
        &policy,
        &prompter,
        Setting {
            sampling: &params.sampling,
            seed: params.seed,
            round: params.round,
            batch_size: params.batch_size,
            device: params.device.as_deref(),
            prompt: &params.prompt,
        },
    )?;
    let wanted = selected(problems.read_all()?, select.as_ref())?;
    let mapping = Mapping {
        units: &wanted,
        unit_hash: &unit_hash,
        shared_inputs: BTreeMap::from([("model".to_owned(), policy.id().to_owned())]),
        units_per_shard: PROBLEMS_PER_SHARD,
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

//! `rasft-rollout`: sampled solutions of problems under the current policy.

use crate::adaptive::{self, Adaptive, Decided};
use crate::job::Job;
use crate::params::Batch;
use crate::parts::{Parts, Tally, produce_sampled};
use crate::produce::Product;
use crate::prompt::PromptParams;
use crate::sample::{Completer, Sampler, Samples, Setting};
use crate::source::Source;
use crate::{Ctx, Error, Outputs, SamplingParams, ServedPolicy, check};
use rasft_data::{DataSet, Table};
use rasft_store::CACHE_FIELD;
use rasft_types::{DifficultyRow, FinishReason, Problem, Rollout, RouteAction};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const STAGE: &str = "rollout";
const VERSION: u32 = 2;

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
    /// Samples per problem decided from verdicts; `sampling.n` each when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// Samples decoded at once.
    #[serde(skip)]
    pub batch: Batch,
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
    params.adaptive.iter().try_for_each(Adaptive::validate)?;
    check::device(params.device.as_deref())?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    if params.adaptive.is_some() {
        job.judged();
    }
    // What a server runs on is its own affair.
    let device = params.device.as_deref().filter(|_| params.served.is_none());
    job.device(device);
    let problems = job.data(ctx, "problems", &inputs.problems)?.non_empty()?;
    let select = job.optional_data(ctx, "select", inputs.select.as_deref())?;
    let served = params.served.as_ref();
    let source = Source::open(ctx, &mut job, inputs.model.as_deref(), &params.prompt, &params.sampling, served)?;
    let (sampling, prompt) = (&params.sampling, &params.prompt);
    let setting = Setting { sampling, prompt, seed: params.seed, round: params.round, served, device };
    let sampler = Sampler::new(ctx, &source, setting)?;
    let inside = Parts::name(ctx, &mut job);
    let work = || Work::new(ctx, params, &sampler, selected(problems.read_all()?, select.as_ref())?);
    let make = |dir: &Path, _: &str| {
        let mut completer = source.completer(served, prompt, params.device.as_deref(), params.batch)?;
        work()?.make(&mut *completer, dir, &inside)
    };
    produce_sampled(ctx, &job, make, || work()?.left())
}

/// The problems of one run.
struct Work<'a> {
    params: &'a Params,
    sampler: &'a Sampler<'a>,
    problems: Vec<Problem>,
    parts: Parts,
}

impl<'a> Work<'a> {
    fn new(ctx: &Ctx, params: &'a Params, sampler: &'a Sampler<'a>, problems: Vec<Problem>) -> Result<Self, Error> {
        let parts = Parts::new(ctx, problems.len());
        Ok(Self { params, sampler, problems, parts })
    }

    /// How many samples each problem gets; they are made if there is a completer.
    fn sample(&self, samples: &mut Samples, completer: Option<&mut dyn Completer>) -> Result<Decided, Error> {
        if let Some(adaptive) = &self.params.adaptive {
            return adaptive::sample(adaptive, &self.problems, self.parts.all_units(), samples, completer);
        }
        let n = self.params.sampling.n;
        let wanted: Vec<(usize, u32)> = self.parts.all_units().map(|unit| (unit, n)).collect();
        if let Some(completer) = completer {
            samples.make(&wanted, completer)?;
        }
        Ok(Decided { n: vec![n; self.problems.len()], ends: BTreeMap::new() })
    }

    fn make(self, completer: &mut dyn Completer, dir: &Path, key: &str) -> Result<(Product, Tally), Error> {
        completer.learn(&self.problems)?;
        let prompted = self.sampler.prompted(&self.problems)?;
        let mut samples = Samples::open(self.sampler, &prompted)?;
        let decided = self.sample(&mut samples, Some(completer))?;
        let shards = self.parts.write::<Rollout>(dir, key, |units| samples.rows(units, |unit| decided.n[unit]))?;
        let mut summary = summarise(&DataSet::open(dir)?)?;
        summary[CACHE_FIELD] = self.sampler.cache_place().into();
        if let Some(adaptive) = &self.params.adaptive {
            summary["adaptive"] = self.saved(adaptive, &decided);
        }
        let tally = Tally::of(&self.parts, &decided.n, |unit| samples.computed(unit));
        samples.close()?;
        let (schema, version) = (Rollout::NAME, Rollout::VERSION);
        Ok((Product { schema, version, shards, files: Vec::new(), counts: None, summary }, tally))
    }

    /// What a run would find and leave to compute.
    fn left(self) -> Result<Tally, Error> {
        let prompted = self.sampler.prompted(&self.problems)?;
        let mut samples = Samples::open(self.sampler, &prompted)?;
        let decided = self.sample(&mut samples, None)?;
        Ok(Tally::of(&self.parts, &decided.n, |unit| samples.missing(unit, decided.n[unit]).len() as u64))
    }

    fn saved(&self, adaptive: &Adaptive, decided: &Decided) -> Value {
        let most = self.parts.all_units().count() as u64 * u64::from(adaptive.n_max);
        let made: u64 = self.parts.all_units().map(|unit| u64::from(decided.n[unit])).sum();
        let ends: BTreeMap<&str, u64> = decided.ends.iter().map(|(end, n)| (end.as_str(), *n)).collect();
        json!({ "samples_at_n_max": most, "samples_saved": most - made, "problems_by_end": ends })
    }
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

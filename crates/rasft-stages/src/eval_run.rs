//! `rasft-eval run`: sample each benchmark problem, judge every sample, and summarise with intervals.
//!
//! The result is the table `eval_samples`; `eval_summary.parquet` beside it holds the figures.

use crate::frames::group_rows;
use crate::job::Job;
use crate::produce::{Finished, Mapping, map_shards_with};
use crate::prompt::{PromptParams, Prompter};
use crate::sample::{Sampler, Setting, unit_hash};
use crate::{Ctx, Error, Outputs, SamplingParams, check};
use rasft_data::{DataSet, FileInfo, ShardWriter};
use rasft_method::metrics::{self, ProblemScore};
use rasft_types::{EvalSampleRow, EvalSummaryRow, Problem};
use rasft_verify::{JudgeParams, judge_group};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const STAGE: &str = "eval";
const VERSION: u32 = 2;
const PROBLEMS_PER_SHARD: usize = 256;
/// The summary table beside the samples.
pub const SUMMARY_FILE: &str = "eval_summary.parquet";

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Model to measure.
    pub model: PathBuf,
    /// Benchmarks by name.
    pub benches: Vec<(String, PathBuf)>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Sampling.
    pub sampling: SamplingParams,
    /// How problems are put.
    pub prompt: PromptParams,
    /// k of pass@k; empty for 1 and n.
    pub k: Vec<u32>,
    /// Only the first problems of each benchmark.
    pub limit: Option<usize>,
    /// Seed of samples and of the bootstrap.
    pub seed: u64,
    /// Sequences decoded at once.
    #[serde(skip)]
    pub batch_size: usize,
    /// Where the model runs.
    #[serde(skip)]
    pub device: Option<String>,
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs or parameters, or a model that cannot be loaded.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    params.validate()?;
    let ks = params.checked_k()?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let mut units = Vec::new();
    let mut names = BTreeSet::new();
    for (name, path) in &inputs.benches {
        if !names.insert(name) {
            return Err(Error::usage(format!("--bench {name}: given twice")));
        }
        let problems = job.data(ctx, &format!("bench {name}"), path)?.non_empty()?.read_all::<Problem>()?;
        let limit = params.limit.unwrap_or(usize::MAX);
        units.extend(problems.into_iter().take(limit).map(|problem| Unit { bench: name.clone(), problem }));
    }
    let policy = job.policy(ctx, "model", &inputs.model)?;
    let prompter = Prompter::open(&policy, &params.prompt)?;
    let mut sampler = Sampler::new(
        ctx,
        &policy,
        &prompter,
        Setting {
            sampling: &params.sampling,
            seed: params.seed,
            round: 0,
            batch_size: params.batch_size,
            device: params.device.as_deref(),
            prompt: &params.prompt,
        },
    )?;
    let mapping = Mapping {
        units: &units,
        unit_hash: &|unit: &Unit| format!("{}:{}", unit.bench, unit_hash(&unit.problem)),
        shared_inputs: BTreeMap::from([("model".to_owned(), policy.id().to_owned())]),
        units_per_shard: PROBLEMS_PER_SHARD,
    };
    let compute = |units: &[Unit]| judged(units, &mut sampler, policy.id());
    let seed = params.seed;
    map_shards_with(ctx, &mut job, &mapping, compute, |dir, key, data| summarise(dir, key, data, &ks, seed))
}

impl Params {
    /// Refuses values outside their range.
    fn validate(&self) -> Result<(), Error> {
        self.sampling.validate()?;
        self.limit.map_or(Ok(()), |n| check::at_least("limit", n, 1))?;
        self.prompt.validate()?;
        check::device(self.device.as_deref())
    }

    /// The k of pass@k, each between 1 and n.
    fn checked_k(&self) -> Result<Vec<u32>, Error> {
        let n = self.sampling.n;
        if n > 1 && self.sampling.temperature == 0.0 {
            return Err(Error::usage(
                "--n above 1 with --temperature 0 would repeat one greedy sample\nhint: set --temperature, e.g. 0.7",
            ));
        }
        let mut ks = if self.k.is_empty() { vec![1, n] } else { self.k.clone() };
        if let Some(k) = ks.iter().find(|k| **k == 0 || **k > n) {
            return check::refuse("k", k, format!("1 to --n {n}"));
        }
        ks.sort_unstable();
        ks.dedup();
        Ok(ks)
    }
}

/// One problem of one benchmark.
struct Unit {
    bench: String,
    problem: Problem,
}

fn judged(units: &[Unit], sampler: &mut Sampler, model_id: &str) -> Result<Vec<EvalSampleRow>, Error> {
    let problems: Vec<Problem> = units.iter().map(|u| u.problem.clone()).collect();
    let rollouts = sampler.sample(&problems)?;
    // Every problem has the same number of samples, so counting them also holds where two benchmarks share a problem.
    let n = rollouts.len() / units.len().max(1);
    let mut rest = rollouts.into_iter();
    let mut rows = Vec::new();
    for unit in units {
        let group: Vec<_> = rest.by_ref().take(n).collect();
        let verdicts = judge_group(&unit.problem, &group, &JudgeParams::default())?;
        let row = |(rollout, verdict)| EvalSampleRow {
            bench: unit.bench.clone(),
            model_id: model_id.to_owned(),
            rollout,
            verdict,
        };
        rows.extend(group.into_iter().zip(verdicts).map(row));
    }
    Ok(rows)
}

fn summarise(dir: &Path, key: &str, data: &DataSet, ks: &[u32], seed: u64) -> Result<Finished, Error> {
    let columns = ["bench", "model_id", "problem_id", "sample_index", "correct", "extracted", "finish_reason"];
    let rows = data.read_columns::<EvalSampleRow>(&columns)?.all()?;
    let benches: Vec<&str> = rows.iter().map(|r| r.bench.as_str()).collect();
    let mut summary = Vec::new();
    for (bench, of_bench) in group_rows(&benches)? {
        let scores = problem_scores(&rows, &of_bench)?;
        summary.extend(figures(&bench, &rows[of_bench[0]].model_id, of_bench.len(), &scores, ks, seed));
    }
    let mut writer = ShardWriter::<EvalSummaryRow>::create(&dir.join(SUMMARY_FILE), key)?;
    writer.write(&summary)?;
    let info = writer.finish()?;
    let cut = rows.iter().filter(|r| r.rollout.finish_reason == rasft_types::FinishReason::Length).count();
    Ok(Finished {
        summary: json!({ "figures": to_json(&summary)?, "samples": rows.len(), "length_share": cut as f64 / rows.len().max(1) as f64 }),
        files: vec![FileInfo { file: info.file, bytes: info.bytes, blake3: info.blake3 }],
    })
}

fn to_json(rows: &[EvalSummaryRow]) -> Result<Value, Error> {
    serde_json::to_value(rows).map_err(|e| Error::runtime(format!("cannot write the summary: {e}")))
}

/// Per problem: which samples are correct, and which answers are the same.
fn problem_scores(rows: &[EvalSampleRow], of_bench: &[usize]) -> Result<Vec<ProblemScore>, Error> {
    let ids: Vec<&str> = of_bench.iter().map(|&i| rows[i].rollout.problem_id.as_str()).collect();
    let verifier = rasft_math::Verifier::default();
    let score = |(_, of_problem): (String, Vec<usize>)| {
        let samples: Vec<&EvalSampleRow> = of_problem.iter().map(|&i| &rows[of_bench[i]]).collect();
        let answers: Vec<Option<String>> = samples.iter().map(|s| s.verdict.extracted.clone()).collect();
        ProblemScore {
            correct: samples.iter().map(|s| s.verdict.correct).collect(),
            classes: verifier.classes(&answers),
        }
    };
    Ok(group_rows(&ids)?.into_iter().map(score).collect())
}

fn figures(
    bench: &str,
    model_id: &str,
    n_samples: usize,
    scores: &[ProblemScore],
    ks: &[u32],
    seed: u64,
) -> Vec<EvalSummaryRow> {
    let n = scores.iter().map(|s| s.correct.len()).min().unwrap_or(0) as u32;
    let mut named: Vec<(String, Vec<f64>)> = vec![(format!("avg@{n}"), scores.iter().map(metrics::average).collect())];
    named.extend(ks.iter().map(|&k| (format!("pass@{k}"), scores.iter().map(|s| metrics::pass_at_k(s, k)).collect())));
    if n > 1 {
        named.push((format!("maj@{n}"), scores.iter().map(metrics::majority).collect()));
    }
    let row = |(metric, values): (String, Vec<f64>)| {
        let interval = metrics::bootstrap_mean(&values, metrics::RESAMPLES, seed);
        EvalSummaryRow {
            bench: bench.to_owned(),
            model_id: model_id.to_owned(),
            n_problems: scores.len() as u32,
            n_samples: n_samples as u32,
            metric,
            value: interval.value,
            ci_low: interval.low,
            ci_high: interval.high,
        }
    };
    named.into_iter().map(row).collect()
}

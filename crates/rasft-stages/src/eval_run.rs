//! `rasft-eval run`: sample each benchmark problem, judge every sample, and summarise with intervals.
//!
//! The result is the table `eval_samples`; `eval_summary.parquet` beside it holds the figures. A part (`--shard`) has
//! none: figures of some problems would look like those of the benchmark. [`whole`] refuses parts.

use crate::frames::group_rows;
use crate::job::Job;
use crate::params::Batch;
use crate::parts::{Parts, Tally, produce_sampled};
use crate::produce::Product;
use crate::prompt::PromptParams;
use crate::sample::{Completer, Sampler, Samples, Setting};
use crate::source::Source;
use crate::{Ctx, Error, Outputs, SamplingParams, ServedPolicy, ShardOf, check};
use rasft_data::{DataSet, FileInfo, ShardWriter, Table};
use rasft_method::metrics::{self, ProblemScore};
use rasft_store::CACHE_FIELD;
use rasft_types::{EvalSampleRow, EvalSummaryRow, Problem};
use rasft_verify::{JudgeParams, judge_group, judgeable};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

const STAGE: &str = "eval";
const VERSION: u32 = 5;
/// The summary table beside the samples.
pub const SUMMARY_FILE: &str = "eval_summary.parquet";
/// The field of a part's summary that says which part it is.
const PART_FIELD: &str = "part";

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Model to measure; a served one needs no more than tokenizer and template, or nothing at all.
    pub model: Option<PathBuf>,
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
    /// Who runs the policy, if it is not we.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<ServedPolicy>,
    /// Samples decoded at once.
    #[serde(skip)]
    pub batch: Batch,
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
    job.judged();
    // What a server runs on is its own affair.
    let device = params.device.as_deref().filter(|_| params.served.is_none());
    job.device(device);
    let mut benches = Vec::new();
    let mut names = BTreeSet::new();
    for (name, path) in &inputs.benches {
        if !names.insert(name) {
            return Err(Error::usage(format!("--bench {name}: given twice")));
        }
        benches.push((name, job.data(ctx, &format!("bench {name}"), path)?.non_empty()?));
    }
    let served = params.served.as_ref();
    let source = Source::open(ctx, &mut job, inputs.model.as_deref(), &params.prompt, &params.sampling, served)?;
    let (sampling, prompt) = (&params.sampling, &params.prompt);
    let setting = Setting { sampling, prompt, seed: params.seed, round: 0, served, device };
    let sampler = Sampler::new(ctx, &source, setting)?;
    let inside = Parts::name(ctx, &mut job);
    let work = || Work::new(ctx, &sampler, &benches, params);
    let make = |dir: &Path, key: &str| {
        let mut completer = source.completer(served, prompt, params.device.as_deref(), params.batch)?;
        work()?.make(&mut *completer, &ks, params.seed, dir, [key, &inside])
    };
    produce_sampled(ctx, &job, make, || work()?.left())
}

/// The problems of one run, bench by bench.
struct Work<'a> {
    sampler: &'a Sampler<'a>,
    /// The bench of each problem.
    benches: Vec<&'a str>,
    problems: Vec<Problem>,
    n: u32,
    parts: Parts,
    /// The part that is asked for, unless all are.
    part: Option<ShardOf>,
}

impl<'a> Work<'a> {
    fn new(
        ctx: &Ctx,
        sampler: &'a Sampler<'a>,
        data: &'a [(&String, DataSet)],
        params: &Params,
    ) -> Result<Self, Error> {
        let (mut benches, mut problems) = (Vec::new(), Vec::new());
        for (name, data) in data {
            problems.extend(data.read_all::<Problem>()?.into_iter().take(params.limit.unwrap_or(usize::MAX)));
            benches.resize(problems.len(), name.as_str());
        }
        problems.iter().try_for_each(judgeable)?;
        let parts = Parts::new(ctx, problems.len());
        Ok(Self { sampler, benches, problems, n: params.sampling.n, parts, part: ctx.shard })
    }

    fn make(
        self,
        completer: &mut dyn Completer,
        ks: &[u32],
        seed: u64,
        dir: &Path,
        [key, inside]: [&str; 2],
    ) -> Result<(Product, Tally), Error> {
        completer.learn(&self.problems)?;
        let prompted = self.sampler.prompted(&self.problems)?;
        let mut samples = Samples::open(self.sampler, &prompted)?;
        let wanted: Vec<(usize, u32)> = self.parts.all_units().map(|unit| (unit, self.n)).collect();
        samples.make(&wanted, completer)?;
        let shards = self.parts.write(dir, inside, |units| self.judged(units, &samples))?;
        let data = DataSet::open(dir)?;
        let (mut summary, files) = match self.part {
            None => summarise(dir, key, &data, ks, seed)?,
            Some(ShardOf { index, of }) => {
                (json!({ PART_FIELD: format!("{index}/{of}"), "samples": data.n_rows() }), Vec::new())
            }
        };
        summary[CACHE_FIELD] = self.sampler.cache_place().into();
        let tally = self.tally(|unit| samples.computed(unit));
        samples.close()?;
        let (schema, version) = (EvalSampleRow::NAME, EvalSampleRow::VERSION);
        Ok((Product { schema, version, shards, files, counts: None, summary }, tally))
    }

    /// What a run would find and leave to compute.
    fn left(self) -> Result<Tally, Error> {
        let prompted = self.sampler.prompted(&self.problems)?;
        let samples = Samples::open(self.sampler, &prompted)?;
        Ok(self.tally(|unit| samples.missing(unit, self.n).len() as u64))
    }

    fn tally(&self, computed: impl Fn(usize) -> u64) -> Tally {
        Tally::of(&self.parts, &vec![self.n; self.problems.len()], computed)
    }

    fn judged(&self, units: Range<usize>, samples: &Samples) -> Result<Vec<EvalSampleRow>, Error> {
        let mut rest = samples.rows(units.clone(), |_| self.n)?.into_iter();
        let mut rows = Vec::new();
        for unit in units {
            let group: Vec<_> = rest.by_ref().take(self.n as usize).collect();
            let verdicts = judge_group(&self.problems[unit], &group, &JudgeParams::default())?;
            rows.extend(group.into_iter().zip(verdicts).map(|(rollout, verdict)| EvalSampleRow {
                bench: self.benches[unit].to_owned(),
                model_id: rollout.policy_id.clone(),
                rollout,
                verdict,
            }));
        }
        Ok(rows)
    }
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

/// Refuses a part of an evaluation where a whole one is needed.
///
/// # Errors
/// Bad input that names the part, and the way to the whole.
pub fn whole(name: &str, run: &DataSet) -> Result<(), Error> {
    match run.manifest().and_then(|manifest| manifest.summary[PART_FIELD].as_str()) {
        None => Ok(()),
        Some(part) => Err(Error::bad_input(format!(
            "{name}: {} is part {part} of an evaluation, which has no figures\nhint: once all parts are done, run the same `rasft-eval run` without --shard: it takes their samples from the store",
            run.path().display()
        ))),
    }
}

/// The figures, and the table of them beside the samples.
fn summarise(dir: &Path, key: &str, data: &DataSet, ks: &[u32], seed: u64) -> Result<(Value, Vec<FileInfo>), Error> {
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
    let length_share = cut as f64 / rows.len().max(1) as f64;
    let figures = json!({ "figures": to_json(&summary)?, "samples": rows.len(), "length_share": length_share });
    Ok((figures, vec![FileInfo { file: info.file, bytes: info.bytes, blake3: info.blake3 }]))
}

/// Rows for a summary.
pub(crate) fn to_json(rows: &[impl Serialize]) -> Result<Value, Error> {
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
        let interval = metrics::bootstrap_rate(&values, metrics::RESAMPLES, seed);
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

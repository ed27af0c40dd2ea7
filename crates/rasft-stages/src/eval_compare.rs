//! `rasft-eval compare`: models against a baseline, paired over the same problems.

use crate::frames::group_rows;
use crate::job::Job;
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs, check, eval_run};
use rasft_data::{DataSet, Table};
use rasft_method::metrics;
use rasft_types::{EvalComparisonRow, EvalSampleRow};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

const STAGE: &str = "compare";
const VERSION: u32 = 1;
/// More would only take longer: the interval's own error is far below what it measures.
const MAX_RESAMPLES: u32 = 10_000_000;

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Runs by name, the baseline first.
    pub runs: Vec<(String, PathBuf)>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Bootstrap resamples.
    pub resamples: u32,
    /// Seed of the bootstrap and the test.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self { resamples: metrics::RESAMPLES, seed: 42 }
    }
}

/// Accuracy per problem, by benchmark.
pub(crate) type Accuracies = BTreeMap<String, BTreeMap<String, f64>>;

/// Runs the stage.
///
/// # Errors
/// Runs that cannot be read, or that were made on different problems.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    check::within("resamples", params.resamples, 1, MAX_RESAMPLES)?;
    ctx.gives(EvalComparisonRow::NAME)?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let names: Vec<&str> = inputs.runs.iter().map(|(name, _)| name.as_str()).collect();
    job.key.params.insert("names".into(), json!(names));
    distinct(&names)?;
    let mut runs = Vec::new();
    for (i, (name, path)) in inputs.runs.iter().enumerate() {
        let data = job.data(ctx, &format!("run {i} {name}"), path)?;
        eval_run::whole(name, &data)?;
        runs.push((name.clone(), data));
    }
    produce(ctx, &job, |dir, key| {
        let accuracies =
            runs.iter().map(|(name, data)| Ok((name.clone(), accuracies(data)?))).collect::<Result<Vec<_>, Error>>()?;
        let (baseline, others) = accuracies.split_first().ok_or_else(|| Error::usage("compare needs runs"))?;
        let mut rows = Vec::new();
        for other in others {
            rows.extend(compared(baseline, other, params)?);
        }
        let summary =
            serde_json::to_value(&rows).map_err(|e| Error::runtime(format!("cannot write the summary: {e}")))?;
        Product::table(dir, key, &rows, json!({ "comparisons": summary }))
    })
}

/// Refuses two runs of one name, which nobody could tell apart.
pub(crate) fn distinct(names: &[&str]) -> Result<(), Error> {
    match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        None => Ok(()),
        Some((_, name)) => Err(Error::usage(format!(
            "two runs are called {name:?}\nhint: name each one, A=PATH B=PATH; in a report, a run without a name is called as its folder is"
        ))),
    }
}

pub(crate) fn accuracies(data: &DataSet) -> Result<Accuracies, Error> {
    let rows = data.read_columns::<EvalSampleRow>(&["bench", "problem_id", "correct"])?.all()?;
    // A unit separator cannot stand in an id, so the pair is one key.
    let keys: Vec<String> = rows.iter().map(|r| format!("{}\u{1f}{}", r.rollout.problem_id, r.bench)).collect();
    let mut found = Accuracies::new();
    for (_, group) in group_rows(&keys.iter().map(String::as_str).collect::<Vec<_>>())? {
        let first = &rows[group[0]];
        let correct = group.iter().filter(|&&i| rows[i].verdict.correct).count();
        let accuracy = correct as f64 / group.len() as f64;
        found.entry(first.bench.clone()).or_default().insert(first.rollout.problem_id.clone(), accuracy);
    }
    Ok(found)
}

fn compared(
    (base_name, base): &(String, Accuracies),
    (name, other): &(String, Accuracies),
    params: &Params,
) -> Result<Vec<EvalComparisonRow>, Error> {
    if !base.keys().eq(other.keys()) {
        return Err(Error::bad_input(format!(
            "{base_name} was measured on {:?}, {name} on {:?}\nhint: run `rasft-eval run` on the same benchmarks",
            base.keys().collect::<Vec<_>>(),
            other.keys().collect::<Vec<_>>()
        )));
    }
    base.iter().zip(other.values()).map(|((bench, a), b)| {
        if !a.keys().eq(b.keys()) {
            return Err(Error::bad_input(format!(
                "{bench}: {base_name} has {} problems, {name} has {}, and they are not the same ones\nhint: run `rasft-eval run` with the same --bench and --limit",
                a.len(),
                b.len()
            )));
        }
        Ok(paired_row(bench, (base_name, a), (name, b), params))
    }).collect()
}

/// Two runs on the same problems of one benchmark.
pub(crate) fn paired_row(
    bench: &str,
    (baseline, a): (&str, &BTreeMap<String, f64>),
    (model, b): (&str, &BTreeMap<String, f64>),
    params: &Params,
) -> EvalComparisonRow {
    let (left, right): (Vec<f64>, Vec<f64>) = a.values().copied().zip(b.values().copied()).unzip();
    let paired = metrics::paired(&left, &right, params.resamples, params.seed);
    EvalComparisonRow {
        bench: bench.to_owned(),
        metric: "accuracy".to_owned(),
        baseline: baseline.to_owned(),
        model: model.to_owned(),
        n_problems: left.len() as u32,
        baseline_value: metrics::mean(&left),
        value: metrics::mean(&right),
        difference: paired.difference,
        ci_low: paired.low,
        ci_high: paired.high,
        p_value: paired.p_value,
    }
}

//! `rasft-score solvability`: how well the policy solves each problem, and the weights that follow.

use crate::frames::{Group, judged_groups};
use crate::job::Job;
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs, check, parts};
use rasft_data::{DataSet, Table};
use rasft_method::solvability::{Sample, solvability};
use rasft_types::{DifficultyRow, Problem, Rollout, RouteAction, Solvability, Verdict};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use rasft_method::solvability::SolvabilityParams as Params;

const STAGE: &str = "solvability";
const VERSION: u32 = 1;
/// Bars of the histogram in the summary.
const BINS: usize = 10;

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems.
    pub problems: PathBuf,
    /// Rollouts.
    pub rollouts: PathBuf,
    /// Verdicts.
    pub verdicts: PathBuf,
    /// Difficulty table that limits the problems.
    pub difficulty: Option<PathBuf>,
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs: tables of different runs, rollouts without verdicts.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    check::method(params.validate())?;
    ctx.gives(Solvability::NAME)?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let problems = job.data(ctx, "problems", &inputs.problems)?;
    let rollouts = job.data(ctx, "rollouts", &inputs.rollouts)?;
    let verdicts = job.data(ctx, "verdicts", &inputs.verdicts)?;
    let difficulty = job.optional_data(ctx, "difficulty", inputs.difficulty.as_deref())?;
    let n_shards = job.output_shards(ctx);
    let mut outputs = produce(ctx, &job, |dir, key| {
        let ids = problem_ids(&problems.non_empty()?, difficulty.as_ref())?;
        let rollout_rows =
            rollouts.read_columns::<Rollout>(&["rollout_id", "problem_id", "sample_index", "completion"])?.all()?;
        let verdict_rows = verdicts.read_all::<Verdict>()?;
        let groups = judged_groups(&rollout_rows, &verdict_rows, verdicts.path())?;
        let mut by_problem: BTreeMap<String, Group> = groups.into_iter().map(|g| (g.problem_id.clone(), g)).collect();
        let work: Vec<(String, Option<Group>)> = ids
            .into_iter()
            .map(|id| {
                let group = by_problem.remove(&id);
                (id, group)
            })
            .collect();
        if let Some(stranger) = by_problem.keys().next() {
            return Err(Error::bad_input(format!(
                "{}: problem {stranger} is not among the problems{}\nhint: give the problems (and difficulty) that these rollouts were made from",
                rollouts.path().display(),
                if difficulty.is_some() { " that the difficulty table rolls out" } else { "" }
            )));
        }
        let row = |(id, group): (String, Option<Group>)| {
            let samples: Vec<Sample> = group
                .iter()
                .flat_map(|g| &g.samples)
                .map(|&(r, v)| sample(&rollout_rows[r], &verdict_rows[v]))
                .collect();
            solvability(&id, &samples, params)
        };
        let rows: Vec<Solvability> = work.into_par_iter().map(row).collect();
        let summary = summarise(&rows);
        Product::table_in_shards(dir, key, &rows, n_shards, summary)
    })?;
    parts::enter_missing(&mut outputs, &rollouts);
    Ok(outputs)
}

/// Problems of the table, in problem order: all, or those of the difficulty table that were to be rolled out.
fn problem_ids(problems: &DataSet, difficulty: Option<&DataSet>) -> Result<Vec<String>, Error> {
    let all = problems.read_columns::<Problem>(&["problem_id"])?.all()?.into_iter().map(|p| p.problem_id);
    let Some(difficulty) = difficulty else { return Ok(all.collect()) };
    let rows = difficulty.read_columns::<DifficultyRow>(&["problem_id", "action"])?.all()?;
    let wanted: BTreeSet<String> = rows
        .into_iter()
        .filter(|r| matches!(r.action, RouteAction::Rollout | RouteAction::Probe))
        .map(|r| r.problem_id)
        .collect();
    Ok(all.filter(|id| wanted.contains(id)).collect())
}

fn sample<'a>(rollout: &'a Rollout, verdict: &'a Verdict) -> Sample<'a> {
    Sample {
        rollout_id: &rollout.rollout_id,
        text: &rollout.completion,
        correct: verdict.correct,
        usable: verdict.usable,
        duplicate: verdict.duplicate_of.is_some(),
    }
}

fn summarise(rows: &[Solvability]) -> Value {
    let measured: Vec<&Solvability> = rows.iter().filter(|r| r.n_samples > 0).collect();
    let mut histogram = [0u64; BINS + 1];
    let mut fallbacks: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *fallbacks.entry(row.fallback.as_str()).or_default() += 1;
    }
    for row in &measured {
        // The last bar is for problems solved every time.
        histogram[(row.solvability * BINS as f64) as usize] += 1;
    }
    let mean = measured.iter().map(|r| r.solvability).sum::<f64>() / measured.len().max(1) as f64;
    json!({
        "problems": rows.len(),
        "measured": measured.len(),
        "samples": rows.iter().map(|r| u64::from(r.n_samples)).sum::<u64>(),
        "mean_solvability": mean,
        "histogram": histogram,
        "fallbacks": fallbacks,
        "trained_rollouts": rows.iter().map(|r| r.rollout_ids.len()).sum::<usize>(),
        "expert_weight": rows.iter().map(|r| r.expert_weight).sum::<f64>(),
        "rollout_weight": rows.iter().flat_map(|r| &r.rollout_weights).sum::<f64>(),
    })
}

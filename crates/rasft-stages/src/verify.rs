//! `rasft-verify`: one verdict per rollout, or per (gold, response) pair.

use crate::frames::group_rows;
use crate::job::Job;
use crate::produce::{Mapping, Product, map_shards, produce};
use crate::{Ctx, Error, Outputs, check, parts};
use rasft_data::{DataSet, PairRow, hash128};
use rasft_types::{JudgedPair, Problem, Rollout, Verdict};
use rasft_verify::{JudgeParams, judge_group, judge_pair, n_tokens};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const STAGE: &str = "verify";
const VERSION: u32 = 3;
const GROUPS_PER_SHARD: usize = 1024;

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// Rollouts and the problems they solve.
    Rollouts {
        /// Rollouts.
        rollouts: PathBuf,
        /// Problems.
        problems: PathBuf,
    },
    /// Any table with `gold` and `response`.
    Pairs(PathBuf),
}

/// Parameters of the stage.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Params {
    /// How completions are judged.
    pub judge: JudgeParams,
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs, rollouts of unknown problems, problems that this verifier cannot judge.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    params.judge.max_length.map_or(Ok(()), |n| check::at_least("max_length", n, 1))?;
    match inputs {
        Inputs::Rollouts { rollouts, problems } => run_rollouts(rollouts, problems, params, ctx),
        Inputs::Pairs(pairs) => run_pairs(pairs, params, ctx),
    }
}

/// All rollouts of one problem.
struct Group {
    problem: Problem,
    rollouts: Vec<Rollout>,
}

fn run_rollouts(
    rollouts: &std::path::Path,
    problems: &std::path::Path,
    params: &Params,
    ctx: &Ctx,
) -> Result<Outputs, Error> {
    let mut job = Job::new(STAGE, VERSION, params)?;
    job.judged();
    let rollouts = job.data(ctx, "rollouts", rollouts)?;
    let problems = job.data(ctx, "problems", problems)?.non_empty()?;
    let groups = groups(&rollouts, &problems)?;
    let n_unknown = params.judge.max_length.map_or(0, |_| unknown_lengths(&groups));
    let mapping = Mapping {
        units: &groups,
        unit_hash: &unit_hash,
        shared_inputs: BTreeMap::new(),
        units_per_shard: GROUPS_PER_SHARD,
    };
    let compute = |groups: &[Group]| {
        ctx.progress.start("verify", groups.len() as u64, "problems");
        let judge = |group: &Group| {
            let verdicts = judge_group(&group.problem, &group.rollouts, &params.judge);
            ctx.progress.advance(1, "");
            verdicts
        };
        // Collecting in order keeps the output independent of who finished first.
        let verdicts: Vec<Vec<Verdict>> = groups.par_iter().map(judge).collect::<Result<_, _>>()?;
        ctx.progress.finish();
        Ok(verdicts.into_iter().flatten().collect())
    };
    let summarise = |data: &DataSet| {
        let mut summary = summarise(data)?;
        if n_unknown > 0 {
            tracing::warn!(
                "{n_unknown} rollouts lack prompt_tokens or token_ids: --max-length cannot reject them; `rasft-score mixture` sees to their length"
            );
            summary["length_unknown"] = n_unknown.into();
        }
        Ok(summary)
    };
    let mut outputs = map_shards(ctx, &mut job, &mapping, compute, summarise)?;
    if let Some(part) = parts::missing(&rollouts) {
        tracing::warn!(
            "{}: {part}: the verdicts are of these rollouts alone; the same `rasft-rollout` without --shard puts all parts together",
            rollouts.path().display()
        );
        // About this run's input, whatever the store held.
        outputs.summary["rollouts_part"] = part.into();
    }
    Ok(outputs)
}

fn groups(rollouts: &DataSet, problems: &DataSet) -> Result<Vec<Group>, Error> {
    let rows = rollouts.read_all::<Rollout>()?;
    let mut by_id: BTreeMap<String, Problem> =
        problems.read_all::<Problem>()?.into_iter().map(|p| (p.problem_id.clone(), p)).collect();
    let keys: Vec<&str> = rows.iter().map(|r| r.problem_id.as_str()).collect();
    let grouped = group_rows(&keys)?;
    let mut slots: Vec<Option<Rollout>> = rows.into_iter().map(Some).collect();
    let mut groups = Vec::with_capacity(grouped.len());
    for (problem_id, indexes) in grouped {
        let problem = by_id.remove(&problem_id).ok_or_else(|| {
            Error::bad_input(format!(
                "{}: row {}: problem {problem_id} is not in {}\nhint: give the problems that these rollouts solve",
                rollouts.path().display(),
                indexes[0],
                problems.path().display()
            ))
        })?;
        let mut rollouts: Vec<Rollout> = indexes.into_iter().filter_map(|i| slots[i].take()).collect();
        rollouts.sort_by_key(|r| r.sample_index);
        groups.push(Group { problem, rollouts });
    }
    Ok(groups)
}

/// Completions whose length the table does not tell.
fn unknown_lengths(groups: &[Group]) -> usize {
    let unknown = |r: &&Rollout| !r.completion.is_empty() && n_tokens(r).is_none();
    groups.iter().flat_map(|g| &g.rollouts).filter(unknown).count()
}

/// Everything of a group that its verdicts depend on.
fn unit_hash(group: &Group) -> String {
    let p = &group.problem;
    let mut fields: Vec<Vec<u8>> = vec![
        p.problem_id.clone().into(),
        p.answer.as_ref().map_or(Vec::new(), |a| [b"+", a.as_bytes()].concat()),
        p.expert_response.as_ref().map_or(Vec::new(), |e| [b"+", e.as_bytes()].concat()),
    ];
    for r in &group.rollouts {
        fields.push(r.rollout_id.clone().into());
        fields.push(r.sample_index.to_le_bytes().to_vec());
        fields.push(r.finish_reason.as_str().into());
        fields.push(r.completion.clone().into());
        fields.push((n_tokens(r).unwrap_or(0) as u64).to_le_bytes().to_vec());
    }
    hash128(&fields.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn summarise(data: &DataSet) -> Result<Value, Error> {
    let (mut n, mut correct, mut usable) = (0u64, 0u64, 0u64);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
    for batch in data.read_columns::<Verdict>(&["outcome", "correct", "usable", "rejected_by"])? {
        for verdict in batch? {
            n += 1;
            correct += u64::from(verdict.correct);
            usable += u64::from(verdict.usable);
            *outcomes.entry(verdict.outcome.as_str()).or_default() += 1;
            for reason in verdict.rejected_by {
                *rejected.entry(reason.as_str()).or_default() += 1;
            }
        }
    }
    Ok(json!({ "samples": n, "correct": correct, "usable": usable, "outcomes": outcomes, "rejected_by": rejected }))
}

fn run_pairs(pairs: &std::path::Path, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    let mut job = Job::new("verify-pairs", VERSION, params)?;
    job.judged();
    let data = job.data(ctx, "pairs", pairs)?;
    let n_shards = job.output_shards(ctx);
    produce(ctx, &job, |dir, key| {
        let rows = data.non_empty()?.read_all::<PairRow>()?;
        let judged: Vec<JudgedPair> = rows.into_par_iter().map(|row| judged_pair(row, &params.judge)).collect();
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &judged {
            *outcomes.entry(row.outcome.as_str()).or_default() += 1;
        }
        let correct = judged.iter().filter(|r| r.correct).count();
        let summary = json!({ "samples": judged.len(), "correct": correct, "outcomes": outcomes });
        Product::table_in_shards(dir, key, &judged, n_shards, summary)
    })
}

fn judged_pair(row: PairRow, params: &JudgeParams) -> JudgedPair {
    let report = judge_pair(&row.gold, &row.response, params);
    JudgedPair {
        gold: row.gold,
        response: row.response,
        extracted: report.extracted,
        outcome: report.outcome,
        method: report.method,
        correct: report.outcome == rasft_types::Outcome::Correct,
    }
}

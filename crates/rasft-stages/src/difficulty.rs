//! `rasft-score difficulty`: loss of each expert solution under the current policy, its place in the moving window,
//! and what this round does with it (algorithm.md §1–§5).
//!
//! A round scores a slice of the problems plus the hard pool of the round before. Rows come in problem order.

use crate::expert_loss::{Experts, Losses};
use crate::job::Job;
use crate::policy::{Policy, device_kind, on_cpu};
use crate::produce::{Product, map_shards, produce_surveyed};
use crate::prompt::{PromptParams, Prompter};
use crate::{Ctx, Error, Outputs, Slice, check};
use rasft_data::{Counts, DataSet, Table, hash128};
use rasft_method::Profile;
use rasft_method::calibration::{Quantiles, Thresholds, calibrate};
use rasft_method::hard_pool::leaves;
use rasft_method::lifecycle::{Candidate, Planned, RoundParams, plan_round};
use rasft_method::selection::{self, DrawKey};
use rasft_method::window::Window;
use rasft_types::{DifficultyRow, ExpertLoss, Problem, Solvability};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

const STAGE: &str = "difficulty";
const VERSION: u32 = 2;

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems with expert solutions.
    pub problems: PathBuf,
    /// Current policy.
    pub model: PathBuf,
    /// Difficulty table whose thresholds hold for the whole run.
    pub calibration: Option<PathBuf>,
    /// Difficulty table of the round before.
    pub hard_pool: Option<PathBuf>,
    /// Solvability table of the round before.
    pub solved: Option<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// The round's problems.
    pub slice: Option<Slice>,
    /// α of the window.
    pub progress_fraction: f64,
    /// Empty the hard pool into expert training.
    pub flush: bool,
    /// Which rule lets solved problems leave the hard pool.
    pub profile: Profile,
    /// Round of the experiment.
    pub round: u32,
    /// Share of window problems rolled out.
    pub main_rollout_ratio: f64,
    /// Share of the hard pool probed.
    pub hard_probe_ratio: f64,
    /// Losses that calibrate, at most; 0 for all.
    pub calibration_sample_size: usize,
    /// Quantile of the easy floor.
    pub easy_floor_q: f64,
    /// Quantile of the window's first lower end.
    pub start_low_q: f64,
    /// Quantile of the window's first upper end.
    pub start_high_q: f64,
    /// Quantile of the window's last lower end.
    pub end_low_q: f64,
    /// Quantile of the window's last upper end.
    pub end_high_q: f64,
    /// Quantile of the hard pool's ceiling.
    pub hard_probe_ceiling_q: f64,
    /// Longest sequence, tokens.
    pub max_length: usize,
    /// How problems are put.
    pub prompt: PromptParams,
    /// Seed of the selection.
    pub seed: u64,
    /// Where the policy runs.
    #[serde(serialize_with = "device_kind", skip_serializing_if = "on_cpu")]
    pub device: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            slice: None,
            progress_fraction: 0.0,
            flush: false,
            profile: Profile::Reference,
            round: 0,
            main_rollout_ratio: 0.35,
            hard_probe_ratio: 0.03,
            calibration_sample_size: 1000,
            easy_floor_q: 0.10,
            start_low_q: 0.20,
            start_high_q: 0.45,
            end_low_q: 0.50,
            end_high_q: 0.75,
            hard_probe_ceiling_q: 0.90,
            max_length: 2048,
            prompt: PromptParams::default(),
            seed: 42,
            device: None,
        }
    }
}

impl Params {
    /// Key of one of the round's random draws.
    fn draw<'a>(&self, purpose: &'a str) -> DrawKey<'a> {
        DrawKey { seed: self.seed, round: self.round, purpose }
    }

    fn quantiles(&self) -> Quantiles {
        Quantiles {
            easy_floor_q: self.easy_floor_q,
            start_low_q: self.start_low_q,
            start_high_q: self.start_high_q,
            end_low_q: self.end_low_q,
            end_high_q: self.end_high_q,
            hard_probe_ceiling_q: self.hard_probe_ceiling_q,
        }
    }

    /// Refuses values outside their range.
    fn validate(&self) -> Result<(), Error> {
        let shares = [
            ("progress_fraction", self.progress_fraction),
            ("main_rollout_ratio", self.main_rollout_ratio),
            ("hard_probe_ratio", self.hard_probe_ratio),
        ];
        for (name, value) in shares {
            check::between(name, value, 0.0, 1.0)?;
        }
        check::at_least("max_length", self.max_length, 2)?;
        self.prompt.validate()?;
        check::device(self.device.as_deref())?;
        check::method(self.quantiles().validate())
    }

    fn plan(&self) -> RoundParams {
        RoundParams {
            main_rollout_ratio: self.main_rollout_ratio,
            hard_probe_ratio: self.hard_probe_ratio,
            flush: self.flush,
            profile: self.profile,
            seed: self.seed,
            round: self.round,
        }
    }
}

/// Runs the stage. With `--shard` it computes and caches that part of the losses, and gives them as `expert_loss`:
/// routing needs all of them, so the table itself comes from a run without.
///
/// # Errors
/// Bad inputs or parameters, a policy that cannot be loaded, no problem that can be scored.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    params.validate()?;
    ctx.gives(if ctx.shard.is_some() { ExpertLoss::NAME } else { DifficultyRow::NAME })?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let open = Open::new(ctx, &mut job, inputs, params)?;
    if ctx.shard.is_some() {
        return open.part(ctx, inputs);
    }
    let n_shards = job.output_shards(ctx);
    let survey = || open.experts().survey(ctx, &open.round()?.scored);
    produce_surveyed(ctx, &job, survey, |dir, key| {
        let round = open.round()?;
        let (losses, n_rejected) = open.experts().all(ctx, &round.scored)?;
        let slice = round.slice();
        let thresholds = thresholds(open.calibration.as_ref(), &losses, &slice, params)?;
        let window = Window::at(&thresholds, params.progress_fraction);
        let rows = rows(&round.all, &slice, &round.pool, &losses, &window, params);
        let summary = summarise(&rows, &thresholds, &window)?;
        // Unscored problems stay in the table as `never`: they are counted, not lost.
        let counts = Counts { n_in: rows.len() as u64, n_out: rows.len() as u64, n_rejected };
        Ok(Product { counts: Some(counts), ..Product::table_in_shards(dir, key, &rows, n_shards, summary)? })
    })
}

/// The stage's inputs, opened.
struct Open<'a> {
    params: &'a Params,
    problems: DataSet,
    calibration: Option<DataSet>,
    pool: Option<DataSet>,
    solved: Option<DataSet>,
    policy: Policy,
    prompter: Prompter,
}

/// The rows that a round works on.
struct Round {
    all: Vec<Problem>,
    pool: BTreeMap<String, DifficultyRow>,
    /// Indexes of the slice.
    slice: Range<usize>,
    /// Those whose loss is needed: the slice, then the probed ones of the pool.
    scored: Vec<Problem>,
}

impl Round {
    fn slice(&self) -> BTreeSet<&str> {
        self.all[self.slice.clone()].iter().map(|p| p.problem_id.as_str()).collect()
    }
}

impl<'a> Open<'a> {
    fn new(ctx: &Ctx, job: &mut Job, inputs: &Inputs, params: &'a Params) -> Result<Self, Error> {
        let problems = job.data(ctx, "problems", &inputs.problems)?.non_empty()?;
        let calibration = job.optional_data(ctx, "calibration", inputs.calibration.as_deref())?;
        let pool = job.optional_data(ctx, "hard_pool", inputs.hard_pool.as_deref())?;
        let solved = job.optional_data(ctx, "solved", inputs.solved.as_deref())?;
        let policy = job.policy(ctx, "model", &inputs.model)?;
        let prompter = Prompter::open(&policy, &params.prompt)?;
        Ok(Self { params, problems, calibration, pool, solved, policy, prompter })
    }

    fn round(&self) -> Result<Round, Error> {
        let all = self.problems.read_all::<Problem>()?;
        let pool = pooled(self.pool.as_ref(), self.solved.as_ref(), self.params.profile)?;
        let slice = Slice::range(self.params.slice, all.len())?;
        let ids: BTreeSet<&str> = all[slice.clone()].iter().map(|p| p.problem_id.as_str()).collect();
        let probed = probed(&pool, &ids, self.params);
        let rest = all.iter().filter(|p| probed.contains(&p.problem_id));
        let scored = all[slice.clone()].iter().chain(rest).cloned().collect();
        Ok(Round { all, pool, slice, scored })
    }

    fn experts(&self) -> Experts<'_> {
        Experts {
            policy: &self.policy,
            prompter: &self.prompter,
            prompt: &self.params.prompt,
            max_length: self.params.max_length,
            device: self.params.device.as_deref(),
        }
    }

    /// A part of the losses, for `--shard`.
    fn part(&self, ctx: &Ctx, inputs: &Inputs) -> Result<Outputs, Error> {
        let (experts, scored) = (self.experts(), self.round()?.scored);
        let mut job = Job::of(experts.key()?);
        let ids: Vec<&[u8]> = scored.iter().map(|p| p.problem_id.as_bytes()).collect();
        job.input("problems", &self.problems.content_hash()?, &inputs.problems);
        job.input("scored problems", &hash128(&ids), &inputs.problems);
        job.input("model", self.policy.input_hash(), &inputs.model);
        let mut scorer = experts.scorer();
        let summarise = |data: &DataSet| Ok(json!({ "problems": data.n_rows() }));
        map_shards(ctx, &mut job, &experts.mapping(&scored), |p| experts.losses(ctx, &mut scorer, p), summarise)
    }
}

/// The hard pool that this round begins with: id to the last known row.
fn pooled(
    pool: Option<&DataSet>,
    solved: Option<&DataSet>,
    profile: Profile,
) -> Result<BTreeMap<String, DifficultyRow>, Error> {
    let Some(pool) = pool else { return Ok(BTreeMap::new()) };
    let mut rows: BTreeMap<String, DifficultyRow> = pool
        .read_all::<DifficultyRow>()?
        .into_iter()
        .filter(|r| r.in_hard_pool)
        .map(|r| (r.problem_id.clone(), r))
        .collect();
    if let Some(solved) = solved {
        for row in solved.read_columns::<Solvability>(&["problem_id", "n_correct", "fallback"])?.all()? {
            if leaves(&row, profile) {
                rows.remove(&row.problem_id);
            }
        }
    }
    Ok(rows)
}

/// The problems of the pool that [`plan_round`] will draw for a probe: only these are scored anew.
fn probed(pool: &BTreeMap<String, DifficultyRow>, slice: &BTreeSet<&str>, params: &Params) -> BTreeSet<String> {
    let ids: Vec<&str> = pool.keys().map(String::as_str).filter(|id| !slice.contains(id)).collect();
    let k = selection::probe_count(ids.len(), params.hard_probe_ratio);
    selection::choose(&ids, k, params.draw("probe")).into_iter().map(|i| ids[i].to_owned()).collect()
}

/// Thresholds of the whole run: those of the calibration table, else from this slice's losses.
fn thresholds(
    calibration: Option<&DataSet>,
    losses: &Losses,
    slice: &BTreeSet<&str>,
    params: &Params,
) -> Result<Thresholds, Error> {
    let (sample, from) = match calibration {
        Some(data) => {
            let carried = data.manifest().map(|m| m.summary["thresholds"].clone());
            if let Some(known) = carried.and_then(|t| serde_json::from_value(t).ok()) {
                return Ok(known);
            }
            let rows = data.read_columns::<DifficultyRow>(&["problem_id", "expert_nll"])?.all()?;
            let sample: Vec<(String, f32)> = rows.into_iter().map(|r| (r.problem_id, r.expert_nll)).collect();
            (sample, data.path().display().to_string())
        }
        None => {
            let own = losses.iter().filter(|(id, _)| slice.contains(id.as_str()));
            (own.map(|(id, (d, _))| (id.clone(), *d)).collect(), "this slice".to_owned())
        }
    };
    let ids: Vec<&str> = sample.iter().map(|(id, _)| id.as_str()).collect();
    let k = if params.calibration_sample_size == 0 { ids.len() } else { params.calibration_sample_size };
    let chosen: Vec<f32> = selection::choose(&ids, k, DrawKey { round: 0, ..params.draw("calibration") })
        .into_iter()
        .map(|i| sample[i].1)
        .collect();
    calibrate(&chosen, &params.quantiles())
        .map_err(|e| Error::bad_input(format!("cannot calibrate the window from {from}: {e}")))
}

/// One row per problem of the slice and of the pool, in problem order, with what the round does with it.
fn rows(
    problems: &[Problem],
    slice: &BTreeSet<&str>,
    pool: &BTreeMap<String, DifficultyRow>,
    losses: &Losses,
    window: &Window,
    params: &Params,
) -> Vec<DifficultyRow> {
    let known = |id: &str| {
        // A pool problem that is not probed keeps the loss it was last scored with.
        let before = pool.get(id).map_or((f32::NAN, 0), |row| (row.expert_nll, row.expert_tokens));
        losses.get(id).copied().unwrap_or(before)
    };
    let ids = problems.iter().map(|p| p.problem_id.as_str());
    let (candidates, scores): (Vec<Candidate>, Vec<(f32, u32)>) = ids
        .filter(|id| slice.contains(id) || pool.contains_key(*id))
        .map(|id| {
            let score = known(id);
            (Candidate { problem_id: id, loss: f64::from(score.0), pooled: !slice.contains(id) }, score)
        })
        .unzip();
    let plans = plan_round(&candidates, window, &params.plan());
    let row = |((candidate, (expert_nll, expert_tokens)), plan): ((&Candidate, (f32, u32)), Planned)| DifficultyRow {
        problem_id: candidate.problem_id.to_owned(),
        expert_tokens,
        expert_nll,
        route: plan.route,
        action: plan.action,
        in_hard_pool: plan.in_hard_pool,
    };
    candidates.iter().zip(scores).zip(plans).map(row).collect()
}

fn summarise(rows: &[DifficultyRow], thresholds: &Thresholds, window: &Window) -> Result<Value, Error> {
    let mut routes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut actions: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *routes.entry(row.route.as_str()).or_default() += 1;
        *actions.entry(row.action.as_str()).or_default() += 1;
    }
    let finite: Vec<f64> = rows.iter().map(|r| f64::from(r.expert_nll)).filter(|d| d.is_finite()).collect();
    Ok(json!({
        "problems": rows.len(),
        "routes": routes,
        "actions": actions,
        "hard_pool": rows.iter().filter(|r| r.in_hard_pool).count(),
        "mean_expert_nll": finite.iter().sum::<f64>() / finite.len().max(1) as f64,
        "thresholds": thresholds,
        "window": window,
    }))
}

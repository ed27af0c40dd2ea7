//! `rasft-score mixture`: weighted expert and self-generated trajectories in training order, with the frozen
//! reference's log-probabilities, so that training never holds a second model.
//!
//! A rollout that was cut off by its token limit trains without EOS. A problem of which some rollout does not fit
//! `--max-length` trains on its expert alone: its weights were made for the whole group. `rasft-verify --max-length`
//! keeps such rollouts out of the weights in the first place.
//!
//! Order within a round follows algorithm.md §4–§5: easy, hard and gap experts, then window problems that were not
//! selected, then per rolled-out problem its expert and its rollouts.

mod grpo;

use crate::frames::group_rows;
use crate::job::Job;
use crate::policy::{Policy, device_kind, on_cpu};
use crate::produce::{Product, produce};
use crate::prompt::{PromptParams, Prompter};
use crate::trajectories::{expert_item, response_item, score_items};
use crate::{Ctx, Error, Outputs, Slice, check};
use rasft_data::{Counts, DataSet, hash128};
use rasft_model::item::{Dropped, Ending, Item, ItemCounts, ItemOptions, OnLong};
use rasft_types::{
    DifficultyRow, Fallback, FinishReason, MixtureRow, Problem, Rollout, Route, RouteAction, Solvability,
    TrajectorySource, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const STAGE: &str = "mixture";
const VERSION: u32 = 3;
/// Fall-back of the mixture's own, beside those of the solvability table.
const TOO_LONG: &str = "too_long";

/// What the mixture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum For {
    /// Experts and rollouts, weighted by solvability.
    Rasft,
    /// Experts alone at weight 1.
    Sft,
    /// Usable rollouts, right and wrong, weighted by group-relative advantages.
    Grpo,
}

/// What one round measured.
#[derive(Debug, Clone)]
pub struct RolloutInputs {
    /// Rollouts.
    pub rollouts: PathBuf,
    /// Their verdicts.
    pub verdicts: PathBuf,
    /// Weights per problem; `grpo` has its own.
    pub solvability: Option<PathBuf>,
}

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems with expert solutions.
    pub problems: PathBuf,
    /// The round's measurements, unless experts stand alone.
    pub rollouts: Option<RolloutInputs>,
    /// Routes.
    pub difficulty: Option<PathBuf>,
    /// Tokenizer and template.
    pub model: PathBuf,
    /// Frozen reference.
    pub reference: Option<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// What the mixture is for.
    pub objective: For,
    /// Only these problems.
    pub slice: Option<Slice>,
    /// Longest sequence, tokens.
    pub max_length: usize,
    /// Cut longer sequences instead of dropping them.
    pub truncate_long: bool,
    /// Round of the experiment.
    pub round: u32,
    /// How problems are put.
    pub prompt: PromptParams,
    /// Where the reference runs.
    #[serde(serialize_with = "device_kind", skip_serializing_if = "on_cpu")]
    pub device: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            objective: For::Rasft,
            slice: None,
            max_length: 2048,
            truncate_long: false,
            round: 0,
            prompt: PromptParams::default(),
            device: None,
        }
    }
}

impl Params {
    /// Refuses values outside their range.
    fn validate(&self) -> Result<(), Error> {
        check::at_least("max_length", self.max_length, 2)?;
        check::device(self.device.as_deref())?;
        self.prompt.validate()
    }
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs, a tokenizer or model that cannot be loaded, nothing left to train on.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    params.validate()?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let problems = job.data(ctx, "problems", &inputs.problems)?;
    let difficulty = job.optional_data(ctx, "difficulty", inputs.difficulty.as_deref())?;
    let measured = match &inputs.rollouts {
        Some(paths) => Some(Measured::open(ctx, &mut job, paths)?),
        None => None,
    };
    let tokenizer = Policy::open_without_weights(&inputs.model, ctx)?;
    let prompter = Prompter::open(&tokenizer, &params.prompt)?;
    job.input("tokenizer", prompter.tokenizer.content_hash(), &inputs.model);
    job.input("template", &prompter.template_hash(), &inputs.model);
    let reference = inputs.reference.as_deref().map(|path| job.policy(ctx, "reference", path)).transpose()?;

    let n_shards = job.output_shards(ctx);
    produce(ctx, &job, |dir, key| {
        tokenizer.verify_text()?;
        let problems = problems.non_empty()?.read_all::<Problem>()?;
        let slice = Slice::of(params.slice, &problems)?;
        let routes = Routes::read(difficulty.as_ref())?;
        let mut build = Build::new(&prompter, params);
        match (&measured, params.objective) {
            (Some(measured), For::Grpo) => {
                let round = routes.in_order(slice);
                let known: BTreeSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
                let chosen: BTreeSet<&str> = round.iter().map(|p| p.problem_id.as_str()).collect();
                let belongs = |id: &str| match (chosen.contains(id), known.contains(id)) {
                    (true, _) => grpo::Belongs::ThisRound,
                    (false, true) => grpo::Belongs::AnotherRound,
                    (false, false) => grpo::Belongs::Nowhere,
                };
                let groups = grpo::Groups::read(measured, &belongs, params.max_length)?;
                for problem in round {
                    build.group(problem, routes.of(&problem.problem_id).0, &groups)?;
                }
                build.dropped.extend(groups.dropped);
            }
            _ => {
                let solved = measured.as_ref().map(Measured::read).transpose()?;
                for problem in routes.in_order(slice) {
                    build.problem(problem, routes.of(&problem.problem_id), solved.as_ref())?;
                }
            }
        }
        build.finish(ctx, dir, key, n_shards, reference.as_ref())
    })
}

/// The three tables of a round.
struct Measured {
    rollouts: DataSet,
    verdicts: DataSet,
    solvability: Option<DataSet>,
}

/// Their rows, by problem and by rollout.
struct Solved {
    solvability: BTreeMap<String, Solvability>,
    rollouts: BTreeMap<String, Rollout>,
}

impl Measured {
    fn open(ctx: &Ctx, job: &mut Job, paths: &RolloutInputs) -> Result<Self, Error> {
        Ok(Self {
            rollouts: job.data(ctx, "rollouts", &paths.rollouts)?,
            verdicts: job.data(ctx, "verdicts", &paths.verdicts)?,
            solvability: job.optional_data(ctx, "solvability", paths.solvability.as_deref())?,
        })
    }

    fn read(&self) -> Result<Solved, Error> {
        let Some(table) = &self.solvability else { return Err(Error::usage("this mixture needs --solvability")) };
        let solvability = table.read_all::<Solvability>()?;
        let correct = self.verdicts.read_columns::<Verdict>(&["rollout_id", "correct"])?.all()?;
        let correct: BTreeMap<&str, bool> = correct.iter().map(|v| (v.rollout_id.as_str(), v.correct)).collect();
        for (row, id) in solvability.iter().flat_map(|s| s.rollout_ids.iter().map(move |id| (s, id))) {
            if correct.get(id.as_str()) != Some(&true) {
                return Err(Error::bad_input(format!(
                    "{}: problem {} trains on rollout {id}, which has no verdict `correct` in {}\nhint: the tables come from different runs; give those of one round",
                    table.path().display(),
                    row.problem_id,
                    self.verdicts.path().display()
                )));
            }
        }
        let rollouts = self
            .rollouts
            .read_columns::<Rollout>(&["rollout_id", "problem_id", "completion", "finish_reason"])?
            .all()?;
        Ok(Solved {
            solvability: solvability.into_iter().map(|s| (s.problem_id.clone(), s)).collect(),
            rollouts: rollouts.into_iter().map(|r| (r.rollout_id.clone(), r)).collect(),
        })
    }
}

/// The round's routes; without a difficulty table every problem trains on its expert.
struct Routes(Option<BTreeMap<String, DifficultyRow>>);

impl Routes {
    fn read(difficulty: Option<&DataSet>) -> Result<Self, Error> {
        let rows = difficulty.map(|d| d.read_all::<DifficultyRow>()).transpose()?;
        Ok(Self(rows.map(|rows| rows.into_iter().map(|r| (r.problem_id.clone(), r)).collect())))
    }

    fn of(&self, problem_id: &str) -> (Route, RouteAction) {
        match &self.0 {
            None => (Route::Mid, RouteAction::Rollout),
            Some(rows) => rows.get(problem_id).map_or((Route::Never, RouteAction::Defer), |r| (r.route, r.action)),
        }
    }

    /// Problems of this round in training order.
    fn in_order<'a>(&self, problems: &'a [Problem]) -> Vec<&'a Problem> {
        let rank = |p: &Problem| match self.of(&p.problem_id) {
            (_, RouteAction::Defer) => None,
            (_, RouteAction::Rollout | RouteAction::Probe) => Some(4),
            (Route::Easy, _) => Some(0),
            (Route::Hard, _) => Some(1),
            (Route::Gap | Route::Never, _) => Some(2),
            (Route::Mid, _) => Some(3),
        };
        let mut ranked: Vec<(u8, &Problem)> = problems.iter().filter_map(|p| rank(p).map(|r| (r, p))).collect();
        ranked.sort_by_key(|(rank, _)| *rank); // stable: problem order within a rank
        ranked.into_iter().map(|(_, p)| p).collect()
    }
}

/// Rows under construction.
struct Build<'a> {
    prompter: &'a Prompter,
    params: &'a Params,
    options: ItemOptions,
    rows: Vec<MixtureRow>,
    items: Vec<Item>,
    counts: ItemCounts,
    /// Rollouts that fit, left out because another of their problem does not.
    n_beside_too_long: u64,
    fallbacks: BTreeMap<&'static str, u64>,
    /// Rollouts that `grpo` leaves out, by reason.
    dropped: BTreeMap<&'static str, u64>,
}

/// A rollout about to be trained on.
struct Chosen<'a> {
    rollout_id: &'a String,
    weight: f64,
    response: String,
    item: Result<Item, Dropped>,
}

impl<'a> Build<'a> {
    fn new(prompter: &'a Prompter, params: &'a Params) -> Self {
        let on_long = if params.truncate_long { OnLong::Truncate } else { OnLong::Drop };
        let options = ItemOptions { max_length: params.max_length, on_long };
        Self {
            prompter,
            params,
            options,
            rows: vec![],
            items: vec![],
            counts: ItemCounts::default(),
            n_beside_too_long: 0,
            fallbacks: BTreeMap::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// The group of a problem, if its rewards differ.
    fn group(&mut self, problem: &Problem, route: Route, groups: &grpo::Groups) -> Result<(), Error> {
        let Some(members) = groups.by_problem.get(&problem.problem_id) else { return Ok(()) };
        let prompt_text = self.prompter.text(&problem.prompt)?;
        let prompt = self.prompter.ids(&problem.prompt)?;
        for grpo::Member { rollout, advantage } in members {
            self.counts.n_in += 1;
            let item = grpo::item(&prompt, rollout)?;
            self.counts.n_out += 1;
            let (text, id) = (rollout.completion.clone(), Some(&rollout.rollout_id));
            self.push(problem, id, route, *advantage, prompt_text.clone(), text, item);
            if let Some(row) = self.rows.last_mut() {
                row.old_logprobs = Some(rollout.token_logprobs.clone());
            }
        }
        Ok(())
    }

    /// The expert of a problem and the rollouts that it trains on.
    fn problem(
        &mut self,
        problem: &Problem,
        (route, action): (Route, RouteAction),
        solved: Option<&Solved>,
    ) -> Result<(), Error> {
        let prompt_text = self.prompter.text(&problem.prompt)?;
        let rolled_out = matches!(action, RouteAction::Rollout | RouteAction::Probe);
        let weights = solved.filter(|_| rolled_out).and_then(|s| s.solvability.get(&problem.problem_id));
        let mut chosen = match (weights, solved) {
            (Some(weights), Some(solved)) => self.chosen(problem, &prompt_text, weights, solved)?,
            _ => Vec::new(),
        };
        let mut expert_weight = weights.map_or(1.0, |w| w.expert_weight);
        let mut fallback = weights.map_or(Fallback::NotSelected, |w| w.fallback).as_str();
        if chosen.iter().any(|c| c.item.is_err()) {
            self.leave_out(&chosen);
            chosen.clear();
            (expert_weight, fallback) = (1.0, TOO_LONG);
        }
        if rolled_out && solved.is_some() {
            *self.fallbacks.entry(fallback).or_default() += 1;
        }
        let item = expert_item(self.prompter, problem, &self.options)?;
        self.counts.record(&item);
        let expert = problem.expert_response.clone().unwrap_or_default();
        if let Ok(item) = item {
            self.push(problem, None, route, expert_weight, prompt_text.clone(), expert, item);
        }
        for Chosen { rollout_id, weight, response, item } in chosen {
            self.counts.record(&item);
            if let Ok(item) = item {
                self.push(problem, Some(rollout_id), route, weight, prompt_text.clone(), response, item);
            }
        }
        Ok(())
    }

    /// The rollouts that a problem trains on, as items.
    fn chosen<'s>(
        &self,
        problem: &Problem,
        prompt_text: &str,
        weights: &'s Solvability,
        solved: &Solved,
    ) -> Result<Vec<Chosen<'s>>, Error> {
        let item = |(rollout_id, weight): (&'s String, &f64)| -> Result<Chosen<'s>, Error> {
            let rollout = solved.rollouts.get(rollout_id).ok_or_else(|| {
                Error::bad_input(format!(
                    "no rollout {rollout_id}, which problem {} trains on\nhint: give the rollouts of the same round",
                    problem.problem_id
                ))
            })?;
            let response = rollout.completion.trim().to_owned();
            let ending = if rollout.finish_reason == FinishReason::Length { Ending::Cut } else { Ending::Eos };
            let item = response_item(self.prompter, prompt_text, &response, ending, &self.options)?;
            Ok(Chosen { rollout_id, weight: *weight, response, item })
        };
        weights.rollout_ids.iter().zip(&weights.rollout_weights).map(item).collect()
    }

    /// Counts the rollouts of a problem that falls back because some of them do not fit.
    fn leave_out(&mut self, chosen: &[Chosen]) {
        for c in chosen {
            match &c.item {
                Ok(_) => self.n_beside_too_long += 1,
                dropped => self.counts.record(dropped),
            }
        }
    }

    fn push(
        &mut self,
        problem: &Problem,
        rollout_id: Option<&String>,
        route: Route,
        weight: f64,
        prompt_text: String,
        response_text: String,
        item: Item,
    ) {
        let owner = rollout_id.map_or("expert", String::as_str);
        self.rows.push(MixtureRow {
            trajectory_id: hash128(&[problem.problem_id.as_bytes(), owner.as_bytes(), response_text.as_bytes()]),
            problem_id: problem.problem_id.clone(),
            source: if rollout_id.is_some() { TrajectorySource::Rollout } else { TrajectorySource::Expert },
            rollout_id: rollout_id.cloned(),
            route,
            round: self.params.round,
            weight,
            prompt_text,
            response_text,
            input_ids: item.input_ids.clone(),
            prompt_len: item.prompt_len as u32,
            truncated: item.truncated,
            ref_logprob: f32::NAN,
            order: self.rows.len() as u64,
            old_logprobs: None,
        });
        self.items.push(item);
    }

    fn finish(
        mut self,
        ctx: &Ctx,
        dir: &Path,
        key: &str,
        n_shards: usize,
        reference: Option<&Policy>,
    ) -> Result<Product, Error> {
        if self.rows.is_empty() && !self.dropped.is_empty() {
            return Err(Error::bad_input(format!(
                "no group of rollouts is left to learn from: {:?}\nhint: sample more rollouts per problem (--n), or problems that are neither always nor never solved",
                self.dropped
            )));
        }
        if self.rows.is_empty() {
            return Err(Error::bad_input(format!(
                "no trajectory is left: {} are longer than --max-length {}, {} prompts fill it, {} have no expert solution\nhint: raise --max-length, or look at the difficulty table",
                self.counts.n_too_long, self.params.max_length, self.counts.n_prompt_too_long, self.counts.n_empty
            )));
        }
        if let Some(policy) = reference {
            let items: Vec<&Item> = self.items.iter().collect();
            let scores = score_items(ctx, policy, self.params.device.as_deref(), "reference", &items)?;
            for (row, score) in self.rows.iter_mut().zip(scores) {
                row.ref_logprob = score.mean_logprob;
            }
        }
        if let Some(n) = self.fallbacks.get(TOO_LONG) {
            tracing::warn!(
                "{n} problems train on their expert alone because a rollout of theirs is longer than --max-length {0}; give `rasft-verify` --max-length {0}, and the weights are made without such rollouts",
                self.params.max_length
            );
        }
        let summary = self.summary()?;
        let c = self.counts;
        let rejected = [
            (TOO_LONG, c.n_too_long),
            ("prompt_too_long", c.n_prompt_too_long),
            ("empty", c.n_empty),
            ("beside_too_long", self.n_beside_too_long),
        ];
        let rejected = rejected.into_iter().chain(self.dropped.iter().map(|(why, n)| (*why, *n)));
        let counts = Counts {
            n_in: c.n_in + self.n_beside_too_long + self.dropped.values().sum::<u64>(),
            n_out: c.n_out,
            n_rejected: rejected.filter(|(_, n)| *n > 0).map(|(why, n)| (why.to_owned(), n)).collect(),
        };
        Ok(Product { counts: Some(counts), ..Product::table_in_shards(dir, key, &self.rows, n_shards, summary)? })
    }

    fn summary(&self) -> Result<serde_json::Value, Error> {
        let sources: Vec<&str> = self.rows.iter().map(|r| r.source.as_str()).collect();
        let mut by_source = BTreeMap::new();
        for (source, rows) in group_rows(&sources)? {
            let weight: f64 = rows.iter().map(|&i| self.rows[i].weight).sum();
            let tokens: usize = rows.iter().map(|&i| self.items[i].response_len()).sum();
            by_source
                .insert(source, json!({ "trajectories": rows.len(), "weight": weight, "response_tokens": tokens }));
        }
        Ok(json!({
            "trajectories": self.rows.len(),
            "problems": group_rows(&self.rows.iter().map(|r| r.problem_id.as_str()).collect::<Vec<_>>())?.len(),
            "sources": by_source,
            "fallbacks": self.fallbacks,
            "truncated": self.counts.n_truncated,
            "straddling": self.counts.n_straddling,
        }))
    }
}

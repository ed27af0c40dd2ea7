//! The rows of a mixture: trajectories in the order in which they come, and the counts of what was left out.

use super::tables::Solved;
use super::{Params, grpo};
use crate::frames::group_rows;
use crate::policy::Policy;
use crate::produce::Product;
use crate::prompt::Prompter;
use crate::trajectories::{expert_item, response_item, score_items};
use crate::{Ctx, Error};
use rasft_data::{Counts, hash128};
use rasft_model::item::{Dropped, Ending, Item, ItemCounts, ItemOptions, OnLong};
use rasft_types::{Fallback, FinishReason, MixtureRow, Problem, Route, RouteAction, Solvability, TrajectorySource};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Fall-back of the mixture's own, beside those of the solvability table.
pub(super) const TOO_LONG: &str = "too_long";

/// Rows under construction.
pub(super) struct Build<'a> {
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
    pub dropped: BTreeMap<&'static str, u64>,
}

/// A rollout about to be trained on.
struct Chosen<'a> {
    rollout_id: &'a String,
    weight: f64,
    response: String,
    item: Result<Item, Dropped>,
}

impl<'a> Build<'a> {
    pub fn new(prompter: &'a Prompter, params: &'a Params) -> Self {
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
    pub fn group(&mut self, problem: &Problem, route: Route, groups: &grpo::Groups) -> Result<(), Error> {
        let Some(members) = groups.by_problem.get(&problem.problem_id) else { return Ok(()) };
        let prompt_text = self.prompter.text(&problem.prompt)?;
        let prompt = self.prompter.ids(&problem.prompt)?;
        for grpo::Member { rollout, advantage } in members {
            self.counts.n_in += 1;
            let item = grpo::item(&prompt, rollout, &groups.path)?;
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
    pub fn problem(
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
                    "{}: no rollout {rollout_id}, which problem {} trains on\nhint: give the rollouts of the same round",
                    solved.path.display(),
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

    pub fn finish(
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

//! What a mixture is made from: the round's measurements and routes.

use super::RolloutInputs;
use crate::job::Job;
use crate::{Ctx, Error};
use rasft_data::DataSet;
use rasft_types::{DifficultyRow, Problem, Rollout, Route, RouteAction, Solvability, Verdict};
use std::collections::BTreeMap;

/// The three tables of a round.
pub(super) struct Measured {
    pub rollouts: DataSet,
    pub verdicts: DataSet,
    solvability: Option<DataSet>,
}

/// Their rows, by problem and by rollout.
pub(super) struct Solved {
    pub solvability: BTreeMap<String, Solvability>,
    pub rollouts: BTreeMap<String, Rollout>,
}

impl Measured {
    pub fn open(ctx: &Ctx, job: &mut Job, paths: &RolloutInputs) -> Result<Self, Error> {
        Ok(Self {
            rollouts: job.data(ctx, "rollouts", &paths.rollouts)?,
            verdicts: job.data(ctx, "verdicts", &paths.verdicts)?,
            solvability: job.optional_data(ctx, "solvability", paths.solvability.as_deref())?,
        })
    }

    pub fn read(&self) -> Result<Solved, Error> {
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
pub(super) struct Routes(Option<BTreeMap<String, DifficultyRow>>);

impl Routes {
    pub fn read(difficulty: Option<&DataSet>) -> Result<Self, Error> {
        let rows = difficulty.map(|d| d.read_all::<DifficultyRow>()).transpose()?;
        Ok(Self(rows.map(|rows| rows.into_iter().map(|r| (r.problem_id.clone(), r)).collect())))
    }

    pub fn of(&self, problem_id: &str) -> (Route, RouteAction) {
        match &self.0 {
            None => (Route::Mid, RouteAction::Rollout),
            Some(rows) => rows.get(problem_id).map_or((Route::Never, RouteAction::Defer), |r| (r.route, r.action)),
        }
    }

    /// Problems of this round in training order.
    pub fn in_order<'a>(&self, problems: &'a [Problem]) -> Vec<&'a Problem> {
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

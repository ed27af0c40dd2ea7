//! The trajectories of one or more mixtures, in training order, each with the file and row it stands in.

use crate::Error;
use rasft_data::DataSet;
use rasft_learn::{LearnError, Objective, Trajectory, check_against};
use rasft_model::DecoderConfig;
use rasft_types::MixtureRow;
use std::path::Path;

/// Trajectories in training order.
pub(super) struct Rows {
    /// What is trained on.
    pub trajectories: Vec<Trajectory>,
    /// Per trajectory: which mixture, and which of its rows.
    origin: Vec<(usize, u64)>,
    mixtures: Vec<DataSet>,
}

impl Rows {
    /// Reads all mixtures, one after the other, each by its column `order`.
    pub fn read(mixtures: Vec<DataSet>) -> Result<Self, Error> {
        let columns = ["trajectory_id", "weight", "input_ids", "prompt_len", "ref_logprob", "order", "old_logprobs"];
        let (mut trajectories, mut origin) = (Vec::new(), Vec::new());
        for (which, data) in mixtures.iter().enumerate() {
            let mut rows: Vec<(u64, MixtureRow)> =
                (0..).zip(data.read_columns::<MixtureRow>(&columns)?.all()?).collect();
            rows.sort_by_key(|(_, r)| r.order); // stable: file order where `order` is absent
            for (at, row) in rows {
                origin.push((which, at));
                trajectories.push(trajectory(row));
            }
        }
        if trajectories.is_empty() {
            return Err(Error::bad_input("the mixture has no rows\nhint: look at the counts in its _manifest.json"));
        }
        Ok(Self { trajectories, origin, mixtures })
    }

    /// Refuses rows that cannot be trained on with this model and objective, by file and row.
    pub fn check(&self, config: &DecoderConfig, objective: Objective) -> Result<(), Error> {
        check_against(&self.trajectories, config, objective).map_err(|e| self.located(e))
    }

    /// Per mixture: its path, and the tokenizer that its manifest says it was made with.
    pub fn tokenizers(&self) -> impl Iterator<Item = (&Path, Option<&str>)> {
        self.mixtures.iter().map(|data| {
            let tokenizer = data.manifest().and_then(|m| m.inputs.get("tokenizer"));
            (data.path(), tokenizer.map(|input| input.hash.as_str()))
        })
    }

    /// A complaint about a trajectory, with the place where it stands.
    fn located(&self, error: LearnError) -> Error {
        let LearnError::Trajectory { row, id, detail, hint } = error else { return error.into() };
        let Some(&(which, at)) = self.origin.get(row) else {
            return LearnError::Trajectory { row, id, detail, hint }.into();
        };
        let mut left = at;
        for shard in self.mixtures[which].shards() {
            if left < shard.rows {
                let file = shard.path.display();
                return Error::bad_input(format!("{file}: row {left} (trajectory {id}): {detail}\nhint: {hint}"));
            }
            left -= shard.rows;
        }
        LearnError::Trajectory { row, id, detail, hint }.into()
    }
}

fn trajectory(row: MixtureRow) -> Trajectory {
    Trajectory {
        id: row.trajectory_id,
        input_ids: row.input_ids,
        prompt_len: row.prompt_len as usize,
        weight: row.weight,
        ref_logprob: row.ref_logprob,
        old_logprobs: row.old_logprobs.unwrap_or_default(),
    }
}

//! `eval_samples`: the columns of `rollouts` and of `verdicts` side by side, with benchmark and model.

use crate::column::{Column, Foreign, Site};
use crate::error::DataError;
use crate::table::{Table, batch, table};
use arrow::array::RecordBatch;
use rasft_types::{EvalSampleRow, Rollout, Verdict};

/// The columns that are not in the two tables joined.
struct Place {
    bench: String,
    model_id: String,
}

table! {
    Place => "eval_samples" / 1, "";
    bench: String, "benchmark name";
    model_id: String = String::new(), "content hash of the model";
}

impl Table for EvalSampleRow {
    const NAME: &'static str = "eval_samples";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Judged samples of benchmarks: rollouts joined with their verdicts.";

    fn columns() -> Vec<Column> {
        let mut columns = Place::columns();
        columns.extend(Rollout::columns());
        columns.extend(verdict_only());
        columns
    }

    fn encode(rows: &[Self]) -> Result<RecordBatch, DataError> {
        let places: Vec<_> =
            rows.iter().map(|r| Place { bench: r.bench.clone(), model_id: r.model_id.clone() }).collect();
        let rollouts: Vec<_> = rows.iter().map(|r| r.rollout.clone()).collect();
        let verdicts: Vec<_> = rows.iter().map(|r| r.verdict.clone()).collect();
        let verdicts = Verdict::encode(&verdicts)?;
        let mut columns = Place::encode(&places)?.columns().to_vec();
        columns.extend_from_slice(Rollout::encode(&rollouts)?.columns());
        columns.extend(verdict_only().iter().filter_map(|c| verdicts.column_by_name(c.name)).cloned());
        batch::<Self>(columns, rows.len())
    }

    fn decode(batch: &RecordBatch, site: &Site) -> Result<Vec<Self>, DataError> {
        // The shared columns are read once, as the rollout's.
        let mut rest = site.clone();
        rest.wanted = Some(verdict_only().iter().map(|c| c.name).filter(|name| site.wants(name)).collect());
        let places = Place::decode(batch, site)?;
        let rollouts = Rollout::decode(batch, site)?;
        let verdicts = Verdict::decode(batch, &rest)?;
        let rows = places.into_iter().zip(rollouts).zip(verdicts);
        let row = |((place, rollout), verdict): ((Place, Rollout), Verdict)| Self {
            bench: place.bench,
            model_id: place.model_id,
            verdict: same_ids(verdict, &rollout),
            rollout,
        };
        Ok(rows.map(row).collect())
    }

    fn complete(rows: &mut [Self], foreign: &mut Foreign) {
        for row in rows {
            super::rollouts::complete(std::slice::from_mut(&mut row.rollout), foreign);
            let mut verdict = same_ids(row.verdict.clone(), &row.rollout);
            if foreign.lacks("outcome") && verdict.correct {
                verdict.outcome = rasft_types::Outcome::Correct;
            }
            row.verdict = verdict;
        }
    }
}

/// Columns of `verdicts` that `rollouts` does not have.
fn verdict_only() -> Vec<Column> {
    let shared = Rollout::columns();
    Verdict::columns().into_iter().filter(|c| shared.iter().all(|s| s.name != c.name)).collect()
}

fn same_ids(verdict: Verdict, rollout: &Rollout) -> Verdict {
    Verdict {
        rollout_id: rollout.rollout_id.clone(),
        problem_id: rollout.problem_id.clone(),
        sample_index: rollout.sample_index,
        ..verdict
    }
}

//! Joins and group-bys between tables, done by polars on key columns; rows stay typed and are addressed by index.
//!
//! Invariant: every result is in the order of the left table, so nothing depends on hashing or threads.

use crate::Error;
use polars::prelude::*;
use rasft_types::{Rollout, Verdict};
use std::path::Path;

/// Row indexes of the samples of one problem: into the rollouts and into the verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The problem.
    pub problem_id: String,
    /// (row in the rollouts, row in the verdicts), by sample index.
    pub samples: Vec<(usize, usize)>,
}

/// Rollouts ⨝ verdicts on `rollout_id`, grouped by problem in order of first appearance.
///
/// # Errors
/// A rollout without a verdict, or with two.
pub fn judged_groups(rollouts: &[Rollout], verdicts: &[Verdict], verdicts_path: &Path) -> Result<Vec<Group>, Error> {
    if rollouts.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = rollouts.iter().map(|r| r.rollout_id.as_str()).collect();
    let problems: Vec<&str> = rollouts.iter().map(|r| r.problem_id.as_str()).collect();
    let samples: Vec<u32> = rollouts.iter().map(|r| r.sample_index).collect();
    let left = df!("rollout_id" => ids, "problem_id" => problems, "sample" => samples, "left" => rows(rollouts.len()))?;
    let judged: Vec<&str> = verdicts.iter().map(|v| v.rollout_id.as_str()).collect();
    let right = df!("rollout_id" => judged, "right" => rows(verdicts.len()))?;

    let join = JoinArgs { maintain_order: MaintainOrderJoin::Left, ..JoinArgs::new(JoinType::Left) };
    let on = [col("rollout_id")];
    let joined = left.lazy().join(right.lazy(), on.clone(), on, join).collect()?;
    check_one_to_one(&joined, rollouts, verdicts_path)?;

    let order = SortMultipleOptions::default().with_maintain_order(true);
    let grouped = joined
        .lazy()
        .group_by_stable([col("problem_id")])
        .agg([
            col("left").sort_by([col("sample")], order.clone()).alias("left"),
            col("right").sort_by([col("sample")], order).alias("right"),
        ])
        .collect()?;
    let (ids, lefts, rights) =
        (grouped.column("problem_id")?.str()?, lists(&grouped, "left")?, lists(&grouped, "right")?);
    Ok(ids
        .iter()
        .zip(lefts.into_iter().zip(rights))
        .map(|(id, (l, r))| Group {
            problem_id: id.unwrap_or_default().to_owned(),
            samples: l.into_iter().zip(r).collect(),
        })
        .collect())
}

/// Groups equal keys in order of first appearance: (key, its rows).
pub fn group_rows(keys: &[&str]) -> Result<Vec<(String, Vec<usize>)>, Error> {
    let frame = df!("key" => keys, "row" => rows(keys.len()))?;
    let grouped = frame.lazy().group_by_stable([col("key")]).agg([col("row")]).collect()?;
    let lists = lists(&grouped, "row")?;
    Ok(grouped.column("key")?.str()?.iter().map(|k| k.unwrap_or_default().to_owned()).zip(lists).collect())
}

fn rows(n: usize) -> Vec<u32> {
    (0..n as u32).collect()
}

fn lists(frame: &DataFrame, name: &str) -> Result<Vec<Vec<usize>>, Error> {
    let column = frame.column(name)?.list()?;
    let rows = |i: usize| -> Result<Vec<usize>, Error> {
        let Some(list) = column.get_as_series(i) else { return Ok(Vec::new()) };
        Ok(list.u32()?.iter().flatten().map(|row| row as usize).collect())
    };
    (0..column.len()).map(rows).collect()
}

fn check_one_to_one(joined: &DataFrame, rollouts: &[Rollout], path: &Path) -> Result<(), Error> {
    let right = joined.column("right")?.u32()?;
    if let Some(row) = right.iter().position(|r| r.is_none()) {
        let left = joined.column("left")?.u32()?.get(row).unwrap_or_default() as usize;
        return Err(Error::bad_input(format!(
            "{}: no verdict for rollout {} (problem {}, sample {})\nhint: run `rasft-verify` on exactly these rollouts",
            path.display(),
            rollouts[left].rollout_id,
            rollouts[left].problem_id,
            rollouts[left].sample_index
        )));
    }
    if joined.height() > rollouts.len() {
        return Err(Error::bad_input(format!(
            "{}: {} verdicts for {} rollouts: some rollout has more than one\nhint: run `rasft-verify` on exactly these rollouts",
            path.display(),
            joined.height(),
            rollouts.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rasft_types::{FinishReason, Method, Outcome};

    pub(crate) fn rollout(id: &str, problem: &str, sample: u32) -> Rollout {
        Rollout {
            rollout_id: id.into(),
            problem_id: problem.into(),
            sample_index: sample,
            policy_id: String::new(),
            round: 0,
            prompt_tokens: 0,
            completion: String::new(),
            token_ids: vec![],
            token_logprobs: vec![],
            finish_reason: FinishReason::Stop,
        }
    }

    pub(crate) fn verdict(id: &str) -> Verdict {
        Verdict {
            rollout_id: id.into(),
            problem_id: String::new(),
            sample_index: 0,
            outcome: Outcome::Wrong,
            correct: false,
            method: Method::None,
            extracted: None,
            usable: true,
            rejected_by: vec![],
            duplicate_of: None,
            tests_passed: None,
            tests_total: None,
            detail: None,
        }
    }

    #[test]
    fn groups_follow_the_rollouts_and_samples_are_sorted() {
        let rollouts = [rollout("b1", "b", 1), rollout("a0", "a", 0), rollout("b0", "b", 0)];
        let verdicts = [verdict("a0"), verdict("b0"), verdict("b1")];
        let groups = judged_groups(&rollouts, &verdicts, Path::new("v")).expect("one to one");
        assert_eq!(
            groups,
            [
                Group { problem_id: "b".into(), samples: vec![(2, 1), (0, 2)] },
                Group { problem_id: "a".into(), samples: vec![(1, 0)] },
            ]
        );
    }

    #[test]
    fn a_missing_or_double_verdict_is_named() {
        let rollouts = [rollout("x", "p", 0), rollout("y", "p", 1)];
        let missing = judged_groups(&rollouts, &[verdict("x")], Path::new("v")).expect_err("y has none");
        assert!(missing.to_string().contains("no verdict for rollout y"), "{missing}");
        let double = [verdict("x"), verdict("y"), verdict("x")];
        assert!(judged_groups(&rollouts, &double, Path::new("v")).is_err());
    }
}

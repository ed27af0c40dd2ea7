//! Adaptive sampling: how many samples a problem gets, decided from the verdicts of those it has.
//!
//! A problem is looked at after `n_min` samples, after twice as many, and so on up to `n_max`; the samples it has then, in
//! the order of their index, are judged as `rasft-verify` without flags judges them. Invariant: the decision depends on
//! the problem's own samples alone, so neither batch nor shard nor the order of work shows in the result.

use crate::Error;
use crate::sample::{Completer, Samples};
use rasft_method::interval::jeffreys;
use rasft_types::{Problem, Rollout};
use rasft_verify::{JudgeParams, gold, judge_group, judgeable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Problems judged at once.
const JUDGED_AT_ONCE: usize = 256;

/// When sampling a problem ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Samples that every problem gets.
    pub n_min: u32,
    /// Samples that no problem exceeds.
    pub n_max: u32,
    /// Ends when the 95 % Jeffreys interval of solvability is narrower than this.
    pub until_width: Option<f64>,
    /// Ends when the problem's way into the mixture is settled: among its samples are a correct one that no filter
    /// rejects and a wrong one that none rejects. Then it trains on the expert and on its own solutions (`fallback` is
    /// `none`), whatever further samples say; they could only move the weights.
    pub until_settled: bool,
}

/// Why a problem got no more samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The interval is narrow enough.
    Narrow,
    /// Its way into the mixture is settled.
    Settled,
    /// It has `n_max` samples.
    NMax,
}

impl End {
    /// The word in summaries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Settled => "settled",
            Self::NMax => "n_max",
        }
    }
}

impl Adaptive {
    /// Refuses values that make no sense.
    ///
    /// # Errors
    /// A usage error that names the flag.
    pub fn validate(&self) -> Result<(), Error> {
        if self.n_min == 0 || self.n_min > self.n_max {
            return Err(Error::usage(format!(
                "--n-min {} --n-max {}: expected 1 ≤ n-min ≤ n-max",
                self.n_min, self.n_max
            )));
        }
        if let Some(w) = self.until_width.filter(|w| !(*w > 0.0 && *w <= 1.0)) {
            return Err(Error::usage(format!("--until-width {w}: expected a number above 0, at most 1")));
        }
        if self.until_width.is_none() && !self.until_settled {
            return Err(Error::usage(
                "--n-min and --n-max need a reason to stop in between\nhint: add --until-width 0.5, or --until-settled",
            ));
        }
        Ok(())
    }

    /// Whether a problem with these judged samples needs no more; `None` if it does.
    fn end(&self, problem: &Problem, rollouts: &[Rollout]) -> Result<Option<End>, Error> {
        let verdicts = judge_group(problem, rollouts, &JudgeParams::default())?;
        let n_correct = verdicts.iter().filter(|v| v.correct).count() as u32;
        let n = verdicts.len() as u32;
        let (low, high) = jeffreys(n_correct, n);
        let usable = |correct: bool| verdicts.iter().any(|v| v.usable && v.correct == correct);
        Ok(if self.until_width.is_some_and(|w| high - low < w) {
            Some(End::Narrow)
        } else if self.until_settled && usable(true) && usable(false) {
            Some(End::Settled)
        } else if n >= self.n_max {
            Some(End::NMax)
        } else {
            None
        })
    }
}

/// What adaptive sampling came to.
pub struct Decided {
    /// Samples of each unit.
    pub n: Vec<u32>,
    /// Problems by the reason for which they ended.
    pub ends: BTreeMap<End, u64>,
}

/// Samples the units `active` until each has ended; without a completer nothing is made and a unit ends where its
/// samples do.
///
/// # Errors
/// A problem that cannot be judged, and those of the completer and the disk.
pub fn sample(
    adaptive: &Adaptive,
    problems: &[Problem],
    active: impl Iterator<Item = usize>,
    samples: &mut Samples,
    mut completer: Option<&mut dyn Completer>,
) -> Result<Decided, Error> {
    let mut active: Vec<usize> = active.collect();
    all_judgeable(active.iter().map(|unit| &problems[*unit]))?;
    let mut decided = Decided { n: vec![0; problems.len()], ends: BTreeMap::new() };
    let mut n = adaptive.n_min;
    while !active.is_empty() {
        match &mut completer {
            Some(completer) => {
                let wanted: Vec<(usize, u32)> = active.iter().map(|unit| (*unit, n)).collect();
                samples.make(&wanted, &mut **completer)?;
            }
            None => active.retain(|unit| {
                decided.n[*unit] = n;
                samples.missing(*unit, n).is_empty()
            }),
        }
        let mut undecided = Vec::new();
        for block in active.chunks(JUDGED_AT_ONCE) {
            let rows = samples.rows(block.iter().copied(), |_| n)?;
            for (unit, rows) in block.iter().zip(rows.chunks(n as usize)) {
                decided.n[*unit] = n;
                match adaptive.end(&problems[*unit], rows)? {
                    Some(end) => *decided.ends.entry(end).or_default() += 1,
                    None => undecided.push(*unit),
                }
            }
        }
        active = undecided;
        n = n.saturating_mul(2).min(adaptive.n_max);
    }
    Ok(decided)
}

/// Refuses problems that the judge cannot judge, or whose samples have nothing to be compared with.
fn all_judgeable<'a>(problems: impl Iterator<Item = &'a Problem> + Clone) -> Result<(), Error> {
    problems.clone().try_for_each(judgeable)?;
    match problems.clone().find(|p| gold(p).is_err()) {
        None => Ok(()),
        Some(problem) => Err(Error::bad_input(format!(
            "problem {}: column answer: adaptive sampling compares samples with the gold answer, and {}\nhint: import problems with answers, or give --n instead of --n-min and --n-max",
            problem.problem_id,
            gold(problem).err().unwrap_or("there is none")
        ))),
    }
}

#[cfg(test)]
mod tests;

//! The mixture for `grpo`: every usable rollout of a problem, right or wrong, as it was sampled.
//!
//! Weights are group-relative advantages, and the tokens are the sampled ones, not the text tokenised again: the behaviour
//! log-probabilities belong to them. Experts are absent on purpose.

use super::Measured;
use crate::Error;
use crate::frames::{Group, judged_groups};
use rasft_method::advantages::grpo_advantages;
use rasft_model::item::Item;
use rasft_types::{FinishReason, Rollout, Verdict};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the problem of a group stands.
pub(super) enum Belongs {
    /// Among those that this mixture trains on.
    ThisRound,
    /// Outside the slice, deferred, or absent from the difficulty table.
    AnotherRound,
    /// In no table.
    Nowhere,
}

/// One rollout with its advantage.
pub(super) struct Member {
    /// The rollout.
    pub rollout: Rollout,
    /// `(r − mean) / (std + 1e-4)` within its group.
    pub advantage: f64,
}

/// The groups that have a spread of rewards.
#[derive(Default)]
pub(super) struct Groups {
    /// Members by problem, in the order of their sample index.
    pub by_problem: BTreeMap<String, Vec<Member>>,
    /// Rollouts that are in no group, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Groups {
    /// Joins rollouts and verdicts of the problems that `belongs` knows, rewards 1 for correct and 0 for wrong, and drops
    /// what does not train, before the rest of its group is compared.
    pub fn read(measured: &Measured, belongs: &dyn Fn(&str) -> Belongs, max_length: usize) -> Result<Self, Error> {
        let rollouts = measured.rollouts.read_all::<Rollout>()?;
        let verdicts = measured.verdicts.read_all::<Verdict>()?;
        let mut groups = Self::default();
        for group in judged_groups(&rollouts, &verdicts, measured.verdicts.path())? {
            match belongs(&group.problem_id) {
                Belongs::ThisRound => {}
                Belongs::AnotherRound => {
                    groups.drop("not_in_this_round", group.samples.len());
                    continue;
                }
                Belongs::Nowhere => {
                    return Err(Error::bad_input(format!(
                        "{}: problem {} is not among the problems\nhint: give the problems that these rollouts were made from",
                        measured.rollouts.path().display(),
                        group.problem_id
                    )));
                }
            }
            groups.add(group, &rollouts, &verdicts, measured.rollouts.path(), max_length)?;
        }
        Ok(groups)
    }

    /// One group: what is unusable or too long goes first, so that the advantages of those that train sum to 0.
    fn add(
        &mut self,
        group: Group,
        rollouts: &[Rollout],
        verdicts: &[Verdict],
        path: &Path,
        max_length: usize,
    ) -> Result<(), Error> {
        let n = group.samples.len();
        let mut members: Vec<(usize, usize)> = group.samples.into_iter().filter(|&(_, v)| verdicts[v].usable).collect();
        self.drop("not_usable", n - members.len());
        let usable = members.len();
        members.iter().try_for_each(|&(r, _)| check(&rollouts[r], path))?;
        members.retain(|&(r, _)| rollouts[r].prompt_tokens as usize + rollouts[r].token_ids.len() <= max_length);
        self.drop(super::build::TOO_LONG, usable - members.len());
        let rewards: Vec<f64> = members.iter().map(|&(_, v)| if verdicts[v].correct { 1.0 } else { 0.0 }).collect();
        let Some(advantages) = grpo_advantages(&rewards) else {
            self.drop("zero_variance", members.len());
            return Ok(());
        };
        let member = |(&(r, _), advantage): (&(usize, usize), f64)| Member { rollout: rollouts[r].clone(), advantage };
        self.by_problem.insert(group.problem_id, members.iter().zip(advantages).map(member).collect());
        Ok(())
    }

    fn drop(&mut self, reason: &'static str, n: usize) {
        if n > 0 {
            *self.dropped.entry(reason).or_default() += n as u64;
        }
    }
}

/// Whether the rollout carries what the behaviour policy did.
fn check(rollout: &Rollout, path: &Path) -> Result<(), Error> {
    let (tokens, logprobs) = (rollout.token_ids.len(), rollout.token_logprobs.len());
    let (found, hint) = if tokens == 0 || tokens != logprobs {
        let found = format!("has {tokens} token_ids and {logprobs} token_logprobs");
        (
            found,
            "grpo needs the tokens and log-probabilities of the policy that sampled; make the rollouts with rasft-rollout",
        )
    } else if let Some(lp) = rollout.token_logprobs.iter().find(|lp| !lp.is_finite()) {
        let found = format!("has the log-probability {lp}");
        (found, "the policy that sampled is broken; make the rollouts with a sound one")
    } else if rollout.prompt_tokens == 0 {
        let found = "does not say how long its prompt was".to_owned();
        (
            found,
            "its log-probabilities belong to a prompt that nobody knows; sample with `rasft-rollout --model`, so that the prompt is known",
        )
    } else {
        return Ok(());
    };
    Err(Error::bad_input(format!("{}: rollout {} {found}\nhint: {hint}", path.display(), rollout.rollout_id)))
}

/// The sampled sequence behind its prompt.
pub(super) fn item(prompt: &[u32], rollout: &Rollout) -> Result<Item, Error> {
    let recorded = rollout.prompt_tokens as usize;
    if recorded != prompt.len() {
        return Err(Error::bad_input(format!(
            "rollout {}: its prompt had {recorded} tokens, here it has {}\nhint: give the --model and prompt flags that the rollouts were made with",
            rollout.rollout_id,
            prompt.len()
        )));
    }
    let input_ids = [prompt, &rollout.token_ids].concat();
    let truncated = rollout.finish_reason != FinishReason::Stop;
    Ok(Item { input_ids, prompt_len: prompt.len(), truncated, straddles: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::tests as fixture;

    fn rollout(sample: u32, tokens: usize) -> Rollout {
        Rollout {
            prompt_tokens: 3,
            token_ids: vec![5; tokens],
            token_logprobs: vec![-1.0; tokens],
            ..fixture::rollout(&format!("r{sample}"), "p", sample)
        }
    }

    fn verdict(sample: u32, correct: bool) -> Verdict {
        Verdict { problem_id: "p".into(), sample_index: sample, correct, ..fixture::verdict(&format!("r{sample}")) }
    }

    fn group(rollouts: &[Rollout], correct: &[bool]) -> Result<Groups, Error> {
        let verdicts: Vec<Verdict> = correct.iter().zip(0..).map(|(c, i)| verdict(i, *c)).collect();
        let samples = (0..rollouts.len()).map(|i| (i, i)).collect();
        let group = Group { problem_id: "p".into(), samples };
        let mut groups = Groups::default();
        groups.add(group, rollouts, &verdicts, Path::new("rollouts"), 10)?;
        Ok(groups)
    }

    #[test]
    fn what_is_too_long_goes_before_its_group_is_compared() {
        let rollouts = [rollout(0, 7), rollout(1, 4), rollout(2, 8)];
        let groups = group(&rollouts, &[true, false, false]).unwrap();
        let advantages: Vec<f64> = groups.by_problem["p"].iter().map(|m| m.advantage).collect();
        assert_eq!(advantages.len(), 2);
        assert!(advantages.iter().sum::<f64>().abs() < 1e-12, "{advantages:?}");
        assert_eq!(groups.dropped, BTreeMap::from([("too_long", 1)]));
        let alike = group(&[rollout(0, 8), rollout(1, 4), rollout(2, 4)], &[true, false, false]).unwrap();
        assert!(alike.by_problem.is_empty());
        assert_eq!(alike.dropped, BTreeMap::from([("too_long", 1), ("zero_variance", 2)]));
    }

    #[test]
    fn a_prompt_that_nobody_knows_is_refused() {
        let unknown = Rollout { prompt_tokens: 0, ..rollout(1, 4) };
        let error = group(&[rollout(0, 4), unknown], &[true, false]).err().unwrap();
        assert_eq!(error.class(), crate::ErrorClass::BadInput);
        assert!(error.to_string().contains("rollout r1") && error.to_string().contains("--model"), "{error}");
    }
}

//! The mixture for `grpo`: every usable rollout of a problem, right or wrong, as it was sampled.
//!
//! Weights are group-relative advantages, and the tokens are the sampled ones, not the text tokenised again: the behaviour
//! log-probabilities belong to them. Experts are absent on purpose.

use super::Measured;
use crate::Error;
use crate::frames::judged_groups;
use rasft_method::advantages::grpo_advantages;
use rasft_model::item::Item;
use rasft_types::{FinishReason, Rollout, Verdict};
use std::collections::BTreeMap;

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
    /// Joins rollouts and verdicts, rewards 1 for correct and 0 for wrong, and drops what teaches nothing.
    pub fn read(measured: &Measured) -> Result<Self, Error> {
        let rollouts = measured.rollouts.read_all::<Rollout>()?;
        let verdicts = measured.verdicts.read_all::<Verdict>()?;
        let mut groups = Self::default();
        for group in judged_groups(&rollouts, &verdicts, measured.verdicts.path())? {
            let usable: Vec<(usize, usize)> =
                group.samples.iter().copied().filter(|&(_, v)| verdicts[v].usable).collect();
            groups.drop("not_usable", group.samples.len() - usable.len());
            let reward = |&(_, v): &(usize, usize)| if verdicts[v].correct { 1.0 } else { 0.0 };
            let Some(advantages) = grpo_advantages(&usable.iter().map(reward).collect::<Vec<f64>>()) else {
                groups.drop("zero_variance", usable.len());
                continue;
            };
            let member = |(&(r, _), advantage): (&(usize, usize), f64)| -> Result<Member, Error> {
                let rollout = rollouts[r].clone();
                check(&rollout, measured)?;
                Ok(Member { rollout, advantage })
            };
            let members = usable.iter().zip(advantages).map(member).collect::<Result<Vec<_>, Error>>()?;
            groups.by_problem.insert(group.problem_id, members);
        }
        Ok(groups)
    }

    fn drop(&mut self, reason: &'static str, n: usize) {
        if n > 0 {
            *self.dropped.entry(reason).or_default() += n as u64;
        }
    }
}

/// Whether the rollout carries what the behaviour policy did.
fn check(rollout: &Rollout, measured: &Measured) -> Result<(), Error> {
    let (tokens, logprobs) = (rollout.token_ids.len(), rollout.token_logprobs.len());
    let found = if tokens == 0 || tokens != logprobs {
        format!("has {tokens} token_ids and {logprobs} token_logprobs")
    } else if let Some(lp) = rollout.token_logprobs.iter().find(|lp| !lp.is_finite()) {
        format!("has the log-probability {lp}")
    } else {
        return Ok(());
    };
    Err(Error::bad_input(format!(
        "{}: rollout {} {found}\nhint: grpo needs the tokens and log-probabilities of the policy that sampled; make the rollouts with rasft-rollout",
        measured.rollouts.path().display(),
        rollout.rollout_id
    )))
}

/// The sampled sequence behind its prompt; none if it is too long.
pub(super) fn item(prompt: &[u32], rollout: &Rollout, max_length: usize) -> Result<Option<Item>, Error> {
    let recorded = rollout.prompt_tokens as usize;
    if recorded != 0 && recorded != prompt.len() {
        return Err(Error::bad_input(format!(
            "rollout {}: its prompt had {recorded} tokens, here it has {}\nhint: give the --model and prompt flags that the rollouts were made with",
            rollout.rollout_id,
            prompt.len()
        )));
    }
    let input_ids = [prompt, &rollout.token_ids].concat();
    let truncated = rollout.finish_reason != FinishReason::Stop;
    let fits = input_ids.len() <= max_length;
    Ok(fits.then_some(Item { input_ids, prompt_len: prompt.len(), truncated, straddles: false }))
}

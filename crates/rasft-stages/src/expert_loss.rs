//! Losses of expert solutions under a policy, cached in blocks: they do not depend on where a problem is routed, in which
//! round, or by which thresholds (algorithm.md §1).

use crate::blocks::{self, Blocks, Mapping, Survey};
use crate::job::Job;
use crate::policy::{Policy, device_kind, on_cpu};
use crate::prompt::{PromptParams, Prompter};
use crate::trajectories::{Scorer, expert_item};
use crate::{Ctx, Error};
use rasft_data::hash128;
use rasft_model::item::{Dropped, Item, ItemOptions, OnLong};
use rasft_store::KeyParams;
use rasft_types::{ExpertLoss, Problem, Scored};
use serde::Serialize;
use std::collections::BTreeMap;

const STAGE: &str = "expert-loss";
const VERSION: u32 = 1;
const PROBLEMS_PER_BLOCK: usize = 256;

/// Loss and response tokens of each problem's expert; absent where it cannot be scored.
pub type Losses = BTreeMap<String, (f32, u32)>;

/// How experts are scored.
pub struct Experts<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// How problems are put to it.
    pub prompter: &'a Prompter,
    /// The parameters of that.
    pub prompt: &'a PromptParams,
    /// Longest sequence, tokens.
    pub max_length: usize,
    /// Where the policy runs.
    pub device: Option<&'a str>,
}

/// What a loss depends on besides the problem and the policy.
#[derive(Serialize)]
struct Params<'a> {
    max_length: usize,
    prompt: &'a PromptParams,
    #[serde(serialize_with = "device_kind", skip_serializing_if = "on_cpu")]
    device: Option<String>,
}

impl Experts<'_> {
    /// Stage and parameters of the blocks.
    pub fn key(&self) -> Result<KeyParams, Error> {
        let device = self.device.map(str::to_owned);
        let params = Params { max_length: self.max_length, prompt: self.prompt, device };
        Ok(Job::new(STAGE, VERSION, &params)?.key)
    }

    /// The problems as units.
    pub fn mapping<'m>(&self, problems: &'m [Problem]) -> Mapping<'m, Problem> {
        Mapping {
            units: problems,
            unit_hash: &unit_hash,
            shared_inputs: BTreeMap::from([("model".to_owned(), self.policy.id().to_owned())]),
            units_per_shard: PROBLEMS_PER_BLOCK,
        }
    }

    /// The policy, not loaded yet.
    pub fn scorer(&self) -> Scorer<'_> {
        Scorer { policy: self.policy, device: self.device, decoder: None }
    }

    /// How many losses are there.
    pub fn survey(&self, ctx: &Ctx, problems: &[Problem]) -> Result<Survey, Error> {
        Blocks::of(ctx, self.key()?, &self.mapping(problems))?.survey()
    }

    /// One row for each problem, in order.
    pub fn losses(&self, ctx: &Ctx, scorer: &mut Scorer, problems: &[Problem]) -> Result<Vec<ExpertLoss>, Error> {
        let options = ItemOptions { max_length: self.max_length, on_long: OnLong::Drop };
        let items = problems.iter().map(|p| expert_item(self.prompter, p, &options)).collect::<Result<Vec<_>, _>>()?;
        let fitting: Vec<&Item> = items.iter().flatten().collect();
        let mut scores = scorer.score(ctx, "difficulty", &fitting)?.into_iter();
        let row = |(problem, item): (&Problem, &Result<Item, Dropped>)| {
            let (scored, score) = match item {
                Ok(_) => (Scored::Scored, scores.next()),
                Err(Dropped::TooLong { .. }) => (Scored::TooLong, None),
                Err(Dropped::PromptTooLong { .. }) => (Scored::PromptTooLong, None),
                Err(Dropped::EmptyResponse) => (Scored::Empty, None),
            };
            let (expert_nll, expert_tokens) = score.map_or((f32::NAN, 0), |s| (-s.mean_logprob, s.n_tokens as u32));
            ExpertLoss { problem_id: problem.problem_id.clone(), expert_tokens, expert_nll, scored }
        };
        Ok(problems.iter().zip(&items).map(row).collect())
    }

    /// The losses of all problems, and how many have none, by reason.
    ///
    /// # Errors
    /// Not one problem can be scored.
    pub fn all(&self, ctx: &Ctx, problems: &[Problem]) -> Result<(Losses, BTreeMap<String, u64>), Error> {
        let (mut scorer, mapping) = (self.scorer(), self.mapping(problems));
        // Held until the rows are read, so that no `gc` takes a block away.
        let all_blocks = Blocks::of(ctx, self.key()?, &mapping)?;
        let (entries, _) = all_blocks.make(|units| self.losses(ctx, &mut scorer, units))?;
        let (mut losses, mut unscored) = (Losses::new(), BTreeMap::new());
        for batch in blocks::rows::<ExpertLoss>(&entries) {
            for row in batch? {
                if row.scored == Scored::Scored {
                    losses.insert(row.problem_id, (row.expert_nll, row.expert_tokens));
                } else {
                    *unscored.entry(format!("not_scored_{}", row.scored)).or_default() += 1;
                }
            }
        }
        if losses.is_empty() {
            let n = |why: Scored| unscored.get(&format!("not_scored_{why}")).copied().unwrap_or(0);
            return Err(Error::bad_input(format!(
                "no problem can be scored: {} experts are longer than --max-length {}, {} prompts fill it, {} problems have no expert solution\nhint: raise --max-length, or import problems with solutions",
                n(Scored::TooLong),
                self.max_length,
                n(Scored::PromptTooLong),
                n(Scored::Empty)
            )));
        }
        Ok((losses, unscored))
    }
}

/// Everything of a problem that its loss depends on.
fn unit_hash(problem: &Problem) -> String {
    let expert = problem.expert_response.as_deref().unwrap_or_default();
    hash128(&[problem.problem_id.as_bytes(), problem.prompt.as_bytes(), expert.as_bytes()])
}

//! Tokenised prompt + response pairs, and their mean log-probability under a model.

use crate::policy::Policy;
use crate::prompt::Prompter;
use crate::{Ctx, Error};
use rasft_learn::Trajectory;
use rasft_learn::reference::{SequenceScore, score};
use rasft_model::Decoder;
use rasft_model::item::{Dropped, Ending, Item, ItemOptions, build_item_ending};
use rasft_types::Problem;

/// Trajectories scored between two looks at the progress bar and the cancel flag.
const CHUNK: usize = 64;
/// Tokens in one scoring batch; changes speed and memory, never a score.
const BATCH_TOKENS: usize = 4096;

/// The expert's solution of a problem as a training item.
pub fn expert_item(
    prompter: &Prompter,
    problem: &Problem,
    options: &ItemOptions,
) -> Result<Result<Item, Dropped>, Error> {
    let expert = problem.expert_response.as_deref().unwrap_or_default();
    response_item(prompter, &prompter.text(&problem.prompt)?, expert, Ending::Eos, options)
}

/// A response to a templated prompt as a training item.
pub fn response_item(
    prompter: &Prompter,
    prompt_text: &str,
    response: &str,
    ending: Ending,
    options: &ItemOptions,
) -> Result<Result<Item, Dropped>, Error> {
    Ok(build_item_ending(&prompter.tokenizer, prompt_text, response, ending, options)?)
}

/// [`Scorer::score`] with a policy that is needed once.
pub fn score_items(
    ctx: &Ctx,
    policy: &Policy,
    device: Option<&str>,
    label: &str,
    items: &[&Item],
) -> Result<Vec<SequenceScore>, Error> {
    Scorer { policy, device, decoder: None }.score(ctx, label, items)
}

/// A policy that scores; its weights are loaded when they are first needed.
pub struct Scorer<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where it runs.
    pub device: Option<&'a str>,
    /// Its weights, once loaded.
    pub decoder: Option<Decoder>,
}

impl Scorer<'_> {
    /// Mean log-probability per response token of each item, nats.
    pub fn score(&mut self, ctx: &Ctx, label: &str, items: &[&Item]) -> Result<Vec<SequenceScore>, Error> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.policy.load(self.device)?,
        };
        scored(ctx, self.decoder.insert(decoder), label, items)
    }
}

fn scored(ctx: &Ctx, decoder: &Decoder, label: &str, items: &[&Item]) -> Result<Vec<SequenceScore>, Error> {
    let trajectories: Vec<Trajectory> = items.iter().map(|item| trajectory(item)).collect();
    ctx.progress.start(label, items.len() as u64, "sequences");
    let mut scores = Vec::with_capacity(items.len());
    for chunk in trajectories.chunks(CHUNK) {
        if ctx.cancelled() {
            return Err(Error::Interrupted(format!("{label} stopped; what was finished before is kept")));
        }
        scores.extend(score(decoder, chunk, BATCH_TOKENS)?);
        ctx.progress.advance(chunk.len() as u64, "");
    }
    ctx.progress.finish();
    Ok(scores)
}

fn trajectory(item: &Item) -> Trajectory {
    Trajectory {
        id: String::new(),
        input_ids: item.input_ids.clone(),
        prompt_len: item.prompt_len,
        weight: 1.0,
        ref_logprob: 0.0,
        old_logprobs: Vec::new(),
    }
}

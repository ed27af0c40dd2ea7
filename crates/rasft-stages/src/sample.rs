//! Problems to rollouts: what `rasft-rollout` and `rasft-eval run` share.
//!
//! Invariant: a sample depends on policy, parameters, seed, problem, prompt and index alone, all of which its id is made
//! of; so samples are kept one by one ([`SampleCache`]) and a data set is put together from them in canonical order.

use crate::job::device_kind;
use crate::prompt::PromptParams;
use crate::sample_cache::{Reuse, SampleCache};
use crate::served::ServedPolicy;
use crate::source::Source;
use crate::{Ctx, Error, SamplingParams};
use rasft_data::hash128;
use rasft_generate::{Completion, EngineOptions, Observer, Request, Stats, generate_observed};
use rasft_model::Decoder;
use rasft_types::{Problem, Rollout};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::HashSet;

mod keeper;

/// Problems among which the longest prompts start first; further apart, samples stay in the order of the problems, so
/// that reading a part of the result touches few segments of the cache.
const WINDOW: usize = 256;

/// Everything about sampling that is not a problem.
pub struct Setting<'a> {
    /// How tokens are chosen.
    pub sampling: &'a SamplingParams,
    /// How problems are put.
    pub prompt: &'a PromptParams,
    /// Seed of every sample.
    pub seed: u64,
    /// Round of the experiment: written into the rows, no part of a sample's identity.
    pub round: u32,
    /// Who runs the policy, if it is not we.
    pub served: Option<&'a ServedPolicy>,
    /// Where the policy runs, if we run it: kernels differ in the last bits, and so do samples.
    pub device: Option<&'a str>,
}

/// A problem as the policy gets it.
pub struct Prompted {
    problem_id: String,
    prompt_ids: Vec<u32>,
    prompt_hash: [u8; 32],
    max_new_tokens: usize,
}

/// What makes completions: the embedded engine, or something else that keeps its contract.
pub trait Completer {
    /// Sees the problems that requests will be about, for one that puts them itself.
    ///
    /// # Errors
    /// Problems that it cannot tell apart.
    fn learn(&mut self, _problems: &[Problem]) -> Result<(), Error> {
        Ok(())
    }

    /// Completes every sample of every request, in any order, until the observer breaks.
    ///
    /// # Errors
    /// The machinery fails.
    fn complete(
        &mut self,
        requests: &[Request],
        params: &rasft_generate::SamplingParams,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Stats, Error>;
}

/// The embedded engine; the weights are loaded when they are first needed.
pub struct Embedded<'a> {
    source: &'a Source,
    device: Option<&'a str>,
    options: EngineOptions,
    decoder: Option<Decoder>,
}

impl<'a> Embedded<'a> {
    /// An engine for a policy that is here.
    pub fn new(source: &'a Source, device: Option<&'a str>, options: EngineOptions) -> Self {
        Self { source, device, options, decoder: None }
    }
}

impl Completer for Embedded<'_> {
    fn complete(
        &mut self,
        requests: &[Request],
        params: &rasft_generate::SamplingParams,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Stats, Error> {
        let (Some(policy), Some(prompter)) = (self.source.policy(), self.source.prompter()) else {
            return Err(Error::runtime("the policy is not here"));
        };
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => policy.load(self.device)?,
        };
        let decoder = self.decoder.insert(decoder);
        Ok(generate_observed(decoder, &prompter.tokenizer, requests, params, seed, &self.options, observer)?)
    }
}

/// A policy with its parameters: turns problems into prompts and completions into rollouts.
pub struct Sampler<'a> {
    ctx: &'a Ctx<'a>,
    source: &'a Source,
    policy_id: &'a str,
    setting: Setting<'a>,
    engine_params: rasft_generate::SamplingParams,
    context: usize,
    identity: Value,
    /// The same as text, as it enters a rollout's id.
    identity_text: String,
}

impl<'a> Sampler<'a> {
    /// A sampler; refuses parameters out of range before any work.
    ///
    /// # Errors
    /// Parameters out of range, or a policy without a readable config.
    pub fn new(ctx: &'a Ctx<'a>, source: &'a Source, setting: Setting<'a>) -> Result<Self, Error> {
        let s = setting.sampling;
        s.validate()?;
        let engine_params = s.engine(source.prompter().map(|p| p.tokenizer.eos_ids().to_vec()).unwrap_or_default());
        let context = source.context()?;
        // n is not part of it: the first samples of a problem are the same however many are asked for.
        let mut identity = json!({
            "sampling": SamplingParams { n: 0, ..s.clone() }, "prompt": setting.prompt, "seed": setting.seed,
        });
        if let Some(served) = setting.served {
            identity["served"] = json!(served);
        }
        if let Some(kind) = device_kind(setting.device) {
            identity["device"] = kind.into();
        }
        let identity_text = identity.to_string();
        let policy_id = source.id();
        Ok(Self { ctx, source, policy_id, setting, engine_params, context, identity, identity_text })
    }

    /// The prompts of these problems. Some may be too long, which their rollouts will say; when all are, the setting is
    /// wrong.
    ///
    /// # Errors
    /// A template or tokenizer that fails, or no prompt that fits the context.
    pub fn prompted(&self, problems: &[Problem]) -> Result<Vec<Prompted>, Error> {
        let prompted = problems.par_iter().map(|p| self.prompt(p)).collect::<Result<Vec<_>, Error>>()?;
        let fits = |p: &Prompted| p.max_new_tokens > 0 && p.prompt_ids.len() < self.context;
        let too_long = prompted.iter().filter(|p| !fits(p)).count();
        let shortest = prompted.iter().min_by_key(|p| p.prompt_ids.len());
        if let Some(shortest) = shortest.filter(|_| too_long == prompted.len()) {
            let limit = self.setting.sampling.max_length.map_or("not set".to_owned(), |m| m.to_string());
            return Err(Error::bad_input(format!(
                "no prompt leaves room for a completion: the shortest has {} tokens (problem {}), the model's context is {} and --max-length {limit}\nhint: raise --max-length, choose shorter problems, or a model with a longer context",
                shortest.prompt_ids.len(),
                shortest.problem_id,
                self.context,
            )));
        }
        if too_long > 0 {
            tracing::warn!(
                "{too_long} of {} prompts leave no room for a completion; their rollouts say `error`",
                prompted.len()
            );
        }
        Ok(prompted)
    }

    /// The place in the store where these samples are kept.
    pub fn cache_place(&self) -> String {
        SampleCache::place(&self.identity, self.policy_id)
    }

    fn prompt(&self, problem: &Problem) -> Result<Prompted, Error> {
        let ids = |prompter: &crate::prompt::Prompter| prompter.ids(&problem.prompt);
        // Without a tokenizer the server templates the text, which then stands for its tokens.
        let ids = self.source.prompter().map(ids).transpose()?;
        let text = if ids.is_some() { "" } else { problem.prompt.as_str() };
        let prompt_ids = ids.unwrap_or_default();
        let s = self.setting.sampling;
        let room = s.max_length.map_or(usize::MAX, |max| (max as usize).saturating_sub(prompt_ids.len()));
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes());
        for id in &prompt_ids {
            hasher.update(&id.to_le_bytes());
        }
        Ok(Prompted {
            problem_id: problem.problem_id.clone(),
            prompt_hash: *hasher.finalize().as_bytes(),
            max_new_tokens: room.min(s.max_new_tokens as usize),
            prompt_ids,
        })
    }

    fn rollout_id(&self, prompted: &Prompted, sample_index: u32) -> String {
        hash128(&[
            prompted.problem_id.as_bytes(),
            self.policy_id.as_bytes(),
            self.identity_text.as_bytes(),
            // A problem id says little of the prompt in a table that somebody else made.
            &prompted.prompt_hash,
            &sample_index.to_le_bytes(),
        ])
    }

    fn rollout(&self, prompted: &Prompted, completion: Completion) -> Rollout {
        Rollout {
            rollout_id: self.rollout_id(prompted, completion.sample_index),
            problem_id: prompted.problem_id.clone(),
            sample_index: completion.sample_index,
            policy_id: self.policy_id.to_owned(),
            round: 0,
            prompt_tokens: prompted.prompt_ids.len() as u32,
            completion: completion.text,
            token_ids: completion.token_ids,
            token_logprobs: completion.token_logprobs,
            finish_reason: completion.finish_reason,
        }
    }
}

/// The samples of some problems: those that exist, and the making of the others.
pub struct Samples<'a> {
    sampler: &'a Sampler<'a>,
    units: &'a [Prompted],
    cache: SampleCache<'a>,
    /// Samples made for each unit since it was opened.
    computed: Vec<u64>,
}

impl<'a> Samples<'a> {
    /// Looks up what exists.
    ///
    /// # Errors
    /// A damaged segment of the cache.
    pub fn open(sampler: &'a Sampler<'a>, units: &'a [Prompted]) -> Result<Self, Error> {
        let reuse = if sampler.ctx.force { Reuse::Nothing } else { Reuse::All };
        let cache = SampleCache::open(sampler.ctx.store, &sampler.identity, sampler.policy_id, reuse)?;
        Ok(Self { sampler, units, cache, computed: vec![0; units.len()] })
    }

    /// Samples made for a unit since it was opened.
    pub fn computed(&self, unit: usize) -> u64 {
        self.computed[unit]
    }

    /// Indexes of the samples that unit `unit` lacks among its first `n`.
    pub fn missing(&self, unit: usize, n: u32) -> Vec<u32> {
        (0..n).filter(|i| !self.cache.has(&self.sampler.rollout_id(&self.units[unit], *i))).collect()
    }

    /// Makes sure that the first `n` samples of each unit exist; `wanted` are (unit, n).
    ///
    /// # Errors
    /// The completer fails, the disk refuses, or the user stops it; what has finished is kept.
    pub fn make(&mut self, wanted: &[(usize, u32)], completer: &mut dyn Completer) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut requests = Vec::new();
        for window in wanted.chunks(WINDOW) {
            let mut window = window.to_vec();
            window.sort_by_key(|(unit, _)| std::cmp::Reverse(self.units[*unit].prompt_ids.len()));
            for (unit, n) in window {
                let samples = self.missing(unit, n);
                let prompted = &self.units[unit];
                // The same problem may stand in two benchmarks.
                if !samples.is_empty() && seen.insert((prompted.problem_id.as_str(), prompted.prompt_hash)) {
                    self.computed[unit] += samples.len() as u64;
                    requests.push((unit, self.request(unit, samples)));
                }
            }
        }
        let (units, requests): (Vec<usize>, Vec<Request>) = requests.into_iter().unzip();
        let total = requests.iter().map(|r| r.samples.len() as u64).sum();
        if total == 0 {
            return Ok(());
        }
        let sampler = self.sampler;
        sampler.ctx.progress.start("sampling", total, "samples");
        let left = requests.iter().map(|r| r.samples.len()).collect();
        let mut keeper = keeper::Keeper::new(sampler, self.units, &units, left, &mut self.cache);
        let (params, seed) = (&sampler.engine_params, sampler.setting.seed);
        let result = completer.complete(&requests, params, seed, &mut keeper);
        sampler.ctx.progress.finish();
        // What has finished is kept, whatever stopped the rest.
        keeper.keep();
        let keeper::Keeper { done, error, .. } = keeper;
        if let Some(error) = error {
            return Err(error);
        }
        let stats = result?;
        tracing::debug!("{stats:?}, occupancy {:.3}", stats.occupancy());
        if done < total {
            return Err(Error::Interrupted("finished samples are kept; the same command goes on from here".into()));
        }
        Ok(())
    }

    /// The first `n` samples of each of these units, by unit, then by index. All must exist.
    ///
    /// # Errors
    /// A damaged segment.
    pub fn rows(
        &self,
        units: impl IntoIterator<Item = usize>,
        n: impl Fn(usize) -> u32,
    ) -> Result<Vec<Rollout>, Error> {
        let of_unit = |unit: usize| (0..n(unit)).map(move |i| self.sampler.rollout_id(&self.units[unit], i));
        let ids: Vec<String> = units.into_iter().flat_map(of_unit).collect();
        let mut rows = self.cache.rows(&ids)?;
        rows.iter_mut().for_each(|row| row.round = self.sampler.setting.round);
        Ok(rows)
    }

    /// Tidies the cache up.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn close(self) -> Result<(), Error> {
        self.cache.close()
    }

    fn request(&self, unit: usize, samples: Vec<u32>) -> Request {
        let Prompted { problem_id, prompt_ids, max_new_tokens, .. } = &self.units[unit];
        Request {
            problem_id: problem_id.clone(),
            prompt_ids: prompt_ids.clone(),
            samples,
            max_new_tokens: *max_new_tokens,
        }
    }
}

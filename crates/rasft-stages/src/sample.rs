//! Problems to rollouts: what `rasft-rollout` and `rasft-eval run` share.

use crate::prompt::PromptParams;
use crate::served::{Served, ServedPolicy};
use crate::source::Source;
use crate::{Ctx, Error, SamplingParams};
use rasft_data::hash128;
use rasft_generate::{Completion, EngineOptions, Observer, Request, Stats, generate_observed};
use rasft_model::Decoder;
use rasft_types::{FinishReason, Problem, Rollout};
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Instant;

/// Everything about sampling that is not a problem.
pub struct Setting<'a> {
    /// How tokens are chosen.
    pub sampling: &'a SamplingParams,
    /// Seed of every sample.
    pub seed: u64,
    /// Round of the experiment.
    pub round: u32,
    /// Sequences decoded at once.
    pub batch_size: usize,
    /// Where the policy runs.
    pub device: Option<&'a str>,
    /// How problems are put.
    pub prompt: &'a PromptParams,
    /// Who runs the policy, if it is not we.
    pub served: Option<&'a ServedPolicy>,
}

/// A policy that samples; its weights are loaded when they are first needed.
pub struct Sampler<'a> {
    ctx: &'a Ctx<'a>,
    source: &'a Source,
    setting: Setting<'a>,
    engine_params: rasft_generate::SamplingParams,
    context: usize,
    /// What identifies the parameters inside a rollout's id.
    identity: String,
    decoder: Option<Decoder>,
    served: Option<Served<'a>>,
}

impl<'a> Sampler<'a> {
    /// A sampler; refuses parameters out of range before any work.
    pub fn new(ctx: &'a Ctx<'a>, source: &'a Source, setting: Setting<'a>) -> Result<Self, Error> {
        let s = setting.sampling;
        if s.n == 0 || s.max_new_tokens == 0 {
            return Err(Error::usage("--n and --max-new-tokens must be at least 1"));
        }
        let engine_params = rasft_generate::SamplingParams {
            temperature: s.temperature,
            top_p: s.top_p,
            top_k: s.top_k,
            min_p: s.min_p,
            repetition_penalty: s.repetition_penalty,
            min_new_tokens: 0,
            stop: s.stop.clone(),
            eos_ids: source.prompter().map(|p| p.tokenizer.eos_ids().to_vec()).unwrap_or_default(),
        };
        engine_params.validate()?;
        // n is not part of it: the first samples of a problem are the same however many are asked for.
        let identity = json!({ "sampling": SamplingParams { n: 0, ..s.clone() }, "prompt": setting.prompt, "round": setting.round }).to_string();
        let context = source.context(setting.served.is_some())?;
        let served = setting.served.map(|served| Served::new(served, setting.prompt)).transpose()?;
        Ok(Self { ctx, source, setting, engine_params, context, identity, decoder: None, served })
    }

    /// All samples of these problems, in problem order, then by sample index.
    ///
    /// # Errors
    /// The engine fails, the user stops it, or no prompt fits the context.
    pub fn sample(&mut self, problems: &[Problem]) -> Result<Vec<Rollout>, Error> {
        let requests = problems.iter().map(|p| self.request(p)).collect::<Result<Vec<_>, Error>>()?;
        self.check_room(problems, &requests)?;
        let total = requests.iter().map(|r| r.samples.len() as u64).sum();
        self.ctx.progress.start("sampling", total, "samples");
        let started = Instant::now();
        let (mut done, mut tokens, mut cut) = (Vec::new(), 0usize, 0usize);
        let ctx = self.ctx;
        let mut collect = |completion: Completion| {
            tokens += completion.token_ids.len();
            cut += usize::from(completion.finish_reason == FinishReason::Length);
            if let Some(reason) = &completion.error {
                tracing::warn!("problem {}: {reason}", requests[completion.request].problem_id);
            }
            done.push(completion);
            let rate = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            let share = 100.0 * cut as f64 / done.len() as f64;
            ctx.progress.advance(1, &format!("{rate:.0} tok/s, {share:.0} % cut by length"));
        };
        let mut observer = Collect { ctx: self.ctx, take: &mut collect };
        self.complete(problems, &requests, &mut observer)?;
        self.ctx.progress.finish();
        if (done.len() as u64) < total {
            return Err(Error::Interrupted("finished shards are kept; the same command goes on from here".into()));
        }
        done.sort_by_key(|c| (c.request, c.sample_index));
        Ok(done.into_iter().map(|c| self.rollout(&requests[c.request], c)).collect())
    }

    fn complete(
        &mut self,
        problems: &[Problem],
        requests: &[Request],
        observer: &mut dyn Observer,
    ) -> Result<Stats, Error> {
        let (params, seed) = (&self.engine_params, self.setting.seed);
        if let Some(served) = &mut self.served {
            served.learn(problems)?;
            return served.complete(self.source.prompter(), requests, params, seed, observer);
        }
        let (Some(policy), Some(prompter)) = (self.source.policy(), self.source.prompter()) else {
            return Err(Error::runtime("neither a policy nor a server to sample from"));
        };
        let decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => policy.load(self.setting.device)?,
        };
        let decoder = self.decoder.insert(decoder);
        let options = EngineOptions { batch_size: self.setting.batch_size };
        Ok(generate_observed(decoder, &prompter.tokenizer, requests, params, seed, &options, observer)?)
    }

    fn request(&self, problem: &Problem) -> Result<Request, Error> {
        let ids = |prompter: &crate::prompt::Prompter| prompter.ids(&problem.prompt);
        let prompt_ids = self.source.prompter().map(ids).transpose()?.unwrap_or_default();
        let s = self.setting.sampling;
        let room = s.max_length.map_or(usize::MAX, |max| (max as usize).saturating_sub(prompt_ids.len()));
        Ok(Request {
            problem_id: problem.problem_id.clone(),
            samples: 0..s.n,
            max_new_tokens: room.min(s.max_new_tokens as usize),
            prompt_ids,
        })
    }

    /// Some prompts may be too long, which their rollouts say; when all are, the setting is wrong.
    fn check_room(&self, problems: &[Problem], requests: &[Request]) -> Result<(), Error> {
        let context = self.context;
        let fits = |r: &Request| r.max_new_tokens > 0 && r.prompt_ids.len() < context;
        let too_long = requests.iter().filter(|r| !fits(r)).count();
        if too_long > 0 && too_long == requests.len() {
            let shortest = requests.iter().map(|r| r.prompt_ids.len()).min().unwrap_or(0);
            return Err(Error::bad_input(format!(
                "no prompt leaves room for a completion: the shortest has {shortest} tokens (problem {}), the model's context is {context} and --max-length {}\nhint: raise --max-length, choose shorter problems, or a model with a longer context",
                problems[0].problem_id,
                self.setting.sampling.max_length.map_or("not set".to_owned(), |m| m.to_string())
            )));
        }
        if too_long > 0 {
            tracing::warn!(
                "{too_long} of {} prompts leave no room for a completion; their rollouts say `error`",
                requests.len()
            );
        }
        Ok(())
    }

    fn rollout(&self, request: &Request, completion: Completion) -> Rollout {
        let index = completion.sample_index.to_le_bytes();
        let seed = self.setting.seed.to_le_bytes();
        Rollout {
            rollout_id: hash128(&[
                request.problem_id.as_bytes(),
                self.source.id().as_bytes(),
                self.identity.as_bytes(),
                &seed,
                &index,
            ]),
            problem_id: request.problem_id.clone(),
            sample_index: completion.sample_index,
            policy_id: self.source.id().to_owned(),
            round: self.setting.round,
            prompt_tokens: request.prompt_ids.len() as u32,
            completion: completion.text,
            token_ids: completion.token_ids,
            token_logprobs: completion.token_logprobs,
            finish_reason: completion.finish_reason,
        }
    }
}

/// Takes completions, and ends the run when the user wants to stop.
struct Collect<'a> {
    ctx: &'a Ctx<'a>,
    take: &'a mut dyn FnMut(Completion),
}

impl Observer for Collect<'_> {
    fn on_completion(&mut self, completion: Completion) -> ControlFlow<()> {
        (self.take)(completion);
        self.on_step(&Stats::default())
    }

    fn on_step(&mut self, _stats: &Stats) -> ControlFlow<()> {
        if self.ctx.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Everything of a problem that its samples (and, for an evaluation, its verdicts) depend on.
pub fn unit_hash(problem: &Problem) -> String {
    let optional = |text: &Option<String>| text.as_ref().map_or(Vec::new(), |t| [b"+", t.as_bytes()].concat());
    hash128(&[
        problem.problem_id.as_bytes(),
        problem.prompt.as_bytes(),
        &optional(&problem.answer),
        &optional(&problem.expert_response),
    ])
}

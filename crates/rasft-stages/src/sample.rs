//! Problems to rollouts: what `rasft-rollout` and `rasft-eval run` share.

use crate::policy::Policy;
use crate::prompt::{PromptParams, Prompter};
use crate::{Ctx, Error, SamplingParams};
use rasft_data::hash128;
use rasft_generate::{Completion, EngineOptions, Request, generate};
use rasft_model::{Decoder, DecoderConfig};
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
}

/// A policy that samples; its weights are loaded when they are first needed.
pub struct Sampler<'a> {
    ctx: &'a Ctx<'a>,
    policy: &'a Policy,
    prompter: &'a Prompter,
    setting: Setting<'a>,
    engine_params: rasft_generate::SamplingParams,
    config: DecoderConfig,
    /// What identifies the parameters inside a rollout's id.
    identity: String,
    decoder: Option<Decoder>,
}

impl<'a> Sampler<'a> {
    /// A sampler; refuses parameters out of range before any work.
    pub fn new(
        ctx: &'a Ctx<'a>,
        policy: &'a Policy,
        prompter: &'a Prompter,
        setting: Setting<'a>,
    ) -> Result<Self, Error> {
        let s = setting.sampling;
        s.validate()?;
        let engine_params = s.engine(prompter.tokenizer.eos_ids().to_vec());
        // n is not part of it: the first samples of a problem are the same however many are asked for.
        let identity = json!({ "sampling": SamplingParams { n: 0, ..s.clone() }, "prompt": setting.prompt, "round": setting.round }).to_string();
        let config = policy.dir().config()?;
        Ok(Self { ctx, policy, prompter, setting, engine_params, config, identity, decoder: None })
    }

    /// All samples of these problems, in problem order, then by sample index.
    ///
    /// # Errors
    /// The engine fails, the user stops it, or no prompt fits the context.
    pub fn sample(&mut self, problems: &[Problem]) -> Result<Vec<Rollout>, Error> {
        let requests = problems.iter().map(|p| self.request(p)).collect::<Result<Vec<_>, Error>>()?;
        self.check_room(problems, &requests)?;
        if self.decoder.is_none() {
            self.decoder = Some(self.policy.load(self.setting.device)?);
        }
        let Some(decoder) = &self.decoder else { return Ok(Vec::new()) };
        let total = requests.iter().map(|r| r.samples.len() as u64).sum();
        self.ctx.progress.start("sampling", total, "samples");
        let started = Instant::now();
        let (mut done, mut tokens, mut cut) = (Vec::new(), 0usize, 0usize);
        let mut collect = |completion: Completion| {
            tokens += completion.token_ids.len();
            cut += usize::from(completion.finish_reason == FinishReason::Length);
            if let Some(reason) = &completion.error {
                tracing::warn!("problem {}: {reason}", requests[completion.request].problem_id);
            }
            done.push(completion);
            let rate = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            let share = 100.0 * cut as f64 / done.len() as f64;
            self.ctx.progress.advance(1, &format!("{rate:.0} tok/s, {share:.0} % cut by length"));
            if self.ctx.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = EngineOptions { batch_size: self.setting.batch_size };
        generate(
            decoder,
            &self.prompter.tokenizer,
            &requests,
            &self.engine_params,
            self.setting.seed,
            &options,
            &mut collect,
        )?;
        self.ctx.progress.finish();
        if (done.len() as u64) < total {
            return Err(Error::Interrupted("finished shards are kept; the same command goes on from here".into()));
        }
        done.sort_by_key(|c| (c.request, c.sample_index));
        Ok(done.into_iter().map(|c| self.rollout(&requests[c.request], c)).collect())
    }

    fn request(&self, problem: &Problem) -> Result<Request, Error> {
        let prompt_ids = self.prompter.ids(&problem.prompt)?;
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
        let context = self.config.max_position_embeddings;
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
                self.policy.id().as_bytes(),
                self.identity.as_bytes(),
                &seed,
                &index,
            ]),
            problem_id: request.problem_id.clone(),
            sample_index: completion.sample_index,
            policy_id: self.policy.id().to_owned(),
            round: self.setting.round,
            prompt_tokens: request.prompt_ids.len() as u32,
            completion: completion.text,
            token_ids: completion.token_ids,
            token_logprobs: completion.token_logprobs,
            finish_reason: completion.finish_reason,
        }
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

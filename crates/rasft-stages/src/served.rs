//! A policy that somebody else serves: prompts and parameters go to an OpenAI-compatible server, completions come back.
//!
//! Where a tokenizer is given, prompts are templated and tokenised here, so they are the embedded engine's to the token.
//! Samples of a server are not reproducible, whatever the seed; they are kept like any others, so a run that goes on uses
//! what it has. Where the server gives no token ids, the text is tokenised here and there are no log-probabilities.

use crate::Error;
use crate::policy::Policy;
use crate::prompt::{PromptParams, Prompter};
use crate::sample::Completer;
use crate::source::Source;
use rasft_data::hash128;
use rasft_generate::{Completion, Observer, Request, SamplingParams, Stats};
use rasft_model::{SpecialText, Specials, TextCodec};
use rasft_remote::endpoint::{Api, Dialect, Probe, Prompt, Receiver, Sample, Sampling, Wanted, sample_seed};
use rasft_remote::{Endpoint, EndpointConfig, RemoteError, RetryPolicy, Secret};
use rasft_types::{FinishReason, Problem};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A text with what tokenizers differ in: case, digits, white space, scripts, bytes beyond ASCII.
const PROBE: &str = "Let's COUNT: 1234567 + 89 = x²?\n\n\t  naïve “λ→∞” 数学 🦀\r\n{\\frac{1}{2}}  end ";
/// The longest answer, however long a completion may be.
const MAX_BODY: usize = 64 << 20;

/// How a templated prompt is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptAs {
    /// As token ids: the server cannot cut it otherwise.
    Tokens,
    /// As text, for servers that take no token ids.
    Text,
}

/// A model of a server. What is serialised shapes the samples and is part of the key.
#[derive(Debug, Clone, Serialize)]
pub struct ServedPolicy {
    /// The model's name there.
    pub served_model: String,
    /// Which interface is used.
    pub api: Api,
    /// Which fields the server understands.
    pub dialect: Dialect,
    /// How templated prompts are sent.
    pub prompt_as: PromptAs,
    /// How it is reached.
    #[serde(skip)]
    pub access: Access,
}

/// How a server is reached: changes no sample.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address.
    pub url: String,
    /// A bearer token.
    pub key: Option<Secret>,
    /// Requests in flight at once.
    pub concurrency: usize,
    /// Longest time for one completion.
    pub timeout: Duration,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Tries and pauses.
    pub retry: RetryPolicy,
}

impl ServedPolicy {
    /// What identifies the policy in the tables: the served name, and the content of the model directory that the user
    /// says is served there (32 hex digits of its hash), if one was given. The address is no part of it.
    pub fn id(&self, policy: Option<&Policy>) -> String {
        let name = &self.served_model;
        match policy {
            Some(policy) => format!("served:{name}:{}", hash128(&[name.as_bytes(), policy.id().as_bytes()])),
            None => format!("served:{name}"),
        }
    }

    /// Refuses what cannot work, before anything is sent.
    ///
    /// # Errors
    /// A usage error that names the flag.
    pub fn validate(&self, has_model: bool, sampling: &crate::SamplingParams) -> Result<(), Error> {
        if self.api == Api::Completions && !has_model {
            return Err(Error::usage(
                "--api completions needs --model: the tokenizer and chat template of the served model (a directory without weights will do)\nhint: --api chat leaves both to the server",
            ));
        }
        let neutral = sampling.top_k == 0
            && sampling.min_p == 0.0
            && sampling.repetition_penalty == 1.0
            && sampling.min_new_tokens == 0;
        if self.dialect == Dialect::Openai && !neutral {
            return Err(Error::usage(
                "--dialect openai has neither top-k, min-p, a repetition penalty nor a least length\nhint: give --top-k 0 --min-p 0 --repetition-penalty 1 --min-new-tokens 0",
            ));
        }
        Ok(())
    }
}

/// A connection to a served policy; nothing is sent before the first sample is wanted.
pub struct Served<'a> {
    policy: &'a ServedPolicy,
    prompter: Option<&'a Prompter>,
    prompt: &'a PromptParams,
    /// Longest sequence, tokens.
    context: usize,
    endpoint: Endpoint,
    /// The text of each problem, for the chat interface and the probes.
    texts: HashMap<String, String>,
    /// Whether the tokenizer could be compared; none before the checks.
    compared: Option<bool>,
}

impl<'a> Served<'a> {
    /// Sets the connection up.
    ///
    /// # Errors
    /// An address or key that cannot be used.
    pub fn new(policy: &'a ServedPolicy, source: &'a Source, prompt: &'a PromptParams) -> Result<Self, Error> {
        let access = policy.access.clone();
        let endpoint = Endpoint::new(EndpointConfig {
            url: access.url,
            model: policy.served_model.clone(),
            api: policy.api,
            dialect: policy.dialect,
            key: access.key,
            concurrency: access.concurrency.max(1),
            timeout: access.timeout,
            connect_timeout: access.connect_timeout,
            max_body: MAX_BODY,
            retry: access.retry,
        })?;
        let (prompter, context) = (source.prompter(), source.context()?);
        Ok(Self { policy, prompter, prompt, context, endpoint, texts: HashMap::new(), compared: None })
    }
}

impl Completer for Served<'_> {
    fn learn(&mut self, problems: &[Problem]) -> Result<(), Error> {
        for problem in problems {
            let known = self.texts.insert(problem.problem_id.clone(), problem.prompt.clone());
            if known.is_some_and(|text| text != problem.prompt) {
                return Err(Error::bad_input(format!(
                    "problem {}: stands twice, with different prompts\nhint: import the problems again, which gives each its own id",
                    problem.problem_id
                )));
            }
        }
        Ok(())
    }

    fn complete(
        &mut self,
        requests: &[Request],
        params: &SamplingParams,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Stats, Error> {
        let (mut wanted, mut places, mut stats) = (Vec::new(), Vec::new(), Stats::default());
        for (at, request) in requests.iter().enumerate() {
            let mut prompt = None;
            for sample_index in request.samples.clone() {
                let room = request.max_new_tokens.min(self.context.saturating_sub(request.prompt_ids.len()));
                if room == 0 {
                    stats.completions += 1;
                    if observer.on_completion(no_room(at, sample_index, request)).is_break() {
                        return Ok(stats);
                    }
                    continue;
                }
                let prompt = match &prompt {
                    Some(prompt) => Arc::clone(prompt),
                    None => Arc::clone(prompt.insert(Arc::new(self.put(request)?))),
                };
                let id = &request.problem_id;
                wanted.push(Wanted {
                    label: format!("problem {id}, sample {sample_index}"),
                    prompt,
                    max_tokens: room,
                    seed: sample_seed(seed, id, sample_index),
                });
                places.push((at, sample_index));
            }
        }
        let Some((first, _)) = places.first() else { return Ok(stats) };
        let mut on_tick = || observer.on_step(&stats);
        let Some(compared) = self.check(&requests[*first], &mut on_tick)? else { return Ok(stats) };
        let sampling = Sampling {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            min_p: params.min_p,
            repetition_penalty: params.repetition_penalty,
            min_tokens: params.min_new_tokens,
            stop: params.stop.clone(),
            stop_token_ids: params.eos_ids.clone(),
        };
        let url = self.policy.access.url.clone();
        let mut receive = Receive { places, prompter: self.prompter, compared, url, observer, stats, unlike: 0 };
        let result = self.endpoint.sample(&wanted, &sampling, &mut receive);
        let Receive { stats, unlike, .. } = receive;
        if unlike > 0 {
            tracing::warn!(
                "{unlike} of {} completions: the server's token ids do not spell its text; they were tokenised here and have no log-probabilities",
                stats.completions
            );
        }
        result?;
        Ok(stats)
    }
}

impl Served<'_> {
    /// How a problem is put to the server.
    fn put(&self, request: &Request) -> Result<Prompt, Error> {
        let id = &request.problem_id;
        let text = || {
            self.texts.get(id).cloned().ok_or_else(|| Error::runtime(format!("problem {id}: its text is not known")))
        };
        Ok(match (self.policy.api, self.policy.prompt_as) {
            (Api::Completions, PromptAs::Tokens) => Prompt::Tokens(request.prompt_ids.clone()),
            // The templated text, as its tokens are: the room and `prompt_tokens` are theirs.
            (Api::Completions, PromptAs::Text) => Prompt::Text(match self.prompter {
                Some(prompter) => prompter.text(&text()?)?,
                None => return Err(Error::runtime("no chat template for --prompt-as text")),
            }),
            (Api::Chat, _) => {
                let system = Some(self.prompt.system_prompt.clone()).filter(|s| !s.is_empty());
                let turns = system.map(|s| ("system", s)).into_iter().chain([("user", text()?)]);
                Prompt::Turns(turns.collect())
            }
        })
    }

    /// Checks the server once; says whether the tokenizer could be compared, and nothing if `on_tick` breaks first.
    fn check(&mut self, first: &Request, on_tick: &mut dyn FnMut() -> ControlFlow<()>) -> Result<Option<bool>, Error> {
        if self.compared.is_some() {
            return Ok(self.compared);
        }
        let mut probes = Vec::new();
        if let Some(prompter) = self.prompter {
            let mut texts = vec![PROBE.to_owned()];
            if let Some(text) = self.texts.get(&first.problem_id) {
                texts.push(prompter.text(text)?);
            }
            for text in texts {
                let ids = prompter.tokenizer.encode(&text, Specials::Omit)?.ids;
                probes.push(Probe { text, ids });
            }
        }
        let Some(compared) = self.endpoint.check(&probes, on_tick)? else { return Ok(None) };
        let compared = compared && !probes.is_empty();
        if !probes.is_empty() && !compared {
            tracing::warn!(
                "{}: the server cannot be asked for its tokens; that its tokenizer is the one given is checked on completions only",
                self.policy.access.url
            );
        }
        self.compared = Some(compared);
        Ok(self.compared)
    }
}

fn no_room(request: usize, sample_index: u32, asked: &Request) -> Completion {
    let n = asked.prompt_ids.len();
    Completion::failed(request, sample_index, format!("the prompt of {n} tokens leaves no room for a completion"))
}

/// Turns samples into completions.
struct Receive<'a> {
    /// Request and sample index of each wanted sample.
    places: Vec<(usize, u32)>,
    prompter: Option<&'a Prompter>,
    compared: bool,
    url: String,
    observer: &'a mut dyn Observer,
    stats: Stats,
    /// Completions whose ids did not spell their text.
    unlike: u64,
}

impl Receiver for Receive<'_> {
    fn on_sample(&mut self, index: usize, sample: Sample) -> Result<ControlFlow<()>, RemoteError> {
        let (request, sample_index) = self.places[index];
        let (token_ids, token_logprobs) = self.tokens(&sample)?;
        self.stats.completions += 1;
        self.stats.tokens += token_ids.len() as u64;
        let error = (sample.finish_reason == FinishReason::Error).then(|| "the server ended it".to_owned());
        let (text, finish_reason) = (sample.text, sample.finish_reason);
        let completion = Completion { request, sample_index, token_ids, token_logprobs, text, finish_reason, error };
        Ok(self.observer.on_completion(completion))
    }

    fn on_tick(&mut self) -> ControlFlow<()> {
        self.observer.on_step(&self.stats)
    }
}

impl Receive<'_> {
    /// The server's ids if they spell its text, else ours without log-probabilities.
    fn tokens(&mut self, sample: &Sample) -> Result<(Vec<u32>, Vec<f32>), RemoteError> {
        let logprobs = || sample.token_logprobs.clone().unwrap_or_default();
        let Some(prompter) = self.prompter else {
            return Ok((sample.token_ids.clone().unwrap_or_default(), logprobs()));
        };
        let tokenizer = &prompter.tokenizer;
        let broken = |e: rasft_model::ModelError| RemoteError::Unusable {
            url: self.url.clone(),
            detail: e.to_string(),
            hint: "give the directory of the served model as --model".into(),
        };
        if let Some(ids) = &sample.token_ids {
            let spelled = tokenizer.decode(ids, SpecialText::Skip).map_err(broken)?;
            // Behind a stop string the ids may go on; of a character cut in half nothing or a replacement may be left.
            let whole = |text: &str| text.replace('\u{fffd}', "");
            if whole(&spelled).starts_with(&whole(&sample.text)) {
                return Ok((ids.clone(), logprobs()));
            }
            if !self.compared {
                let detail = "its token ids do not spell the text of its completion".to_owned();
                return Err(RemoteError::WrongTokenizer { url: self.url.clone(), detail });
            }
            self.unlike += 1;
        }
        let ids = tokenizer.encode(&sample.text, Specials::Omit).map_err(broken)?.ids;
        Ok((ids, Vec::new()))
    }
}

//! Continuous batching: a fixed number of slots, each with one sample; a finished slot takes the next sample at once.
//!
//! A step is one forward pass over the newest token of every decoding sample and over chunks of new prompts. The prompt
//! of a request is computed once, in the slot of its first sample, and borrowed from there; it stays in a slot when its
//! sample ends, so samples that start later find it too. Samples start in the order of the requests, which is why the
//! slot of a prompt that is still needed is never given to another request.

mod prompts;
mod sample;
mod step;

#[cfg(test)]
mod tests;

use crate::sampler::Scratch;
use crate::types::OnCompletion;
use crate::{Completion, EngineOptions, GenerateError, Observer, Request, SamplingParams, Stats};
use prompts::Prompt;
use rasft_model::{Decoder, DecoderConfig, KvCache, TextCodec};
use sample::Sample;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Rows of one forward pass at which no more prompt tokens are added; bounds the memory of activations.
const STEP_TOKENS: usize = 512;

/// Generates every sample of every request; completions arrive as they finish.
///
/// A prompt that leaves no room for a completion gives completions with
/// [`FinishReason::Error`](rasft_types::FinishReason::Error) and a reason. When `on_completion` breaks, what has finished
/// stays delivered and the rest is given up.
///
/// # Errors
/// A parameter out of range, or a decoder or tokenizer that fails.
pub fn generate(
    decoder: &Decoder,
    codec: &(dyn TextCodec + Sync),
    requests: &[Request],
    params: &SamplingParams,
    seed: u64,
    options: &EngineOptions,
    on_completion: &mut dyn FnMut(Completion) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let observer = &mut OnCompletion(on_completion);
    generate_observed(decoder, codec, requests, params, seed, options, observer)
}

/// As [`generate`], with an observer that also sees every step and may end the run there.
///
/// # Errors
/// As [`generate`].
pub fn generate_observed(
    decoder: &Decoder,
    codec: &(dyn TextCodec + Sync),
    requests: &[Request],
    params: &SamplingParams,
    seed: u64,
    options: &EngineOptions,
    observer: &mut dyn Observer,
) -> Result<Stats, GenerateError> {
    let job = Job { decoder, codec, requests, params, seed };
    let mut engine = Engine::new(job, options, STEP_TOKENS)?;
    let stats = engine.run(observer);
    decoder.hand_back(engine.cache);
    stats
}

/// What is asked for; fixed for the whole run.
#[derive(Clone, Copy)]
struct Job<'a> {
    decoder: &'a Decoder,
    codec: &'a (dyn TextCodec + Sync),
    requests: &'a [Request],
    params: &'a SamplingParams,
    seed: u64,
}

impl Job<'_> {
    fn context(&self) -> usize {
        self.decoder.config().max_position_embeddings
    }

    /// New tokens that fit behind a prompt.
    fn room(&self, request: &Request) -> usize {
        request.max_new_tokens.min(self.context().saturating_sub(request.prompt_ids.len()))
    }

    /// Why nothing can be generated for a request.
    fn refusal(&self, request: &Request) -> Option<String> {
        let (n, context) = (request.prompt_ids.len(), self.context());
        if n == 0 {
            return Some("the prompt has no token".into());
        }
        if request.max_new_tokens == 0 {
            return Some(format!("no new token is allowed after the prompt of {n} tokens"));
        }
        (n >= context).then(|| {
            format!("the prompt of {n} tokens leaves no room for a completion in a context of {context} tokens")
        })
    }
}

struct Engine<'a> {
    job: Job<'a>,
    step_tokens: usize,
    cache: KvCache,
    /// Samples that have no slot yet, in order.
    waiting: std::vec::IntoIter<(usize, u32)>,
    samples: Vec<Sample>,
    free: Vec<usize>,
    /// The request whose whole prompt fills the first positions of a slot, also after its sample has ended.
    prefix: Vec<Option<usize>>,
    /// Prompts that some sample still has to start from.
    prompts: BTreeMap<usize, Prompt>,
    /// One for each thread.
    scratches: Vec<Scratch>,
    /// Room for the logits of a pass.
    logits: Vec<f32>,
    stats: Stats,
}

impl<'a> Engine<'a> {
    fn new(job: Job<'a>, options: &EngineOptions, step_tokens: usize) -> Result<Self, GenerateError> {
        job.params.validate()?;
        if options.batch_size == 0 {
            return Err(GenerateError::Parameter { name: "batch_size", value: "0".into(), expected: "at least 1" });
        }
        let waiting: Vec<(usize, u32)> =
            job.requests.iter().enumerate().flat_map(|(r, q)| q.samples.iter().map(move |s| (r, *s))).collect();
        let served = job.requests.iter().filter(|r| job.refusal(r).is_none());
        let longest = served.map(|r| r.prompt_ids.len() + job.room(r)).max().unwrap_or(1);
        let n_slots = n_slots(options, job.decoder.config(), longest)?.min(waiting.len()).max(1);
        Ok(Self {
            cache: job.decoder.cache(n_slots, longest)?,
            job,
            step_tokens,
            waiting: waiting.into_iter(),
            samples: Vec::with_capacity(n_slots),
            free: (0..n_slots).rev().collect(),
            prefix: vec![None; n_slots],
            prompts: BTreeMap::new(),
            scratches: (0..rayon::current_num_threads()).map(|_| Scratch::default()).collect(),
            logits: Vec::new(),
            stats: Stats { slots: n_slots as u64, ..Stats::default() },
        })
    }

    fn run(&mut self, observer: &mut dyn Observer) -> Result<Stats, GenerateError> {
        loop {
            let flow = match self.deliver(observer)? {
                ControlFlow::Continue(()) => self.admit(observer)?,
                broken => broken,
            };
            if flow.is_break() {
                return Ok(self.stats);
            }
            self.choose_first()?;
            if self.samples.iter().any(Sample::has_ended) {
                continue;
            }
            if self.samples.is_empty() {
                return Ok(self.stats);
            }
            // Inside the pool, so that none of a pass' many small operations has to be handed over to it.
            rayon::scope(|_| self.step())?;
            if observer.on_step(&self.stats).is_break() {
                return Ok(self.stats);
            }
        }
    }

    /// Hands out what has ended and frees its slots.
    fn deliver(&mut self, observer: &mut dyn Observer) -> Result<ControlFlow<()>, GenerateError> {
        for sample in self.samples.extract_if(.., |s| s.has_ended()) {
            self.free.push(sample.slot);
            self.stats.completions += 1;
            if observer.on_completion(sample.finish(&self.job)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Samples that may be decoded at once when the longest has `longest` tokens.
fn n_slots(options: &EngineOptions, config: &DecoderConfig, longest: usize) -> Result<usize, GenerateError> {
    let Some(bytes) = options.cache_bytes else { return Ok(options.batch_size) };
    let each = KvCache::slot_bytes(config, longest);
    match bytes / each {
        0 => Err(GenerateError::Memory { bytes, each, longest }),
        n => Ok(n.min(options.batch_size)),
    }
}

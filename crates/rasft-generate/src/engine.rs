//! Continuous batching: a fixed number of slots, each with one sample; a finished slot takes the next sample at once.
//!
//! The prompt of a problem is computed once, in a slot of its own, and copied into the slots of its samples.

use crate::sampler::{Sampler, sample_rng};
use crate::{GenerateError, SamplingParams};
use rasft_model::{Decoder, Detokenizer, KvCache, Packed, SpecialText, TextCodec};
use rasft_types::FinishReason;
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};

/// Prompt tokens computed in one forward pass; bounds the memory of long prompts.
const PREFILL_CHUNK: usize = 512;

/// Samples that are wanted of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The problem.
    pub problem_id: String,
    /// Its templated prompt.
    pub prompt_ids: Vec<u32>,
    /// Sample indexes to generate.
    pub samples: Range<u32>,
    /// Longest completion, tokens.
    pub max_new_tokens: usize,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Index of the request.
    pub request: usize,
    /// Index of the sample.
    pub sample_index: u32,
    /// Chosen tokens, the end-of-sequence token and those of a stop string included.
    pub token_ids: Vec<u32>,
    /// Log-probability of each under the untempered policy, nats.
    pub token_logprobs: Vec<f32>,
    /// Text without special tokens, cut before a stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// What changes speed and memory, never a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Samples decoded at once.
    pub batch_size: usize,
}

/// What the engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Decoding steps.
    pub steps: u64,
    /// Tokens chosen.
    pub tokens: u64,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
}

/// Generates every sample of every request; completions arrive as they finish.
///
/// A prompt that leaves no room in the context gives completions with [`FinishReason::Error`]. When `on_completion`
/// breaks, what has finished stays delivered and the rest is given up.
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
    params.validate()?;
    Engine::new(decoder, codec, requests, params, seed, options)?.run(on_completion)
}

/// A sample in the making.
struct Active {
    slot: usize,
    request: usize,
    sample_index: u32,
    sampler: Sampler,
    token_ids: Vec<u32>,
    token_logprobs: Vec<f32>,
    detokenizer: Detokenizer,
    /// Why it ended, and where a stop string cuts the text.
    ended: Option<(FinishReason, Option<usize>)>,
}

struct Engine<'a> {
    decoder: &'a Decoder,
    codec: &'a (dyn TextCodec + Sync),
    requests: &'a [Request],
    params: &'a SamplingParams,
    seed: u64,
    cache: KvCache,
    free: Vec<usize>,
    /// The slot behind the samples' slots, where prompts are computed.
    prompt_slot: usize,
    /// Request whose prompt is in `prompt_slot`, and the logits after it.
    prompt: Option<(usize, Vec<f32>)>,
    stats: Stats,
}

impl<'a> Engine<'a> {
    fn new(
        decoder: &'a Decoder,
        codec: &'a (dyn TextCodec + Sync),
        requests: &'a [Request],
        params: &'a SamplingParams,
        seed: u64,
        options: &EngineOptions,
    ) -> Result<Self, GenerateError> {
        let context = decoder.config().max_position_embeddings;
        let total: usize = requests.iter().map(|r| r.samples.len()).sum();
        let n_slots = options.batch_size.clamp(1, total.max(1));
        let longest = requests.iter().map(|r| r.prompt_ids.len() + r.max_new_tokens).max().unwrap_or(1).min(context);
        let cache = KvCache::new(decoder.config(), n_slots + 1, longest.max(1))?;
        let free = (0..n_slots).rev().collect();
        Ok(Self { decoder, codec, requests, params, seed, cache, free, prompt_slot: n_slots, prompt: None, stats: Stats::default() })
    }

    fn run(mut self, on_completion: &mut dyn FnMut(Completion) -> ControlFlow<()>) -> Result<Stats, GenerateError> {
        let mut waiting = self.requests.iter().enumerate().flat_map(|(r, q)| q.samples.clone().map(move |s| (r, s)));
        let mut active: Vec<Active> = Vec::new();
        loop {
            while !self.free.is_empty()
                && let Some((request, sample_index)) = waiting.next()
            {
                match self.start(request, sample_index)? {
                    Some(sample) => active.push(sample),
                    None => {
                        if on_completion(no_room(request, sample_index)).is_break() {
                            return Ok(self.stats);
                        }
                    }
                }
            }
            let (done, going): (Vec<_>, Vec<_>) = active.into_iter().partition(|a| a.ended.is_some());
            active = going;
            let any_done = !done.is_empty();
            for sample in done {
                self.free.push(sample.slot);
                if on_completion(self.finish(sample)?).is_break() {
                    return Ok(self.stats);
                }
            }
            if any_done {
                continue;
            }
            if active.is_empty() {
                return Ok(self.stats);
            }
            self.step(&mut active)?;
        }
    }

    /// Room for new tokens after a prompt.
    fn room(&self, request: &Request) -> usize {
        let context = self.decoder.config().max_position_embeddings;
        request.max_new_tokens.min(context.saturating_sub(request.prompt_ids.len()))
    }

    /// Gives a free slot to a sample and chooses its first token; `None` if its prompt leaves no room.
    fn start(&mut self, request: usize, sample_index: u32) -> Result<Option<Active>, GenerateError> {
        let wanted = &self.requests[request];
        if self.room(wanted) == 0 || wanted.prompt_ids.is_empty() {
            return Ok(None);
        }
        if self.prompt.as_ref().is_none_or(|(r, _)| *r != request) {
            let logits = self.prefill(&wanted.prompt_ids)?;
            self.prompt = Some((request, logits));
        }
        let Some(slot) = self.free.pop() else { return Ok(None) };
        self.cache.fork(self.prompt_slot, wanted.prompt_ids.len(), &[slot])?;
        let rng = sample_rng(self.seed, &wanted.problem_id, sample_index);
        let mut sample = Active {
            slot,
            request,
            sample_index,
            sampler: Sampler::new(rng, &wanted.prompt_ids, self.params),
            token_ids: Vec::new(),
            token_logprobs: Vec::new(),
            detokenizer: Detokenizer::new(),
            ended: None,
        };
        if let Some((_, logits)) = &self.prompt {
            self.choose(&mut sample, logits)?;
        }
        self.stats.tokens += 1;
        Ok(Some(sample))
    }

    /// Logits after the prompt.
    fn prefill(&mut self, ids: &[u32]) -> Result<Vec<f32>, GenerateError> {
        self.cache.truncate(self.prompt_slot, 0);
        let mut last = None;
        for (i, chunk) in ids.chunks(PREFILL_CHUNK).enumerate() {
            let mut packed = Packed::new();
            packed.push(chunk, i * PREFILL_CHUNK, self.prompt_slot);
            last = Some((self.decoder.hidden_cached(&packed, &mut self.cache)?, chunk.len()));
        }
        self.stats.prompt_tokens += ids.len() as u64;
        let Some((hidden, rows)) = last else { return Ok(Vec::new()) };
        let logits = self.decoder.logits(&hidden.narrow(0, rows - 1, 1)?.contiguous()?)?;
        Ok(logits.flatten_all()?.to_vec1::<f32>()?)
    }

    /// One token for every active sample.
    fn step(&mut self, active: &mut [Active]) -> Result<(), GenerateError> {
        let mut packed = Packed::new();
        for sample in active.iter() {
            if let Some(id) = sample.token_ids.last() {
                packed.push(&[*id], self.cache.len(sample.slot), sample.slot);
            }
        }
        let hidden = self.decoder.hidden_cached(&packed, &mut self.cache)?;
        let logits = self.decoder.logits(&hidden)?;
        let vocab = logits.dim(1)?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        self.stats.steps += 1;
        self.stats.tokens += active.len() as u64;
        let this = &*self;
        active.par_iter_mut().zip(logits.par_chunks(vocab)).try_for_each(|(sample, row)| this.choose(sample, row))
    }

    /// Appends the next token and sees whether the sample has ended.
    fn choose(&self, sample: &mut Active, logits: &[f32]) -> Result<(), GenerateError> {
        let request = &self.requests[sample.request];
        let (token, logprob) = sample.sampler.next(logits, self.params).ok_or_else(|| GenerateError::NotFinite {
            problem_id: request.problem_id.clone(),
            sample_index: sample.sample_index,
        })?;
        sample.token_ids.push(token);
        sample.token_logprobs.push(logprob);
        if self.params.eos_ids.contains(&token) {
            sample.ended = Some((FinishReason::Stop, None));
            return Ok(());
        }
        if !self.params.stop.is_empty() {
            let before = sample.detokenizer.text().len();
            sample.detokenizer.push(self.codec, token)?;
            if let Some(cut) = first_stop(sample.detokenizer.text(), before, &self.params.stop) {
                sample.ended = Some((FinishReason::Stop, Some(cut)));
                return Ok(());
            }
        }
        if sample.token_ids.len() >= self.room(request) {
            sample.ended = Some((FinishReason::Length, None));
        }
        Ok(())
    }

    fn finish(&self, sample: Active) -> Result<Completion, GenerateError> {
        let (finish_reason, cut) = sample.ended.unwrap_or((FinishReason::Error, None));
        let text = match cut {
            Some(cut) => sample.detokenizer.text()[..cut].to_owned(),
            None => self.codec.decode(&sample.token_ids, SpecialText::Skip)?,
        };
        Ok(Completion {
            request: sample.request,
            sample_index: sample.sample_index,
            token_ids: sample.token_ids,
            token_logprobs: sample.token_logprobs,
            text,
            finish_reason,
        })
    }
}

/// Where the earliest stop string begins that ends behind byte `before`.
fn first_stop(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let begin = |stop: &String| {
        let mut from = before.saturating_sub(stop.len());
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        text[from..].find(stop.as_str()).map(|at| from + at)
    };
    stops.iter().filter_map(begin).min()
}

fn no_room(request: usize, sample_index: u32) -> Completion {
    Completion {
        request,
        sample_index,
        token_ids: Vec::new(),
        token_logprobs: Vec::new(),
        text: String::new(),
        finish_reason: FinishReason::Error,
    }
}

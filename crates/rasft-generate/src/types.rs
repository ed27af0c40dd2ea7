//! What goes into the engine and what comes out.

use rasft_types::FinishReason;
use std::ops::ControlFlow;

/// Samples that are wanted of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The problem; with the seed and the sample index it fixes every random number.
    pub problem_id: String,
    /// Its templated prompt.
    pub prompt_ids: Vec<u32>,
    /// Indexes of the samples to generate.
    pub samples: Vec<u32>,
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
    /// Chosen tokens, with the end-of-sequence token, and with all of those that a stop string lies in.
    pub token_ids: Vec<u32>,
    /// Log-probability of each under the untempered policy, nats.
    pub token_logprobs: Vec<f32>,
    /// Text without special tokens; it ends before the stop string if one was met.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What was wrong, when the finish reason is [`FinishReason::Error`].
    pub error: Option<String>,
}

impl Completion {
    /// That of a sample that cannot be generated.
    #[must_use]
    pub fn failed(request: usize, sample_index: u32, why: String) -> Self {
        Self {
            request,
            sample_index,
            token_ids: Vec::new(),
            token_logprobs: Vec::new(),
            text: String::new(),
            finish_reason: FinishReason::Error,
            error: Some(why),
        }
    }
}

/// What changes speed and memory, never a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Samples decoded at once, at most.
    pub batch_size: usize,
    /// Bytes that their keys and values may take; as few samples are decoded at once as this asks for.
    pub cache_bytes: Option<usize>,
}

impl EngineOptions {
    /// So many samples at once, whatever memory they take.
    #[must_use]
    pub fn of(batch_size: usize) -> Self {
        Self { batch_size, cache_bytes: None }
    }
}

/// What the engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Samples that can be decoded at once.
    pub slots: u64,
    /// Forward passes.
    pub steps: u64,
    /// Tokens chosen.
    pub tokens: u64,
    /// Rows of samples in all forward passes: tokens chosen but for the first of each sample, which its prompt gives.
    pub decoded: u64,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Prompt tokens that did not have to be computed because another sample of the same request had them.
    pub shared_prompt_tokens: u64,
    /// Completions delivered.
    pub completions: u64,
}

impl Stats {
    /// Share of the slots that decoded a token, over all forward passes; 0 before the first.
    #[must_use]
    pub fn occupancy(&self) -> f64 {
        self.decoded as f64 / (self.steps * self.slots).max(1) as f64
    }
}

/// Takes completions as they finish, and may end the run between any two steps.
///
/// After a break nothing more is delivered; what was delivered stays valid.
pub trait Observer {
    /// A sample is complete. The order depends on the batch size: sort by request and sample index.
    fn on_completion(&mut self, completion: Completion) -> ControlFlow<()>;

    /// A forward pass is done.
    fn on_step(&mut self, _stats: &Stats) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A closure that takes completions.
pub(crate) struct OnCompletion<'a>(pub(crate) &'a mut dyn FnMut(Completion) -> ControlFlow<()>);

impl Observer for OnCompletion<'_> {
    fn on_completion(&mut self, completion: Completion) -> ControlFlow<()> {
        (self.0)(completion)
    }
}

//! The embedded rollout engine: sampling, and continuous batching over a KV cache.
//!
//! Invariant: every byte of a completion depends on (model, parameters, seed, problem, sample index) alone, never on
//! batch size, neighbours, order of requests or threads. The decoder gives the same bits per row whatever else is in the
//! batch; each sample has a random stream of its own; the engine only decides *when* a row is computed.
//!
//! Absent on purpose: files, verdicts, prompts as text.

mod engine;
mod error;
mod params;
mod sampler;

pub use engine::{Completion, EngineOptions, Request, Stats, generate};
pub use error::GenerateError;
pub use params::SamplingParams;
pub use sampler::{Sampler, logprob, sample_rng};

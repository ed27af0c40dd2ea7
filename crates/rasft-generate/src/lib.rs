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
#[cfg(test)]
mod testing;
mod types;

pub use engine::{generate, generate_observed};
pub use error::GenerateError;
pub use params::SamplingParams;
pub use sampler::{Sampler, Scratch, logprob, sample_rng};
pub use types::{Completion, EngineOptions, Observer, Request, Stats};

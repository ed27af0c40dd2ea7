//! Why generation could not go on.

use rasft_model::ModelError;

/// A request or parameter that cannot be served, or a decoder that failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A sampling parameter out of range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// Not even one sample fits the memory that is allowed.
    #[error(
        "one sample of up to {longest} tokens needs {} MiB for its keys and values, {} are allowed\nhint: raise --memory, or lower --max-length or --max-new-tokens", each.div_ceil(1 << 20), bytes >> 20
    )]
    Memory {
        /// Bytes allowed.
        bytes: usize,
        /// Bytes that a sample needs.
        each: usize,
        /// Tokens of the longest sample.
        longest: usize,
    },
    /// The decoder or tokenizer failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor could not be read back.
    #[error("cannot read logits: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Logits that are no numbers.
    #[error(
        "problem {problem_id}, sample {sample_index}: the model's logits are not finite\nhint: the weights are damaged or training diverged"
    )]
    NotFinite {
        /// The problem.
        problem_id: String,
        /// The sample.
        sample_index: u32,
    },
}

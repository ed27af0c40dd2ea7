//! Parameters that several stages share.

use crate::{Error, check};
use rasft_generate::GenerateError;
use rasft_types::Problem;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How completions are sampled. Everything here shapes the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// Samples per problem.
    pub n: u32,
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// Nucleus mass.
    pub top_p: f64,
    /// Most likely tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Least probability relative to the most likely token.
    pub min_p: f64,
    /// 1 is none.
    pub repetition_penalty: f64,
    /// Tokens before which a completion neither ends nor meets a stop string.
    pub min_new_tokens: u32,
    /// Longest completion, tokens.
    pub max_new_tokens: u32,
    /// Longest prompt plus completion, tokens.
    pub max_length: Option<u32>,
    /// Texts that end a completion.
    pub stop: Vec<String>,
}

impl SamplingParams {
    /// Defaults of rollouts: algorithm.md §5 and §15.
    pub fn rollout() -> Self {
        Self {
            n: 3,
            temperature: 0.9,
            top_p: 0.95,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.1,
            min_new_tokens: 0,
            max_new_tokens: 1024,
            max_length: Some(2048),
            stop: Vec::new(),
        }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// Names the flag, its value and what is expected.
    pub fn validate(&self) -> Result<(), Error> {
        check::at_least("n", self.n, 1)?;
        check::at_least("max_new_tokens", self.max_new_tokens, 1)?;
        check::within("min_new_tokens", self.min_new_tokens, 0, self.max_new_tokens)?;
        self.max_length.map_or(Ok(()), |n| check::at_least("max_length", n, 2))?;
        match self.engine(Vec::new()).validate() {
            Err(GenerateError::Parameter { name, value, expected }) => check::refuse(name, value, expected),
            other => Ok(other?),
        }
    }

    /// The parameters as the engine takes them.
    pub fn engine(&self, eos_ids: Vec<u32>) -> rasft_generate::SamplingParams {
        rasft_generate::SamplingParams {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            min_new_tokens: self.min_new_tokens,
            stop: self.stop.clone(),
            eos_ids,
        }
    }

    /// Defaults of evaluation: one greedy sample.
    pub fn eval() -> Self {
        Self { n: 1, temperature: 0.0, top_p: 1.0, repetition_penalty: 1.0, ..Self::rollout() }
    }
}

/// How many samples the embedded engine decodes at once: changes speed and memory, never a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// At most so many.
    pub size: usize,
    /// At most as many as have room for their keys and values in so many bytes.
    pub cache_bytes: Option<usize>,
}

impl Batch {
    /// What the engine takes.
    pub(crate) fn options(self) -> rasft_generate::EngineOptions {
        rasft_generate::EngineOptions { batch_size: self.size, cache_bytes: self.cache_bytes }
    }
}

/// `COUNT` problems from `START` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// First problem, 0-based.
    pub start: usize,
    /// Number of problems.
    pub count: usize,
}

impl std::str::FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("--slice {text}: expected START:COUNT, such as 128:64 for problems 128 to 191");
        let (start, count) = text.split_once(':').ok_or_else(wrong)?;
        let (start, count) = (start.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
        if count == 0 { Err(wrong()) } else { Ok(Self { start, count }) }
    }
}

impl Slice {
    /// Indexes of the slice among `n` problems; one that reaches past the end is cut, one that begins there is an error.
    pub fn range(slice: Option<Self>, n: usize) -> Result<Range<usize>, Error> {
        let Some(Self { start, count }) = slice else { return Ok(0..n) };
        if start >= n {
            return Err(Error::bad_input(format!(
                "--slice {start}:{count} begins after the last of {n} problems\nhint: import more problems, or run fewer rounds",
            )));
        }
        Ok(start..n.min(start.saturating_add(count)))
    }

    /// The problems of the slice.
    pub fn of(slice: Option<Self>, problems: &[Problem]) -> Result<&[Problem], Error> {
        Ok(&problems[Self::range(slice, problems.len())?])
    }
}

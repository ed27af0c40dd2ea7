//! Sampling parameters and what they may be.

use crate::GenerateError;
use serde::{Deserialize, Serialize};

/// How tokens are chosen. The order of the filters is vLLM's: repetition penalty, temperature, then min-p, top-k, top-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// Smallest set of tokens with this probability; 1 keeps all.
    pub top_p: f64,
    /// Most likely tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Least probability relative to the most likely token; 0 keeps all.
    pub min_p: f64,
    /// On tokens of prompt and completion: positive logits are divided by it, others multiplied; 1 is none.
    pub repetition_penalty: f64,
    /// Tokens before which no end-of-sequence token is chosen.
    pub min_new_tokens: u32,
    /// Texts that end a completion; the text is cut before them.
    pub stop: Vec<String>,
    /// Tokens that end a completion.
    pub eos_ids: Vec<u32>,
}

impl SamplingParams {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// Names the first parameter that is out of range.
    pub fn validate(&self) -> Result<(), GenerateError> {
        let fail = |name, value: String, expected| Err(GenerateError::Parameter { name, value, expected });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return fail("temperature", self.temperature.to_string(), "a finite number from 0 on");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return fail("top_p", self.top_p.to_string(), "above 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return fail("min_p", self.min_p.to_string(), "between 0 and 1");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return fail("repetition_penalty", self.repetition_penalty.to_string(), "a finite number above 0");
        }
        if self.stop.iter().any(String::is_empty) {
            return fail("stop", "an empty text".into(), "texts of at least one character");
        }
        Ok(())
    }
}

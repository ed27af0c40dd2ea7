//! Sampling parameters and what they may be.

use crate::GenerateError;
use serde::{Deserialize, Serialize};

/// Temperatures below this take the most likely token, as vLLM does (`_SAMPLING_EPS` in `vllm/v1/sample/sampler.py`).
const GREEDY_BELOW: f64 = 1e-5;

/// How tokens are chosen.
///
/// The order is vLLM's (docs.vllm.ai, `vllm.v1.sample.sampler`): the end of the sequence is ruled out while the completion
/// is shorter than `min_new_tokens`, then repetition penalty, temperature, min-p, top-k, top-p, draw. What top-p sums up to
/// is the probability of the tokens that the filters before it left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// Logits are divided by it; below 1e-5 the most likely token is taken, and the three filters do not matter.
    pub temperature: f64,
    /// Smallest set of most likely tokens with at least this probability; 1 keeps all.
    pub top_p: f64,
    /// Most likely tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Least probability relative to the most likely token; 0 keeps all.
    pub min_p: f64,
    /// On tokens of prompt and completion: positive logits are divided by it, others multiplied; 1 is none.
    pub repetition_penalty: f64,
    /// Tokens before which no end-of-sequence token is chosen and no stop string is looked for.
    pub min_new_tokens: u32,
    /// Texts that end a completion; the text is cut before them.
    pub stop: Vec<String>,
    /// Tokens that end a completion; none lets every completion run to its limit.
    pub eos_ids: Vec<u32>,
}

impl SamplingParams {
    /// Whether the most likely token is taken.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature < GREEDY_BELOW
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// Names the first parameter that is out of range, its value and what is allowed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plain;

    fn refused(change: impl Fn(&mut SamplingParams), words: &str) {
        let mut params = plain();
        change(&mut params);
        let message = params.validate().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        plain().validate().unwrap();
        refused(|p| p.temperature = -0.1, "temperature is -0.1, expected a finite number from 0 on");
        refused(|p| p.temperature = f64::NAN, "temperature");
        refused(|p| p.temperature = f64::INFINITY, "temperature");
        refused(|p| p.top_p = 0.0, "top_p is 0, expected above 0, at most 1");
        refused(|p| p.top_p = 1.01, "top_p");
        refused(|p| p.top_p = f64::NAN, "top_p");
        refused(|p| p.min_p = -0.01, "min_p");
        refused(|p| p.min_p = f64::NAN, "min_p");
        refused(|p| p.repetition_penalty = 0.0, "repetition_penalty");
        refused(|p| p.repetition_penalty = f64::INFINITY, "repetition_penalty");
        refused(|p| p.stop = vec!["END".into(), String::new()], "stop");
    }

    #[test]
    fn unknown_fields_are_refused_and_known_ones_survive_json() {
        let json = serde_json::to_string(&plain()).unwrap();
        assert_eq!(serde_json::from_str::<SamplingParams>(&json).unwrap(), plain());
        let odd = json.replace("top_k", "topk");
        let message = serde_json::from_str::<SamplingParams>(&odd).unwrap_err().to_string();
        assert!(message.contains("unknown field `topk`"), "{message}");
    }
}

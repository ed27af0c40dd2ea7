//! Is it the model that was named, and does it cut text as we do?

use super::Endpoint;
use super::exchange::Failure;
use crate::RemoteError;
use serde_json::{Value, json};
use std::time::Duration;

/// Names that an error lists at most.
const LISTED: usize = 20;

/// The longest time for the tokens of a probe.
const PROBE_TIME: Duration = Duration::from_secs(30);

/// A text and the tokens that the given tokenizer makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Text, special tokens written out.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
}

impl Endpoint {
    /// Refuses a server that lists its models and has not this one.
    pub(super) async fn check_model(&self) -> Result<(), RemoteError> {
        let url = self.wire.address.api("models");
        let body = match self.persist("its list of models", self.check_retries(), 0, || self.wire.get(&url)).await {
            Ok(body) => body,
            Err(Failure::Status(status, _)) if matches!(status.as_u16(), 404 | 405 | 501) => {
                tracing::warn!("{url}: no list of models; cannot check that {:?} is served there", self.config.model);
                return Ok(());
            }
            Err(failure) => return Err(self.final_error(failure)),
        };
        let unusable = || RemoteError::Unusable {
            url: url.clone(),
            detail: "the answer is no list of models".into(),
            hint: "is this an OpenAI-compatible server?".into(),
        };
        let json: Value = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let entries = json.get("data").and_then(Value::as_array).ok_or_else(unusable)?;
        let mut served: Vec<&str> = Vec::new();
        for entry in entries {
            served.extend(entry.get("id").and_then(Value::as_str));
            let others = entry.get("aliases").and_then(Value::as_array);
            served.extend(others.into_iter().flatten().filter_map(Value::as_str));
        }
        if served.contains(&self.config.model.as_str()) {
            return Ok(());
        }
        let listed: Vec<String> =
            served.iter().take(LISTED).map(|name| format!("{:?}", self.wire.shown(name))).collect();
        Err(RemoteError::WrongModel {
            url: self.wire.address.shown().to_owned(),
            asked: self.config.model.clone(),
            served: if listed.is_empty() { "none".into() } else { listed.join(", ") },
        })
    }

    /// Compares tokens of the probes, if the server has `/tokenize`; says whether it has.
    pub(super) async fn check_tokenizer(&self, probes: &[Probe]) -> Result<bool, RemoteError> {
        let url = self.wire.address.root("tokenize");
        for probe in probes {
            // vLLM and SGLang read `prompt`, llama.cpp reads `content`; each ignores the other's words.
            let body = json!({
                "model": self.config.model,
                "prompt": probe.text,
                "content": probe.text,
                "add_special_tokens": false,
                "add_special": false,
                "parse_special": true,
            });
            // The path is optional: whatever is wrong with it must not keep anybody from sampling.
            let ask = self.persist("tokens of a text", 1, 1, || self.wire.post(&url, &body, usize::MAX));
            let answer = match tokio::time::timeout(PROBE_TIME, ask).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(failure)) => {
                    tracing::debug!("{}: the tokenizer cannot be compared", self.final_error(failure));
                    return Ok(false);
                }
                Err(_) => {
                    tracing::debug!("{url}: no answer in {PROBE_TIME:?}: the tokenizer cannot be compared");
                    return Ok(false);
                }
            };
            let json: Option<Value> = serde_json::from_slice(&answer).ok();
            let tokens = json.as_ref().and_then(|j| j.get("tokens")).and_then(Value::as_array);
            let ids: Option<Vec<u64>> = tokens.and_then(|t| t.iter().map(Value::as_u64).collect());
            let Some(theirs) = ids else {
                tracing::debug!("{url}: an unknown answer: the tokenizer cannot be compared");
                return Ok(false);
            };
            self.compare(probe, &theirs)?;
        }
        Ok(true)
    }

    fn compare(&self, probe: &Probe, theirs: &[u64]) -> Result<(), RemoteError> {
        let ours: Vec<u64> = probe.ids.iter().map(|id| u64::from(*id)).collect();
        let differs = ours.iter().zip(theirs).position(|(a, b)| a != b);
        let detail = match differs {
            Some(at) => format!("token {at} of a probe text is {} here and {} there", ours[at], theirs[at]),
            None if ours.len() != theirs.len() => {
                format!("a probe text has {} tokens here and {} there", ours.len(), theirs.len())
            }
            None => return Ok(()),
        };
        Err(RemoteError::WrongTokenizer { url: self.wire.address.shown().to_owned(), detail })
    }
}

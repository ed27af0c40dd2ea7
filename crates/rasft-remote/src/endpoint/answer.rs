//! What a server answered, read with suspicion.
//!
//! Servers give the tokens of a completion in four shapes: `token_ids` beside the text (vLLM, when asked), tokens written
//! as `token_id:N` (vLLM, older), an `id` in each entry of the logprobs (llama.cpp), or not at all. Log-probabilities
//! come in OpenAI's completion shape (`token_logprobs`) or its chat shape (`content[].logprob`), whichever interface was
//! asked. What does not add up is left out as a whole, never patched.

use rasft_types::FinishReason;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// One completion as the server gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its text.
    pub text: String,
    /// Its tokens, if the server gives ids.
    pub token_ids: Option<Vec<u32>>,
    /// Log-probability of each, nats; there only if there are as many as tokens, all finite and at most 0.
    pub token_logprobs: Option<Vec<f32>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not what was agreed; the next try may be better.
    Malformed(String),
    /// Reasoning was taken out of the text, and always will be.
    ReasoningSplit,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "only_choice")]
    choices: Choice,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    tokens: Option<Vec<String>>,
    #[serde(default)]
    token_logprobs: Option<Vec<Option<f64>>>,
    #[serde(default)]
    content: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    logprob: Option<f64>,
}

/// The one choice of a list; nothing behind a second is read.
fn only_choice<'de, D: Deserializer<'de>>(from: D) -> Result<Choice, D::Error> {
    struct One;
    impl<'de> Visitor<'de> for One {
        type Value = Choice;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of one choice")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Choice, A::Error> {
            let choice = list.next_element()?.ok_or_else(|| A::Error::custom("asked for 1 completion, got none"))?;
            match list.next_element::<IgnoredAny>()? {
                None => Ok(choice),
                Some(_) => Err(A::Error::custom("asked for 1 completion, got more")),
            }
        }
    }
    from.deserialize_seq(One)
}

/// Reads the body of an answer to a request for one completion.
pub(crate) fn read(body: &[u8]) -> Result<Sample, Fault> {
    let answer: Answer = serde_json::from_slice(body).map_err(|e| Fault::Malformed(format!("not an answer: {e}")))?;
    let choice = answer.choices;
    let said = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.is_empty());
    if choice.message.as_ref().is_some_and(|m| said(&m.reasoning_content) || said(&m.reasoning)) {
        return Err(Fault::ReasoningSplit);
    }
    let text = match (choice.text, choice.message) {
        (Some(text), _) => text,
        (None, Some(message)) => message.content.unwrap_or_default(),
        (None, None) => return Err(Fault::Malformed("a choice with neither text nor message".into())),
    };
    let finish_reason = match choice.finish_reason.as_deref() {
        Some("stop") => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        // Ends that another try would meet again.
        Some("content_filter" | "tool_calls" | "function_call") => FinishReason::Error,
        Some(other @ ("abort" | "error" | "timeout" | "cancelled")) => {
            return Err(Fault::Malformed(format!("the completion was broken off by the server ({other})")));
        }
        Some(other) => return Err(Fault::Malformed(format!("the completion ended for an unknown reason: {other}"))),
        None => return Err(Fault::Malformed("the completion was broken off by the server".into())),
    };
    let (token_ids, token_logprobs) = tokens(choice.token_ids, choice.logprobs);
    Ok(Sample { text, token_ids, token_logprobs, finish_reason })
}

/// Ids and log-probabilities out of whichever shape they came in.
fn tokens(given: Option<Vec<u32>>, logprobs: Option<Logprobs>) -> (Option<Vec<u32>>, Option<Vec<f32>>) {
    let Some(logprobs) = logprobs else { return (given, None) };
    let (ids, values): (Option<Vec<u32>>, Vec<Option<f64>>) = match (logprobs.content, logprobs.token_logprobs) {
        (Some(entries), _) => {
            let id = |e: &Entry| e.id.or_else(|| e.token.as_deref().and_then(spelled_id));
            (entries.iter().map(id).collect(), entries.iter().map(|e| e.logprob).collect())
        }
        (None, Some(values)) => {
            let spelled = |tokens: Vec<String>| tokens.iter().map(|t| spelled_id(t)).collect::<Option<Vec<u32>>>();
            (logprobs.tokens.and_then(spelled), values)
        }
        (None, None) => return (given, None),
    };
    let Some(ids) = given.or(ids) else { return (None, None) };
    // Rounding may leave a certain token slightly above 0.
    let logprob = |x: Option<f64>| x.filter(|x| *x < 1e-3).map(|x| x.min(0.0) as f32).filter(|x| x.is_finite());
    let values: Option<Vec<f32>> = values.into_iter().map(logprob).collect();
    let values = values.filter(|v| v.len() == ids.len());
    (Some(ids), values)
}

/// `token_id:N`.
fn spelled_id(token: &str) -> Option<u32> {
    token.strip_prefix("token_id:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(choice: &str) -> Sample {
        read(format!(r#"{{"choices":[{choice}]}}"#).as_bytes()).expect(choice)
    }

    #[test]
    fn every_shape_of_tokens_is_understood() {
        let shapes = [
            r#"{"text":"ab","finish_reason":"stop","token_ids":[5,6],"logprobs":{"tokens":["a","b"],"token_logprobs":[-1.0,-0.5]}}"#,
            r#"{"text":"ab","finish_reason":"stop","logprobs":{"tokens":["token_id:5","token_id:6"],"token_logprobs":[-1,-0.5]}}"#,
            r#"{"text":"ab","finish_reason":"stop","logprobs":{"content":[{"id":5,"token":"a","logprob":-1},{"id":6,"token":"b","logprob":-0.5}]}}"#,
            r#"{"message":{"role":"assistant","content":"ab"},"finish_reason":"stop","logprobs":{"content":[{"token":"token_id:5","logprob":-1},{"token":"token_id:6","logprob":-0.5}]}}"#,
        ];
        for shape in shapes {
            let expected = Sample {
                text: "ab".into(),
                token_ids: Some(vec![5, 6]),
                token_logprobs: Some(vec![-1.0, -0.5]),
                finish_reason: FinishReason::Stop,
            };
            assert_eq!(sample(shape), expected, "{shape}");
        }
    }

    #[test]
    fn what_does_not_add_up_is_left_out() {
        let cases = [
            (r#"{"text":"ab","finish_reason":"length"}"#, None, None),
            (r#"{"text":"ab","finish_reason":"length","logprobs":null,"token_ids":[5]}"#, Some(vec![5]), None),
            (
                r#"{"text":"ab","finish_reason":"length","token_ids":[5,6],"logprobs":{"tokens":["a"],"token_logprobs":[-1]}}"#,
                Some(vec![5, 6]),
                None,
            ),
            (
                r#"{"text":"ab","finish_reason":"length","token_ids":[5],"logprobs":{"tokens":["a"],"token_logprobs":[null]}}"#,
                Some(vec![5]),
                None,
            ),
            (
                r#"{"text":"ab","finish_reason":"length","logprobs":{"tokens":["a","b"],"token_logprobs":[-1,-1]}}"#,
                None,
                None,
            ),
            (
                r#"{"text":"ab","finish_reason":"length","token_ids":[5],"logprobs":{"content":[{"logprob":-1e300}]}}"#,
                Some(vec![5]),
                None,
            ),
            (
                r#"{"text":"ab","finish_reason":"length","token_ids":[5],"logprobs":{"content":[{"logprob":0.7}]}}"#,
                Some(vec![5]),
                None,
            ),
        ];
        for (choice, ids, logprobs) in cases {
            let read = sample(choice);
            assert_eq!((read.token_ids, read.token_logprobs), (ids, logprobs), "{choice}");
            assert_eq!(read.finish_reason, FinishReason::Length);
        }
    }

    #[test]
    fn other_ends_are_errors_and_an_empty_answer_is_an_answer() {
        assert_eq!(sample(r#"{"text":"","finish_reason":"content_filter"}"#).finish_reason, FinishReason::Error);
        let empty = sample(r#"{"message":{"content":null},"finish_reason":"stop"}"#);
        assert_eq!((empty.text.as_str(), empty.finish_reason), ("", FinishReason::Stop));
    }

    #[test]
    fn faults_are_told_apart() {
        let malformed = |body: &str, words: &str| match read(body.as_bytes()) {
            Err(Fault::Malformed(why)) => assert!(why.contains(words), "{why}"),
            other => panic!("{body}: {other:?}"),
        };
        malformed(r#"{"choices":[]}"#, "asked for 1 completion, got none");
        malformed(r#"{"choices":[{"text":"a"},{"text":"b"}]}"#, "got more");
        malformed(r#"{"choices":[{"text":"a"},{},<never read>"#, "got more");
        malformed(r#"{"choices":[{}]}"#, "neither text nor message");
        malformed(r#"{"choices":[{"text":"a""#, "not an answer");
        malformed("<html>", "not an answer");
        malformed(r#"{"choices":[{"text":"a","token_ids":[-1]}]}"#, "not an answer");
        malformed(r#"{"choices":[{"text":"a","finish_reason":"abort"}]}"#, "broken off");
        malformed(r#"{"choices":[{"text":"a"}]}"#, "broken off");
        malformed(r#"{"choices":[{"text":"a","finish_reason":"error"}]}"#, "broken off");
        malformed(r#"{"choices":[{"text":"a","finish_reason":"preempted"}]}"#, "unknown reason: preempted");
        let split = r#"{"choices":[{"message":{"content":"4","reasoning_content":"2+2"}}]}"#;
        assert_eq!(read(split.as_bytes()), Err(Fault::ReasoningSplit));
    }
}

//! One request over the wire and what became of it: an answer, a reason to try again, or a reason to stop.

use super::address::Address;
use super::retry::retry_after;
use crate::error::shortened;
use crate::{RemoteError, Secret};
use reqwest::header::{AUTHORIZATION, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The most of an error's body that is read.
const ERROR_BODY: usize = 64 * 1024;

/// Why there is no answer yet.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The next try may do better.
    Again {
        /// What happened.
        why: String,
        /// The pause that the server asked for.
        pause: Option<Duration>,
    },
    /// The server says no, and will again.
    Status(StatusCode, String),
    /// No further try can help.
    Stop(RemoteError),
}

impl Failure {
    pub(crate) fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), pause: None }
    }
}

/// Limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub max_body: usize,
}

/// A client for one server.
pub(crate) struct Wire {
    client: Client,
    key: Option<HeaderValue>,
    /// What must not be shown, even if the server says it.
    secret: Option<Secret>,
    limits: Limits,
    pub(crate) address: Address,
}

impl Wire {
    pub(crate) fn new(address: Address, key: Option<&Secret>, limits: Limits) -> Result<Self, RemoteError> {
        if key.is_some() && address.is_exposed() {
            tracing::warn!("{}: the API key travels unencrypted; use https", address.shown());
        }
        // A redirected POST would hand prompts, and maybe the key, to somebody who was not named.
        let mut builder = Client::builder()
            .connect_timeout(limits.connect_timeout)
            .timeout(limits.timeout)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("rasft/", env!("CARGO_PKG_VERSION")));
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| RemoteError::Client(causes(&e)))?;
        let bearer = |key: &Secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                .map_err(|_| RemoteError::Usage("the API key holds characters that no HTTP header can".into()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self { client, key: key.map(bearer).transpose()?, secret: key.cloned(), limits, address })
    }

    /// A stranger's words, made fit for a terminal and without the key.
    pub(crate) fn shown(&self, words: &str) -> String {
        match &self.secret {
            Some(secret) => shortened(&words.replace(secret.expose(), "…")),
            None => shortened(words),
        }
    }

    /// GET.
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, Failure> {
        self.exchange(self.client.get(url), self.limits.max_body).await
    }

    /// POST of a JSON body; the answer may have `most` bytes.
    pub(crate) async fn post(&self, url: &str, body: &Value, most: usize) -> Result<Vec<u8>, Failure> {
        self.exchange(self.client.post(url).json(body), most.min(self.limits.max_body)).await
    }

    async fn exchange(&self, mut request: RequestBuilder, most: usize) -> Result<Vec<u8>, Failure> {
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let response = request.send().await.map_err(|e| broken(&e))?;
        let status = response.status();
        if status.is_success() {
            return self.body(response, most).await;
        }
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let pause = header(RETRY_AFTER).and_then(|v| retry_after(v, header(DATE), SystemTime::now()));
        // The body of an error is only a message: what of it cannot be read is left out.
        let words = self.shown(&words_of(&read_up_to(response, ERROR_BODY).await.unwrap_or_default()));
        let words = if words.is_empty() { "no message".into() } else { words };
        let code = status.as_u16();
        let passing = matches!(code, 408 | 409 | 425 | 429) || (status.is_server_error() && !matches!(code, 501 | 505));
        if passing {
            return Err(Failure::Again { why: format!("status {code}: {words}"), pause });
        }
        Err(Failure::Status(status, words))
    }

    async fn body(&self, response: Response, most: usize) -> Result<Vec<u8>, Failure> {
        let body = read_up_to(response, most + 1).await.map_err(|e| broken(&e))?;
        if body.len() > most {
            return Err(Failure::Stop(RemoteError::Unusable {
                url: self.address.shown().to_owned(),
                detail: format!("the answer is longer than {} KiB", most >> 10),
                hint: "is this an OpenAI-compatible server?".into(),
            }));
        }
        Ok(body)
    }
}

/// At most `most` bytes of a body.
async fn read_up_to(mut response: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < most
        && let Some(chunk) = response.chunk().await?
    {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// The message in an error's body: `error.message`, `message`, `detail` or `error`, else the text itself.
fn words_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let told = json.as_ref().and_then(|json| {
        let places = ["/error/message", "/message", "/detail", "/error"];
        places.into_iter().find_map(|place| json.pointer(place).and_then(Value::as_str))
    });
    // Written anew, so that nothing hides in escapes.
    let whole = || json.as_ref().map_or_else(|| text.into_owned(), Value::to_string);
    told.map_or_else(whole, str::to_owned)
}

fn broken(error: &reqwest::Error) -> Failure {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "no connection"
    } else {
        "broken connection"
    };
    Failure::again(format!("{kind}: {}", causes(error)))
}

/// An error with all its causes, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    shortened(&text)
}

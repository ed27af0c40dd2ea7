//! Samples from an OpenAI-compatible server: vLLM, SGLang, llama.cpp's server, or a hosted one.
//!
//! Many requests run at once on one thread; each is tried again with growing pauses while that can help. A sample is
//! handed over as soon as it is there, so whoever keeps them loses only requests in flight. After a failure that no try
//! can mend, or when the caller wants to stop, nothing new is asked for and what is in flight is awaited. Samples of a
//! server are not reproducible, whatever the seed: batching, prefix caches and versions change them.

mod address;
mod answer;
mod checks;
mod exchange;
mod request;
mod retry;

pub use answer::Sample;
pub use checks::Probe;
pub use request::{Api, Dialect, Prompt, Sampling, Wanted, sample_seed};
pub use retry::RetryPolicy;
pub(crate) use retry::retry_after;

use crate::{RemoteError, Secret};
use address::Address;
use answer::Fault;
pub(crate) use exchange::causes;
use exchange::{Failure, Limits, Wire};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

/// How often the caller is asked whether to go on while nothing arrives.
const TICK: Duration = Duration::from_millis(200);
/// Retries of the checks before the first sample: a wrong address should be told soon.
const CHECK_RETRIES: u32 = 3;

/// Which server, and how to treat it.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// `http://host:port` or `…/v1`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Which interface.
    pub api: Api,
    /// Which fields.
    pub dialect: Dialect,
    /// Sent as a bearer token.
    pub key: Option<Secret>,
    /// Requests in flight at once.
    pub concurrency: usize,
    /// Longest time for one request and its whole answer.
    pub timeout: Duration,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Longest answer, bytes; one completion may have less, by its length in tokens.
    pub max_body: usize,
    /// Tries and pauses.
    pub retry: RetryPolicy,
}

/// Takes samples as they come, and may end the run at any time.
pub trait Receiver {
    /// One of the wanted samples, by its index among them.
    ///
    /// # Errors
    /// The sample shows that going on makes no sense.
    fn on_sample(&mut self, index: usize, sample: Sample) -> Result<ControlFlow<()>, RemoteError>;

    /// Called several times a second, whether or not something has come.
    fn on_tick(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A client for one model of one server.
pub struct Endpoint {
    config: EndpointConfig,
    wire: Wire,
    runtime: tokio::runtime::Runtime,
    /// Nothing new is begun, and no further try.
    draining: Cell<bool>,
}

impl Endpoint {
    /// Sets up the client; no packet is sent.
    ///
    /// # Errors
    /// The address or key cannot be used.
    pub fn new(config: EndpointConfig) -> Result<Self, RemoteError> {
        let limits =
            Limits { timeout: config.timeout, connect_timeout: config.connect_timeout, max_body: config.max_body };
        let wire = Wire::new(Address::parse(&config.url)?, config.key.as_ref(), limits)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| RemoteError::Client(e.to_string()))?;
        Ok(Self { config, wire, runtime, draining: Cell::new(false) })
    }

    /// Checks that the server has the model and, where it can be asked, the tokenizer; says whether it could. Nothing is
    /// said if `on_tick`, which is called several times a second, breaks first.
    ///
    /// # Errors
    /// It has another one, or cannot be reached.
    pub fn check(
        &self,
        probes: &[Probe],
        on_tick: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<bool>, RemoteError> {
        self.draining.set(false);
        let checks = async {
            self.check_model().await?;
            self.check_tokenizer(probes).await
        };
        self.runtime.block_on(unless_broken(checks, on_tick)).transpose()
    }

    /// Asks for samples and hands each over as it comes. Returns whether everything was delivered: the receiver may break.
    ///
    /// # Errors
    /// The first failure that no further try can mend; what was in flight then has been delivered.
    pub fn sample(
        &self,
        wanted: &[Wanted],
        sampling: &Sampling,
        receiver: &mut dyn Receiver,
    ) -> Result<bool, RemoteError> {
        self.draining.set(false);
        self.runtime.block_on(self.drive(wanted, sampling, receiver))
    }

    async fn drive(
        &self,
        wanted: &[Wanted],
        sampling: &Sampling,
        receiver: &mut dyn Receiver,
    ) -> Result<bool, RemoteError> {
        let mut waiting = wanted.iter().enumerate();
        let mut flying = FuturesUnordered::new();
        let mut failed: Option<RemoteError> = None;
        let (mut delivered, mut broken_off) = (0, false);
        loop {
            while flying.len() < self.config.concurrency && !self.draining.get() {
                let Some((index, one)) = waiting.next() else { break };
                flying.push(async move { (index, self.one(sampling, one).await) });
            }
            if flying.is_empty() {
                break;
            }
            let came = match tokio::time::timeout(TICK, flying.next()).await {
                Ok(Some((index, sample))) => sample.and_then(|sample| {
                    delivered += 1;
                    receiver.on_sample(index, sample)
                }),
                Ok(None) | Err(_) => Ok(ControlFlow::Continue(())),
            };
            match came {
                Ok(flow) => broken_off |= flow.is_break(),
                // The first one counts: those after it only say that no further try was made.
                Err(error) if failed.is_none() => {
                    if !flying.is_empty() {
                        tracing::warn!("a sample failed for good; waiting for {} more in flight", flying.len());
                    }
                    failed = Some(error);
                }
                Err(_) => {}
            }
            broken_off |= receiver.on_tick().is_break();
            if broken_off || failed.is_some() {
                self.draining.set(true);
            }
        }
        match failed {
            Some(error) if !broken_off => Err(error),
            _ => Ok(delivered == wanted.len()),
        }
    }

    async fn one(&self, sampling: &Sampling, wanted: &Wanted) -> Result<Sample, RemoteError> {
        let body = request::body(&self.config.model, self.config.dialect, sampling, wanted);
        let url = self.wire.address.api(self.config.api.path());
        let ask = || async {
            let answer = self.wire.post(&url, &body, request::longest_answer(wanted)).await?;
            answer::read(&answer).map_err(|fault| match fault {
                Fault::Malformed(why) => Failure::again(format!("malformed answer: {}", self.wire.shown(&why))),
                Fault::ReasoningSplit => Failure::Stop(self.reasoning_split()),
            })
        };
        let retries = self.config.retry.max_retries;
        self.persist(&wanted.label, retries, wanted.seed, ask).await.map_err(|failure| self.final_error(failure))
    }

    /// Tries until it works, cannot work, or has been tried often enough; the pauses come from the stream `seed`.
    async fn persist<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        what: &str,
        retries: u32,
        seed: u32,
        ask: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let mut nth = 0;
        loop {
            let (why, pause) = match ask().await {
                Err(Failure::Again { why, pause }) => (why, pause),
                settled => return settled,
            };
            if nth < retries && !self.draining.get() {
                let pause = self.config.retry.pause(nth, u64::from(seed) << 8, pause);
                tracing::debug!("{what}: try {}: {why}; next in {pause:?}", nth + 1);
                self.wait(pause).await;
                if !self.draining.get() {
                    nth += 1;
                    continue;
                }
            }
            let url = self.wire.address.shown().to_owned();
            return Err(Failure::Stop(RemoteError::GaveUp { url, what: what.to_owned(), tries: nth + 1, last: why }));
        }
    }

    /// Waits, but not on when nothing more is to be tried.
    async fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.draining.get() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(TICK)).await;
        }
    }

    /// Retries of a request before the first sample.
    fn check_retries(&self) -> u32 {
        self.config.retry.max_retries.min(CHECK_RETRIES)
    }

    /// What a failure means when nothing more is tried.
    fn final_error(&self, failure: Failure) -> RemoteError {
        let url = self.wire.address.shown().to_owned();
        match failure {
            Failure::Stop(error) => error,
            Failure::Again { why, .. } => RemoteError::GaveUp { url, what: "a request".into(), tries: 1, last: why },
            Failure::Status(status, message) => {
                let hint = match status.as_u16() {
                    300..=399 => "it redirects elsewhere: give the final address as --endpoint",
                    401 | 403 => "put a valid key into the environment variable that --api-key-env names",
                    404 => "is the address right, and does the server have this interface (--api completions|chat)?",
                    400 | 413 | 422 => {
                        "if the prompt or completion is too long for the server, lower --max-length or --max-new-tokens; \
                         if it knows only OpenAI's own fields, give --dialect openai"
                    }
                    _ => "see the server's log",
                };
                RemoteError::Refused { url, status: status.as_u16(), message, hint: hint.into() }
            }
        }
    }

    fn reasoning_split(&self) -> RemoteError {
        RemoteError::Unusable {
            url: self.wire.address.shown().to_owned(),
            detail:
                "the server takes the reasoning out of the completion, which would be lost to verification and training"
                    .into(),
            hint: "use --api completions, or start the server without its reasoning parser".into(),
        }
    }
}

/// Drives `work` to its end, or until `on_tick` breaks, which drops it.
pub(crate) async fn unless_broken<F: Future>(
    work: F,
    on_tick: &mut dyn FnMut() -> ControlFlow<()>,
) -> Option<F::Output> {
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if on_tick().is_break() => return None,
            Err(_) => {}
        }
    }
}

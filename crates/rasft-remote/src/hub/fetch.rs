//! Fetching through the hf-hub crate, with what it leaves open: one commit for all files, a watch over stalls, retries
//! that take up where the last try ended, and errors that say what to do.

use super::{CONFIG, HubModel, HubSettings, INDEX, SINGLE, SMALL, hub_error, is_whole, repo_at, shards, spec};
use crate::endpoint::causes;
use crate::{ErrorClass, RemoteError};
use hf_hub::Cache;
use hf_hub::api::tokio::{Api, ApiBuilder, ApiError, Progress};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a download is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Sees files come in, and may end it.
pub trait Watch {
    /// A file is begun.
    fn file(&self, _name: &str, _bytes: u64) {}
    /// So many more bytes have come.
    fn advance(&self, _bytes: u64) {}
    /// The file is complete.
    fn done(&self) {}
    /// Whether to go on; asked several times a second.
    fn keep_going(&self) -> bool {
        true
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// Bytes of the current file, counted by the download, read by the watch.
#[derive(Clone, Default)]
struct Counter {
    total: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
}

impl Progress for Counter {
    async fn init(&mut self, size: usize, _filename: &str) {
        self.total.store(size as u64, Ordering::Relaxed);
    }
    async fn update(&mut self, size: usize) {
        self.done.fetch_add(size as u64, Ordering::Relaxed);
    }
    async fn finish(&mut self) {}
}

pub(super) struct Fetcher<'a> {
    model: &'a HubModel,
    settings: &'a HubSettings,
    cache: &'a Cache,
    watch: &'a dyn Watch,
    api: Api,
    runtime: tokio::runtime::Runtime,
}

/// A revision as the hub resolves it.
struct Revision {
    commit: String,
    files: BTreeSet<String>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        model: &'a HubModel,
        settings: &'a HubSettings,
        cache: &'a Cache,
        watch: &'a dyn Watch,
    ) -> Result<Self, RemoteError> {
        let failed = |e: ApiError| RemoteError::Client(causes(&e));
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(settings.endpoint.trim_end_matches('/').to_owned())
            .with_token(settings.token.as_ref().map(|t| t.expose().to_owned()))
            .with_progress(false)
            .build()
            .map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| RemoteError::Client(e.to_string()))?;
        Ok(Self { model, settings, cache, watch, api, runtime })
    }

    pub(super) fn run(&self) -> Result<PathBuf, RemoteError> {
        self.runtime.block_on(self.fetch())
    }

    async fn fetch(&self) -> Result<PathBuf, RemoteError> {
        let revision = self.resolve().await?;
        let snapshot = self.cache.repo(repo_at(self.model, &revision.commit)).pointer_path(&revision.commit);
        for name in SMALL.into_iter().filter(|name| revision.files.contains(*name)) {
            self.file(&revision, name).await?;
        }
        if revision.files.contains(SINGLE) {
            self.file(&revision, SINGLE).await?;
        } else {
            let index = self.file(&revision, INDEX).await?;
            let named = shards(&index).map_err(|why| {
                hub_error(self.model, format!("{INDEX}: {why}"), "tell the model's authors", ErrorClass::BadInput)
            })?;
            for name in named {
                self.file(&revision, &name).await?;
            }
        }
        if !is_whole(&snapshot) {
            let hint = "convert the slow tokenizer with transformers' AutoTokenizer(...).save_pretrained, and give that directory";
            return Err(hub_error(self.model, "has no tokenizer.json", hint, ErrorClass::BadInput));
        }
        if !spec::is_commit(self.model.revision()) {
            let refs = self.cache.repo(repo_at(self.model, self.model.revision()));
            refs.create_ref(&revision.commit)
                .map_err(|source| RemoteError::Io { path: self.settings.cache.clone(), source })?;
        }
        Ok(snapshot)
    }

    /// Commit and file names of the revision; refuses models that cannot be run before anything is fetched.
    async fn resolve(&self) -> Result<Revision, RemoteError> {
        let repo = self.api.repo(repo_at(self.model, self.model.revision()));
        let ask = || async {
            let late = |_| Err(io_error(std::io::ErrorKind::TimedOut));
            tokio::time::timeout(self.settings.stall, repo.info()).await.unwrap_or_else(late)
        };
        let info = self.persist("its list of files", ask).await?;
        if !spec::is_commit(&info.sha) {
            let hint = "is HF_ENDPOINT a Hugging Face hub?";
            return Err(hub_error(self.model, "the hub names no commit", hint, ErrorClass::Runtime));
        }
        let files: BTreeSet<String> = info.siblings.into_iter().map(|s| s.rfilename).collect();
        let has = |suffix: &str| files.iter().any(|name| name.ends_with(suffix));
        if !files.contains(CONFIG) || !(files.contains(SINGLE) || files.contains(INDEX)) {
            let (detail, hint) = if has(".gguf") {
                ("has GGUF files, no safetensors model", "fetch the .gguf file you want and give its path as --model")
            } else if files.contains("adapter_config.json") {
                ("is an adapter, no whole model", "fetch it and give its directory as --model")
            } else if has(".bin") || has(".pt") || has(".pth") {
                ("has pickled weights only", "convert it to safetensors (save_pretrained with safe_serialization=True)")
            } else {
                ("has no config.json with model.safetensors or its index", "name a causal language model")
            };
            return Err(hub_error(self.model, detail, hint, ErrorClass::BadInput));
        }
        Ok(Revision { commit: info.sha, files })
    }

    async fn file(&self, revision: &Revision, name: &str) -> Result<PathBuf, RemoteError> {
        let repo = repo_at(self.model, &revision.commit);
        let path = self.cache.repo(repo.clone()).pointer_path(&revision.commit).join(name);
        if path.is_file() {
            return Ok(path);
        }
        let remote = self.api.repo(repo);
        self.persist(name, || self.watched(&remote, name)).await
    }

    /// One try at one file, given up when nothing has come for too long.
    async fn watched(&self, repo: &hf_hub::api::tokio::ApiRepo, name: &str) -> Result<PathBuf, ApiError> {
        let counter = Counter::default();
        let mut download = std::pin::pin!(repo.download_with_progress(name, counter.clone()));
        let (mut seen, mut begun, mut last) = (0, false, Instant::now());
        let result = loop {
            let ended = tokio::time::timeout(TICK, &mut download).await;
            let (total, done) = (counter.total.load(Ordering::Relaxed), counter.done.load(Ordering::Relaxed));
            if total > 0 && !begun {
                begun = true;
                self.watch.file(name, total);
            }
            if done > seen {
                self.watch.advance(done - seen);
                (seen, last) = (done, Instant::now());
            }
            match ended {
                Ok(result) => break result,
                Err(_) if !self.watch.keep_going() => break Err(io_error(std::io::ErrorKind::Interrupted)),
                Err(_) if last.elapsed() > self.settings.stall => break Err(io_error(std::io::ErrorKind::TimedOut)),
                Err(_) => {}
            }
        };
        if begun {
            self.watch.done();
        }
        result
    }

    async fn persist<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, RemoteError> {
        let mut nth = 0;
        loop {
            let error = match ask().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if nth == self.settings.retry.max_retries || !may_pass(&error) {
                return Err(self.explained(what, &error));
            }
            let pause = self.settings.retry.pause(nth, 0, None);
            tracing::debug!("{}: {what}: try {}: {error}; next in {pause:?}", self.model, nth + 1);
            tokio::time::sleep(pause).await;
            nth += 1;
        }
    }

    fn explained(&self, what: &str, error: &ApiError) -> RemoteError {
        let (model, at) = (self.model, &self.settings.endpoint);
        let status = match error {
            ApiError::RequestError(e) => e.status().map(|s| s.as_u16()),
            _ => None,
        };
        match status {
            Some(404) => {
                let detail = format!("{what}: not found at {at}, or no such revision");
                hub_error(model, detail, "check the spelling and the revision", ErrorClass::BadInput)
            }
            Some(401 | 403) => {
                let detail = format!("{what}: {at} refuses access: the model is gated or private, or does not exist");
                let hint = "accept its conditions on its page and set HF_TOKEN, or check the spelling";
                hub_error(model, detail, hint, ErrorClass::BadInput)
            }
            _ => {
                let hint = "what has been fetched is kept; run the same command again, or give a local directory";
                hub_error(
                    model,
                    format!("{what}: cannot fetch from {at}: {}", causes(error)),
                    hint,
                    ErrorClass::Runtime,
                )
            }
        }
    }
}

/// Whether another try may do better.
fn may_pass(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(e) => match e.status() {
            Some(status) => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            None => !e.is_builder(),
        },
        ApiError::IoError(e) => e.kind() == std::io::ErrorKind::TimedOut,
        ApiError::LockAcquisition(_) => true,
        _ => false,
    }
}

fn io_error(kind: std::io::ErrorKind) -> ApiError {
    let words = if kind == std::io::ErrorKind::TimedOut { "the download stands still" } else { "interrupted" };
    ApiError::IoError(std::io::Error::new(kind, words))
}

//! Which files of a revision are needed, in which order they come, and what a failure means.

use super::transfer::{Transfer, Trouble};
use super::{CONFIG, HubModel, HubSettings, INDEX, SINGLE, SMALL, hub_error, is_whole, marker, repo_at, shards, spec};
use crate::endpoint::unless_broken;
use crate::error::shortened;
use crate::{ErrorClass, RemoteError};
use hf_hub::Cache;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Sees files come in, and may end it.
pub trait Watch {
    /// A file is begun, or taken up.
    fn file(&self, _name: &str, _bytes: u64) {}
    /// So many more bytes have come.
    fn advance(&self, _bytes: u64) {}
    /// The file has ended.
    fn done(&self) {}
    /// Whether to go on.
    fn keep_going(&self) -> bool {
        true
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {}

pub(super) struct Fetcher<'a> {
    model: &'a HubModel,
    settings: &'a HubSettings,
    cache: &'a Cache,
    transfer: Transfer<'a>,
    watch: &'a dyn Watch,
    runtime: tokio::runtime::Runtime,
}

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        model: &'a HubModel,
        settings: &'a HubSettings,
        cache: &'a Cache,
        watch: &'a dyn Watch,
    ) -> Result<Self, RemoteError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| RemoteError::Client(e.to_string()))?;
        Ok(Self { model, settings, cache, transfer: Transfer::new(settings, watch)?, watch, runtime })
    }

    /// Fetches what is missing of the commit that the cache has, else of the revision.
    pub(super) fn run(&self, commit: Option<&str>) -> Result<PathBuf, RemoteError> {
        self.runtime.block_on(self.fetch(commit.unwrap_or_else(|| self.model.revision())))
    }

    async fn fetch(&self, revision: &str) -> Result<PathBuf, RemoteError> {
        let revision = self.resolve(revision).await?;
        let snapshot = self.cache.repo(repo_at(self.model, &revision.sha)).pointer_path(&revision.sha);
        let files: BTreeSet<&str> = revision.siblings.iter().map(|s| s.rfilename.as_str()).collect();
        for name in SMALL.into_iter().filter(|name| files.contains(*name)) {
            self.file(&revision.sha, &snapshot, name).await?;
        }
        if files.contains(SINGLE) {
            self.file(&revision.sha, &snapshot, SINGLE).await?;
        } else {
            self.file(&revision.sha, &snapshot, INDEX).await?;
            let named = shards(&snapshot.join(INDEX)).map_err(|why| {
                hub_error(self.model, format!("{INDEX}: {why}"), "tell the model's authors", ErrorClass::BadInput)
            })?;
            for name in named {
                self.file(&revision.sha, &snapshot, &name).await?;
            }
        }
        if !is_whole(&snapshot) {
            let hint = "convert the slow tokenizer with transformers' AutoTokenizer(...).save_pretrained, and give that directory";
            return Err(hub_error(self.model, "has no tokenizer.json", hint, ErrorClass::BadInput));
        }
        self.mark(&revision.sha)?;
        if !spec::is_commit(self.model.revision()) {
            let refs = self.cache.repo(repo_at(self.model, self.model.revision()));
            let io = |source| RemoteError::Io { path: self.settings.cache.clone(), source };
            refs.create_ref(&revision.sha).map_err(io)?;
        }
        Ok(snapshot)
    }

    fn mark(&self, commit: &str) -> Result<(), RemoteError> {
        let path = marker(self.model, self.settings, commit);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, ""));
        written.map_err(|source| RemoteError::Io { path, source })
    }

    /// Commit and files of a revision; refuses models that cannot be run before anything is fetched.
    async fn resolve(&self, revision: &str) -> Result<Revision, RemoteError> {
        let (base, id) = (self.base(), self.model.id());
        let url = format!("{base}/api/models/{id}/revision/{}", revision.replace('/', "%2F"));
        let body = self.persist("its list of files", || self.transfer.small(&url)).await?;
        let no_hub = |what: &str| {
            let hint = "is HF_ENDPOINT a Hugging Face hub?";
            hub_error(self.model, format!("{base} {what}"), hint, ErrorClass::Runtime)
        };
        let revision: Revision =
            serde_json::from_slice(&body).map_err(|_| no_hub("answers with something else than a list of files"))?;
        if !spec::is_commit(&revision.sha) {
            return Err(no_hub("names no commit"));
        }
        self.refuse_unusable(&revision)?;
        Ok(revision)
    }

    fn refuse_unusable(&self, revision: &Revision) -> Result<(), RemoteError> {
        let has = |name: &str| revision.siblings.iter().any(|s| s.rfilename == name);
        let ends = |end: &str| revision.siblings.iter().any(|s| s.rfilename.ends_with(end));
        if has(CONFIG) && (has(SINGLE) || has(INDEX)) {
            return Ok(());
        }
        let (detail, hint) = if ends(".gguf") {
            ("has GGUF files, no safetensors model", "fetch the .gguf file you want and give its path as --model")
        } else if has("adapter_config.json") {
            ("is an adapter, no whole model", "fetch it and give its directory as --model")
        } else if ends(".bin") || ends(".pt") || ends(".pth") {
            ("has pickled weights only", "convert it to safetensors (save_pretrained with safe_serialization=True)")
        } else {
            ("has no config.json with model.safetensors or its index", "name a causal language model")
        };
        Err(hub_error(self.model, detail, hint, ErrorClass::BadInput))
    }

    async fn file(&self, commit: &str, snapshot: &Path, name: &str) -> Result<(), RemoteError> {
        if snapshot.join(name).is_file() {
            return Ok(());
        }
        let url = format!("{}/{}/resolve/{commit}/{name}", self.base(), self.model.id());
        self.persist(name, || self.transfer.file(&url, snapshot, name)).await
    }

    fn base(&self) -> &str {
        self.settings.endpoint.trim_end_matches('/')
    }

    async fn persist<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, RemoteError> {
        let tries = async {
            let mut nth = 0;
            loop {
                let trouble = match ask().await {
                    Ok(value) => return Ok(value),
                    Err(trouble) => trouble,
                };
                let Trouble::Passing(why, asked) = &trouble else { return Err(trouble) };
                if nth == self.settings.retry.max_retries {
                    return Err(trouble);
                }
                let pause = self.settings.retry.pause(nth, 0, *asked);
                tracing::debug!("{}: {what}: try {}: {why}; next in {pause:?}", self.model, nth + 1);
                tokio::time::sleep(pause).await;
                nth += 1;
            }
        };
        // A pause or a standing download must not keep anybody who wants to stop.
        let mut on_tick = || match self.watch.keep_going() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let done = unless_broken(tries, &mut on_tick).await;
        done.unwrap_or_else(|| Err(Trouble::Final("interrupted".into())))
            .map_err(|trouble| self.explained(what, trouble))
    }

    fn explained(&self, what: &str, trouble: Trouble) -> RemoteError {
        let (model, at) = (self.model, self.base());
        match trouble {
            Trouble::Status(404) => {
                let detail = format!("{what}: not found at {at}, or no such revision");
                hub_error(model, detail, "check the spelling and the revision", ErrorClass::BadInput)
            }
            Trouble::Status(401 | 403) => {
                let detail = format!("{what}: {at} refuses access: the model is gated or private, or does not exist");
                let hint = "accept its conditions on its page and set HF_TOKEN, or check the spelling";
                hub_error(model, detail, hint, ErrorClass::BadInput)
            }
            Trouble::Disk(path, source) => RemoteError::Io { path, source },
            Trouble::Status(_) | Trouble::Passing(..) | Trouble::Final(_) => {
                let why = match trouble {
                    Trouble::Status(status) => format!("status {status}"),
                    Trouble::Passing(why, _) | Trouble::Final(why) => shortened(&why),
                    Trouble::Disk(..) => String::new(),
                };
                let hint = "what has been fetched is kept; run the same command again, give a local directory, or use what is cached with HF_HUB_OFFLINE=1";
                hub_error(model, format!("{what}: cannot fetch from {at}: {why}"), hint, ErrorClass::Runtime)
            }
        }
    }
}

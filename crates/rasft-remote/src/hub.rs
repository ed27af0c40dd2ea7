//! `hf:ORG/NAME[@REV]`: the files of a model on a Hugging Face hub, fetched once into the cache that all HF tools share.
//! The hf-hub crate knows the cache's layout.
//!
//! A revision that is in the cache is taken from there without asking anybody; `@REV` with a commit hash pins it for good.
//! All files come from one commit, and the cache's reference to it is written last: an interrupted fetch is taken up
//! again, never taken for whole. Only what identifies and runs the model is fetched. Absent on purpose: uploading,
//! other kinds of repositories, pickled weights.

mod fetch;
mod spec;
mod transfer;

pub use fetch::{Unwatched, Watch};
pub use spec::HubModel;

use crate::error::shortened;
use crate::{ErrorClass, RemoteError, RetryPolicy, Secret};
use fetch::Fetcher;
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Small files that a model directory may have; weights come after them.
const SMALL: [&str; 6] = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
];

/// Where the hub and its cache are.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// `…/hub`, as huggingface_hub lays it out.
    pub cache: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// For private and gated models.
    pub token: Option<Secret>,
    /// Never use the network.
    pub offline: bool,
    /// A download that stands still for so long is given up.
    pub stall: Duration,
    /// Tries and pauses of each file.
    pub retry: RetryPolicy,
}

impl HubSettings {
    /// The address of the public hub.
    pub const PUBLIC: &'static str = "https://huggingface.co";

    /// The public hub with a cache somewhere, anonymous and online.
    #[must_use]
    pub fn at(cache: PathBuf) -> Self {
        let retry = RetryPolicy { max_retries: 4, ..RetryPolicy::default() };
        Self {
            cache,
            endpoint: Self::PUBLIC.into(),
            token: None,
            offline: false,
            stall: Duration::from_secs(60),
            retry,
        }
    }
}

/// The directory with the model's files, fetched if need be.
///
/// # Errors
/// The model is not there, not ours to read, not in the cache while offline, or has no safetensors; the network failed.
pub fn fetch(model: &HubModel, settings: &HubSettings, watch: &dyn Watch) -> Result<PathBuf, RemoteError> {
    let cache = Cache::new(settings.cache.clone());
    if let Some(snapshot) = cached(&cache, model, settings) {
        return Ok(snapshot);
    }
    if settings.offline {
        let detail = format!("not (wholly) in the cache {}, and HF_HUB_OFFLINE is set", settings.cache.display());
        return Err(hub_error(model, detail, "fetch it once without HF_HUB_OFFLINE", ErrorClass::BadInput));
    }
    Fetcher::new(model, settings, &cache, watch)?.run()
}

/// The snapshot that the cache's reference (or the revision itself, a commit) leads to, if nothing of it is missing.
fn cached(cache: &Cache, model: &HubModel, settings: &HubSettings) -> Option<PathBuf> {
    let repo = cache.repo(repo_at(model, model.revision()));
    let folder = settings.cache.join(Repo::new(model.id().to_owned(), RepoType::Model).folder_name());
    let commit = std::fs::read_to_string(folder.join("refs").join(model.revision())).ok();
    let commit =
        commit.as_deref().map(str::trim).or_else(|| spec::is_commit(model.revision()).then(|| model.revision()))?;
    if !spec::is_commit(commit) {
        return None;
    }
    let snapshot = repo.pointer_path(commit);
    is_whole(&snapshot).then_some(snapshot)
}

fn repo_at(model: &HubModel, revision: &str) -> Repo {
    Repo::with_revision(model.id().to_owned(), RepoType::Model, revision.to_owned())
}

/// Config, tokenizer and all weights are there.
fn is_whole(snapshot: &Path) -> bool {
    let there = |name: &str| snapshot.join(name).is_file();
    let weights =
        there(SINGLE) || shards(&snapshot.join(INDEX)).is_ok_and(|shards| shards.iter().all(|name| there(name)));
    there(CONFIG) && there(TOKENIZER) && weights
}

/// The shards that an index names; their names must not lead out of the directory.
fn shards(index: &Path) -> Result<BTreeSet<String>, String> {
    let bytes = std::fs::read(index).map_err(|e| e.to_string())?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let map = json.get("weight_map").and_then(Value::as_object).ok_or("no weight_map")?;
    let name = |file: &Value| {
        let name = file.as_str().filter(|n| spec::is_plain_name(n) && n.ends_with(".safetensors"));
        name.map(str::to_owned).ok_or_else(|| format!("{} is no plain file name", shortened(&file.to_string())))
    };
    map.values().map(name).collect()
}

fn hub_error(model: &HubModel, detail: impl Into<String>, hint: impl Into<String>, class: ErrorClass) -> RemoteError {
    RemoteError::Hub { model: model.to_string(), detail: detail.into(), hint: hint.into(), class }
}

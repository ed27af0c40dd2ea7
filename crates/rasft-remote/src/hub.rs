//! `hf:ORG/NAME[@REV]`: the files of a model on a Hugging Face hub, fetched once into the cache that all HF tools share.
//! The hf-hub crate knows the cache's layout.
//!
//! A revision that is in the cache is taken from there without asking anybody; `@REV` with a commit hash pins it for good.
//! All files come from one commit, and a marker of ours and the cache's reference are written last: an interrupted fetch
//! is taken up again, never taken for whole. What another tool has fetched is compared with the hub's list once. Only what identifies and runs the model is fetched. Absent on purpose: uploading,
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
    let commit = cached_commit(model, settings);
    if let Some(commit) = &commit {
        let snapshot = cache.repo(repo_at(model, commit)).pointer_path(commit);
        // Whether another tool has fetched all of it, only the hub can tell.
        if is_whole(&snapshot) && (settings.offline || marker(model, settings, commit).is_file()) {
            return Ok(snapshot);
        }
    }
    if settings.offline {
        let detail = format!("not (wholly) in the cache {}, and HF_HUB_OFFLINE is set", settings.cache.display());
        return Err(hub_error(model, detail, "fetch it once without HF_HUB_OFFLINE", ErrorClass::BadInput));
    }
    Fetcher::new(model, settings, &cache, watch)?.run(commit.as_deref())
}

/// The commit that the cache's reference names, or the revision itself.
fn cached_commit(model: &HubModel, settings: &HubSettings) -> Option<String> {
    let reference = folder(model, settings).join("refs").join(model.revision());
    let commit =
        std::fs::read_to_string(reference).map_or_else(|_| model.revision().to_owned(), |t| t.trim().to_owned());
    spec::is_commit(&commit).then_some(commit)
}

/// A model's place in the cache.
fn folder(model: &HubModel, settings: &HubSettings) -> PathBuf {
    settings.cache.join(Repo::new(model.id().to_owned(), RepoType::Model).folder_name())
}

/// Says that every file of a commit that is needed has been fetched; other tools leave it alone.
fn marker(model: &HubModel, settings: &HubSettings, commit: &str) -> PathBuf {
    folder(model, settings).join(".rasft-whole").join(commit)
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

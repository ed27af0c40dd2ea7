//! The only place that reads environment variables.

use crate::Failure;
use rasft_remote::{HubSettings, Secret};
use std::path::PathBuf;

/// Where results are kept unless `--store` says otherwise.
pub const DEFAULT_STORE: &str = ".rasft/store";

/// `RASFT_STORE`, or the default folder below the working directory.
pub fn store_root() -> PathBuf {
    std::env::var_os("RASFT_STORE")
        .filter(|v| !v.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_STORE), PathBuf::from)
}

/// A log filter in the syntax of `tracing`, from `RASFT_LOG`.
pub fn log_filter() -> Option<String> {
    std::env::var("RASFT_LOG").ok().filter(|v| !v.is_empty())
}

/// The hub of `hf:` models, as Hugging Face's own tools read it: `HF_HUB_CACHE` or `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` or the
/// token file below `HF_HOME`, `HF_HUB_OFFLINE`.
pub fn hub() -> HubSettings {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let cache = || set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| std::env::home_dir().map(|h| h.join(".cache")));
    let home = set("HF_HOME").map_or_else(|| cache().unwrap_or_default().join("huggingface"), PathBuf::from);
    let mut hub = HubSettings::at(set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from));
    if let Some(endpoint) = set("HF_ENDPOINT") {
        hub.endpoint = endpoint.to_string_lossy().into_owned();
    }
    let token = set("HF_TOKEN").map(|t| t.to_string_lossy().into_owned());
    hub.token = token.or_else(|| std::fs::read_to_string(home.join("token")).ok()).and_then(|t| Secret::new(&t));
    let yes =
        |v: std::ffi::OsString| matches!(v.to_string_lossy().to_lowercase().as_str(), "1" | "true" | "yes" | "on");
    hub.offline = set("HF_HUB_OFFLINE").is_some_and(yes);
    hub
}

/// A key from the variable that a flag names.
///
/// # Errors
/// The variable is not set.
pub fn secret(name: &str) -> Result<Secret, Failure> {
    std::env::var(name).ok().and_then(|v| Secret::new(&v)).ok_or_else(|| {
        Failure::usage(format!(
            "--api-key-env {name}: the environment variable {name} is not set\nhint: export it first"
        ))
    })
}

/// The host's name for a manifest's `run` section.
pub fn host() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|s| s.trim().to_owned())
}

/// A program by its name: the one beside the running one if there is such, else whatever the shell would find.
pub fn sibling(program: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(program)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

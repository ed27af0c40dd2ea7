//! The only place that reads environment variables.

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

/// The host's name for a manifest's `run` section.
pub fn host() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|s| s.trim().to_owned())
}

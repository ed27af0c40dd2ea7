//! What every stage gets and gives: context in, outputs out.

use rasft_remote::HubSettings;
use rasft_store::{Entry, Store};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives the progress of long work. Implementations draw; stages only count.
pub trait Progress: Sync {
    /// Begins a piece of work of `total` units.
    fn start(&self, label: &str, total: u64, unit: &str);
    /// `n` more units are done; `message` replaces the last one unless it is empty.
    fn advance(&self, n: u64, message: &str);
    /// The piece of work has ended.
    fn finish(&self);
}

/// Progress that goes nowhere.
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _label: &str, _total: u64, _unit: &str) {}
    fn advance(&self, _n: u64, _message: &str) {}
    fn finish(&self) {}
}

/// Most shards of one data set: their names have five digits, and are read in the order of their names.
pub const MAX_SHARDS: usize = 100_000;

/// Part `index` (0-based) of `of` parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardOf {
    /// 0-based part.
    pub index: usize,
    /// Number of parts.
    pub of: usize,
}

impl std::str::FromStr for ShardOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "--shard {text}: expected I/N with 0 <= I < N <= {MAX_SHARDS}\nhint: the first of four parts is --shard 0/4, the last is --shard 3/4"
            )
        };
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of) = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        if index < of && of <= MAX_SHARDS { Ok(Self { index, of }) } else { Err(wrong()) }
    }
}

/// The surroundings of a stage run. Nothing in here may change a result, but for the shard that is asked for.
pub struct Ctx<'a> {
    /// Where results are looked up and kept.
    pub store: &'a Store,
    /// Where the result shall appear too; only looked at here.
    pub out: Option<PathBuf>,
    /// Output shards, if the caller cares.
    pub shards: Option<usize>,
    /// Compute only this part.
    pub shard: Option<ShardOf>,
    /// Compute again what is cached.
    pub force: bool,
    /// Only look.
    pub dry_run: bool,
    /// Count and list bad rows instead of failing.
    pub skip_bad_rows: bool,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
    /// Where `hf:` models come from and are kept.
    pub hub: HubSettings,
    /// Base model of an adapter directory that does not say where its base is.
    pub base: Option<PathBuf>,
    /// The machine's name, for a manifest's `run` section.
    pub host: Option<String>,
}

impl Ctx<'_> {
    /// Whether the user asked to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }

    /// What to do while another process works on a result of `place`: say so once, and give up when the user wants to.
    pub(crate) fn waiting_for(&self, place: &str) -> impl FnMut() -> Result<(), crate::Error> {
        let mut said = false;
        move || {
            if self.cancelled() {
                let stopped = "stopped while another process worked on this very result; what was finished is kept";
                return Err(crate::Error::Interrupted(stopped.into()));
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!("{place}: another process works on this very result; waiting until it is done");
            }
            Ok(())
        }
    }

    /// Refuses, before any work, an `--out` that cannot become a view of a result of kind `schema`.
    ///
    /// # Errors
    /// Something else is there.
    pub fn gives(&self, schema: &str) -> Result<(), crate::Error> {
        Ok(self.out.as_deref().map_or(Ok(()), |out| self.store.check_view(out, schema))?)
    }

    /// Refuses `--shard` on stages that need all rows at once.
    pub fn no_shard(&self, stage: &str) -> Result<(), crate::Error> {
        match self.shard {
            None => Ok(()),
            Some(_) => Err(crate::Error::usage(format!(
                "{stage} needs all rows at once and takes no --shard\nhint: shard `rasft-score difficulty`, `rasft-rollout` or `rasft-verify` instead"
            ))),
        }
    }
}

/// What a stage run came to.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Stage name.
    pub stage: String,
    /// Key of the result.
    pub key: String,
    /// The result in the store (where it would be, for a dry run).
    pub path: PathBuf,
    /// Blocks found in the store.
    pub hits: usize,
    /// Blocks computed, or left to compute in a dry run.
    pub misses: usize,
    /// Rows of the result.
    pub rows: u64,
    /// The manifest's summary.
    pub summary: Value,
    /// Nothing was computed on purpose.
    pub dry_run: bool,
    /// The entry itself; none if a dry run found nothing.
    pub entry: Option<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_must_be_in_range() {
        assert_eq!("3/4".parse(), Ok(ShardOf { index: 3, of: 4 }));
        for bad in ["5/4", "4/4", "x/4", "1", "-1/2", "0/0", "0/100001", "0/18446744073709551615"] {
            assert!(bad.parse::<ShardOf>().is_err(), "{bad}");
        }
    }
}

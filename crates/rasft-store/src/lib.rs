//! The store: every result once, under a key that follows from what it was made of.
//!
//! Layout below the root; a *place* is a stage name, or a stage name with one part for finer work (`rollout/blocks`):
//!
//! ```text
//! <place>/<key>/            one entry: its files, `_manifest.json`, `_key.json` (the parameters behind the key)
//! samples/<identity>/<key>/ the same: some samples of one policy under one set of parameters, reused by rollouts and evals
//! _tmp/                     what is being made; a lock file beside each says that its maker lives
//! _locks/                   one lock per key being computed
//! _partial/<place>/<key>/   checkpoints of a run that is not finished: what it goes on from
//! _roots/                   the views made with --out: what `gc` keeps
//! _stat/                    hashes of files outside, remembered by size, times and inode
//! _store.json               version of this layout
//! ```
//!
//! Invariants: an entry appears by one rename, whole and synced, and never changes afterwards; a look-up reads one
//! small file and a few sizes; what is damaged is reported, never taken for a hit. Deliberately absent: what stages do.

mod entry;
mod error;
mod explain;
mod gc;
mod hashes;
mod inspect;
mod key;
mod lineage;
mod partial;
mod store;
mod view;

#[cfg(test)]
mod tests;

pub use entry::{Entry, KEY_FILE, Staging};
pub use error::StoreError;
pub use explain::{Difference, Explained, Explanation, Nearest};
pub use gc::{CACHE_FIELD, GcPlan, GcReport};
pub use inspect::{CorruptFile, Details, Listed, Verified};
pub use key::{Key, KeyParams};
pub use lineage::LineageNode;
pub use partial::Partial;
pub use store::{Origin, Store};

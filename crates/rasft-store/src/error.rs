//! What can go wrong in the store.

use rasft_data::{Class, DataError};
use rasft_fs::FsError;
use std::path::PathBuf;

/// A failure of the store, or of the data in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A data set or manifest cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file system operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A place that cannot be a directory of the store.
    #[error("{place:?} is no place in the store: lower-case words of a-z, 0-9, - and _, at most one /")]
    BadPlace {
        /// The name.
        place: String,
    },
    /// Not a key.
    #[error("{text:?} is no key\nhint: keys are 64 hex digits; `rasft-store ls` lists them")]
    BadKey {
        /// The text.
        text: String,
    },
    /// The store was made by a version with another layout.
    #[error("the store {} has layout {found}, this program knows {known}\nhint: point --store to a new directory, or use the toolkit that made it", root.display())]
    UnknownLayout {
        /// The root.
        root: PathBuf,
        /// Layout found.
        found: String,
        /// Layout known.
        known: u64,
    },
    /// A stage left a file that its manifest does not answer for.
    #[error("{} is not listed in the manifest of its entry", file.display())]
    Unlisted {
        /// The file.
        file: PathBuf,
    },
    /// `--out` names something that is not a view.
    #[error("{} is not empty and is no data set of this toolkit ({found})\nhint: give --out a new or empty directory; nothing was changed", path.display())]
    WouldClobber {
        /// The directory.
        path: PathBuf,
        /// What stands in the way.
        found: String,
    },
    /// `--out` names a view, but of something else.
    #[error("--out {} holds {found}, and the result is {result}\nhint: give --out another directory; nothing was changed", path.display())]
    OtherKind {
        /// The directory.
        path: PathBuf,
        /// What it holds, and of which stage.
        found: String,
        /// What would take its place.
        result: String,
    },
    /// Neither a data set nor an entry.
    #[error(
        "{what:?} is no result of this store, nor the beginning of a key or of a result's hash\nhint: `rasft-store ls` lists the results; --store names another store"
    )]
    NoSuchEntry {
        /// What was asked for.
        what: String,
    },
    /// The hash of something that results were made from and that no entry is.
    #[error(
        "{what:?} begins the hash of what came from outside: {known_as}\nhint: the store keeps the hash of such an input, and no more"
    )]
    Outside {
        /// What was asked for.
        what: String,
        /// What it was to a result, and where it was.
        known_as: String,
    },
    /// Several entries begin alike.
    #[error("{prefix:?} is the beginning of {} keys\nhint: give more digits", keys.len())]
    Ambiguous {
        /// The beginning.
        prefix: String,
        /// The keys.
        keys: Vec<String>,
    },
}

impl StoreError {
    /// What the failure means to the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Data(e) => e.class(),
            Self::Fs(_) | Self::BadPlace { .. } | Self::Unlisted { .. } => Class::Io,
            _ => Class::BadInput,
        }
    }
}

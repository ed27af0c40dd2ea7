//! What can be wrong with a table, said so that the reader can mend it.

use rasft_fs::FsError;
use std::path::PathBuf;

/// What a failure means to the caller; each class has its exit code (design §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The user's data is not what was asked for: exit 3.
    BadInput,
    /// An artifact is not what its writer left: exit 4.
    Corrupt,
    /// The machinery failed: exit 1.
    Io,
}

/// A table, shard, data set or manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file system operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The Parquet or Arrow library failed while writing.
    #[error("cannot write {}: {detail}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the library said.
        detail: String,
    },
    /// Bytes are not those that were written.
    #[error("{} is corrupt\n  expected {expected}\n  actual   {actual}\nhint: the file was damaged or changed after it was written: restore it, or remove its data set and make it again", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Hash, size or structure that should be there.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// Nothing is at the path.
    #[error("{} does not exist\nhint: give a data set directory, a directory of Parquet files, or one Parquet file", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A directory without a manifest and without Parquet files.
    #[error("{} holds no Parquet file\nhint: {hint}", path.display())]
    NoShards {
        /// The directory.
        path: PathBuf,
        /// How to mend it.
        hint: &'static str,
    },
    /// A data set without rows where some are needed.
    #[error("{} has no rows\nhint: the stage that made it selected nothing; look at the counts in its _manifest.json", path.display())]
    Empty {
        /// The data set.
        path: PathBuf,
    },
    /// Not Parquet at all.
    #[error("{} is not a Parquet file: {detail}\nhint: turn JSONL and other formats into a table with `rasft-import` first", file.display())]
    NotParquet {
        /// The file.
        file: PathBuf,
        /// Why not.
        detail: String,
    },
    /// Another table than the one asked for.
    #[error("{} holds the table {found:?}, expected {expected:?}\nhint: two arguments may be swapped", file.display())]
    WrongTable {
        /// The file or manifest.
        file: PathBuf,
        /// The table wanted.
        expected: String,
        /// The table found.
        found: String,
    },
    /// A schema version this program does not know.
    #[error("{} has schema {found}, this program reads {table}/{known}\nhint: {hint}", file.display())]
    UnknownVersion {
        /// The file or manifest.
        file: PathBuf,
        /// The table.
        table: String,
        /// Its version as found.
        found: String,
        /// The version this program reads.
        known: u32,
        /// How to mend it.
        hint: &'static str,
    },
    /// A required column is absent.
    #[error("{}: column {column:?} ({expected}) of table {table:?} is missing\n  found {}\nhint: rename or add the column; schemas/{table}.json lists which are required", file.display(), found.join(", "))]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The table wanted.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Its type.
        expected: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column or cell holds something else than its type allows.
    #[error("{}: {}column {column:?}: expected {expected}, found {found}\nhint: {hint}", file.display(), row.map_or(String::new(), |r| format!("row {r}, ")))]
    BadCell {
        /// The file.
        file: PathBuf,
        /// 0-based row in the file; none when the whole column is wrong.
        row: Option<u64>,
        /// The column.
        column: &'static str,
        /// What the contract asks for.
        expected: String,
        /// What is there.
        found: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// A projection names a column the table does not have.
    #[error("table {table:?} has no column {column:?}")]
    NoSuchColumn {
        /// The table.
        table: &'static str,
        /// The name asked for.
        column: String,
    },
}

impl DataError {
    /// What the failure means to the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Fs(_) | Self::Write { .. } | Self::NoSuchColumn { .. } => Class::Io,
            Self::Corrupt { .. } => Class::Corrupt,
            _ => Class::BadInput,
        }
    }
}

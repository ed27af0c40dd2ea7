//! What can be wrong with a foreign file, said so that its owner can mend it.

use std::io;
use std::path::PathBuf;

/// What a failure means to the caller; each class has its exit code (design §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The arguments cannot be meant as given: exit 2.
    Usage,
    /// The user's data is not what was asked for: exit 3.
    BadInput,
    /// A compressed stream is damaged: exit 4.
    Corrupt,
    /// The machinery failed: exit 1.
    Io,
}

/// One record that is not a problem of the chosen format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}: expected {expected}, found {found}\nhint: {hint}", file.display(), place(field))]
pub struct RowError {
    /// The file.
    pub file: PathBuf,
    /// 1-based line (of the uncompressed text) on which the record begins.
    pub line: u64,
    /// The field, dotted when nested; empty when the record as a whole is meant.
    pub field: String,
    /// What the format asks for.
    pub expected: String,
    /// What is there, shortened.
    pub found: String,
    /// How to mend it.
    pub hint: String,
}

fn place(field: &str) -> String {
    if field.is_empty() { "record".to_owned() } else { format!("field {field:?}") }
}

/// A file, record or option that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProblemsError {
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A compressed file ends early or fails its checksum.
    #[error("{} is a damaged {kind} file: {detail}\nhint: fetch it again, or compare its checksum with its publisher's", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// `gzip` or `zstd`.
        kind: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// The file is no sequence of JSON records.
    #[error("{}: {detail}\nhint: {hint}", path.display())]
    NotRecords {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// A record is not a problem, and bad rows fail the import.
    #[error("{0}\nhint: `--on-bad-row skip` leaves such rows out and lists them")]
    Row(#[from] Box<RowError>),
    /// An option cannot be meant as given.
    #[error("{option}: {detail}\nhint: {hint}")]
    Usage {
        /// The option.
        option: &'static str,
        /// What is wrong.
        detail: String,
        /// How to mend it.
        hint: String,
    },
}

impl ProblemsError {
    /// What the failure means to the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Io { .. } => Class::Io,
            Self::Corrupt { .. } => Class::Corrupt,
            Self::NotRecords { .. } | Self::Row(_) => Class::BadInput,
            Self::Usage { .. } => Class::Usage,
        }
    }
}

fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "\nhint: check the spelling of the path",
        io::ErrorKind::PermissionDenied => "\nhint: check the owner and permissions of the file and its directory",
        io::ErrorKind::IsADirectory => "\nhint: name the files in it one by one",
        _ => "",
    }
}

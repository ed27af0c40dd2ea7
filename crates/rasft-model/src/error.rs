//! What can go wrong with a model, said so that the reader can mend it: file, tensor, expected, actual, remedy.
//!
//! Absent on purpose: anything about data sets or the command line; a caller maps [`ErrorClass`] to its exit codes.

use std::path::{Path, PathBuf};

/// Whose fault an error is; binaries turn it into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The user's model or request does not fit (exit 3).
    BadInput,
    /// A file is damaged (exit 4).
    Corrupt,
    /// The machinery failed (exit 1).
    Runtime,
}

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file that a stage needs is not there.
    #[error("{}: {missing} not found; {needed_for} needs it\n  hint: {hint}", dir.display())]
    Missing {
        /// The model directory.
        dir: PathBuf,
        /// The file or files looked for.
        missing: Box<str>,
        /// Who needs it.
        needed_for: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// Reading failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] rasft_fs::FsError),
    /// A file is there but cannot be understood.
    #[error("{}: {detail}\n  hint: {hint}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// A file is truncated or holds impossible values.
    #[error("{}: {detail}\n  hint: {hint}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// The model is sound but this toolkit cannot run it.
    #[error("{}: {field} is {actual}, supported is {expected}\n  hint: {hint}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// The field in it.
        field: Box<str>,
        /// Its value.
        actual: Box<str>,
        /// What would be accepted.
        expected: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// Values that are no numbers are not written.
    #[error("{tensor} has become {value} and is not written\n  hint: the training diverged: lower --learning-rate")]
    Diverged {
        /// Its name in the file that would hold it.
        tensor: Box<str>,
        /// The first such value.
        value: f32,
    },
    /// One tensor is missing, unexpected or of the wrong shape or type.
    #[error("{}: tensor {tensor}: expected {expected}, found {actual}\n  hint: {hint}", path.display())]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// HF name of the tensor.
        tensor: Box<str>,
        /// What the config asks for.
        expected: Box<str>,
        /// What the file holds.
        actual: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// The tokenizer refused.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template refused.
    #[error("chat template {origin}: {detail}\n  hint: {hint}")]
    Template {
        /// Where the template came from.
        origin: Box<str>,
        /// What it said.
        detail: Box<str>,
        /// How to mend it.
        hint: Box<str>,
    },
    /// A call does not fit the decoder or its cache.
    #[error("{0}")]
    Request(String),
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Candle(#[from] candle_core::Error),
}

impl ModelError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Missing { .. }
            | Self::BadFile { .. }
            | Self::Unsupported { .. }
            | Self::Tensor { .. }
            | Self::Template { .. } => ErrorClass::BadInput,
            Self::Corrupt { .. } => ErrorClass::Corrupt,
            Self::Io { .. }
            | Self::Write(_)
            | Self::Diverged { .. }
            | Self::Tokenizer(_)
            | Self::Request(_)
            | Self::Candle(_) => ErrorClass::Runtime,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn bad_file(path: &Path, detail: impl ToString, hint: impl ToString) -> Self {
        Self::BadFile { path: path.to_path_buf(), detail: detail.to_string().into(), hint: hint.to_string().into() }
    }

    pub(crate) fn corrupt(path: &Path, detail: impl ToString, hint: impl ToString) -> Self {
        Self::Corrupt { path: path.to_path_buf(), detail: detail.to_string().into(), hint: hint.to_string().into() }
    }

    pub(crate) fn unsupported(
        path: &Path,
        field: impl ToString,
        actual: impl ToString,
        expected: impl ToString,
        hint: impl ToString,
    ) -> Self {
        Self::Unsupported {
            path: path.to_path_buf(),
            field: field.to_string().into(),
            actual: actual.to_string().into(),
            expected: expected.to_string().into(),
            hint: hint.to_string().into(),
        }
    }
}

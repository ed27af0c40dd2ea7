//! Why training could not go on, said so that the reader can mend it.

use rasft_fs::FsError;
use rasft_model::{ErrorClass, ModelError};
use std::path::PathBuf;

/// Trajectories a message lists before it only counts them.
const IDS_SHOWN: usize = 8;

/// A trajectory, parameter or checkpoint that cannot be trained with, or a tensor operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A row of the mixture.
    #[error("trajectory {row} ({id}): {detail}\nhint: {hint}")]
    Trajectory {
        /// 0-based row in training order.
        row: usize,
        /// Its id.
        id: String,
        /// What is wrong.
        detail: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// A parameter out of range or unknown.
    #[error("{0}")]
    Parameter(String),
    /// The loss or the gradient is no number; nothing was updated.
    #[error(
        "step {step}: the {what} is not finite; its trajectories are {}\nhint: lower --learning-rate, or look at these rows of the mixture",
        shortened(ids)
    )]
    NotFinite {
        /// 1-based optimizer step.
        step: u64,
        /// Loss or gradient norm.
        what: &'static str,
        /// The step's trajectories.
        ids: Vec<String>,
    },
    /// Optimizer state that does not fit the model.
    #[error("{}: {detail}\nhint: --continue takes a checkpoint of the same architecture that rasft-train wrote", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// Optimizer state that is truncated or holds impossible values.
    #[error("{}: {detail}\nhint: the checkpoint is damaged: train it again or continue from an earlier one", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The decoder failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl LearnError {
    /// Whose fault it is; binaries turn it into an exit code. `None`: wrong usage.
    pub fn class(&self) -> Option<ErrorClass> {
        match self {
            Self::Parameter(_) => None,
            Self::Trajectory { .. } | Self::State { .. } => Some(ErrorClass::BadInput),
            Self::Corrupt { .. } => Some(ErrorClass::Corrupt),
            Self::Model(e) => Some(e.class()),
            Self::NotFinite { .. } | Self::Tensor(_) | Self::Fs(_) => Some(ErrorClass::Runtime),
        }
    }
}

fn shortened(ids: &[String]) -> String {
    let shown = ids.iter().take(IDS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(IDS_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

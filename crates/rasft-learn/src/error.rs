//! Why training could not go on.

use rasft_fs::FsError;
use rasft_model::ModelError;
use std::path::PathBuf;

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
    /// The loss or the gradient is no number.
    #[error("step {step}: the {what} is not finite; its trajectories are {}\nhint: lower --learning-rate, or look at these rows of the mixture", ids.join(", "))]
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

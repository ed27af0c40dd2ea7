//! The nouns of the toolkit: one plain struct for each row of each table, and the enums their columns hold.
//!
//! Invariant: no I/O, no tensors, no arithmetic beyond identities. Field names, order and types are those of the
//! tables' columns (`schemas/`), so a row reads the same in Rust, polars and DuckDB.

pub mod eval;
pub mod mixture;
pub mod problem;
pub mod rollout;
pub mod solvability;
pub mod train;
pub mod verdict;
mod words;

pub use eval::{EvalComparisonRow, EvalSampleRow, EvalSummaryRow};
pub use mixture::{MixtureRow, TrajectorySource};
pub use problem::{CodeSpec, DifficultyRow, Domain, ExpertLoss, Problem, Route, RouteAction, Scored};
pub use rollout::{FinishReason, Rollout};
pub use solvability::{Fallback, Solvability};
pub use train::StepMetrics;
pub use verdict::{JudgedPair, Method, Outcome, Rejection, Verdict};
pub use words::UnknownWord;

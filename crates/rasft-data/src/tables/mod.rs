//! One file per table: its columns, their defaults in foreign files, and what follows from what.

mod difficulty;
mod eval_comparison;
mod eval_samples;
mod eval_summary;
mod expert_loss;
mod judged_pairs;
mod metrics;
mod mixture;
mod pairs;
mod problems;
mod rejects;
mod rollouts;
mod solvability;
mod verdicts;

pub use pairs::PairRow;
pub use rejects::RejectRow;

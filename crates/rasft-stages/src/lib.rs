//! One module per stage: files and parameters in, a published result out.
//!
//! Invariant: stages never import each other; what two of them need stands in a shared module. A stage is a pure
//! function of its inputs and parameters: see [`produce`] for how results are keyed and cached.

mod adapter;
mod adaptive;
mod blocks;
mod check;
mod ctx;
mod error;
mod expert_loss;
mod foreign;
mod frames;
mod job;
mod layout;
mod params;
mod parts;
mod policy;
mod produce;
mod prompt;
mod sample;
mod sample_cache;
mod served;
mod source;
mod trajectories;

pub mod difficulty;
pub mod eval_compare;
pub mod eval_report;
pub mod eval_run;
pub mod import;
pub mod mixture;
pub mod rollout;
pub mod solvability;
pub mod train;
pub mod verify;

pub use adaptive::Adaptive;
pub use ctx::{Ctx, MAX_SHARDS, Outputs, Progress, ShardOf, Silent};
pub use error::{Error, ErrorClass};
pub use params::{Batch, SamplingParams, Slice};
pub use prompt::PromptParams;
pub use served::{Access, PromptAs, ServedPolicy};

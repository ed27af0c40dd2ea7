//! Everything the binaries share: flags, configuration layers, environment, progress, summaries and exit codes.
//!
//! Invariants: the environment is read in [`environment`] alone; stdout is written in [`output`] alone.
//! Absent on purpose: stage logic. A binary parses, resolves, runs one stage and prints.

pub mod answer;
pub mod args;
pub mod common;
pub mod config;
pub mod environment;
pub mod experiment;
pub mod explain;
pub mod failure;
pub mod generated;
pub mod logging;
pub mod output;
pub mod progress;
pub mod session;
pub mod store_commands;
pub mod summaries;
pub mod tables;

pub use common::CommonArgs;
pub use failure::Failure;
pub use session::{Session, main_with};

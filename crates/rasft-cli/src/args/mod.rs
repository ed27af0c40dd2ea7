//! The command line of each binary: raw flags, every one optional so that an experiment file can give it,
//! and their resolution into the parameters of a stage.

pub mod endpoint;
pub mod eval;
pub mod import;
pub mod prompt;
pub mod rollout;
pub mod score;
pub mod store;
pub mod train;
pub mod verify;

use crate::Failure;
use std::path::PathBuf;

/// A path that the stage cannot do without.
fn required(value: &Option<PathBuf>, flag: &str, what: &str) -> Result<PathBuf, Failure> {
    value.clone().ok_or_else(|| {
        Failure::usage(format!(
            "missing --{flag}: {what}\nhint: give the flag, or `{}` in the stage's table of --config",
            flag.replace('-', "_")
        ))
    })
}

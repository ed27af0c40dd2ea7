//! `rasft-store`.

use crate::CommonArgs;
use crate::session::Cli;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # what is in the store
  rasft-store ls

  # which rollouts, verdicts and models made this checkpoint
  rasft-store lineage out/quickstart/checkpoints/rasft-3

  # why was this result made anew: what differs from the nearest one before it, or from one that is named
  rasft-store explain out/quickstart/rounds/1/rollouts
  rasft-store explain 3f2a9c 81d04e

  # would this command find its result, and if not, why
  rasft-store explain -- rasft-rollout --problems problems --model base --n 8

  # rehash everything; exit code 4 if a byte has changed
  rasft-store verify

  # what could be removed, and then do it
  rasft-store gc
  rasft-store gc --apply";

/// Look into, check, trace and clean the store
#[derive(Debug, Parser)]
#[command(name = "rasft-store", version, after_help = EXAMPLES)]
pub struct StoreCli {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for StoreCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// What `rasft-store` can do.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the results
    Ls,
    /// Show one result: parameters, inputs, shards, summary
    Show {
        /// A path, or the beginning of a key or of a hash that `lineage` prints
        what: String,
    },
    /// Say why a result is not an earlier one: in which parameters, inputs or versions they differ
    Explain {
        /// A path, or the beginning of a key
        #[arg(required_unless_present = "command", conflicts_with = "command")]
        what: Option<String>,
        /// The result to compare it with [default: the nearest of its stage that was there before]
        other: Option<String>,
        /// Instead: a stage's command, which is looked up and not run
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Rehash every file and report those that changed
    Verify,
    /// Walk from a checkpoint or table back to everything it was made from
    Lineage {
        /// A path, or the beginning of a key or hash
        what: String,
    },
    /// List what no view reaches; remove it with --apply
    Gc {
        /// Also keep these (paths or beginnings of keys)
        #[arg(long, value_name = "WHAT")]
        keep: Vec<String>,
        /// Remove what is listed
        #[arg(long)]
        apply: bool,
    },
    /// Check an experiment file and print one value of it, for shell scripts
    Config {
        /// The file
        file: PathBuf,
        /// Dotted key, such as pipeline.rounds; without it the file is only checked, and its path printed
        key: Option<String>,
        /// Printed when the key is absent; without it an absent key is an error
        default: Option<String>,
    },
}

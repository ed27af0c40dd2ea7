//! Flags that every binary understands.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Flags common to all stages. In a configuration file they stand in `[common]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Common")]
pub struct CommonArgs {
    /// Experiment file; flags beat it
    #[arg(long, value_name = "FILE.toml", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Also read [<stage>.NAME], on top of [<stage>]
    #[arg(long, value_name = "NAME", global = true)]
    #[serde(skip)]
    pub section: Option<String>,
    /// Where the result shall appear, as a view on the store
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,
    /// Store of all results [env: RASFT_STORE] [default: .rasft/store]
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", global = true)]
    pub jobs: Option<usize>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// How many output shards [default: by the number of rows]
    #[arg(long, value_name = "N", global = true)]
    pub shards: Option<usize>,
    /// Compute only part I of N (0-based), for clusters
    #[arg(long, value_name = "I/N", global = true)]
    pub shard: Option<String>,
    /// Compute again what the store already has
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub force: Option<bool>,
    /// Say what would be computed, and stop
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub dry_run: Option<bool>,
    /// Print one JSON object instead of the path
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub json: Option<bool>,
    /// Bars on a terminal, plain lines otherwise
    #[arg(long, value_enum, global = true)]
    pub progress: Option<ProgressMode>,
    /// Bad rows stop the stage, or are counted and listed in rejects.parquet
    #[arg(long, value_enum, global = true)]
    pub on_bad_row: Option<OnBadRow>,
    /// cpu, cuda[:i] or metal [default: cpu]
    #[arg(long, value_name = "DEVICE", global = true)]
    pub device: Option<String>,
    /// Base model of a PEFT adapter directory that does not say where its base is
    #[arg(long, value_name = "MODEL", global = true)]
    pub base: Option<PathBuf>,
    /// More detail on stderr (repeat for more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    #[serde(skip)]
    pub verbose: u8,
    /// Only errors on stderr
    #[arg(short, long, global = true)]
    #[serde(skip)]
    pub quiet: bool,
    /// Log lines as text or JSON
    #[arg(long, value_enum, global = true)]
    pub log_format: Option<LogFormat>,
    /// Print shell completions and stop
    #[arg(long, value_name = "SHELL", value_enum, global = true)]
    #[serde(skip)]
    pub completions: Option<clap_complete::Shell>,
    /// Print the man page and stop
    #[arg(long, global = true, hide = true)]
    #[serde(skip)]
    pub man: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines otherwise.
    Auto,
    /// Plain lines.
    Plain,
    /// Nothing.
    None,
}

/// What a bad row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Stops the stage.
    Fail,
    /// Is counted and listed.
    Skip,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl CommonArgs {
    /// The seed of every random choice.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(42)
    }
}

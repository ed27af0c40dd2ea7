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
    /// Threads, 1 to 1024 [default: all cores]
    #[arg(long, value_name = "N", global = true)]
    pub jobs: Option<usize>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// How many output shards, 1 to 100000 [default: one, or one for each cached block of problems]
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
    /// How progress is shown; auto: bars on a terminal, plain lines otherwise [default: auto]
    #[arg(long, value_enum, global = true)]
    pub progress: Option<ProgressMode>,
    /// Bad rows stop the import, or are counted and listed in rejects.parquet [default: fail]
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
    /// Only errors on stderr, and a warning if a part of a data set was not there
    #[arg(short, long, global = true)]
    #[serde(skip)]
    pub quiet: bool,
    /// Log lines as text or JSON [default: text]
    #[arg(long, value_enum, global = true)]
    pub log_format: Option<LogFormat>,
    /// Print shell completions and stop
    #[arg(long, value_name = "SHELL", value_enum, global = true)]
    #[serde(skip)]
    pub completions: Option<clap_complete::Shell>,
    /// Print the man page of the program or of the subcommand that is named, or write those of all into a folder, and stop
    #[arg(long, global = true, hide = true, num_args = 0..=1, default_missing_value = "", require_equals = true, value_name = "DIR")]
    #[serde(skip)]
    pub man: Option<ManPages>,
}

/// Where man pages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManPages {
    /// One, to stdout.
    Print,
    /// All, into this folder.
    Into(PathBuf),
}

impl std::str::FromStr for ManPages {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.is_empty() { Self::Print } else { Self::Into(text.into()) })
    }
}

/// Common flags that mean nothing to a command. Given on its command line they are refused; in `[common]` of an
/// experiment file they stand for the stages that know them.
const MEANINGLESS: &[(&str, &[&str])] = &[
    ("rasft-import", &["shard", "device", "base"]),
    ("rasft-score difficulty", &["on_bad_row"]),
    ("rasft-score solvability", &["on_bad_row", "shard", "device", "base"]),
    ("rasft-score mixture", &["on_bad_row", "shard"]),
    ("rasft-rollout", &["on_bad_row"]),
    ("rasft-verify", &["on_bad_row", "device", "base"]),
    ("rasft-verify answer", &["on_bad_row", "device", "base", "shard", "shards", "out", "force", "dry_run", "seed"]),
    ("rasft-train", &["on_bad_row", "shard", "shards"]),
    ("rasft-eval run", &["on_bad_row"]),
    ("rasft-eval compare", &["on_bad_row", "device", "base", "shard", "shards"]),
    ("rasft-eval report", &["on_bad_row", "device", "base", "shard", "shards", "force"]),
    ("rasft-store", &["on_bad_row", "device", "base", "shard", "shards", "out", "force", "dry_run", "seed"]),
];

/// The common flags that mean nothing to a command such as `rasft-score mixture`.
pub fn meaningless(command: &str) -> &'static [&'static str] {
    let of = |name: &str| MEANINGLESS.iter().find(|(known, _)| *known == name).map(|(_, flags)| *flags);
    let program = command.split(' ').next().unwrap_or_default();
    of(command).or_else(|| of(program)).unwrap_or_default()
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
    /// The field of a flag that can mean nothing, taken out: whether it was given.
    pub fn take(&mut self, flag: &str) -> bool {
        match flag {
            "on_bad_row" => self.on_bad_row.take().is_some(),
            "device" => self.device.take().is_some(),
            "base" => self.base.take().is_some(),
            "shard" => self.shard.take().is_some(),
            "shards" => self.shards.take().is_some(),
            "out" => self.out.take().is_some(),
            "force" => self.force.take().is_some(),
            "dry_run" => self.dry_run.take().is_some(),
            "seed" => self.seed.take().is_some(),
            _ => false,
        }
    }

    /// The seed of every random choice.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(42)
    }
}

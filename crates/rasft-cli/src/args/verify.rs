//! `rasft-verify`.

use super::required;
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser, Subcommand};
use rasft_stages::verify::{Inputs, Params};
use rasft_verify::JudgeParams;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # verdicts of rollouts
  rasft-verify --rollouts rollouts --problems problems --out verdicts

  # nothing longer than what `rasft-score mixture --max-length 640` takes is fit to train on
  rasft-verify --rollouts rollouts --problems problems --max-length 640 --out verdicts

  # any Parquet file with the columns gold and response
  rasft-verify --pairs answers.parquet --out judged

  # one answer, with the reason
  rasft-verify answer --gold '\\frac{1}{2}' --response 'so we get \\boxed{0.5}'";

/// Judge completions: is the answer right, and is the text fit to train on
#[derive(Debug, Parser)]
#[command(name = "rasft-verify", version, after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub struct VerifyCli {
    /// What else than judging a table.
    #[command(subcommand)]
    pub command: Option<VerifyCommand>,
    /// Stage flags.
    #[command(flatten)]
    pub args: VerifyArgs,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for VerifyCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Side commands.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// Judge one answer and say why
    Answer(AnswerArgs),
}

/// Flags of `rasft-verify answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// The gold answer
    #[arg(long)]
    pub gold: String,
    /// The completion
    #[arg(long, conflicts_with = "response_file", required_unless_present = "response_file")]
    pub response: Option<String>,
    /// A file with the completion
    #[arg(long, value_name = "FILE")]
    pub response_file: Option<PathBuf>,
    /// Policy.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// When two answers are the same.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyArgs {
    /// Rounded decimals for exact values: a relative difference such as 1e-4, or rounded:DIGITS [default: none, 0.33 is
    /// not 1/3]
    #[arg(long, value_name = "R|rounded:N")]
    pub tolerance: Option<String>,
}

impl PolicyArgs {
    /// How completions are judged.
    pub fn resolve(&self) -> Result<JudgeParams, Failure> {
        let tolerance = self
            .tolerance
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|e: String| Failure::usage(format!("--{e}")))?;
        let mut judge = JudgeParams::default();
        judge.math.tolerance = tolerance;
        Ok(judge)
    }
}

/// Flags of `rasft-verify`, and the keys of `[verify]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyArgs {
    /// Rollouts to judge
    #[arg(long, value_name = "DATASET")]
    pub rollouts: Option<PathBuf>,
    /// The problems they solve
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Instead: any Parquet data with the columns `gold` and `response`
    #[arg(long, value_name = "DATASET", conflicts_with_all = ["rollouts", "problems"])]
    pub pairs: Option<PathBuf>,
    /// Longest prompt plus completion that is fit to train on, in tokens; give the mixture's --max-length, so that what
    /// does not fit gets no weight [default: no limit]
    #[arg(long, value_name = "TOKENS", conflicts_with = "pairs")]
    pub max_length: Option<u32>,
    /// Policy.
    #[command(flatten)]
    #[serde(flatten)]
    pub policy: PolicyArgs,
}

impl VerifyArgs {
    /// Flags for judging a table do nothing before `answer`, which has its own.
    pub fn refuse_before_answer(&self) -> Result<(), Failure> {
        let tables = [("rollouts", &self.rollouts), ("problems", &self.problems), ("pairs", &self.pairs)];
        let table = tables.iter().find(|(_, path)| path.is_some()).map(|(flag, _)| *flag);
        let refused = match (&self.policy.tolerance, table.or(self.max_length.map(|_| "max-length"))) {
            (_, Some(flag)) => (flag, "leave it out: it belongs to judging a table".to_owned()),
            (Some(tolerance), None) => {
                ("tolerance", format!("it goes behind: rasft-verify answer --tolerance {tolerance}"))
            }
            (None, None) => return Ok(()),
        };
        let (flag, hint) = refused;
        Err(Failure::usage(format!("--{flag} before `answer` means nothing to `rasft-verify answer`\nhint: {hint}")))
    }

    /// The stage's inputs and parameters.
    pub fn resolve(&self) -> Result<(Inputs, Params), Failure> {
        let inputs = match &self.pairs {
            Some(pairs) => Inputs::Pairs(pairs.clone()),
            None => Inputs::Rollouts {
                rollouts: required(&self.rollouts, "rollouts", "the rollouts to judge")?,
                problems: required(&self.problems, "problems", "the problems they solve")?,
            },
        };
        let max_length = match inputs {
            Inputs::Pairs(_) => None,
            Inputs::Rollouts { .. } => self.max_length,
        };
        Ok((inputs, Params { judge: JudgeParams { max_length, ..self.policy.resolve()? } }))
    }
}

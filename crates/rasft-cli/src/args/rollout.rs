//! `rasft-rollout`.

use super::{prompt::PromptArgs, required};
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser};
use rasft_stages::SamplingParams;
use rasft_stages::rollout::{Inputs, Params};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # four samples of every problem
  rasft-rollout --problems problems --model SmolLM2-135M-Instruct --n 4 --out rollouts

  # only the problems that the difficulty table routes to rollouts, settings from an experiment file
  rasft-rollout --config pipelines/quickstart.toml --problems problems --model checkpoint --select difficulty

  # the third of eight parts, on one node of a cluster
  rasft-rollout --problems problems --model checkpoint --n 4 --shard 2/8";

/// Sample solutions of problems from a policy
#[derive(Debug, Parser)]
#[command(name = "rasft-rollout", version, after_help = EXAMPLES)]
pub struct RolloutCli {
    /// Stage flags.
    #[command(flatten)]
    pub args: RolloutArgs,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for RolloutCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Flags of `rasft-rollout`, and the keys of `[rollout]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutArgs {
    /// Problems to solve
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Policy to sample from
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Only the problems that this difficulty table routes to `rollout` or `probe`
    #[arg(long, value_name = "DIFFICULTY")]
    pub select: Option<PathBuf>,
    /// Round of the experiment, written into the table [default: 0]
    #[arg(long)]
    pub round: Option<u32>,
    /// Sampling.
    #[command(flatten)]
    #[serde(flatten)]
    pub sampling: SamplingArgs,
    /// Prompt.
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptArgs,
}

/// How completions are sampled.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplingArgs {
    /// Samples per problem [default: 3 for rollouts, 1 for evaluation]
    #[arg(long)]
    pub n: Option<u32>,
    /// 0 takes the most likely token [default: 0.9 for rollouts, 0 for evaluation]
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Keep the smallest set of tokens with this probability [default: 0.95 for rollouts, 1 for evaluation]
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Keep the K most likely tokens; 0 keeps all [default: 0]
    #[arg(long)]
    pub top_k: Option<u32>,
    /// Keep tokens at least this likely relative to the most likely one [default: 0]
    #[arg(long)]
    pub min_p: Option<f64>,
    /// Penalty on tokens of the prompt and the completion so far; 1 is none [default: 1.1 for rollouts, 1 for evaluation]
    #[arg(long)]
    pub repetition_penalty: Option<f64>,
    /// Longest completion, in tokens [default: 1024]
    #[arg(long)]
    pub max_new_tokens: Option<u32>,
    /// Longest prompt plus completion, in tokens, the model's context at most [default: 2048]
    #[arg(long)]
    pub max_length: Option<u32>,
    /// End a completion before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Sequences decoded at once; changes speed and memory, never the result [default: 32]
    #[arg(long)]
    pub batch_size: Option<usize>,
}

impl SamplingArgs {
    /// Fills in what was not given from `defaults`.
    pub fn resolve(&self, defaults: SamplingParams) -> SamplingParams {
        SamplingParams {
            n: self.n.unwrap_or(defaults.n),
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            max_new_tokens: self.max_new_tokens.unwrap_or(defaults.max_new_tokens),
            max_length: self.max_length.or(defaults.max_length),
            stop: if self.stop.is_empty() { defaults.stop } else { self.stop.clone() },
        }
    }

    /// Sequences decoded at once.
    pub fn batch_size(&self) -> Result<usize, Failure> {
        match self.batch_size.unwrap_or(32) {
            0 => Err(Failure::usage("--batch-size must be at least 1")),
            n => Ok(n),
        }
    }
}

impl RolloutArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64, device: Option<String>) -> Result<(Inputs, Params), Failure> {
        let inputs = Inputs {
            problems: required(&self.problems, "problems", "the problems to solve")?,
            model: required(&self.model, "model", "the policy to sample from")?,
            select: self.select.clone(),
        };
        let params = Params {
            sampling: self.sampling.resolve(SamplingParams::rollout()),
            prompt: self.prompt.resolve(),
            round: self.round.unwrap_or(0),
            seed,
            batch_size: self.sampling.batch_size()?,
            device,
        };
        Ok((inputs, params))
    }
}

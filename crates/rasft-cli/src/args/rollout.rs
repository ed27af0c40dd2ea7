//! `rasft-rollout`.

use super::{endpoint::EndpointArgs, prompt::PromptArgs, required};
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser};
use rasft_stages::rollout::{Inputs, Params};
use rasft_stages::{Adaptive, Batch, SamplingParams};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # four samples of every problem
  rasft-rollout --problems problems --model SmolLM2-135M-Instruct --n 4 --out rollouts

  # only the problems that the difficulty table routes to rollouts, settings from an experiment file
  rasft-rollout --config pipelines/quickstart.toml --problems problems --model checkpoint --select difficulty

  # two samples each, and up to sixteen where the 95 % interval of solvability stays wider than 0.5
  rasft-rollout --problems problems --model checkpoint --n-min 2 --n-max 16 --until-width 0.5

  # from a server that runs the checkpoint: prompts are templated and tokenised here
  rasft-rollout --problems problems --endpoint http://127.0.0.1:8000/v1 --served-model policy --model checkpoint --n 8

  # from a hosted model: the server applies its own template
  rasft-rollout --problems problems --endpoint https://api.example.org/v1 --served-model big-model --dialect openai \
    --repetition-penalty 1 --api-key-env EXAMPLE_API_KEY

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

/// Samples decoded at once when memory is the only limit; more gain nothing on a CPU.
const MOST_AT_ONCE: usize = 1024;

/// Flags of `rasft-rollout`, and the keys of `[rollout]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutArgs {
    /// Problems to solve
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Policy to sample from: a directory, a .gguf file or hf:ORG/NAME[@REV]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Only the problems that this difficulty table routes to `rollout` or `probe`
    #[arg(long, value_name = "DIFFICULTY")]
    pub select: Option<PathBuf>,
    /// Round of the experiment, written into the table [default: 0]
    #[arg(long)]
    pub round: Option<u32>,
    /// Samples that every problem gets, instead of --n; the number doubles until a reason to stop or --n-max
    #[arg(long, value_name = "N", conflicts_with = "n")]
    pub n_min: Option<u32>,
    /// Samples that no problem exceeds
    #[arg(long, value_name = "N")]
    pub n_max: Option<u32>,
    /// Stop when the 95 % Jeffreys interval of a problem's solvability is narrower than this
    #[arg(long, value_name = "W")]
    pub until_width: Option<f64>,
    /// Stop when a problem has a correct and a wrong sample fit to train on: further ones only move its weights
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub until_settled: Option<bool>,
    /// Sampling.
    #[command(flatten)]
    #[serde(flatten)]
    pub sampling: SamplingArgs,
    /// Prompt.
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptArgs,
    /// Server.
    #[command(flatten)]
    #[serde(flatten)]
    pub endpoint: EndpointArgs,
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
    /// Tokens before which a completion neither ends nor meets a stop text [default: 0]
    #[arg(long)]
    pub min_new_tokens: Option<u32>,
    /// Longest completion, in tokens [default: 1024]
    #[arg(long)]
    pub max_new_tokens: Option<u32>,
    /// Longest prompt plus completion, in tokens, the model's context at most [default: 2048]
    #[arg(long)]
    pub max_length: Option<u32>,
    /// End a completion before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Samples decoded at once; changes speed and memory, never the result [default: 64]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Decode as many samples at once as have room for their keys and values in so many MiB, instead of --batch-size
    #[arg(long, value_name = "MIB")]
    pub memory: Option<usize>,
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
            min_new_tokens: self.min_new_tokens.unwrap_or(defaults.min_new_tokens),
            max_new_tokens: self.max_new_tokens.unwrap_or(defaults.max_new_tokens),
            max_length: self.max_length.or(defaults.max_length),
            stop: if self.stop.is_empty() { defaults.stop } else { self.stop.clone() },
        }
    }

    /// Samples decoded at once. With both limits, both hold.
    pub fn batch(&self) -> Result<Batch, Failure> {
        if self.batch_size == Some(0) {
            return Err(Failure::usage("--batch-size must be at least 1"));
        }
        if self.memory == Some(0) {
            return Err(Failure::usage("--memory must be at least 1 MiB"));
        }
        let unset = if self.memory.is_some() { MOST_AT_ONCE } else { 64 };
        let bytes = |mib: usize| {
            mib.checked_mul(1 << 20).ok_or_else(|| Failure::usage(format!("--memory {mib}: more than there can be")))
        };
        Ok(Batch { size: self.batch_size.unwrap_or(unset), cache_bytes: self.memory.map(bytes).transpose()? })
    }
}

impl RolloutArgs {
    /// `--n-min` and `--n-max` on the command line beat `n` in the file, and `--n` beats all of adaptive sampling there.
    pub fn settle_samples(mut self, flags: &Self) -> Self {
        if flags.n_min.is_some() || flags.n_max.is_some() {
            self.sampling.n = flags.sampling.n;
        } else if flags.sampling.n.is_some() {
            (self.n_min, self.n_max) = (None, None);
            (self.until_width, self.until_settled) = (flags.until_width, flags.until_settled);
        }
        self
    }

    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64, device: Option<String>) -> Result<(Inputs, Params), Failure> {
        let served = self.endpoint.resolve(self.model.is_some())?;
        let inputs = Inputs {
            problems: required(&self.problems, "problems", "the problems to solve")?,
            model: match served {
                Some(_) => self.model.clone(),
                None => Some(required(&self.model, "model", "the policy to sample from")?),
            },
            select: self.select.clone(),
        };
        let adaptive = self.adaptive()?;
        let mut sampling = self.sampling.resolve(SamplingParams::rollout());
        if let Some(adaptive) = &adaptive {
            sampling.n = adaptive.n_max;
        }
        let params = Params {
            sampling,
            prompt: self.prompt.resolve(),
            adaptive,
            round: self.round.unwrap_or(0),
            seed,
            served,
            batch: self.sampling.batch()?,
            device,
        };
        Ok((inputs, params))
    }

    /// `clap` checks the command line; a configuration file comes past it.
    fn adaptive(&self) -> Result<Option<Adaptive>, Failure> {
        let until_settled = self.until_settled.unwrap_or(false);
        match (self.n_min, self.n_max) {
            (Some(_), Some(_)) if self.sampling.n.is_some() => {
                Err(Failure::usage("--n and --n-min exclude each other: give one of them"))
            }
            (Some(n_min), Some(n_max)) => {
                Ok(Some(Adaptive { n_min, n_max, until_width: self.until_width, until_settled }))
            }
            (None, None) if self.until_width.is_none() && !until_settled => Ok(None),
            _ => Err(Failure::usage("adaptive sampling needs both --n-min and --n-max, and takes no --n")),
        }
    }
}

//! `rasft-eval run | compare | report`.

use super::endpoint::EndpointArgs;
use super::prompt::PromptArgs;
use super::required;
use super::rollout::SamplingArgs;
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser, Subcommand};
use rasft_stages::{SamplingParams, eval_compare, eval_run};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # four samples of each problem of two benchmarks
  rasft-eval run --model checkpoint --bench gsm8k=gsm8k_test --bench math500=math500 --n 4 --out eval/rasft

  # are the differences real? paired over the same problems, 95 % intervals
  rasft-eval compare base=eval/base sft=eval/sft rasft=eval/rasft

  # the same as one HTML page
  rasft-eval report --runs base=eval/base sft=eval/sft rasft=eval/rasft --out report.html";

/// Measure models on benchmarks and compare them problem by problem
#[derive(Debug, Parser)]
#[command(name = "rasft-eval", version, after_help = EXAMPLES)]
pub struct EvalCli {
    /// What to do.
    #[command(subcommand)]
    pub command: EvalCommand,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for EvalCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Measuring and comparing.
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Sample, judge and summarise one model
    Run(Box<RunArgs>),
    /// Compare runs on the same problems; the first is the baseline
    Compare(CompareArgs),
    /// Write one HTML page that shows runs side by side; the first is the baseline
    Report(ReportArgs),
}

/// Flags of `rasft-eval run`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct RunArgs {
    /// Model to measure
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Benchmark problems (repeatable)
    #[arg(long, value_name = "NAME=DATASET")]
    pub bench: Vec<String>,
    /// k of pass@k, comma-separated, each at most n; avg@n and maj@n (n above 1) are always there [default: 1 and n]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    pub k: Vec<u32>,
    /// Only the first problems of each benchmark
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
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

/// Flags of `rasft-eval compare`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct CompareArgs {
    /// Results of `rasft-eval run`, the baseline first
    #[arg(value_name = "NAME=RUN")]
    pub runs: Vec<String>,
    /// Bootstrap resamples [default: 10000]
    #[arg(long)]
    pub resamples: Option<u32>,
}

/// Flags of `rasft-eval report`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportArgs {
    /// Results of `rasft-eval run`; without a name a run is called as its folder is
    #[arg(long, value_name = "[NAME=]RUN", num_args = 1..)]
    pub runs: Vec<String>,
}

impl ReportArgs {
    /// The runs by name.
    pub fn resolve(&self) -> Result<Vec<(String, PathBuf)>, Failure> {
        if self.runs.is_empty() {
            return Err(Failure::usage("report needs runs: --runs NAME=RUN …"));
        }
        let by_folder = |run: &String| {
            let path = PathBuf::from(run);
            (path.file_name().map_or_else(|| run.clone(), |name| name.to_string_lossy().into_owned()), path)
        };
        self.runs.iter().map(|r| if r.contains('=') { named(r, "--runs") } else { Ok(by_folder(r)) }).collect()
    }
}

/// Splits `NAME=PATH`.
fn named(text: &str, flag: &str) -> Result<(String, PathBuf), Failure> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), PathBuf::from(path))),
        _ => Err(Failure::usage(format!("{flag} {text}: expected NAME=PATH"))),
    }
}

impl RunArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64, device: Option<String>) -> Result<(eval_run::Inputs, eval_run::Params), Failure> {
        if self.bench.is_empty() {
            return Err(Failure::usage("missing --bench: at least one NAME=DATASET"));
        }
        let served = self.endpoint.resolve(self.model.is_some())?;
        let inputs = eval_run::Inputs {
            model: match served {
                Some(_) => self.model.clone(),
                None => Some(required(&self.model, "model", "the model to measure")?),
            },
            benches: self.bench.iter().map(|b| named(b, "--bench")).collect::<Result<_, _>>()?,
        };
        let params = eval_run::Params {
            sampling: self.sampling.resolve(SamplingParams::eval()),
            prompt: self.prompt.resolve(),
            k: self.k.clone(),
            limit: self.limit,
            seed,
            served,
            batch: self.sampling.batch()?,
            device,
        };
        Ok((inputs, params))
    }
}

impl CompareArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64) -> Result<(eval_compare::Inputs, eval_compare::Params), Failure> {
        if self.runs.len() < 2 {
            return Err(Failure::usage("compare needs at least two runs: NAME=RUN NAME=RUN"));
        }
        let runs = self.runs.iter().map(|r| named(r, "run")).collect::<Result<_, _>>()?;
        let d = eval_compare::Params::default();
        Ok((
            eval_compare::Inputs { runs },
            eval_compare::Params { resamples: self.resamples.unwrap_or(d.resamples), seed },
        ))
    }
}

//! `rasft-score difficulty | solvability | mixture`.

use super::{prompt::PromptArgs, required};
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser, Subcommand};
use rasft_method::Profile;
use rasft_stages::{difficulty, mixture, solvability};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # how hard is each problem for this policy, and where does that route it
  rasft-score difficulty --problems problems --model base --out difficulty

  # how well does the policy solve each problem
  rasft-score solvability --problems problems --rollouts rollouts --verdicts verdicts --difficulty difficulty --out solvability

  # on a cluster: each node a part of the losses, then the table from all of them
  rasft-score difficulty --problems problems --model base --shard 0/4

  # what to train on, and how strongly
  rasft-score mixture --problems problems --rollouts rollouts --verdicts verdicts --solvability solvability \\
      --difficulty difficulty --model checkpoint --reference base --out mixture

  # experts alone, for plain supervised fine-tuning
  rasft-score mixture --problems problems --model base --for sft --out experts";

/// Difficulty, solvability, and the mixture to train on
#[derive(Debug, Parser)]
#[command(name = "rasft-score", version, after_help = EXAMPLES)]
pub struct ScoreCli {
    /// What to score.
    #[command(subcommand)]
    pub command: ScoreCommand,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for ScoreCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// The three tables.
#[derive(Debug, Subcommand)]
pub enum ScoreCommand {
    /// Loss of each expert solution under the policy, and its route
    Difficulty(Box<DifficultyArgs>),
    /// Solvability, group advantages and weights of each problem
    Solvability(Box<SolvabilityArgs>),
    /// Weighted trajectories with reference log-probabilities
    Mixture(Box<MixtureArgs>),
}

/// Flags of `rasft-score difficulty`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct DifficultyArgs {
    /// Problems with expert solutions
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Current policy
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Only COUNT problems from START on, e.g. 128:128 (plus the hard pool's)
    #[arg(long, value_name = "START:COUNT")]
    pub slice: Option<String>,
    /// How far the run has come, 0 to 1; moves the window [default: 0]
    #[arg(long, value_name = "F")]
    pub progress_fraction: Option<f64>,
    /// Take thresholds from this difficulty table instead of from this slice
    #[arg(long, value_name = "DIFFICULTY")]
    pub calibration: Option<PathBuf>,
    /// Difficulty table of the previous round, whose hard pool goes on
    #[arg(long, value_name = "DIFFICULTY")]
    pub hard_pool: Option<PathBuf>,
    /// Solvability table of the previous round: problems solved there leave the hard pool
    #[arg(long, value_name = "SOLVABILITY")]
    pub solved: Option<PathBuf>,
    /// Last round: what is left in the hard pool trains on its expert
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub flush: Option<bool>,
    /// Which rule lets solved problems leave the hard pool: reference or calibrated [default: reference]
    #[arg(long)]
    pub profile: Option<String>,
    /// Round of the experiment; part of the random selection [default: 0]
    #[arg(long)]
    pub round: Option<u32>,
    /// Share of window problems that are rolled out [default: 0.35]
    #[arg(long)]
    pub main_rollout_ratio: Option<f64>,
    /// Share of the hard pool that is probed [default: 0.03]
    #[arg(long)]
    pub hard_probe_ratio: Option<f64>,
    /// Losses used for calibration, at most; 0 uses all [default: 1000]
    #[arg(long)]
    pub calibration_sample_size: Option<usize>,
    /// Quantile of the easy floor [default: 0.10]
    #[arg(long)]
    pub easy_floor_q: Option<f64>,
    /// Quantile of the window's first lower end [default: 0.20]
    #[arg(long)]
    pub start_low_q: Option<f64>,
    /// Quantile of the window's first upper end [default: 0.45]
    #[arg(long)]
    pub start_high_q: Option<f64>,
    /// Quantile of the window's last lower end [default: 0.50]
    #[arg(long)]
    pub end_low_q: Option<f64>,
    /// Quantile of the window's last upper end [default: 0.75]
    #[arg(long)]
    pub end_high_q: Option<f64>,
    /// Quantile of the hard pool's ceiling [default: 0.90]
    #[arg(long)]
    pub hard_probe_ceiling_q: Option<f64>,
    /// Longest prompt plus response and its end, in tokens; problems beyond it are not scored [default: 2048]
    #[arg(long)]
    pub max_length: Option<usize>,
    /// Prompt.
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptArgs,
}

/// Flags of `rasft-score solvability`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct SolvabilityArgs {
    /// Problems
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Their rollouts
    #[arg(long, value_name = "DATASET")]
    pub rollouts: Option<PathBuf>,
    /// The rollouts' verdicts
    #[arg(long, value_name = "DATASET")]
    pub verdicts: Option<PathBuf>,
    /// Only the problems that this difficulty table routes to `rollout` or `probe`
    #[arg(long, value_name = "DIFFICULTY")]
    pub difficulty: Option<PathBuf>,
    /// reference: as published; calibrated: smooth and monotone [default: reference]
    #[arg(long)]
    pub profile: Option<String>,
    /// Expert's reward when every rollout is correct [default: 1]
    #[arg(long)]
    pub expert_reward_min: Option<f64>,
    /// Expert's reward when none is [default: 3]
    #[arg(long)]
    pub expert_reward_max: Option<f64>,
    /// Reward of a correct rollout [default: 1]
    #[arg(long)]
    pub pos_reward: Option<f64>,
    /// Reward of a wrong rollout [default: 0]
    #[arg(long)]
    pub neg_reward: Option<f64>,
    /// Wrong rollouts that enter the group's statistics [default: 3]
    #[arg(long)]
    pub max_negative_keep: Option<usize>,
    /// Slope of the soft advantage [default: 0.4]
    #[arg(long)]
    pub adv_alpha: Option<f64>,
    /// Factor on rollout weights [default: 0.25]
    #[arg(long)]
    pub rollout_coef: Option<f64>,
    /// Smallest rollout weight, before the factor [default: 0.02]
    #[arg(long)]
    pub rollout_floor: Option<f64>,
    /// Largest rollout weight, before the factor [default: 0.15]
    #[arg(long)]
    pub rollout_cap: Option<f64>,
    /// Profile calibrated: the expert's smallest weight [default: 0.25]
    #[arg(long)]
    pub expert_weight_min: Option<f64>,
}

/// Flags of `rasft-score mixture`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct MixtureArgs {
    /// Problems with expert solutions
    #[arg(long, value_name = "DATASET")]
    pub problems: Option<PathBuf>,
    /// Their rollouts
    #[arg(long, value_name = "DATASET")]
    pub rollouts: Option<PathBuf>,
    /// The rollouts' verdicts
    #[arg(long, value_name = "DATASET")]
    pub verdicts: Option<PathBuf>,
    /// Solvability and weights
    #[arg(long, value_name = "DATASET")]
    pub solvability: Option<PathBuf>,
    /// Only the problems that this difficulty table trains this round, in its routes' order
    #[arg(long, value_name = "DIFFICULTY")]
    pub difficulty: Option<PathBuf>,
    /// Model whose tokenizer and chat template are used
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Frozen reference, for ref_logprob
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<PathBuf>,
    /// rasft, sft (experts alone at weight 1), or grpo (usable rollouts, right and wrong, by group advantage) [default: rasft]
    #[arg(long = "for", id = "for", value_name = "OBJECTIVE")]
    #[serde(rename = "for")]
    pub objective: Option<String>,
    /// Only COUNT problems from START on, e.g. 0:512
    #[arg(long, value_name = "START:COUNT")]
    pub slice: Option<String>,
    /// Longest prompt plus response and its end, in tokens [default: 2048]
    #[arg(long)]
    pub max_length: Option<usize>,
    /// What happens to longer trajectories: drop (a problem with such a rollout trains on its expert alone) or truncate
    /// (without an end) [default: drop]
    #[arg(long, value_name = "drop|truncate")]
    pub on_long: Option<String>,
    /// Round of the experiment, written into the table [default: 0]
    #[arg(long)]
    pub round: Option<u32>,
    /// Prompt.
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptArgs,
}

fn profile(word: Option<&str>) -> Result<Profile, Failure> {
    word.map_or(Ok(Profile::default()), str::parse).map_err(|e| Failure::usage(format!("--profile: {e}")))
}

impl DifficultyArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(
        &self,
        seed: u64,
        device: Option<String>,
    ) -> Result<(difficulty::Inputs, difficulty::Params), Failure> {
        let inputs = difficulty::Inputs {
            problems: required(&self.problems, "problems", "problems with expert solutions")?,
            model: required(&self.model, "model", "the current policy")?,
            calibration: self.calibration.clone(),
            hard_pool: self.hard_pool.clone(),
            solved: self.solved.clone(),
        };
        let d = difficulty::Params::default();
        let params = difficulty::Params {
            slice: self.slice.as_deref().map(str::parse).transpose().map_err(Failure::usage)?,
            progress_fraction: self.progress_fraction.unwrap_or(d.progress_fraction),
            flush: self.flush.unwrap_or(d.flush),
            profile: profile(self.profile.as_deref())?,
            round: self.round.unwrap_or(d.round),
            main_rollout_ratio: self.main_rollout_ratio.unwrap_or(d.main_rollout_ratio),
            hard_probe_ratio: self.hard_probe_ratio.unwrap_or(d.hard_probe_ratio),
            calibration_sample_size: self.calibration_sample_size.unwrap_or(d.calibration_sample_size),
            easy_floor_q: self.easy_floor_q.unwrap_or(d.easy_floor_q),
            start_low_q: self.start_low_q.unwrap_or(d.start_low_q),
            start_high_q: self.start_high_q.unwrap_or(d.start_high_q),
            end_low_q: self.end_low_q.unwrap_or(d.end_low_q),
            end_high_q: self.end_high_q.unwrap_or(d.end_high_q),
            hard_probe_ceiling_q: self.hard_probe_ceiling_q.unwrap_or(d.hard_probe_ceiling_q),
            max_length: self.max_length.unwrap_or(d.max_length),
            prompt: self.prompt.resolve(),
            seed,
            device,
        };
        Ok((inputs, params))
    }
}

impl SolvabilityArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self) -> Result<(solvability::Inputs, solvability::Params), Failure> {
        let inputs = solvability::Inputs {
            problems: required(&self.problems, "problems", "the problems")?,
            rollouts: required(&self.rollouts, "rollouts", "their rollouts")?,
            verdicts: required(&self.verdicts, "verdicts", "the rollouts' verdicts")?,
            difficulty: self.difficulty.clone(),
        };
        let d = solvability::Params::default();
        let params = solvability::Params {
            profile: profile(self.profile.as_deref())?,
            expert_reward_min: self.expert_reward_min.unwrap_or(d.expert_reward_min),
            expert_reward_max: self.expert_reward_max.unwrap_or(d.expert_reward_max),
            pos_reward: self.pos_reward.unwrap_or(d.pos_reward),
            neg_reward: self.neg_reward.unwrap_or(d.neg_reward),
            max_negative_keep: self.max_negative_keep.unwrap_or(d.max_negative_keep),
            adv_alpha: self.adv_alpha.unwrap_or(d.adv_alpha),
            rollout_coef: self.rollout_coef.unwrap_or(d.rollout_coef),
            rollout_floor: self.rollout_floor.unwrap_or(d.rollout_floor),
            rollout_cap: self.rollout_cap.unwrap_or(d.rollout_cap),
            expert_weight_min: self.expert_weight_min.unwrap_or(d.expert_weight_min),
        };
        Ok((inputs, params))
    }
}

impl MixtureArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self, device: Option<String>) -> Result<(mixture::Inputs, mixture::Params), Failure> {
        let d = mixture::Params::default();
        let objective = match self.objective.as_deref() {
            None | Some("rasft") => mixture::For::Rasft,
            Some("sft") => mixture::For::Sft,
            Some("grpo") => mixture::For::Grpo,
            Some(other) => return Err(Failure::usage(format!("--for {other}: expected rasft, sft or grpo"))),
        };
        let rollouts = match objective {
            mixture::For::Sft => None,
            mixture::For::Rasft | mixture::For::Grpo => Some(mixture::RolloutInputs {
                rollouts: required(
                    &self.rollouts,
                    "rollouts",
                    "the rollouts (or --for sft to train on experts alone)",
                )?,
                verdicts: required(&self.verdicts, "verdicts", "the rollouts' verdicts")?,
                solvability: match objective {
                    // Its weights are the group's own advantages.
                    mixture::For::Grpo => None,
                    _ => Some(required(&self.solvability, "solvability", "solvability and weights")?),
                },
            }),
        };
        let inputs = mixture::Inputs {
            problems: required(&self.problems, "problems", "problems with expert solutions")?,
            rollouts,
            difficulty: self.difficulty.clone(),
            model: required(&self.model, "model", "the model whose tokenizer and chat template are used")?,
            reference: self.reference.clone(),
        };
        let params = mixture::Params {
            objective,
            slice: self.slice.as_deref().map(str::parse).transpose().map_err(Failure::usage)?,
            max_length: self.max_length.unwrap_or(d.max_length),
            truncate_long: match self.on_long.as_deref() {
                None | Some("drop") => false,
                Some("truncate") => true,
                Some(other) => return Err(Failure::usage(format!("--on-long {other}: expected drop or truncate"))),
            },
            round: self.round.unwrap_or(d.round),
            prompt: self.prompt.resolve(),
            device,
        };
        Ok((inputs, params))
    }
}

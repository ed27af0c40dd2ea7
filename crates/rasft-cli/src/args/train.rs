//! `rasft-train`.

use super::required;
use crate::session::Cli;
use crate::{CommonArgs, Failure};
use clap::{Args, Parser};
use rasft_stages::train::{Inputs, LoraParams, Params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # one round of RASFT
  rasft-train --mixture mixture --model SmolLM2-135M-Instruct --objective rasft --steps 8 --batch-size 32 --out checkpoint

  # the next round goes on with the optimizer's moments and the schedule
  rasft-train --mixture mixture-1 --model checkpoint --continue checkpoint --objective rasft --steps 8 --schedule-steps 16

  # an adapter instead of the whole model, with a checkpoint every 100 steps
  rasft-train --mixture mixture --model base --lora 16 --lora-targets q_proj,k_proj,v_proj,o_proj --steps 1000 --checkpoint-every 100

  # plain supervised fine-tuning for three epochs
  rasft-train --mixture experts --model base --objective sft --epochs 3 --learning-rate 2e-5";

/// Train a policy on a mixture of weighted trajectories
#[derive(Debug, Parser)]
#[command(name = "rasft-train", version, after_help = EXAMPLES)]
pub struct TrainCli {
    /// Stage flags.
    #[command(flatten)]
    pub args: TrainArgs,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for TrainCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Flags of `rasft-train`, and the keys of `[train]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainArgs {
    /// Trajectories to train on (repeatable; read in this order)
    #[arg(long, value_name = "DATASET")]
    pub mixture: Vec<PathBuf>,
    /// Model to start from
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Start from seeded random weights; the model directory needs no weights then
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub from_scratch: Option<bool>,
    /// Take optimizer moments and the global step from this checkpoint
    #[arg(long = "continue", id = "continue", value_name = "CHECKPOINT")]
    #[serde(rename = "continue")]
    pub continue_from: Option<PathBuf>,
    /// rasft, sft, dft, profit, sft-kl, asft or grpo [default: rasft]
    #[arg(long)]
    pub objective: Option<String>,
    /// Frozen model that sft-kl, asft, and grpo with --kl-weight are held to [default with --lora: the model without its adapter]
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<PathBuf>,
    /// Weight of the divergence from the reference [default: 0.1, for grpo 0]
    #[arg(long)]
    pub kl_weight: Option<f64>,
    /// Optimizer steps of this run
    #[arg(long, conflicts_with = "epochs")]
    pub steps: Option<u64>,
    /// Passes over the mixture, instead of --steps [default: 1]
    #[arg(long)]
    pub epochs: Option<f64>,
    /// Sequences per optimizer step [default: 32]
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Most tokens in one micro-batch [default: 4096]
    #[arg(long, conflicts_with = "micro_batch_size")]
    pub micro_batch_tokens: Option<usize>,
    /// Sequences in one micro-batch, instead of a token budget
    #[arg(long, value_name = "SEQUENCES")]
    pub micro_batch_size: Option<usize>,
    /// Shuffle each epoch instead of following the mixture's order
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub shuffle: Option<bool>,
    /// Length of the learning-rate schedule over all rounds [default: the last step of this run]
    #[arg(long, value_name = "TOTAL")]
    pub schedule_steps: Option<u64>,
    /// Peak learning rate [default: 5e-5]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Steps of linear warm-up [default: 0]
    #[arg(long)]
    pub warmup_steps: Option<u64>,
    /// cosine, linear or constant [default: cosine]
    #[arg(long)]
    pub schedule: Option<String>,
    /// Decoupled weight decay [default: 0]
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// No weight decay on norms and biases
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub no_decay_norms: Option<bool>,
    /// First-moment decay [default: 0.9]
    #[arg(long)]
    pub beta1: Option<f64>,
    /// Second-moment decay [default: 0.999]
    #[arg(long)]
    pub beta2: Option<f64>,
    /// Denominator offset of AdamW [default: 1e-8]
    #[arg(long)]
    pub eps: Option<f64>,
    /// Clip the global gradient norm [default: 1]
    #[arg(long)]
    pub max_grad_norm: Option<f64>,
    /// rasft: lower end of the clipped inverse ratio [default: 0.4]
    #[arg(long)]
    pub clip_min: Option<f64>,
    /// rasft: upper end of the clipped inverse ratio [default: 1.2]
    #[arg(long)]
    pub clip_max: Option<f64>,
    /// grpo: clip token ratios above 1 plus this [default: 0.2, as far as below 1; 0.28 is DAPO's]
    #[arg(long)]
    pub clip_high: Option<f64>,
    /// global or micro-batch [default: global]
    #[arg(long)]
    pub loss_normalization: Option<String>,
    /// Train a low-rank adapter of this rank instead of the weights; written as PEFT does
    #[arg(long, value_name = "RANK")]
    pub lora: Option<usize>,
    /// The adapter's scale is this over its rank [default: 16]
    #[arg(long, value_name = "ALPHA")]
    pub lora_alpha: Option<f64>,
    /// Dropout before the adapter [default: 0.05]
    #[arg(long, value_name = "P")]
    pub lora_dropout: Option<f64>,
    /// Modules with an adapter, of q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj [default: q_proj,v_proj]
    #[arg(long, value_name = "MODULES", value_delimiter = ',')]
    pub lora_targets: Vec<String>,
    /// Write a whole model with the adapter in its weights, instead of the adapter
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub merge: Option<bool>,
    /// Compute activations again in the backward pass instead of keeping them: less memory, up to
    /// a third more time, the same bytes; on the CPU, not with --device
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub gradient_checkpointing: Option<bool>,
    /// Keep a checkpoint of the unfinished run every N steps: killed, the same command goes on from there
    #[arg(long, value_name = "N")]
    pub checkpoint_every: Option<u64>,
    /// Checkpoints of the unfinished run that are kept [default: 1]
    #[arg(long, value_name = "K")]
    pub keep_checkpoints: Option<usize>,
    /// Also write the metrics as TensorBoard event files
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Weights in the passes: f32; or bf16, rounded after each step from an f32 copy that takes up the updates (the frozen
    /// ones with --lora, whose adapter stays f32) [default: f32]
    #[arg(long, value_name = "f32|bf16")]
    pub dtype: Option<String>,
    /// Weights of the written checkpoint: f32 or bf16 [default: --dtype; with --lora f32]
    #[arg(long, value_name = "f32|bf16")]
    pub save_dtype: Option<String>,
}

impl TrainArgs {
    /// A flag on the command line beats its alternative in the file: `--epochs` and `steps`, `--micro-batch-tokens` and
    /// `micro_batch_size`, and the other way round.
    pub fn settle_alternatives(mut self, flags: &Self) -> Self {
        if flags.epochs.is_some() {
            self.steps = None;
        }
        if flags.micro_batch_tokens.is_some() {
            self.micro_batch_size = None;
        } else if flags.micro_batch_size.is_some() {
            self.micro_batch_tokens = None;
        }
        self
    }

    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64, device: Option<String>) -> Result<(Inputs, Params), Failure> {
        if self.mixture.is_empty() {
            return Err(Failure::usage(
                "missing --mixture: the trajectories to train on\nhint: `rasft-score mixture` writes them",
            ));
        }
        let inputs = Inputs {
            mixture: self.mixture.clone(),
            model: required(&self.model, "model", "the model to start from")?,
            continue_from: self.continue_from.clone(),
            reference: self.reference.clone(),
        };
        if self.micro_batch_tokens.is_some() && self.micro_batch_size.is_some() {
            return Err(Failure::usage(
                "micro_batch_tokens and micro_batch_size are alternatives: the configuration file gives both\nhint: remove one of them",
            ));
        }
        let d = Params::default();
        let dtype = self.dtype.clone().unwrap_or(d.dtype);
        // What was trained, without loss: an adapter is f32 whatever its base is held in.
        let save_dtype = if self.lora.is_some() { d.save_dtype } else { dtype.clone() };
        let params = Params {
            from_scratch: self.from_scratch.unwrap_or(d.from_scratch),
            objective: self.objective.clone().unwrap_or(d.objective),
            steps: self.steps,
            epochs: if self.steps.is_some() { None } else { Some(self.epochs.unwrap_or(1.0)) },
            batch_size: self.batch_size.unwrap_or(d.batch_size),
            micro_batch_tokens: self.micro_batch_tokens.unwrap_or(d.micro_batch_tokens),
            micro_batch_size: self.micro_batch_size,
            shuffle: self.shuffle.unwrap_or(d.shuffle),
            schedule_steps: self.schedule_steps,
            learning_rate: self.learning_rate.unwrap_or(d.learning_rate),
            warmup_steps: self.warmup_steps.unwrap_or(d.warmup_steps),
            schedule: self.schedule.clone().unwrap_or(d.schedule),
            weight_decay: self.weight_decay.unwrap_or(d.weight_decay),
            no_decay_norms: self.no_decay_norms.unwrap_or(d.no_decay_norms),
            beta1: self.beta1.unwrap_or(d.beta1),
            beta2: self.beta2.unwrap_or(d.beta2),
            eps: self.eps.unwrap_or(d.eps),
            max_grad_norm: self.max_grad_norm.unwrap_or(d.max_grad_norm),
            clip_min: self.clip_min.unwrap_or(d.clip_min),
            clip_max: self.clip_max.unwrap_or(d.clip_max),
            clip_high: self.clip_high,
            kl_weight: self.kl_weight,
            loss_normalization: self.loss_normalization.clone().unwrap_or(d.loss_normalization),
            save_dtype: self.save_dtype.clone().unwrap_or(save_dtype),
            dtype,
            lora: self.lora()?,
            seed,
            device,
            gradient_checkpointing: self.gradient_checkpointing.unwrap_or(d.gradient_checkpointing),
            checkpoint_every: self.checkpoint_every,
            keep_checkpoints: self.keep_checkpoints.unwrap_or(d.keep_checkpoints),
            tensorboard: self.tensorboard.clone(),
        };
        Ok((inputs, params))
    }

    fn lora(&self) -> Result<Option<LoraParams>, Failure> {
        let Some(rank) = self.lora else {
            let given = self.lora_alpha.is_some() || self.lora_dropout.is_some() || self.merge == Some(true);
            if given || !self.lora_targets.is_empty() {
                return Err(Failure::usage(
                    "--lora-alpha, --lora-dropout, --lora-targets and --merge need --lora RANK",
                ));
            }
            return Ok(None);
        };
        let d = LoraParams::default();
        // Sorted, so that their order does not enter the key.
        let targets: BTreeSet<_> = self.lora_targets.iter().map(|target| target.trim().to_owned()).collect();
        Ok(Some(LoraParams {
            rank,
            alpha: self.lora_alpha.unwrap_or(d.alpha),
            dropout: self.lora_dropout.unwrap_or(d.dropout),
            targets: if targets.is_empty() { d.targets } else { targets.into_iter().collect() },
            merge: self.merge.unwrap_or(d.merge),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_lora_targets_does_not_enter_the_key() {
        let of = |targets: &[&str]| {
            let args = TrainArgs {
                lora: Some(4),
                lora_targets: targets.iter().map(|target| target.to_string()).collect(),
                ..TrainArgs::default()
            };
            args.lora().ok().flatten().map(|lora| lora.targets)
        };
        let sorted = Some(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
        assert_eq!(
            [&["q_proj", "v_proj"][..], &["v_proj", "q_proj"], &["v_proj", " q_proj", "v_proj"]].map(of),
            [sorted.clone(), sorted.clone(), sorted]
        );
        assert_eq!(of(&[]), Some(LoraParams::default().targets));
    }

    #[test]
    fn a_flag_beats_its_alternative_in_the_file() {
        let both = TrainArgs {
            mixture: vec!["m".into()],
            model: Some("model".into()),
            micro_batch_tokens: Some(64),
            micro_batch_size: Some(2),
            ..TrainArgs::default()
        };
        let tokens = TrainArgs { micro_batch_tokens: Some(64), ..TrainArgs::default() };
        let size = TrainArgs { micro_batch_size: Some(2), ..TrainArgs::default() };
        let cut = |flags: &TrainArgs| {
            let params = both.clone().settle_alternatives(flags).resolve(42, None).ok().map(|(_, params)| params);
            params.map(|params| (params.micro_batch_tokens, params.micro_batch_size))
        };
        let default = Params::default().micro_batch_tokens;
        assert_eq!(cut(&tokens), Some((64, None)));
        assert_eq!(cut(&size), Some((default, Some(2))), "what is not used stays out of the key");
        assert_eq!(cut(&TrainArgs::default()), None, "the file alone gives both");
    }
}

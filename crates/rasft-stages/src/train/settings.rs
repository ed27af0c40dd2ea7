//! Parameters of the stage, and what they mean once every word and number among them has been checked.

use crate::Error;
use crate::policy::{device_kind, on_cpu};
use rasft_learn::{
    Activations, AdamWParams, MicroBatching, Normalization, Objective, Order, Schedule, ScheduleKind, TrainerParams,
};
use rasft_model::{LoraConfig, WeightsDtype};
use serde::Serialize;
use std::path::PathBuf;

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Random weights instead of the model's.
    pub from_scratch: bool,
    /// Objective by name.
    pub objective: String,
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Or passes over the mixture.
    pub epochs: Option<f64>,
    /// Sequences per optimizer step.
    pub batch_size: usize,
    /// Token budget of a micro-batch.
    pub micro_batch_tokens: usize,
    /// Or its number of sequences.
    pub micro_batch_size: Option<usize>,
    /// Shuffle each epoch.
    pub shuffle: bool,
    /// Length of the schedule.
    pub schedule_steps: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Linear warm-up.
    pub warmup_steps: u64,
    /// Schedule by name.
    pub schedule: String,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// None on norms and biases.
    pub no_decay_norms: bool,
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Denominator offset.
    pub eps: f64,
    /// Clip of the global norm.
    pub max_grad_norm: f64,
    /// Lower end of the ratio.
    pub clip_min: f64,
    /// Upper end of the ratio.
    pub clip_max: f64,
    /// Upper end of `grpo`'s token ratio, as its distance from 1; as far as the lower one if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_high: Option<f64>,
    /// Weight of the divergence from the reference; the objective's own if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_weight: Option<f64>,
    /// `global` or `micro-batch`.
    pub loss_normalization: String,
    /// What the passes read: f32 weights, or bf16 ones with an f32 master copy.
    #[serde(skip_serializing_if = "is_f32")]
    pub dtype: String,
    /// dtype of the written weights.
    pub save_dtype: String,
    /// Train an adapter instead of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraParams>,
    /// Seed of shuffling, random weights, and an adapter's dropout.
    pub seed: u64,
    /// Where training runs.
    #[serde(serialize_with = "device_kind", skip_serializing_if = "on_cpu")]
    pub device: Option<String>,
    /// Activations are computed again rather than kept; the result is the same.
    #[serde(skip)]
    pub gradient_checkpointing: bool,
    /// Steps between two checkpoints of the unfinished run; never, but for Ctrl-C, if there is none.
    #[serde(skip)]
    pub checkpoint_every: Option<u64>,
    /// How many of them are kept.
    #[serde(skip)]
    pub keep_checkpoints: usize,
    /// Where TensorBoard's event files go.
    #[serde(skip)]
    pub tensorboard: Option<PathBuf>,
}

/// Parameters of an adapter.
#[derive(Debug, Clone, Serialize)]
pub struct LoraParams {
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Probability of a zero.
    pub dropout: f64,
    /// Modules by name.
    pub targets: Vec<String>,
    /// Write a whole model instead of the adapter.
    pub merge: bool,
}

impl Default for LoraParams {
    /// algorithm.md §12, the baselines' option.
    fn default() -> Self {
        let targets = ["q_proj", "v_proj"].map(str::to_owned).to_vec();
        Self { rank: 8, alpha: 16.0, dropout: 0.05, targets, merge: false }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            from_scratch: false,
            objective: "rasft".into(),
            steps: None,
            epochs: None,
            batch_size: 32,
            micro_batch_tokens: 4096,
            micro_batch_size: None,
            shuffle: false,
            schedule_steps: None,
            learning_rate: 5e-5,
            warmup_steps: 0,
            schedule: "cosine".into(),
            weight_decay: 0.0,
            no_decay_norms: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_grad_norm: 1.0,
            clip_min: 0.4,
            clip_max: 1.2,
            clip_high: None,
            kl_weight: None,
            loss_normalization: "global".into(),
            dtype: "f32".into(),
            save_dtype: "f32".into(),
            lora: None,
            seed: 42,
            device: None,
            gradient_checkpointing: false,
            checkpoint_every: None,
            keep_checkpoints: 1,
            tensorboard: None,
        }
    }
}

/// Parameters with every word resolved and every number in range.
pub(super) struct Settings {
    /// What the trainer needs; the schedule's end is settled by [`Settings::schedule`].
    pub trainer: TrainerParams,
    /// In which order rows are trained.
    pub order: Order,
    /// dtype of the weights that the passes read.
    pub dtype: WeightsDtype,
    /// dtype of the written weights.
    pub save_dtype: WeightsDtype,
    /// The adapter that trains.
    pub lora: Option<LoraConfig>,
    batch_size: usize,
    length: Length,
    schedule_steps: Option<u64>,
}

enum Length {
    Steps(u64),
    Epochs(f64),
}

impl Settings {
    /// Checks everything that can be checked without any input.
    pub fn of(params: &Params) -> Result<Self, Error> {
        let length = match (params.steps, params.epochs.unwrap_or(1.0)) {
            (Some(steps), _) => Length::Steps(at_least_one("--steps", steps)?),
            (None, epochs) if epochs > 0.0 && epochs.is_finite() => Length::Epochs(epochs),
            (None, epochs) => return Err(Error::usage(format!("--epochs {epochs}: expected a number above 0"))),
        };
        at_least_one("--batch-size", params.batch_size as u64)?;
        at_least_one("--micro-batch-tokens", params.micro_batch_tokens as u64)?;
        at_least_one("--micro-batch-size", params.micro_batch_size.unwrap_or(1) as u64)?;
        at_least_one("--schedule-steps", params.schedule_steps.unwrap_or(1))?;
        at_least_one("--checkpoint-every", params.checkpoint_every.unwrap_or(1))?;
        at_least_one("--keep-checkpoints", params.keep_checkpoints as u64)?;
        if params.from_scratch && params.lora.is_some() {
            return Err(Error::usage("--lora needs weights to adapt: it does not go with --from-scratch"));
        }
        let trainer = trainer(params)?;
        trainer.check()?;
        let device = crate::policy::parse_device(params.device.as_deref())?;
        if params.gradient_checkpointing && !device.is_cpu() {
            return Err(Error::usage("--gradient-checkpointing works on the CPU: it does not go with --device"));
        }
        let dtype = one_of("--dtype", &params.dtype, &DTYPES)?;
        if dtype == WeightsDtype::Bf16 && !device.is_cpu() {
            return Err(Error::usage("--dtype bf16 works on the CPU: it does not go with --device"));
        }
        Ok(Self {
            trainer,
            order: if params.shuffle { Order::Shuffled { seed: params.seed } } else { Order::AsGiven },
            dtype,
            save_dtype: one_of("--save-dtype", &params.save_dtype, &DTYPES)?,
            lora: params.lora.as_ref().map(lora).transpose()?,
            batch_size: params.batch_size,
            length,
            schedule_steps: params.schedule_steps,
        })
    }

    /// Optimizer steps over a mixture of `n_rows`.
    pub fn steps(&self, n_rows: usize) -> u64 {
        match self.length {
            Length::Steps(steps) => steps,
            Length::Epochs(epochs) => ((epochs * n_rows as f64) / self.batch_size as f64).ceil() as u64,
        }
    }

    /// The trainer's parameters for a run of `steps` after `before` steps of earlier runs.
    pub fn trainer(&self, steps: u64, before: u64) -> TrainerParams {
        let mut trainer = self.trainer;
        // The schedule counts from the first step of all: unless told otherwise it ends with the last step of this run.
        trainer.schedule.total_steps = self.schedule_steps.unwrap_or(before + steps);
        trainer
    }
}

const NORMALIZATIONS: [(&str, Normalization); 2] =
    [("global", Normalization::Global), ("micro-batch", Normalization::MicroBatch)];
const DTYPES: [(&str, WeightsDtype); 2] = [("f32", WeightsDtype::F32), ("bf16", WeightsDtype::Bf16)];
const SCHEDULES: [(&str, ScheduleKind); 3] =
    [("cosine", ScheduleKind::Cosine), ("linear", ScheduleKind::Linear), ("constant", ScheduleKind::Constant)];

fn lora(params: &LoraParams) -> Result<LoraConfig, Error> {
    let LoraParams { rank, alpha, dropout, targets, .. } = params.clone();
    let config = LoraConfig { rank, alpha, dropout, targets, rank_stabilised: false };
    config.checked().map_err(|e| Error::usage(format!("--lora: {e}")))
}

fn objective(params: &Params) -> Result<Objective, Error> {
    let named = |e| Error::usage(format!("--objective {}: {e}", params.objective));
    let mut objective = Objective::parse(&params.objective, params.clip_min, params.clip_max).map_err(named)?;
    let unused = |flag: &str, of: &str| {
        Error::usage(format!("{flag} is not used by objective {}\nhint: it belongs to {of}", params.objective))
    };
    if params.clip_high.is_some() && !matches!(objective, Objective::Grpo { .. }) {
        return Err(unused("--clip-high", "grpo"));
    }
    let held = matches!(objective, Objective::SftKl { .. } | Objective::Asft { .. } | Objective::Grpo { .. });
    if params.kl_weight.is_some() && !held {
        return Err(unused("--kl-weight", "sft-kl, asft and grpo"));
    }
    if let Some(clip_high) = params.clip_high {
        objective = objective.with_clip_high(clip_high);
    }
    if let Some(kl_weight) = params.kl_weight {
        objective = objective.with_kl_weight(kl_weight);
    }
    Ok(objective)
}

fn trainer(params: &Params) -> Result<TrainerParams, Error> {
    Ok(TrainerParams {
        objective: objective(params)?,
        normalization: one_of("--loss-normalization", &params.loss_normalization, &NORMALIZATIONS)?,
        micro_batching: params
            .micro_batch_size
            .map_or(MicroBatching::Tokens(params.micro_batch_tokens), MicroBatching::Sequences),
        activations: if params.gradient_checkpointing { Activations::Recomputed } else { Activations::Kept },
        learning_rate: params.learning_rate,
        schedule: Schedule {
            kind: one_of("--schedule", &params.schedule, &SCHEDULES)?,
            warmup_steps: params.warmup_steps,
            total_steps: params.schedule_steps.unwrap_or(1),
        },
        max_grad_norm: params.max_grad_norm,
        adamw: AdamWParams {
            beta1: params.beta1,
            beta2: params.beta2,
            eps: params.eps,
            weight_decay: params.weight_decay,
            no_decay_norms: params.no_decay_norms,
        },
    })
}

/// f32 stays out of the key, as it was before there was a choice.
fn is_f32(dtype: &str) -> bool {
    dtype == "f32"
}

fn one_of<T: Copy>(flag: &str, word: &str, known: &[(&str, T)]) -> Result<T, Error> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    found.ok_or_else(|| Error::usage(format!("{flag} {word}: expected {}", names())))
}

fn at_least_one(flag: &str, n: u64) -> Result<u64, Error> {
    if n == 0 { Err(Error::usage(format!("{flag} must be at least 1"))) } else { Ok(n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_words_and_numbers_are_usage_errors_that_name_the_flag() {
        let adapted = |change: fn(&mut LoraParams)| {
            let mut lora = LoraParams::default();
            change(&mut lora);
            Some(lora)
        };
        type Change<'a> = &'a dyn Fn(&mut Params);
        let cases: [(&str, Change); 27] = [
            ("--objective bogus", &|p| p.objective = "bogus".into()),
            ("--schedule step", &|p| p.schedule = "step".into()),
            ("--loss-normalization mean", &|p| p.loss_normalization = "mean".into()),
            ("--save-dtype f16", &|p| p.save_dtype = "f16".into()),
            ("--dtype f16", &|p| p.dtype = "f16".into()),
            ("--steps", &|p| p.steps = Some(0)),
            ("--epochs -1", &|p| p.epochs = Some(-1.0)),
            ("--batch-size", &|p| p.batch_size = 0),
            ("--micro-batch-tokens", &|p| p.micro_batch_tokens = 0),
            ("--micro-batch-size", &|p| p.micro_batch_size = Some(0)),
            ("--schedule-steps", &|p| p.schedule_steps = Some(0)),
            ("--checkpoint-every", &|p| p.checkpoint_every = Some(0)),
            ("--keep-checkpoints", &|p| p.keep_checkpoints = 0),
            ("beta1", &|p| p.beta1 = 1.0),
            ("eps", &|p| p.eps = 0.0),
            ("learning rate", &|p| p.learning_rate = f64::NAN),
            ("gradient norm", &|p| p.max_grad_norm = 0.0),
            ("clip", &|p| p.clip_min = 2.0),
            ("KL weight", &|p| (p.objective, p.kl_weight) = ("asft".into(), Some(-1.0))),
            ("token ratio", &|p| (p.objective, p.clip_high) = ("grpo".into(), Some(f64::NAN))),
            ("--clip-high", &|p| p.clip_high = Some(0.28)),
            ("--kl-weight", &|p| (p.objective, p.kl_weight) = ("profit".into(), Some(0.0))),
            ("rank", &|p| p.lora = adapted(|l| l.rank = 0)),
            ("rank", &|p| p.lora = adapted(|l| l.rank = 1 << 17)),
            ("dropout", &|p| p.lora = adapted(|l| l.dropout = 1.0)),
            ("lm_head", &|p| p.lora = adapted(|l| l.targets = vec!["lm_head".into()])),
            ("--from-scratch", &|p| (p.from_scratch, p.lora) = (true, adapted(|_| ()))),
        ];
        assert!(Settings::of(&Params::default()).is_ok());
        for (part, change) in cases {
            let mut params = Params::default();
            change(&mut params);
            let error = Settings::of(&params).err().unwrap_or_else(|| panic!("{part} passed"));
            assert_eq!(error.class(), crate::ErrorClass::Usage, "{error}");
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_schedule_ends_with_its_run_unless_told_otherwise() {
        let of = |params: &Params| Settings::of(params).unwrap().trainer(10, 30).schedule.total_steps;
        assert_eq!(of(&Params::default()), 40);
        assert_eq!(of(&Params { schedule_steps: Some(7), ..Params::default() }), 7);
    }

    #[test]
    fn a_device_enters_the_key_by_its_kind_unless_it_is_the_cpu() {
        let on =
            |device: &str| serde_json::to_value(Params { device: Some(device.into()), ..Params::default() }).unwrap();
        assert_eq!(on("cuda:1")["device"], "cuda");
        assert_eq!(on("cuda:1"), on("cuda"));
        assert_eq!(on("metal")["device"], "metal");
        assert!(on("cpu").get("device").is_none());
    }

    #[test]
    fn neither_checkpoints_nor_the_cpu_nor_f32_enter_the_key() {
        let value = |params: &Params| serde_json::to_value(params).unwrap();
        let other =
            Params { checkpoint_every: Some(3), keep_checkpoints: 5, device: Some("cpu".into()), ..Params::default() };
        assert_eq!(value(&other), value(&Params::default()));
        let half = Params { dtype: "bf16".into(), ..Params::default() };
        assert_eq!((value(&half)["dtype"].as_str(), value(&other).get("dtype")), (Some("bf16"), None));
    }
}

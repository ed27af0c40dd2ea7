//! `rasft-score mixture`: weighted expert and self-generated trajectories in training order, with the frozen
//! reference's log-probabilities, so that training never holds a second model.
//!
//! A rollout that was cut off by its token limit trains without EOS. A problem of which some rollout does not fit
//! `--max-length` trains on its expert alone: its weights were made for the whole group. `rasft-verify --max-length`
//! keeps such rollouts out of the weights in the first place.
//!
//! Order within a round follows algorithm.md §4–§5: easy, hard and gap experts, then window problems that were not
//! selected, then per rolled-out problem its expert and its rollouts.

mod build;
mod grpo;
mod tables;

use crate::job::Job;
use crate::policy::{Policy, device_kind, on_cpu};
use crate::produce::produce;
use crate::prompt::{PromptParams, Prompter};
use crate::{Ctx, Error, Outputs, Slice, check, parts};
use build::Build;
use rasft_data::Table;
use rasft_types::{MixtureRow, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tables::{Measured, Routes};

const STAGE: &str = "mixture";
const VERSION: u32 = 3;

/// What the mixture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum For {
    /// Experts and rollouts, weighted by solvability.
    Rasft,
    /// Experts alone at weight 1.
    Sft,
    /// Usable rollouts, right and wrong, weighted by group-relative advantages.
    Grpo,
}

/// What one round measured.
#[derive(Debug, Clone)]
pub struct RolloutInputs {
    /// Rollouts.
    pub rollouts: PathBuf,
    /// Their verdicts.
    pub verdicts: PathBuf,
    /// Weights per problem; `grpo` has its own.
    pub solvability: Option<PathBuf>,
}

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Problems with expert solutions.
    pub problems: PathBuf,
    /// The round's measurements, unless experts stand alone.
    pub rollouts: Option<RolloutInputs>,
    /// Routes.
    pub difficulty: Option<PathBuf>,
    /// Tokenizer and template.
    pub model: PathBuf,
    /// Frozen reference.
    pub reference: Option<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// What the mixture is for.
    pub objective: For,
    /// Only these problems.
    pub slice: Option<Slice>,
    /// Longest sequence, tokens.
    pub max_length: usize,
    /// Cut longer sequences instead of dropping them.
    pub truncate_long: bool,
    /// Round of the experiment.
    pub round: u32,
    /// How problems are put.
    pub prompt: PromptParams,
    /// Where the reference runs.
    #[serde(serialize_with = "device_kind", skip_serializing_if = "on_cpu")]
    pub device: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            objective: For::Rasft,
            slice: None,
            max_length: 2048,
            truncate_long: false,
            round: 0,
            prompt: PromptParams::default(),
            device: None,
        }
    }
}

impl Params {
    /// Refuses values outside their range.
    fn validate(&self) -> Result<(), Error> {
        check::at_least("max_length", self.max_length, 2)?;
        check::device(self.device.as_deref())?;
        self.prompt.validate()
    }
}

/// Runs the stage.
///
/// # Errors
/// Bad inputs, a tokenizer or model that cannot be loaded, nothing left to train on.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    params.validate()?;
    ctx.gives(MixtureRow::NAME)?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    let problems = job.data(ctx, "problems", &inputs.problems)?;
    let difficulty = job.optional_data(ctx, "difficulty", inputs.difficulty.as_deref())?;
    let measured = match &inputs.rollouts {
        Some(paths) => Some(Measured::open(ctx, &mut job, paths)?),
        None => None,
    };
    let tokenizer = Policy::open_without_weights(&inputs.model, ctx)?;
    let prompter = Prompter::open(&tokenizer, &params.prompt)?;
    job.input("tokenizer", prompter.tokenizer.content_hash(), &inputs.model);
    job.input("template", &prompter.template_hash(), &inputs.model);
    let reference = inputs.reference.as_deref().map(|path| job.policy(ctx, "reference", path)).transpose()?;
    // Before the look-up: a result that was made without this check must not be given out.
    if let (Some(reference), Some(path)) = (&reference, &inputs.reference) {
        reference.check_reference_of(tokenizer.dir(), path)?;
    }

    let n_shards = job.output_shards(ctx);
    let mut outputs = produce(ctx, &job, |dir, key| {
        tokenizer.verify_text()?;
        let problems = problems.non_empty()?.read_all::<Problem>()?;
        let slice = Slice::of(params.slice, &problems)?;
        let routes = Routes::read(difficulty.as_ref())?;
        let mut build = Build::new(&prompter, params);
        match (&measured, params.objective) {
            (Some(measured), For::Grpo) => {
                let round = routes.in_order(slice);
                let known: BTreeSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
                let chosen: BTreeSet<&str> = round.iter().map(|p| p.problem_id.as_str()).collect();
                let belongs = |id: &str| match (chosen.contains(id), known.contains(id)) {
                    (true, _) => grpo::Belongs::ThisRound,
                    (false, true) => grpo::Belongs::AnotherRound,
                    (false, false) => grpo::Belongs::Nowhere,
                };
                let groups = grpo::Groups::read(measured, &belongs, params.max_length)?;
                for problem in round {
                    build.group(problem, routes.of(&problem.problem_id).0, &groups)?;
                }
                build.dropped.extend(groups.dropped);
            }
            _ => {
                let solved = measured.as_ref().map(Measured::read).transpose()?;
                for problem in routes.in_order(slice) {
                    build.problem(problem, routes.of(&problem.problem_id), solved.as_ref())?;
                }
            }
        }
        build.finish(ctx, dir, key, n_shards, reference.as_ref())
    })?;
    if let Some(measured) = &measured {
        parts::enter_missing(&mut outputs, &measured.rollouts);
    }
    Ok(outputs)
}

//! A run: optimizer steps over a mixture until they are done or somebody stops it.
//!
//! Absent on purpose: progress bars and files; the caller's observer sees every step and may write checkpoints.

use crate::LearnError;
use crate::batch::{Cursor, Order, Trajectory, check_against};
use crate::trainer::Trainer;
use rasft_types::StepMetrics;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPlan {
    /// In which order rows are trained.
    pub order: Order,
    /// Sequences per optimizer step.
    pub batch_size: usize,
    /// Optimizer steps of this run.
    pub steps: u64,
    /// Rows of this mixture that an interrupted run has consumed already; 0 for a new mixture.
    pub consumed: u64,
}

/// A finished step, as the observer sees it.
#[derive(Debug)]
pub struct StepDone<'a> {
    /// The trainer after the update.
    pub trainer: &'a Trainer,
    /// What the step did.
    pub metrics: &'a StepMetrics,
    /// Rows consumed so far, for [`RunPlan::consumed`] of a run that goes on from here.
    pub consumed: u64,
}

/// Something the user should know though training went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The objective uses weights and all of them are 0.
    NoWeight {
        /// Rows of the mixture.
        rows: usize,
    },
    /// Single steps train on some rows more than once.
    FewRows {
        /// Rows of the mixture.
        rows: usize,
        /// Sequences per optimizer step.
        batch_size: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWeight { rows } => {
                write!(f, "all {rows} trajectories of the mixture have weight 0: they teach nothing")
            }
            Self::FewRows { rows, batch_size } => {
                write!(f, "the mixture has {rows} trajectories for steps of {batch_size}: steps repeat rows")
            }
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// One row per optimizer step.
    pub metrics: Vec<StepMetrics>,
    /// Rows consumed, counted over all epochs and including [`RunPlan::consumed`].
    pub consumed: u64,
    /// The cancel flag ended it before its last step.
    pub cancelled: bool,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// Trains `plan.steps` optimizer steps on `rows`, over and over in `plan.order`; `cancel` is looked at before each step.
///
/// # Errors
/// A row that cannot be trained on (named, before anything is trained), a step that fails (the trainer is as after the
/// step before it), or an error of the observer.
pub fn train<E: From<LearnError>>(
    trainer: &mut Trainer,
    rows: &[Trajectory],
    plan: &RunPlan,
    cancel: &AtomicBool,
    on_step: &mut dyn FnMut(StepDone<'_>) -> Result<(), E>,
) -> Result<Report, E> {
    trainer.params().check()?;
    check_against(rows, trainer.decoder().config(), trainer.params().objective)?;
    if plan.batch_size == 0 {
        return Err(LearnError::Parameter("the batch size is 0: expected at least 1".into()).into());
    }
    let mut cursor = Cursor::new(plan.order, rows.len(), plan.consumed)?;
    let warnings = warnings(trainer, rows, plan);
    let mut report = Report { metrics: Vec::new(), consumed: plan.consumed, cancelled: false, warnings };
    for _ in 0..plan.steps {
        if cancel.load(Ordering::Relaxed) {
            report.cancelled = true;
            break;
        }
        let batch: Vec<&Trajectory> = cursor.take(plan.batch_size).into_iter().map(|row| &rows[row]).collect();
        let metrics = trainer.step(&batch)?;
        report.consumed = cursor.consumed();
        on_step(StepDone { trainer, metrics: &metrics, consumed: report.consumed })?;
        report.metrics.push(metrics);
    }
    Ok(report)
}

/// What the user should know before it starts.
pub fn warnings(trainer: &Trainer, rows: &[Trajectory], plan: &RunPlan) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let weighted = trainer.params().objective.uses_weights();
    if weighted && rows.iter().all(|t| t.weight == 0.0) {
        warnings.push(Warning::NoWeight { rows: rows.len() });
    }
    if rows.len() < plan.batch_size {
        warnings.push(Warning::FewRows { rows: rows.len(), batch_size: plan.batch_size });
    }
    warnings
}

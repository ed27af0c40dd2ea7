//! What a user sees of a run while it goes on.

use crate::{Ctx, Error};
use rasft_learn::{EventFile, Objective, Trainer};
use rasft_types::StepMetrics;
use std::path::Path;
use std::time::Instant;

/// Share of clipped ratios above which a run is worth a warning.
const MUCH_CLIPPED: f64 = 0.5;

/// Progress of one run.
pub(super) struct Watch<'a> {
    ctx: &'a Ctx<'a>,
    started: Instant,
    tokens: u64,
    warned: bool,
    /// What much clipping says, and what helps.
    drift: &'static str,
    events: Option<EventFile>,
}

impl<'a> Watch<'a> {
    /// A run of `steps` of which `done` were done before; its metrics also go to event files in `tensorboard`.
    pub fn start(
        ctx: &'a Ctx<'a>,
        tensorboard: Option<&Path>,
        trainer: &Trainer,
        done: u64,
        steps: u64,
    ) -> Result<Self, Error> {
        let first_step = trainer.optimizer().step + 1;
        let events = tensorboard.map(|dir| EventFile::create(dir, first_step)).transpose()?;
        let label = if done == 0 { "training".to_owned() } else { format!("training from step {done} on") };
        ctx.progress.start(&label, steps.saturating_sub(done), "steps");
        let drift = match trainer.params().objective {
            Objective::Grpo { .. } => {
                "the policy has moved far from the one that sampled\nhint: fresh rollouts or a lower --learning-rate"
            }
            _ => {
                "policy and reference have drifted apart\nhint: a lower --learning-rate, fresh rollouts, or a wider --clip-min/--clip-max"
            }
        };
        Ok(Self { ctx, started: Instant::now(), tokens: 0, warned: false, drift, events })
    }

    /// One step more. Event files that cannot be written any more are a warning: the metrics are in the checkpoint too.
    pub fn step(&mut self, step: &StepMetrics) {
        self.tokens += step.tokens;
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        self.ctx.progress.advance(1, &format!("loss {:.4}, {rate:.0} tok/s", step.loss));
        if let Some(Err(e)) = self.events.as_mut().map(|events| events.step(step, rate)) {
            self.events = None;
            tracing::warn!("step {}: no more TensorBoard events are written: {e}", step.step);
        }
        let clipped = step.clip_low_fraction + step.clip_high_fraction;
        if clipped > MUCH_CLIPPED && !self.warned {
            self.warned = true;
            tracing::warn!("step {}: {:.0} % of the ratios are clipped: {}", step.step, 100.0 * clipped, self.drift);
        }
    }
}

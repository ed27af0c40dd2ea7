//! Takes completions as they come, keeps them often, and says how it goes.

use super::{Prompted, Sampler};
use crate::Error;
use crate::sample_cache::SampleCache;
use rasft_generate::{Completion, Observer, Stats};
use rasft_types::{FinishReason, Rollout};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Finished samples are kept as soon as there are so many,
const KEEP_SAMPLES: usize = 64;
/// or after this time: what a kill costs besides the samples that have not finished.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// Takes completions as they come, keeps them often, and says how it goes.
pub(super) struct Keeper<'a, 'b, 'c> {
    sampler: &'b Sampler<'a>,
    units: &'b [Prompted],
    /// The unit of each request.
    unit_of: &'b [usize],
    /// Samples that each request still lacks.
    left: Vec<usize>,
    cache: &'b mut SampleCache<'c>,
    pending: Vec<Rollout>,
    kept_at: Instant,
    started: Instant,
    /// Problems all of whose samples are there.
    problems: u64,
    pub(super) done: u64,
    stopped: u64,
    cut: u64,
    tokens: u64,
    pub(super) error: Option<Error>,
}

impl<'a, 'b, 'c> Keeper<'a, 'b, 'c> {
    pub(super) fn new(
        sampler: &'b Sampler<'a>,
        units: &'b [Prompted],
        unit_of: &'b [usize],
        left: Vec<usize>,
        cache: &'b mut SampleCache<'c>,
    ) -> Self {
        let now = Instant::now();
        let (pending, error) = (Vec::new(), None);
        let (problems, done, stopped, cut, tokens) = (0, 0, 0, 0, 0);
        let (kept_at, started) = (now, now);
        Self {
            sampler,
            units,
            unit_of,
            left,
            cache,
            pending,
            kept_at,
            started,
            problems,
            done,
            stopped,
            cut,
            tokens,
            error,
        }
    }

    pub(super) fn keep(&mut self) {
        if self.error.is_none() {
            self.error = self.cache.add(&self.pending).err();
        }
        self.pending.clear();
        self.kept_at = Instant::now();
    }

    fn flow(&mut self) -> ControlFlow<()> {
        // When samples are written never shows in the result: it is put together by their ids.
        if self.pending.len() >= KEEP_SAMPLES || (!self.pending.is_empty() && self.kept_at.elapsed() >= KEEP_EVERY) {
            self.keep();
        }
        let stop = self.error.is_some() || self.sampler.ctx.cancelled();
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Observer for Keeper<'_, '_, '_> {
    fn on_completion(&mut self, completion: Completion) -> ControlFlow<()> {
        let prompted = &self.units[self.unit_of[completion.request]];
        let left = &mut self.left[completion.request];
        *left = left.saturating_sub(1);
        self.problems += u64::from(*left == 0);
        if let Some(reason) = &completion.error {
            tracing::warn!("problem {}: {reason}", prompted.problem_id);
        }
        if self.pending.is_empty() {
            self.kept_at = Instant::now();
        }
        self.done += 1;
        self.cut += u64::from(completion.finish_reason == FinishReason::Length);
        self.stopped += u64::from(completion.finish_reason == FinishReason::Stop);
        self.pending.push(self.sampler.rollout(prompted, completion));
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let share = |n: u64| 100.0 * n as f64 / self.done as f64;
        let message = format!(
            "{} of {} problems, {rate:.0} tok/s, {:.0} % stopped, {:.0} % cut by length",
            self.problems,
            self.left.len(),
            share(self.stopped),
            share(self.cut)
        );
        self.sampler.ctx.progress.advance(1, &message);
        self.flow()
    }

    fn on_step(&mut self, stats: &Stats) -> ControlFlow<()> {
        self.tokens = stats.tokens;
        self.flow()
    }
}

//! One forward pass.

use super::sample::{Phase, Sample};
use super::{Engine, Job};
use crate::GenerateError;
use crate::sampler::Scratch;
use candle_core::Tensor;
use rasft_model::Packed;
use rayon::prelude::*;

/// Prompt tokens that every pass may add, however many samples decode.
const LEAST_PREFILL: usize = 64;
/// Rows whose logits are held at once: V floats each.
const LOGIT_ROWS: usize = 256;

/// The rows of a pass.
struct Plan {
    packed: Packed,
    /// Rows whose logits are needed, in ascending order, and the index of the sample each belongs to.
    wanted: Vec<(usize, usize)>,
}

impl Engine<'_> {
    /// Runs the newest tokens and some prompt tokens through the decoder, and chooses the next tokens.
    pub(super) fn step(&mut self) -> Result<(), GenerateError> {
        let plan = self.plan();
        let hidden = self.job.decoder.hidden_cached(&plan.packed, &mut self.cache)?;
        self.stats.steps += 1;
        for wanted in plan.wanted.chunks(LOGIT_ROWS) {
            let rows = select(&hidden, wanted)?;
            let mut logits = std::mem::take(&mut self.logits);
            self.job.decoder.logits_into(&rows, &mut logits)?;
            self.take(wanted, &logits)?;
            self.logits = logits;
        }
        Ok(())
    }

    fn plan(&mut self) -> Plan {
        let mut plan = Plan { packed: Packed::new(), wanted: Vec::with_capacity(self.samples.len()) };
        for (at, sample) in self.samples.iter().enumerate() {
            if sample.phase == Phase::Decode
                && let Some(id) = sample.newest()
            {
                plan.wanted.push((plan.packed.len(), at));
                plan.packed.push(&[id], self.cache.len(sample.slot), sample.slot);
            }
        }
        let mut budget = self.step_tokens.saturating_sub(plan.packed.len()).max(LEAST_PREFILL.min(self.step_tokens));
        for (at, sample) in self.samples.iter_mut().enumerate() {
            let Phase::Prefill(done) = sample.phase else { continue };
            let left = &self.job.requests[sample.request].prompt_ids[done..];
            let chunk = &left[..left.len().min(budget)];
            plan.packed.push(chunk, done, sample.slot);
            budget -= chunk.len();
            self.stats.prompt_tokens += chunk.len() as u64;
            sample.phase = Phase::Prefill(done + chunk.len());
            if chunk.len() == left.len() {
                plan.wanted.push((plan.packed.len() - 1, at));
            }
        }
        plan
    }

    /// Takes the logits of the wanted rows: the next token of a decoding sample, or the end of a prompt.
    fn take(&mut self, wanted: &[(usize, usize)], logits: &[f32]) -> Result<(), GenerateError> {
        let vocab = logits.len() / wanted.len();
        let rows = || wanted.iter().zip(logits.chunks(vocab)).map(|((_, at), row)| (*at, row));
        let mut row_of = vec![None; self.samples.len()];
        rows().for_each(|(at, row)| row_of[at] = Some(row));
        let mut chosen: Vec<(&mut Sample, &[f32])> = Vec::with_capacity(wanted.len());
        for (sample, row) in self.samples.iter_mut().zip(row_of) {
            if let (Phase::Decode, Some(row)) = (sample.phase, row) {
                chosen.push((sample, row));
            }
        }
        self.stats.decoded += chosen.len() as u64;
        self.stats.tokens += chosen.len() as u64;
        choose_all(&self.job, chosen, &mut self.scratches)?;
        for (at, row) in rows() {
            if matches!(self.samples[at].phase, Phase::Prefill(_)) {
                self.prompt_done(at, row)?;
            }
        }
        Ok(())
    }
}

/// Chooses the next token of every sample from its row, in parallel; the scratches keep their memory from pass to pass.
pub(super) fn choose_all(
    job: &Job,
    mut chosen: Vec<(&mut Sample, &[f32])>,
    scratches: &mut [Scratch],
) -> Result<(), GenerateError> {
    let share = chosen.len().div_ceil(scratches.len()).max(1);
    chosen.par_chunks_mut(share).zip(scratches).try_for_each(|(samples, scratch)| {
        samples.iter_mut().try_for_each(|(sample, row)| sample.choose(job, row, scratch))
    })
}

/// The wanted rows of (T, D).
fn select(hidden: &Tensor, wanted: &[(usize, usize)]) -> Result<Tensor, GenerateError> {
    if wanted.len() == hidden.dim(0)? {
        return Ok(hidden.clone());
    }
    let rows: Vec<u32> = wanted.iter().map(|(row, _)| *row as u32).collect();
    Ok(hidden.index_select(&Tensor::new(rows, hidden.device())?, 0)?)
}

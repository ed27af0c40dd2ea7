//! How samples get their slot and their prompt.

use super::Engine;
use super::sample::{Phase, Sample};
use super::step::choose_all;
use crate::{Completion, GenerateError, Observer};
use std::ops::ControlFlow;

/// The prompt of a request that still has samples to start.
pub(super) struct Prompt {
    /// Logits behind it, (V); `None` while it is being computed.
    logits: Option<Vec<f32>>,
    /// Whether some sample computes it.
    computing: bool,
    /// Samples whose first token has not been chosen.
    unstarted: usize,
}

impl Engine<'_> {
    /// Gives free slots to waiting samples.
    pub(super) fn admit(&mut self, observer: &mut dyn Observer) -> Result<ControlFlow<()>, GenerateError> {
        while !self.free.is_empty()
            && let Some((request, sample_index)) = self.waiting.next()
        {
            if let Some(why) = self.job.refusal(&self.job.requests[request]) {
                self.stats.completions += 1;
                if observer.on_completion(Completion::failed(request, sample_index, why)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            if let Some((slot, phase)) = self.place(request)? {
                self.samples.push(Sample::new(&self.job, request, sample_index, slot, phase));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A free slot for a sample, and what the sample begins with there.
    fn place(&mut self, request: usize) -> Result<Option<(usize, Phase)>, GenerateError> {
        let n = self.job.requests[request].prompt_ids.len();
        let holder = self.prefix.iter().position(|p| *p == Some(request));
        let known = self.prompts.entry(request).or_insert_with(|| Prompt {
            logits: None,
            computing: false,
            unstarted: self.job.requests[request].samples.len(),
        });
        let Some(holder) = holder.filter(|_| known.logits.is_some()) else {
            let phase = if known.computing { Phase::Await } else { Phase::Prefill(0) };
            known.computing = true;
            let slot = self.free.pop();
            if let Some(slot) = slot {
                self.cache.truncate(slot, 0);
                self.prefix[slot] = None;
            }
            return Ok(slot.map(|slot| (slot, phase)));
        };
        self.stats.shared_prompt_tokens += n as u64;
        // A slot whose sample had the same prompt only forgets what came behind it.
        if let Some(at) = self.free.iter().position(|slot| self.prefix[*slot] == Some(request)) {
            let slot = self.free.swap_remove(at);
            self.cache.truncate(slot, n);
            return Ok(Some((slot, Phase::First)));
        }
        let Some(slot) = self.free.pop() else { return Ok(None) };
        self.cache.fork(holder, n, &[slot])?;
        self.prefix[slot] = Some(request);
        Ok(Some((slot, Phase::First)))
    }

    /// A prompt is complete: its logits are kept, and every sample that waited for it borrows it.
    pub(super) fn prompt_done(&mut self, computed_by: usize, logits: &[f32]) -> Result<(), GenerateError> {
        let first = &mut self.samples[computed_by];
        let (request, from) = (first.request, first.slot);
        first.phase = Phase::First;
        self.prefix[from] = Some(request);
        if let Some(prompt) = self.prompts.get_mut(&request) {
            prompt.logits = Some(logits.to_vec());
            prompt.computing = false;
        }
        let n = self.job.requests[request].prompt_ids.len();
        let mut copies = Vec::new();
        for sample in self.samples.iter_mut().filter(|s| s.request == request && s.phase == Phase::Await) {
            sample.phase = Phase::First;
            self.prefix[sample.slot] = Some(request);
            copies.push(sample.slot);
        }
        self.stats.shared_prompt_tokens += (copies.len() * n) as u64;
        Ok(self.cache.fork(from, n, &copies)?)
    }

    /// The first token of every sample whose prompt has just come in.
    pub(super) fn choose_first(&mut self) -> Result<(), GenerateError> {
        let (mut first, mut requests) = (Vec::new(), Vec::new());
        for sample in self.samples.iter_mut().filter(|s| s.phase == Phase::First) {
            if let Some(logits) = self.prompts.get(&sample.request).and_then(|p| p.logits.as_deref()) {
                requests.push(sample.request);
                first.push((sample, logits));
            }
        }
        choose_all(&self.job, first, &mut self.scratches)?;
        for request in requests {
            self.stats.tokens += 1;
            if let Some(prompt) = self.prompts.get_mut(&request) {
                prompt.unstarted -= 1;
                if prompt.unstarted == 0 {
                    self.prompts.remove(&request);
                }
            }
        }
        Ok(())
    }
}

//! One sample in the making: its tokens, its text, and whether it has ended.

use super::Job;
use crate::sampler::{Sampler, Scratch, sample_rng};
use crate::{Completion, GenerateError};
use rasft_model::{Detokenizer, SpecialText};
use rasft_types::FinishReason;

/// What a sample does in the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Computes the prompt in its slot; so many of its tokens are there.
    Prefill(usize),
    /// Waits for another sample that computes the same prompt.
    Await,
    /// Has the prompt in its slot, and takes its first token from the logits behind it.
    First,
    /// Feeds its newest token.
    Decode,
}

/// Why a sample ended, and where a stop string cuts its text.
struct Ended {
    finish_reason: FinishReason,
    cut: Option<usize>,
}

/// A sample that has a slot.
pub(super) struct Sample {
    pub(super) slot: usize,
    pub(super) request: usize,
    pub(super) phase: Phase,
    sample_index: u32,
    sampler: Sampler,
    token_ids: Vec<u32>,
    token_logprobs: Vec<f32>,
    detokenizer: Detokenizer,
    ended: Option<Ended>,
}

impl Sample {
    pub(super) fn new(job: &Job, request: usize, sample_index: u32, slot: usize, phase: Phase) -> Self {
        let wanted = &job.requests[request];
        let rng = sample_rng(job.seed, &wanted.problem_id, sample_index);
        Self {
            slot,
            request,
            phase,
            sample_index,
            sampler: Sampler::new(rng, &wanted.prompt_ids, job.params),
            token_ids: Vec::new(),
            token_logprobs: Vec::new(),
            detokenizer: Detokenizer::new(),
            ended: None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The token to feed; `None` before the first is chosen.
    pub(super) fn newest(&self) -> Option<u32> {
        self.token_ids.last().copied()
    }

    /// Appends the next token and sees whether the sample has ended.
    pub(super) fn choose(&mut self, job: &Job, logits: &[f32], scratch: &mut Scratch) -> Result<(), GenerateError> {
        let request = &job.requests[self.request];
        let chosen = self.sampler.next(logits, job.params, scratch);
        let (token, logprob) = chosen.ok_or_else(|| GenerateError::NotFinite {
            problem_id: request.problem_id.clone(),
            sample_index: self.sample_index,
        })?;
        self.phase = Phase::Decode;
        self.token_ids.push(token);
        self.token_logprobs.push(logprob);
        let cut = self.stop_string(job, token)?;
        let finish_reason = if job.params.eos_ids.contains(&token) || cut.is_some() {
            FinishReason::Stop
        } else if self.token_ids.len() >= job.room(request) {
            FinishReason::Length
        } else {
            return Ok(());
        };
        self.ended = Some(Ended { finish_reason, cut });
        Ok(())
    }

    /// Where the text is cut, if the newest token completed a stop string.
    fn stop_string(&mut self, job: &Job, token: u32) -> Result<Option<usize>, GenerateError> {
        if job.params.stop.is_empty() || job.params.eos_ids.contains(&token) {
            return Ok(None);
        }
        let before = self.detokenizer.text().len();
        self.detokenizer.push(job.codec, token)?;
        if self.token_ids.len() <= job.params.min_new_tokens as usize {
            return Ok(None);
        }
        Ok(first_stop(self.detokenizer.text(), before, &job.params.stop))
    }

    /// What is handed out of a sample that has ended.
    pub(super) fn finish(self, job: &Job) -> Result<Completion, GenerateError> {
        let (finish_reason, cut) = self.ended.map_or((FinishReason::Error, None), |e| (e.finish_reason, e.cut));
        let text = match cut {
            Some(cut) => self.detokenizer.text()[..cut].to_owned(),
            None => job.codec.decode(&self.token_ids, SpecialText::Skip)?,
        };
        Ok(Completion {
            request: self.request,
            sample_index: self.sample_index,
            token_ids: self.token_ids,
            token_logprobs: self.token_logprobs,
            text,
            finish_reason,
            error: None,
        })
    }
}

/// Where the stop string begins that ends behind byte `before`; of several, the one that begins first.
fn first_stop(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let begin = |stop: &String| {
        // A stop string begins at a character, at least here if it is to end behind `before`.
        let earliest = (before + 1).saturating_sub(stop.len());
        let from = (earliest..=text.len()).find(|at| text.is_char_boundary(*at))?;
        text[from..].find(stop.as_str()).map(|at| from + at)
    };
    stops.iter().filter_map(begin).min()
}

#[cfg(test)]
mod tests {
    use super::first_stop;

    fn check(text: &str, before: usize, stops: &[&str], expected: Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(first_stop(text, before, &stops), expected, "{text:?} {before} {stops:?}");
    }

    #[test]
    fn a_stop_string_ends_in_the_new_text() {
        check("one END", 4, &["END"], Some(4));
        check("one END", 6, &["END"], Some(4));
        check("one END", 7, &["END"], None);
        check("one EN", 4, &["END"], None);
        check("one END two", 7, &["END"], None);
        check("a\n\nb", 2, &["\n\n"], Some(1));
        check("", 0, &["x"], None);
    }

    #[test]
    fn the_earliest_of_several_cuts() {
        check("ab cd", 0, &["cd", "b"], Some(1));
        check("ab cd", 0, &["cd", "zz"], Some(3));
        check("xyz", 2, &["z", "xyz", "yz"], Some(0));
    }

    #[test]
    fn characters_of_several_bytes_are_not_cut() {
        check("ααα。", 6, &["。"], Some(6));
        check("αβ", 2, &["β"], Some(2));
        check("αβγδ", 6, &["γδ"], Some(4));
        check("αβγδ", 7, &["x"], None);
    }
}

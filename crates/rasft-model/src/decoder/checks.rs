//! What is asked of batches, targets and caches before a pass begins: afterwards the kernels only assert.

use candle_core::Tensor;

use super::Decoder;
use crate::cache::KvCache;
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::packed::{Packed, Span};

impl Decoder {
    /// The number of rows of `hidden`, (N, D).
    pub(super) fn check_hidden(&self, hidden: &Tensor) -> Result<usize, ModelError> {
        let d = self.config.hidden_size;
        match hidden.dims() {
            [n, width] if *width == d => Ok(*n),
            found => Err(ModelError::Request(format!("hidden states of shape {found:?}: expected (N, {d})"))),
        }
    }

    pub(super) fn check_targets(&self, targets: &[u32]) -> Result<(), ModelError> {
        let vocab = self.config.vocab_size;
        match targets.iter().find(|target| **target as usize >= vocab) {
            None => Ok(()),
            Some(id) => Err(ModelError::Request(format!("target {id} is not in the vocabulary of {vocab}"))),
        }
    }

    pub(super) fn check_whole(&self, batch: &Packed) -> Result<(), ModelError> {
        self.check_batch(batch)?;
        match batch.spans.iter().find(|s| s.past != 0) {
            None => Ok(()),
            Some(Span { past, .. }) => {
                Err(ModelError::Request(format!("a span has {past} cached tokens, but hidden() has no cache")))
            }
        }
    }

    /// Dropout needs to know the place of each sequence.
    pub(super) fn check_dropout(&self, batch: &Packed, rows: &[u64]) -> Result<(), ModelError> {
        let (found, expected) = (rows.len(), batch.spans.len());
        if found == expected {
            return Ok(());
        }
        Err(ModelError::Request(format!("dropout for {found} rows in a batch of {expected} sequences")))
    }

    pub(super) fn check_batch(&self, batch: &Packed) -> Result<(), ModelError> {
        if batch.is_empty() {
            return Err(ModelError::Request("the batch has no token".into()));
        }
        let mut rows = 0;
        for span in &batch.spans {
            if span.start != rows || span.len == 0 {
                return Err(ModelError::Request(format!("a span begins at row {}, expected row {rows}", span.start)));
            }
            rows += span.len;
        }
        if rows != batch.len() {
            return Err(ModelError::Request(format!("the spans hold {rows} of {} tokens", batch.len())));
        }
        let vocab = self.config.vocab_size;
        if let Some(id) = batch.ids.iter().find(|id| **id as usize >= vocab) {
            let detail =
                format!("token {id} is not in the vocabulary of {vocab}\n  hint: tokenizer and weights differ");
            return Err(ModelError::Request(detail));
        }
        let longest = batch.spans.iter().map(|s| s.past + s.len).max().unwrap_or(0);
        let limit = self.config.max_position_embeddings;
        if longest > limit {
            let detail = format!(
                "a sequence of {longest} tokens exceeds max_position_embeddings {limit}\n  hint: lower --max-length"
            );
            return Err(ModelError::Request(detail));
        }
        Ok(())
    }
}

/// Whether the new tokens can go into the cache.
pub(super) fn check_slots(config: &DecoderConfig, batch: &Packed, cache: &KvCache) -> Result<(), ModelError> {
    if !cache.fits(config) {
        return Err(ModelError::Request("the cache was made for another model: layers or heads differ".into()));
    }
    let mut used = vec![false; cache.n_slots()];
    for span in &batch.spans {
        let slot = span.slot;
        if slot >= used.len() {
            return Err(ModelError::Request(format!("cache slot {slot} does not exist, there are {}", used.len())));
        }
        if std::mem::replace(&mut used[slot], true) {
            return Err(ModelError::Request(format!("cache slot {slot} stands twice in one batch")));
        }
        if span.past != cache.len(slot) {
            let held = cache.len(slot);
            return Err(ModelError::Request(format!(
                "a span continues after {} tokens, slot {slot} holds {held}",
                span.past
            )));
        }
        if span.past + span.len > cache.capacity() {
            let (need, room) = (span.past + span.len, cache.capacity());
            return Err(ModelError::Request(format!("slot {slot} would hold {need} tokens, its capacity is {room}")));
        }
    }
    Ok(())
}

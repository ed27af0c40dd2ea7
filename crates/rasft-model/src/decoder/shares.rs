//! A step over many sequences, shared out among threads by sequence.
//!
//! Threads that split every operation between them wait for each other some three hundred times a step. Threads that
//! have sequences of their own wait once; each reads all weights, which for some dozens of rows costs less. Sequences
//! that borrow from one another stay together, because a cache slot has one owner. A thread without a share helps with
//! the operations of the others. Rows have the same bits either way.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::Decoder;
use super::inference::Inference;
use super::place::Place;
use crate::cache::KvCache;
use crate::error::ModelError;
use crate::packed::Packed;

/// Rows that are worth reading all weights for.
const ROWS: usize = 32;

/// Sequences of one thread.
#[derive(Default)]
struct Share {
    batch: Packed,
    /// Rows of the whole batch, span by span.
    rows: Vec<Range<usize>>,
}

impl Decoder {
    /// Hidden states (T, D) of new tokens, whose predecessors are in the cache.
    pub(super) fn hidden_in_shares(
        &self,
        inference: &Inference,
        batch: &Packed,
        cache: &mut KvCache,
    ) -> Result<Vec<f32>, ModelError> {
        let d = self.config.hidden_size;
        let (shares, share_of) = shares(batch, cache, (batch.len() / ROWS).clamp(1, rayon::current_num_threads()));
        // Once, rather than by each share.
        self.rope.up_to(batch.spans.iter().map(|span| span.past + span.len).max().unwrap_or(0))?;
        let parts = cache.parts(shares.len(), |family| share_of.get(&family).copied());
        let pass = |(share, part): (&Share, _)| {
            let positions = share.batch.positions();
            let mut hidden = vec![0.0; positions.len() * d];
            let pass = |place: &Place<'_>| inference.hidden_cached(place, &share.batch.ids, part, &mut hidden);
            self.with_place(&share.batch, &positions, pass).map(|()| hidden)
        };
        let results = shares.par_iter().zip(parts).with_max_len(1).map(pass).collect::<Result<Vec<_>, _>>()?;
        let mut hidden = vec![0.0; batch.len() * d];
        for (share, mut result) in shares.iter().zip(results.iter().map(Vec::as_slice)) {
            for rows in &share.rows {
                let (mine, rest) = result.split_at(rows.len() * d);
                hidden[rows.start * d..rows.end * d].copy_from_slice(mine);
                result = rest;
            }
        }
        Ok(hidden)
    }
}

/// At most `n` shares of about as many tokens each, and the share of each family of cache slots.
fn shares(batch: &Packed, cache: &KvCache, n: usize) -> (Vec<Share>, BTreeMap<usize, usize>) {
    let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, span) in batch.spans.iter().enumerate() {
        families.entry(cache.family(span.slot)).or_default().push(index);
    }
    let tokens = |spans: &[usize]| spans.iter().map(|span| batch.spans[*span].len).sum::<usize>();
    let mut order: Vec<_> = families.iter().map(|(family, spans)| (tokens(spans), *family)).collect();
    // The largest first, each to whoever has least.
    order.sort_by_key(|(tokens, family)| (std::cmp::Reverse(*tokens), *family));
    let mut shares: Vec<Share> = Vec::new();
    shares.resize_with(n.min(families.len()), Share::default);
    let mut share_of = BTreeMap::new();
    for (_, family) in order {
        let least = (0..shares.len()).min_by_key(|share| shares[*share].batch.len()).unwrap_or(0);
        let share = &mut shares[least];
        for span in families[&family].iter().map(|span| batch.spans[*span]) {
            share.batch.push(&batch.ids[span.rows()], span.past, span.slot);
            share.rows.push(span.rows());
        }
        share_of.insert(family, least);
    }
    (shares, share_of)
}

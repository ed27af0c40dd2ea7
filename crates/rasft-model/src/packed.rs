//! Sequences laid end to end, without padding: what the decoder computes on.
//!
//! Invariant: `spans` tile `0..ids.len()` in order; a span's token `i` stands at position `past + i` of its sequence.
//! Padding is deliberately absent: no kernel ever sees a token that is not part of a sequence.

/// One sequence (or the newest part of one) inside a [`Packed`] batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Row of the span's first token in the batch.
    pub start: usize,
    /// Number of tokens of the sequence that are in the batch.
    pub len: usize,
    /// Number of tokens of the sequence that came before and are in the cache already; 0 without a cache. (Where the decoder
    /// computes what sequences have in common once, they are in other spans.)
    pub past: usize,
    /// The cache slot that holds the sequence; without meaning when there is no cache.
    pub slot: usize,
}

impl Span {
    /// Rows of the batch that belong to this span.
    pub fn rows(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

/// Token ids of several sequences end to end, and where each one lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// All token ids, sequence after sequence.
    pub ids: Vec<u32>,
    /// One entry per sequence, in the order of `ids`.
    pub spans: Vec<Span>,
}

impl Packed {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whole sequences, nothing cached: `past` is 0 and `slot` counts up from 0.
    pub fn from_sequences<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let mut packed = Self::new();
        for (slot, ids) in sequences.iter().enumerate() {
            packed.push(ids.as_ref(), 0, slot);
        }
        packed
    }

    /// Appends `ids` as one span with `past` cached tokens in cache slot `slot`. An empty span is left out.
    pub fn push(&mut self, ids: &[u32], past: usize, slot: usize) {
        if ids.is_empty() {
            return;
        }
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.spans.push(Span { start, len: ids.len(), past, slot });
    }

    /// Number of tokens T in the batch.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the batch has no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Position of every token in its own sequence, (T).
    pub fn positions(&self) -> Vec<u32> {
        self.spans.iter().flat_map(|s| (s.past..s.past + s.len).map(|p| p as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_tile_the_ids_and_positions_continue_after_the_past() {
        let mut packed = Packed::from_sequences(&[vec![1, 2, 3], vec![], vec![4]]);
        packed.push(&[5, 6], 7, 9);
        assert_eq!(packed.ids, [1, 2, 3, 4, 5, 6]);
        assert_eq!(packed.positions(), [0, 1, 2, 0, 7, 8]);
        let starts: Vec<_> = packed.spans.iter().map(Span::rows).collect();
        assert_eq!(starts, [0..3, 3..4, 4..6]);
        assert_eq!(packed.spans[2].slot, 9);
    }
}

//! What sequences of a batch begin with in common, computed once.
//!
//! ```text
//! system prompt ─┬─ problem 1 ─┬─ expert's solution
//!                │             └─ a solution of the policy
//!                └─ problem 2 ─── expert's solution
//! ```
//!
//! A token's row depends on the tokens up to it alone, so sequences have equal rows as far as they have equal tokens; a
//! gradient of such a row is the sum of what each sequence gives it. Invariant: rows have the bits they have in sequences of
//! their own, because a query meets the same keys in the same order. Absent on purpose: any change to which sequences a
//! batch holds.

use crate::packed::Packed;

/// Tokens in common for which a branch of the tree is worth its own products of few rows.
const BRANCH: usize = 8;

/// Rows of keys and values whose copying, which every span then needs, costs about what a shared row saves: with SmolLM2 on
/// two cores some 90 µs a layer for a row forward and backward, about 1 µs for copying there and adding back.
const KEYS_PER_ROW: usize = 64;

/// The rows that are computed for a batch.
#[derive(Debug)]
pub(super) struct SharedRows {
    /// Parts of sequences; the `past` of a span are rows of other spans.
    pub rows: Packed,
    /// The row of each row of the batch it stands for.
    pub row_of: Vec<u32>,
    /// Rows of the keys that each span sees, span by span: of its past, then its own. None where that is every row in order.
    pub keys: Option<Vec<u32>>,
}

impl SharedRows {
    /// Every row by itself.
    pub fn apart(batch: &Packed) -> Self {
        Self { rows: batch.clone(), row_of: (0..batch.len() as u32).collect(), keys: None }
    }

    /// The rows of whole sequences, those in common once where that is worth it.
    pub fn of(batch: &Packed) -> Self {
        let mut tree = Tree { batch, rows: Packed::new(), row_of: vec![0; batch.len()], keys: Vec::new() };
        let mut sequences: Vec<usize> = (0..batch.spans.len()).collect();
        sequences.sort_by_key(|sequence| tree.tokens(*sequence));
        tree.grow(&sequences, &mut Vec::new());
        let saved = batch.len() - tree.rows.len();
        if saved * KEYS_PER_ROW <= tree.keys.len() {
            return Self::apart(batch);
        }
        Self { rows: tree.rows, row_of: tree.row_of, keys: Some(tree.keys) }
    }
}

/// [`SharedRows`] as they grow.
struct Tree<'a> {
    batch: &'a Packed,
    rows: Packed,
    row_of: Vec<u32>,
    keys: Vec<u32>,
}

impl<'a> Tree<'a> {
    fn tokens(&self, sequence: usize) -> &'a [u32] {
        &self.batch.ids[self.batch.spans[sequence].rows()]
    }

    /// Adds the rows that `sequences`, in the order of their tokens, need besides those of `path`, which they all begin with.
    fn grow(&mut self, sequences: &[usize], path: &mut Vec<u32>) {
        let (Some(first), Some(last)) = (sequences.first(), sequences.last()) else { return };
        let before = path.len();
        // What the first and the last of a sorted list begin with, all between them begin with.
        let common = self.tokens(*first).iter().zip(self.tokens(*last)).take_while(|(a, b)| a == b).count();
        if common >= before + BRANCH || sequences.len() == 1 {
            self.push(sequences, common, path);
        }
        if sequences.len() > 1 {
            let next = |sequence: &usize| self.tokens(*sequence).get(common).copied();
            let branches: Vec<&[usize]> = sequences.chunk_by(|a, b| next(a).is_some() && next(a) == next(b)).collect();
            branches.into_iter().for_each(|branch| self.grow(branch, path));
        }
        path.truncate(before);
    }

    /// Adds what `sequences` have in common between `path` and `to`, and puts it behind `path`.
    fn push(&mut self, sequences: &[usize], to: usize, path: &mut Vec<u32>) {
        let (from, row) = (path.len(), self.rows.len());
        self.rows.push(&self.tokens(sequences[0])[from..to], from, 0);
        path.extend((row..row + to - from).map(|row| row as u32));
        for sequence in sequences {
            let start = self.batch.spans[*sequence].start;
            self.row_of[start + from..start + to].copy_from_slice(&path[from..]);
        }
        if from < to {
            self.keys.extend_from_slice(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence read back from the rows along its keys.
    fn check(sequences: &[Vec<u32>]) -> SharedRows {
        let batch = Packed::from_sequences(sequences);
        let shared = SharedRows::of(&batch);
        let positions = shared.rows.positions();
        for (i, row) in shared.row_of.iter().enumerate() {
            assert_eq!(shared.rows.ids[*row as usize], batch.ids[i]);
            assert_eq!(positions[*row as usize], batch.positions()[i]);
        }
        let all: Vec<u32> = (0..shared.rows.len() as u32).collect();
        let mut keys = shared.keys.as_deref().unwrap_or(&all);
        for span in &shared.rows.spans {
            let (mine, rest) = keys.split_at(span.past + span.len);
            keys = rest;
            let own: Vec<u32> = span.rows().map(|row| row as u32).collect();
            assert_eq!(mine[span.past..], own);
            // Some sequence goes through the whole path.
            assert!(batch.spans.iter().any(|sequence| shared.row_of[sequence.rows()].starts_with(mine)));
        }
        assert!(keys.is_empty());
        shared
    }

    fn sequence(parts: &[(u32, usize)]) -> Vec<u32> {
        parts.iter().flat_map(|(token, n)| vec![*token; *n]).collect()
    }

    #[test]
    fn what_sequences_begin_with_is_there_once() {
        let system = (1, 20);
        let shared = check(&[
            sequence(&[system, (2, 10), (3, 4)]),
            sequence(&[system, (5, 9)]),
            sequence(&[system, (2, 10), (4, 6)]),
            sequence(&[(9, 3)]),
        ]);
        let spans: Vec<_> = shared.rows.spans.iter().map(|span| (span.past, span.len)).collect();
        assert_eq!(spans, [(0, 20), (20, 10), (30, 4), (30, 6), (20, 9), (0, 3)]);
    }

    #[test]
    fn branches_branch_again() {
        let bit = |i: u32, t: u32| (i >> (t / 10)) & 1;
        let sequences: Vec<Vec<u32>> = (0..64).map(|i| (0..20 + i % 37).map(|t| bit(i, t)).collect()).collect();
        let shared = check(&sequences);
        let all: usize = sequences.iter().map(Vec::len).sum();
        assert!(shared.rows.len() < all / 2, "{} of {all}", shared.rows.len());
    }

    #[test]
    fn branches_of_few_tokens_are_left_out() {
        let short = check(&[sequence(&[(1, BRANCH - 1), (2, 5)]), sequence(&[(1, BRANCH - 1), (3, 5)])]);
        assert_eq!(short.keys, None);
        // But together with those of a branch they count.
        let few = (1, 3);
        let nested = check(&[sequence(&[few, (3, 9)]), sequence(&[few, (2, 9)]), sequence(&[few, (2, 7), (4, 1)])]);
        let spans: Vec<_> = nested.rows.spans.iter().map(|span| (span.past, span.len)).collect();
        assert_eq!(spans, [(0, 10), (10, 2), (10, 1), (0, 12)]);
    }

    #[test]
    fn few_tokens_in_common_with_long_sequences_are_left_apart() {
        let pair = |len| [2, 3].map(|token| sequence(&[(1, 10), (token, len)]));
        assert!(check(&pair(200)).keys.is_some());
        assert_eq!(check(&pair(400)).keys, None);
    }

    #[test]
    fn equal_sequences_and_beginnings_of_others_need_no_rows() {
        let (long, short) = (sequence(&[(1, 12), (2, 9)]), sequence(&[(1, 12)]));
        let shared = check(&[long.clone(), short, long.clone()]);
        assert_eq!(shared.rows.ids, long);
        assert_eq!(check(&[]).rows, Packed::new());
        assert_eq!(check(&[vec![1]]).keys, None);
    }
}

//! The random stream of one row.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Uniform draws from a ChaCha stream that depends on (seed, row) alone. The draws are defined here rather than by a
/// library, so that an upgrade cannot change the rows.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(seed: u64, row: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"rasft synthetic row");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&row.to_le_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Uniform in `low..=high`. Draws beyond the last whole multiple of the width are thrown away, so no number is favoured.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        debug_assert!(low <= high);
        let width = u64::from(high - low) + 1;
        let limit = (1u64 << 32) / width * width;
        loop {
            let draw = u64::from(self.0.next_u32());
            if draw < limit {
                return low + (draw % width) as u32;
            }
        }
    }

    /// One of a non-empty slice.
    pub(super) fn choose<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.between(0, items.len() as u32 - 1) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_seeds_differ_and_draws_are_even() {
        let first = |seed, row| Stream::new(seed, row).0.next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 1));
        assert_ne!(first(1, 2), first(1, 3));
        let mut counts = [0u32; 7];
        let mut stream = Stream::new(42, 0);
        for _ in 0..70_000 {
            counts[stream.between(3, 9) as usize - 3] += 1;
        }
        // 10 000 each, standard deviation 93: five of them either way.
        assert!(counts.iter().all(|n| n.abs_diff(10_000) < 465), "{counts:?}");
    }
}

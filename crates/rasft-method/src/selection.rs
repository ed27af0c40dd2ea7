//! How many problems are rolled out, and which: a seeded choice that does not depend on order.

/// Problems of the window that are rolled out: `min(n, max(1, ⌈n·ratio⌉))`, 0 of 0.
///
/// # Source
/// algorithm.md §5.2; product and ceiling in f64; ratio 0 still selects one.
pub fn main_count(n: usize, ratio: f64) -> usize {
    if n == 0 { 0 } else { ((n as f64 * ratio).ceil() as usize).max(1).min(n) }
}

/// Problems of the hard pool that are probed: `min(n, max(1, ⌊n·ratio⌋))`, 0 if n or the ratio is 0.
///
/// # Source
/// algorithm.md §5.3.
pub fn probe_count(n: usize, ratio: f64) -> usize {
    if n == 0 || ratio.is_nan() || ratio <= 0.0 { 0 } else { ((n as f64 * ratio).floor() as usize).max(1).min(n) }
}

/// What a draw is for: two draws with different keys are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawKey<'a> {
    /// Seed of the experiment.
    pub seed: u64,
    /// Round of the experiment.
    pub round: u32,
    /// Name of the draw, such as `main`, `probe` or `calibration`.
    pub purpose: &'a str,
}

/// Positions of `k` of the given problems, ascending; uniform over subsets of distinct ids.
///
/// The k problems with the smallest `blake3(purpose, seed, round, problem_id)`: the same problems are chosen whatever order they
/// come in, and a problem's place among others does not change when more are added. Equal ids are told apart by position.
///
/// # Shapes
/// min(k, n) positions.
///
/// # Source
/// algorithm.md §5.2–§5.3 (without replacement).
///
/// # Deviations
/// The reference draws from Python's global generator (O10).
pub fn choose<T: AsRef<str>>(problem_ids: &[T], k: usize, key: DrawKey<'_>) -> Vec<usize> {
    if k >= problem_ids.len() {
        return (0..problem_ids.len()).collect();
    }
    let ranked = |(i, id): (usize, &T)| (rank(id.as_ref(), key), i);
    let mut order: Vec<([u8; 32], usize)> = problem_ids.iter().enumerate().map(ranked).collect();
    order.sort_unstable();
    let mut chosen: Vec<usize> = order.into_iter().take(k).map(|(_, i)| i).collect();
    chosen.sort_unstable();
    chosen
}

fn rank(problem_id: &str, key: DrawKey<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in ["rasft selection", key.purpose] {
        // Lengths in front keep ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&key.seed.to_le_bytes()).update(&key.round.to_le_bytes()).update(problem_id.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KEY: DrawKey<'_> = DrawKey { seed: 42, round: 3, purpose: "main" };

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{i:032x}")).collect()
    }

    fn chosen(ids: &[String], k: usize, key: DrawKey<'_>) -> BTreeSet<String> {
        choose(ids, k, key).into_iter().map(|i| ids[i].clone()).collect()
    }

    #[test]
    fn counts_at_the_edges() {
        assert_eq!((main_count(0, 0.35), main_count(5, 0.0), main_count(5, 9.0)), (0, 1, 5));
        assert_eq!(
            (probe_count(0, 0.5), probe_count(5, 0.0), probe_count(5, 0.03), probe_count(5, f64::NAN)),
            (0, 0, 1, 0)
        );
    }

    #[test]
    fn the_choice_ignores_order() {
        let forward = ids(50);
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        assert_eq!(chosen(&forward, 17, KEY), chosen(&backward, 17, KEY));
        assert_eq!(chosen(&forward, 17, KEY).len(), 17);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let ids = ids(60);
        let base = chosen(&ids, 20, KEY);
        assert_ne!(chosen(&ids, 20, DrawKey { seed: 43, ..KEY }), base);
        assert_ne!(chosen(&ids, 20, DrawKey { round: 4, ..KEY }), base);
        assert_ne!(chosen(&ids, 20, DrawKey { purpose: "probe", ..KEY }), base);
    }

    #[test]
    fn every_problem_is_chosen_about_equally_often() {
        let ids = ids(20);
        let mut hits = vec![0u32; ids.len()];
        for seed in 0..2000 {
            for i in choose(&ids, 5, DrawKey { seed, ..KEY }) {
                hits[i] += 1;
            }
        }
        // Binomial(2000, ¼): mean 500, σ ≈ 19.4; five σ.
        assert!(hits.iter().all(|&h| (403..=597).contains(&h)), "{hits:?}");
    }
}

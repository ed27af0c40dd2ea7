//! Rewards of the expert and of the negatives that take part in a group's statistics.

use crate::similarity::Trigrams;
use crate::solvability::SolvabilityParams;

/// A negative this similar to a positive is left out (algorithm.md §8).
const NEGATIVE_MAX_SIMILARITY: f64 = 0.88;
/// Negatives closest to this similarity come first (algorithm.md §8).
const NEGATIVE_TARGET_SIMILARITY: f64 = 0.45;

/// `ρ = 1 − k_pos / max(k_total, 1)`.
///
/// # Source
/// algorithm.md §8. k_total counts unique samples, also those that other filters removed.
pub fn difficulty_ratio(n_correct: usize, n_unique: usize) -> f64 {
    1.0 - n_correct as f64 / n_unique.max(1) as f64
}

/// `r_E = r_min + ρ·(r_max − r_min)`.
///
/// # Source
/// algorithm.md §8.
pub fn expert_reward(difficulty_ratio: f64, params: &SolvabilityParams) -> f64 {
    params.expert_reward_min + difficulty_ratio * (params.expert_reward_max - params.expert_reward_min)
}

/// Rewards of the group: expert, correct rollouts, kept negatives.
///
/// # Shapes
/// (1 + n_correct + n_negatives,).
///
/// # Source
/// algorithm.md §8.
pub fn group_rewards(expert: f64, n_correct: usize, n_negatives: usize, params: &SolvabilityParams) -> Vec<f64> {
    let mut rewards = Vec::with_capacity(1 + n_correct + n_negatives);
    rewards.push(expert);
    rewards.resize(1 + n_correct, params.pos_reward);
    rewards.resize(1 + n_correct + n_negatives, params.neg_reward);
    rewards
}

/// Positions, among the negatives, of those kept for the statistics, in their order of preference.
///
/// With `m = max_{p∈P} J₃(negative, p)` (0 without positives): m ≥ 0.88 is left out, the rest sorted by `|m − 0.45|` (stable),
/// the first `max_keep` kept.
///
/// # Source
/// algorithm.md §8.
pub fn keep_negatives(positives: &[&str], negatives: &[&str], max_keep: usize) -> Vec<usize> {
    if max_keep == 0 || negatives.is_empty() {
        return Vec::new();
    }
    if positives.is_empty() {
        return (0..negatives.len().min(max_keep)).collect();
    }
    let positives: Vec<Trigrams> = positives.iter().map(|p| Trigrams::of(p)).collect();
    let similarity = |negative: &&str| {
        let grams = Trigrams::of(negative);
        positives.iter().map(|p| grams.jaccard(p)).fold(0.0, f64::max)
    };
    let mut kept: Vec<(f64, usize)> = negatives
        .iter()
        .map(similarity)
        .enumerate()
        .filter(|(_, m)| *m < NEGATIVE_MAX_SIMILARITY)
        .map(|(i, m)| ((m - NEGATIVE_TARGET_SIMILARITY).abs(), i))
        .collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    kept.into_iter().take(max_keep).map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expert_is_rewarded_for_difficulty() {
        let p = SolvabilityParams::default();
        assert_eq!(expert_reward(difficulty_ratio(0, 3), &p), 3.0);
        assert_eq!(expert_reward(difficulty_ratio(3, 3), &p), 1.0);
        assert_eq!(difficulty_ratio(0, 0), 1.0);
        assert_eq!(group_rewards(2.0, 2, 1, &p), [2.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn negatives_near_the_target_come_first() {
        let positive = "a b c d e f g h i j";
        // J₃ with the positive: 1, 0, and 4 common of 8 + 4 − 4 = 8, so 0.5.
        let negatives = [positive, "x y z", "a b c d e f"];
        assert_eq!(keep_negatives(&[positive], &negatives, 3), [2, 1]);
        assert_eq!(keep_negatives(&[positive], &negatives, 1), [2]);
        assert_eq!(keep_negatives(&[], &negatives, 2), [0, 1]);
        assert!(keep_negatives(&[positive], &negatives, 0).is_empty());
    }

    #[test]
    fn a_negative_just_like_a_positive_is_left_out() {
        let words: Vec<String> = (0..27).map(|i| format!("w{i}")).collect();
        // A prefix of n words shares its n − 2 3-grams with the whole text's 25: 22/25 = 0.88 and 21/25 = 0.84.
        let (whole, at, below) = (words.join(" "), words[..24].join(" "), words[..23].join(" "));
        assert_eq!(keep_negatives(&[&whole], &[&at, &below], 3), [1]);
    }
}

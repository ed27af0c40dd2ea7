//! Advantages of the members of a group: the soft ones of the method and the group-relative ones of GRPO.

/// Relative and absolute tolerance within which rewards count as equal (algorithm.md §8).
const CLOSE_RELATIVE: f32 = 1e-5;
const CLOSE_ABSOLUTE: f32 = 1e-8;
/// Standard deviation below which a group has no advantages (algorithm.md §9).
const MIN_STD: f32 = 1e-8;
/// Added to the standard deviation (algorithm.md §9).
const STD_OFFSET: f32 = 1e-6;
/// Added to the standard deviation by GRPO (algorithm.md Part A, objectives).
const GRPO_STD_OFFSET: f64 = 1e-4;

/// Soft advantages `A_i = tanh(alpha·(r_i−μ)/(σ+1e-6))` with mean μ and population standard deviation σ of the group.
///
/// `None` with fewer than two rewards, with rewards that are all close (`|r−r₀| ≤ 1e-8 + 1e-5·|r₀|`), or with σ < 1e-8.
///
/// # Shapes
/// `rewards` (n,), result (n,) f32. Rewards are rounded to f32 and all steps are f32, except that σ is accumulated in f64, as
/// the reference's tensor library does.
///
/// # Source
/// algorithm.md §8–§9.
pub fn soft_advantages(rewards: &[f64], alpha: f64) -> Option<Vec<f32>> {
    let rewards: Vec<f32> = rewards.iter().map(|&r| r as f32).collect();
    if rewards.len() < 2 || all_close(&rewards) {
        return None;
    }
    let mean = rewards.iter().sum::<f32>() / rewards.len() as f32;
    let std = population_std(rewards.iter().map(|&r| f64::from(r))) as f32;
    if std.is_nan() || std < MIN_STD {
        return None;
    }
    let advantage = |&r: &f32| (alpha as f32 * (r - mean) / (std + STD_OFFSET)).tanh();
    Some(rewards.iter().map(advantage).collect())
}

/// Group-relative advantages `(r_i − mean) / (std + 1e-4)` with the population standard deviation; `None` for a group of equal
/// rewards, which GRPO drops, and for an empty one.
///
/// # Shapes
/// `rewards` (n,), result (n,), f64.
///
/// # Source
/// algorithm.md Part A (objectives); Shao et al. 2024, DeepSeekMath, §4.1.
pub fn grpo_advantages(rewards: &[f64]) -> Option<Vec<f64>> {
    let first = *rewards.first()?;
    if rewards.iter().all(|&r| r == first) {
        return None;
    }
    let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
    let std = population_std(rewards.iter().copied());
    Some(rewards.iter().map(|r| (r - mean) / (std + GRPO_STD_OFFSET)).collect())
}

fn all_close(rewards: &[f32]) -> bool {
    let first = rewards[0];
    rewards.iter().all(|r| (r - first).abs() <= CLOSE_ABSOLUTE + (CLOSE_RELATIVE * first).abs())
}

/// `√(Σ(x−μ)²/n)`.
fn population_std(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_spread_have_none() {
        for rewards in [&[][..], &[1.0], &[1.0, 1.0, 1.0], &[1.0, 1.000_001]] {
            assert_eq!(soft_advantages(rewards, 0.4), None, "{rewards:?}");
        }
        assert_eq!(grpo_advantages(&[0.0, 0.0]), None);
        assert_eq!(grpo_advantages(&[]), None);
    }

    #[test]
    fn two_members_stand_one_deviation_from_the_mean() {
        let a = soft_advantages(&[3.0, 0.0], 0.4).unwrap();
        assert!((a[0] - 0.4f32.tanh()).abs() < 1e-6 && (a[0] + a[1]).abs() < 1e-7);
    }

    #[test]
    fn grpo_by_hand() {
        let a = grpo_advantages(&[1.0, 0.0, 0.0, 0.0]).unwrap();
        let std = 0.1875f64.sqrt();
        assert!((a[0] - 0.75 / (std + 1e-4)).abs() < 1e-12);
        assert!((a[1] + 0.25 / (std + 1e-4)).abs() < 1e-12);
    }
}

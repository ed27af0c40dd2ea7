//! What the samples of one problem are worth.

/// Which samples of a problem are correct, and which answers are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemScore {
    /// Whether each sample is correct, in sample order.
    pub correct: Vec<bool>,
    /// Class of each sample's answer: equal answers have equal numbers; `None` without an answer.
    pub classes: Vec<Option<u32>>,
}

/// avg@n: the share of correct samples; NaN without samples.
///
/// `c/n`.
pub fn average(score: &ProblemScore) -> f64 {
    n_correct(score) as f64 / score.correct.len() as f64
}

/// pass@k: probability that k samples drawn without replacement from the n hold a correct one.
///
/// `1 − C(n−c, k)/C(n, k) = 1 − Π_{i=n−c+1}^{n} (1 − k/i)`; unbiased for the chance that k fresh samples hold one. NaN for k > n,
/// where n samples cannot tell; 0 for k = 0.
///
/// # Source
/// Chen et al. 2021, Evaluating large language models trained on code, eq. 1 and its product form.
pub fn pass_at_k(score: &ProblemScore, k: u32) -> f64 {
    let (n, c, k) = (score.correct.len(), n_correct(score), k as usize);
    if k > n {
        return f64::NAN;
    }
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// maj@n: 1 if the most frequent answer of all samples is correct, else 0; see [`majority_at`].
pub fn majority(score: &ProblemScore) -> f64 {
    majority_at(score, score.correct.len())
}

/// maj@k of the *first* k samples: 1 if their most frequent answer is correct, else 0.
///
/// Samples without an answer do not vote; of equally frequent answers the one that occurs first wins; without any answer the result
/// is 0. An answer is correct if its first sample is. Samples are exchangeable, so the first k are an unbiased draw of k; the
/// expectation over all subsets would lower the variance but depends on the tie rule, and is not computed.
///
/// # Source
/// Wang et al. 2022, Self-consistency improves chain of thought reasoning.
pub fn majority_at(score: &ProblemScore, k: usize) -> f64 {
    // (class, votes, first sample), in order of first occurrence.
    let mut tally: Vec<(u32, usize, usize)> = Vec::new();
    for (sample, class) in score.classes.iter().take(k).enumerate() {
        let Some(class) = *class else { continue };
        match tally.iter_mut().find(|(c, ..)| *c == class) {
            Some((_, votes, _)) => *votes += 1,
            None => tally.push((class, 1, sample)),
        }
    }
    let winner = tally.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    winner.map_or(0.0, |(_, _, first)| if score.correct.get(first) == Some(&true) { 1.0 } else { 0.0 })
}

fn n_correct(score: &ProblemScore) -> usize {
    score.correct.iter().filter(|c| **c).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(correct: &[u8], classes: &[Option<u32>]) -> ProblemScore {
        ProblemScore { correct: correct.iter().map(|&c| c == 1).collect(), classes: classes.to_vec() }
    }

    /// pass@k by listing every subset.
    fn listed(correct: &[bool], k: usize) -> f64 {
        let subsets = (0u32..1 << correct.len()).filter(|s| s.count_ones() as usize == k);
        let passes = |s: u32| correct.iter().enumerate().any(|(i, c)| *c && s >> i & 1 == 1);
        let (n, hits) = subsets.fold((0u32, 0u32), |(n, hits), s| (n + 1, hits + u32::from(passes(s))));
        f64::from(hits) / f64::from(n)
    }

    #[test]
    fn pass_at_k_equals_the_listing_of_subsets() {
        for n in 1..=7usize {
            for c in 0..=n {
                let correct: Vec<bool> = (0..n).map(|i| i < c).collect();
                let s = ProblemScore { classes: vec![None; n], correct: correct.clone() };
                for k in 0..=n {
                    let expected = if k == 0 { 0.0 } else { listed(&correct, k) };
                    assert!((pass_at_k(&s, k as u32) - expected).abs() < 1e-12, "n {n} c {c} k {k}");
                }
                assert!(pass_at_k(&s, n as u32 + 1).is_nan());
                assert!((pass_at_k(&s, 1) - average(&s)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn pass_at_k_does_not_overflow() {
        let s = ProblemScore { correct: (0..10_000).map(|i| i == 0).collect(), classes: vec![None; 10_000] };
        assert!((pass_at_k(&s, 100) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn majorities() {
        assert_eq!(majority(&score(&[0, 1, 1], &[Some(0), Some(1), Some(1)])), 1.0);
        assert_eq!(majority(&score(&[0, 0, 1], &[Some(0), Some(0), Some(1)])), 0.0);
        // A tie goes to the first occurrence.
        assert_eq!(majority(&score(&[1, 0, 0, 1], &[Some(5), Some(2), Some(2), Some(5)])), 1.0);
        assert_eq!(majority(&score(&[0, 1, 1, 0], &[Some(5), Some(2), Some(2), Some(5)])), 0.0);
        // No answer is no vote.
        assert_eq!(majority(&score(&[0, 0, 1], &[None, None, Some(0)])), 1.0);
        assert_eq!(majority(&score(&[0, 0], &[None, None])), 0.0);
        assert_eq!(majority_at(&score(&[0, 1, 1], &[Some(0), Some(1), Some(1)]), 1), 0.0);
    }
}

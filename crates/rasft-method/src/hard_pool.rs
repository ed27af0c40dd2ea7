//! Rules of the hard pool: what a probe's loss decides, and when a problem leaves.

use crate::profile::Profile;
use crate::window::Window;
use rasft_types::{Fallback, Solvability};

/// What the current loss of a probed problem decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Below the window: it leaves the pool without rollouts.
    Released,
    /// Within reach: it gets rollouts.
    RollOut,
    /// Still too hard: it stays.
    Stays,
}

/// `d < window_low` → released; `d ≤ ceiling` → rolled out; otherwise, NaN included → stays.
///
/// # Source
/// algorithm.md §5.5.
pub fn probe(loss: f64, window: &Window) -> Probe {
    if loss < window.window_low {
        Probe::Released
    } else if loss <= window.hard_probe_ceiling {
        Probe::RollOut
    } else {
        Probe::Stays
    }
}

/// Whether a problem leaves the hard pool after its rollouts were weighed.
///
/// `reference`: if a usable rollout is correct and the group has advantages; a problem solved by *every* rollout has none, and stays.
/// `calibrated`: if a usable rollout is correct.
///
/// # Source
/// algorithm.md §9 (last lines) and Part A 2 (B4).
pub fn leaves(row: &Solvability, profile: Profile) -> bool {
    match profile {
        Profile::Reference => row.fallback == Fallback::None,
        Profile::Calibrated => row.n_correct > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solvability::{Sample, SolvabilityParams, solvability};

    const W: Window =
        Window { easy_floor: 0.1, window_low: 0.2, window_high: 0.4, hard_probe_ceiling: 0.9, alpha: 0.0 };

    #[test]
    fn probes_by_loss() {
        assert_eq!(probe(0.19, &W), Probe::Released);
        assert_eq!(probe(0.2, &W), Probe::RollOut);
        assert_eq!(probe(0.9, &W), Probe::RollOut);
        assert_eq!(probe(0.91, &W), Probe::Stays);
        assert_eq!(probe(f64::NAN, &W), Probe::Stays);
    }

    #[test]
    fn a_problem_solved_every_time_stays_only_in_the_reference() {
        let sample = |rollout_id, text| Sample { rollout_id, text, correct: true, usable: true, duplicate: false };
        let row = solvability("p", &[sample("a", "1 2 3"), sample("b", "4 5 6")], &SolvabilityParams::default());
        assert!(!leaves(&row, Profile::Reference));
        assert!(leaves(&row, Profile::Calibrated));
    }
}

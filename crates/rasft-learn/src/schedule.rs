//! Learning-rate schedules: a function of finished optimizer steps, without state.

use std::f64::consts::PI;
use std::str::FromStr;

/// Shape after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKind {
    /// Half a cosine down to 0.
    Cosine,
    /// A line down to 0.
    Linear,
    /// No decay.
    Constant,
}

impl FromStr for ScheduleKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cosine" => Ok(Self::Cosine),
            "linear" => Ok(Self::Linear),
            "constant" => Ok(Self::Constant),
            _ => Err(format!("schedule {text:?}: expected cosine, linear or constant")),
        }
    }
}

/// Multiplier of the peak learning rate by optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Shape after the warm-up.
    pub kind: ScheduleKind,
    /// W: steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// T: step at which the decay ends.
    pub total_steps: u64,
}

impl Schedule {
    /// Multiplier of the step after `k` finished ones:
    /// `k/max(1,W)` for k < W; then cosine `max(0, ½(1+cos(π·(k−W)/max(1,T−W))))`, linear `max(0, (T−k)/max(1,T−W))`,
    /// or 1.
    ///
    /// # Source
    /// algorithm.md §10. Beyond T the cosine rises again, as there.
    pub fn multiplier(&self, k: u64) -> f64 {
        let (w, t) = (self.warmup_steps, self.total_steps);
        if k < w {
            return k as f64 / w.max(1) as f64;
        }
        let span = t.saturating_sub(w).max(1) as f64;
        match self.kind {
            ScheduleKind::Cosine => (0.5 * (1.0 + (PI * (k - w) as f64 / span).cos())).max(0.0),
            ScheduleKind::Linear => (t.saturating_sub(k) as f64 / span).max(0.0),
            ScheduleKind::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipliers(kind: &str, steps: [u64; 5]) -> [f64; 5] {
        let schedule = Schedule { kind: kind.parse().unwrap(), warmup_steps: 2, total_steps: 6 };
        steps.map(|k| schedule.multiplier(k))
    }

    #[test]
    fn linear_and_constant_warm_up_and_stay_within_bounds() {
        assert_eq!(multipliers("linear", [0, 1, 2, 5, 9]), [0.0, 0.5, 1.0, 0.25, 0.0]);
        assert_eq!(multipliers("constant", [0, 1, 2, 5, 9]), [0.0, 0.5, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn unknown_shapes_name_the_known_ones() {
        assert!("step".parse::<ScheduleKind>().unwrap_err().contains("cosine, linear or constant"));
    }
}

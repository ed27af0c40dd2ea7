//! The synthetic world: arithmetic stories of graded difficulty, each with a worked solution and a whole number as answer.
//!
//! Made for models of a few million parameters: one closed vocabulary ([`vocabulary`]), short sentences, every step one
//! small operation with its operands and its result. A story is a chain of events, told in the order in which they are
//! computed; all numbers on the way are whole and at least 2, so nobody ever has "1 apples". Levels differ in the number
//! of steps, the kinds of operation and the size of the numbers ([`level`]), so that solvability spreads between 0 and 1
//! once a model has seen some of them. The arithmetic of a solution is determined by its story; its wording is chosen by
//! seed among several, so that two solutions of one problem need not be near-duplicates of each other.
//!
//! Invariant: row r of (seed, levels, themes, split) is the same however many rows are asked for.

pub mod level;
mod phrases;
mod plan;
mod random;
mod themes;
mod vocabulary;

pub use themes::THEMES;
pub use vocabulary::{lex, vocabulary};

use crate::error::ProblemsError;
use crate::id::problem_id;
use level::{Level, MAX_LEVEL};
use random::Stream;
use rasft_types::{Domain, Problem};
use std::ops::{Range, RangeInclusive};
use themes::Theme;

/// Raised whenever the same parameters would give other rows: part of the key of what is made from them.
pub const GENERATOR_VERSION: u32 = 1;

/// The levels made when nobody chooses.
pub const DEFAULT_LEVELS: RangeInclusive<u8> = 1..=6;

/// Which prompts may come up. Whether a prompt is held out depends on its text alone, so rows of `Train` and rows of
/// `HeldOut` never share one, whatever their seeds and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// All of them.
    All,
    /// Nine tenths.
    Train,
    /// The other tenth.
    HeldOut,
}

/// Which stories are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Every row's random stream derives from this and the row's number.
    pub seed: u64,
    /// Levels, taken in turn row by row.
    pub levels: RangeInclusive<u8>,
    /// Names of themes, see [`THEMES`]; empty: all.
    pub themes: Vec<String>,
    /// Which prompts may come up.
    pub split: Split,
    /// Per cent of the carries and borrows that the written solutions forget; the answers stay right. For pretraining
    /// a model that knows the arithmetic and is still often wrong.
    pub slips: u32,
}

impl World {
    /// All themes, default levels, no split.
    pub fn new(seed: u64) -> Self {
        Self { seed, levels: DEFAULT_LEVELS, themes: Vec::new(), split: Split::All, slips: 0 }
    }

    /// The problems of these rows, in order.
    ///
    /// # Errors
    /// `Usage`: no level, a level that does not exist, or an unknown theme.
    pub fn problems(&self, rows: Range<u64>) -> Result<Vec<Problem>, ProblemsError> {
        let themes = self.resolved_themes()?;
        let (first, last) = (*self.levels.start(), *self.levels.end());
        if first < 1 || last > MAX_LEVEL || first > last {
            return Err(ProblemsError::Usage {
                option: "--levels",
                detail: format!("{first}..={last} holds a level that does not exist, or none"),
                hint: format!("levels go from 1 to {MAX_LEVEL}, lowest first"),
            });
        }
        Ok(rows.map(|row| self.problem(row, &themes)).collect())
    }

    fn resolved_themes(&self) -> Result<Vec<&'static Theme>, ProblemsError> {
        if self.themes.is_empty() {
            return Ok(themes::ALL.iter().collect());
        }
        let find = |name: &String| {
            themes::ALL.iter().find(|theme| theme.name == name).ok_or_else(|| ProblemsError::Usage {
                option: "--themes",
                detail: format!("unknown theme {name:?}"),
                hint: format!("themes are {}", THEMES.join(", ")),
            })
        };
        self.themes.iter().map(find).collect()
    }

    fn problem(&self, row: u64, themes: &[&'static Theme]) -> Problem {
        let mut stream = Stream::new(self.seed, row);
        let n_levels = u64::from(self.levels.end() - self.levels.start()) + 1;
        let number = self.levels.start() + (row % n_levels) as u8;
        let level = Level::of(number);
        // A tenth of the prompts is held out, so this ends after ten draws on average at worst.
        loop {
            let theme = stream.choose(themes);
            let plan = plan::draw(&mut stream, &level);
            let cast = phrases::Cast::draw(&mut stream, theme);
            let prompt = phrases::prompt(&mut stream, &cast, &plan);
            if !self.split.admits(&prompt) {
                continue;
            }
            let answer = plan.answer().to_string();
            // A stream of their own: with slips or without, a row is the same story in the same words.
            let worked = plan.with_slips(&mut Stream::new(!self.seed, row), self.slips);
            return Problem {
                problem_id: problem_id(Domain::Math, &prompt, Some(&answer), None),
                domain: Domain::Math,
                source: "synthetic".to_owned(),
                expert_response: Some(phrases::solution(&mut stream, &cast, &worked)),
                prompt,
                answer: Some(answer),
                code: None,
                meta: format!("{{\"level\":{number},\"steps\":{},\"theme\":\"{}\"}}", level.steps, theme.name),
            };
        }
    }
}

impl Split {
    fn admits(self, prompt: &str) -> bool {
        let held_out = || blake3::hash(prompt.as_bytes()).as_bytes()[0] < 26;
        match self {
            Self::All => true,
            Self::Train => !held_out(),
            Self::HeldOut => held_out(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasft_method::similarity::jaccard;

    #[test]
    fn two_solutions_of_one_problem_are_seldom_near_duplicates() {
        // De-duplication (algorithm.md §6) would otherwise leave one rollout of a group. 0.82 is its threshold.
        for number in 1..=6 {
            let mut stream = Stream::new(3, u64::from(number));
            let n_alike = (0..400)
                .filter(|_| {
                    let plan = plan::draw(&mut stream, &Level::of(number));
                    let cast = phrases::Cast::draw(&mut stream, &themes::ALL[0]);
                    let [a, b] = [(); 2].map(|()| phrases::solution(&mut stream, &cast, &plan));
                    jaccard(&a, &b) >= 0.82
                })
                .count();
            assert!(n_alike < 40, "level {number}: {n_alike} of 400 pairs");
        }
    }
}

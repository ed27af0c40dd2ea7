//! The public verifier: policies, verdicts, classes of equal answers.

use crate::answer::{Answer, choice_letter, choice_text, read_answer};
use crate::budget::{Budget, Exhausted};
use crate::compare::{Comparer, Same};
use crate::extract::extract;
use rasft_types::{Method, Outcome};
use serde::{Deserialize, Serialize};

/// When a decimal may stand for a value it is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// A decimal of at least this many significant digits equals the exact value it rounds or truncates.
    Rounded {
        /// The digits.
        min_digits: u32,
    },
    /// Numbers that differ by at most this fraction of the larger are equal, integers excepted.
    Relative(f64),
}

impl std::str::FromStr for Tolerance {
    type Err = String;

    /// `rounded:DIGITS`, or a relative difference such as `1e-4`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "tolerance {text:?}: expected a relative difference between 0 and 1, such as 1e-4, or rounded:DIGITS"
            )
        };
        match text.strip_prefix("rounded:") {
            Some(digits) => {
                let min_digits = digits.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
                Ok(Self::Rounded { min_digits })
            }
            None => text.parse().ok().filter(|r| (0.0..1.0).contains(r)).map(Self::Relative).ok_or_else(wrong),
        }
    }
}

/// What a percent sign that only one side has means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Percent {
    /// 8 % is 0.08 and nothing else.
    Strict,
    /// 8 % also equals 8.
    SignOptional,
}

/// What two units that measure different things mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitMismatch {
    /// The answers differ.
    Reject,
    /// The units do not count.
    Ignore,
}

/// Policies on which reasonable people differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rounded decimals against exact values. Default: none, 0.33 is not 1/3 (twelve digits are taken for exact).
    pub tolerance: Option<Tolerance>,
    /// A percent sign on one side only. Default: [`Percent::Strict`].
    pub percent: Percent,
    /// 40 kg against 40 L. Default: [`UnitMismatch::Reject`]. A unit on one side only never matters.
    pub unit_mismatch: UnitMismatch,
    /// Whether x > 5 equals (5, ∞). Default: yes.
    pub inequality_is_interval: bool,
    /// Whether a row vector equals the column of the same entries. Default: no.
    pub row_is_column: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tolerance: None,
            percent: Percent::Strict,
            unit_mismatch: UnitMismatch::Reject,
            inequality_is_interval: true,
            row_is_column: false,
        }
    }
}

/// A verdict and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The verdict.
    pub outcome: Outcome,
    /// What settled it.
    pub method: Method,
    /// The answer found in the response.
    pub extracted: Option<String>,
    /// The gold answer's tokens as read.
    pub gold_form: Option<String>,
    /// The answer's tokens as read.
    pub answer_form: Option<String>,
    /// A sentence for people.
    pub detail: Option<String>,
}

impl Report {
    fn new(outcome: Outcome, detail: &str) -> Self {
        let detail = (!detail.is_empty()).then(|| detail.to_owned());
        Self { outcome, method: Method::None, extracted: None, gold_form: None, answer_form: None, detail }
    }

    /// Whether the answer is right.
    pub fn is_correct(&self) -> bool {
        self.outcome == Outcome::Correct
    }
}

/// Compares answers under fixed policies and a fixed budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verifier {
    /// The policies.
    pub options: Options,
    /// Work units for each comparison.
    pub budget: u64,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { options: Options::default(), budget: Budget::DEFAULT }
    }
}

impl Verifier {
    /// A verifier with these policies and the default budget.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Judges a whole response against the gold answer.
    pub fn verify(&self, gold: &str, response: &str) -> Report {
        match extract(response) {
            None => Report::new(Outcome::NoAnswer, "no answer found in the response"),
            Some(found) => Report { extracted: Some(found.text.clone()), ..self.equivalent(gold, &found.text) },
        }
    }

    /// Judges an answer against the gold answer.
    pub fn equivalent(&self, gold_answer: &str, answer: &str) -> Report {
        let budget = Budget::new(self.budget);
        let read = |text: &str| read_answer(text, &budget);
        let (gold, answer) = match (read(gold_answer), read(answer)) {
            (Ok(g), Ok(a)) => (g, a),
            _ => return Report::new(Outcome::Budget, "too long to read"),
        };
        let mut report = self.judge(&gold, &answer, &budget);
        report.gold_form = Some(gold.canonical);
        report.answer_form = Some(answer.canonical);
        report
    }

    fn judge(&self, gold: &Answer, answer: &Answer, budget: &Budget) -> Report {
        if answer.canonical.is_empty() {
            return Report::new(Outcome::NoAnswer, "the answer is empty");
        }
        match self.compare(gold, answer, budget) {
            Ok(Same::Yes(method)) => Report { method, ..Report::new(Outcome::Correct, "") },
            Ok(Same::No) => Report::new(Outcome::Wrong, ""),
            Ok(Same::Unknown) if !answer.is_readable() => {
                Report::new(Outcome::Unparsable, "the answer could not be read as mathematics")
            }
            Ok(Same::Unknown) => Report::new(Outcome::Wrong, "equality could not be established"),
            Err(Exhausted) => Report::new(Outcome::Budget, "deciding equality takes more work than allowed"),
        }
    }

    fn compare(&self, a: &Answer, b: &Answer, budget: &Budget) -> Result<Same, Exhausted> {
        let comparer = Comparer { options: &self.options, budget };
        let same = comparer.answers(a, b)?;
        if same.is_yes() {
            return Ok(same);
        }
        // `C) 27` answers a question whose gold answer is 27.
        for (choice, other) in [(a, b), (b, a)] {
            if choice_letter(&other.text).is_none()
                && let Some(text) = choice_text(&choice.text)
            {
                return comparer.answers(&read_answer(&text, budget)?, other);
            }
        }
        Ok(same)
    }

    /// Groups equal answers, for majority voting: the same number for equal answers, in order of first appearance; `None`
    /// where there is no answer. An answer joins the first group whose first member it equals.
    pub fn classes(&self, answers: &[Option<String>]) -> Vec<Option<u32>> {
        let mut heads: Vec<Answer> = Vec::new();
        let mut out = Vec::with_capacity(answers.len());
        for text in answers {
            out.push(text.as_deref().and_then(|text| self.class_of(text, &mut heads)));
        }
        out
    }

    fn class_of(&self, text: &str, heads: &mut Vec<Answer>) -> Option<u32> {
        let answer = read_answer(text, &Budget::new(self.budget)).ok().filter(|a| !a.canonical.is_empty())?;
        let position = heads.iter().position(|head| {
            let budget = Budget::new(self.budget);
            matches!(self.compare(head, &answer, &budget), Ok(Same::Yes(_)))
        });
        let class = position.unwrap_or_else(|| {
            heads.push(answer);
            heads.len() - 1
        });
        u32::try_from(class).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_read_as_users_write_them() {
        assert_eq!("rounded:3".parse(), Ok(Tolerance::Rounded { min_digits: 3 }));
        assert_eq!("1e-4".parse(), Ok(Tolerance::Relative(1e-4)));
        for wrong in ["", "rounded:", "rounded:0", "-1", "2", "NaN", "inf", "rounded:x"] {
            assert!(wrong.parse::<Tolerance>().is_err(), "{wrong}");
        }
        let third = |tolerance| {
            Verifier::new(Options { tolerance, ..Options::default() }).verify("1/3", "\\boxed{0.333}").outcome
        };
        assert_eq!(third(None), Outcome::Wrong);
        assert_eq!(third("rounded:3".parse().ok()), Outcome::Correct);
    }
}

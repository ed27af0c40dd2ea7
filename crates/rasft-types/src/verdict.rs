//! `verdicts` rows.

use crate::words::word_enum;
use serde::{Deserialize, Serialize};

word_enum! {
    /// What the verifier found.
    Outcome {
        /// Equal to the gold answer, or all tests passed.
        Correct = "correct",
        /// A different answer, or a failed test.
        Wrong = "wrong",
        /// Nothing to compare was found in the completion.
        NoAnswer = "no_answer",
        /// The answer could not be read as mathematics.
        Unparsable = "unparsable",
        /// The work budget ran out.
        Budget = "budget",
        /// The program ran too long.
        Timeout = "timeout",
        /// The program used too much memory.
        Memory = "memory",
        /// The program failed otherwise.
        Crash = "crash",
        /// The program tried what the sandbox forbids.
        Forbidden = "forbidden",
    }
}

word_enum! {
    /// What settled the outcome.
    Method {
        /// Equal normalised strings.
        Exact = "exact",
        /// Equal numbers.
        Numeric = "numeric",
        /// Algebra.
        Symbolic = "symbolic",
        /// Tests.
        Tests = "tests",
        /// Nothing.
        None = "none",
    }
}

word_enum! {
    /// Why a completion may not be trained on.
    Rejection {
        /// Too similar to an earlier sample of the same problem.
        Duplicate = "duplicate",
        /// Mostly symbols, or too short to be a solution.
        Gibberish = "gibberish",
        /// Repeats itself.
        Loop = "loop",
        /// States an answer without a solution.
        Shortcut = "shortcut",
        /// Lacks the box or the words of a worked solution.
        Format = "format",
        /// Nothing there.
        Empty = "empty",
        /// Does not fit the length limit.
        TooLong = "too_long",
    }
}

/// What is known of one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rollout.
    pub rollout_id: String,
    /// Its problem.
    pub problem_id: String,
    /// Its index.
    pub sample_index: u32,
    /// What the verifier found.
    pub outcome: Outcome,
    /// `outcome == correct`.
    pub correct: bool,
    /// What settled it.
    pub method: Method,
    /// The answer that was compared.
    pub extracted: Option<String>,
    /// Passed every text filter.
    pub usable: bool,
    /// The filters it failed.
    pub rejected_by: Vec<Rejection>,
    /// The kept rollout that it duplicates.
    pub duplicate_of: Option<String>,
    /// Tests passed (code).
    pub tests_passed: Option<u32>,
    /// Tests run (code).
    pub tests_total: Option<u32>,
    /// A sentence for people.
    pub detail: Option<String>,
}

/// What the verifier found in a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedPair {
    /// The gold answer.
    pub gold: String,
    /// The completion.
    pub response: String,
    /// The answer that was compared.
    pub extracted: Option<String>,
    /// What the verifier found.
    pub outcome: Outcome,
    /// What settled it.
    pub method: Method,
    /// `outcome == correct`.
    pub correct: bool,
}

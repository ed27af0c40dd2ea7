//! `problems` and `difficulty` rows.

use crate::words::word_enum;
use serde::{Deserialize, Serialize};

word_enum! {
    /// What kind of verifier a problem needs.
    Domain {
        /// A gold answer is compared.
        Math = "math",
        /// Tests are run.
        Code = "code",
    }
}

word_enum! {
    /// Where the moving window puts a problem (algorithm.md §4).
    Route {
        /// At or below the easy floor.
        Easy = "easy",
        /// Above the easy floor but below the window.
        Gap = "gap",
        /// Inside the window: a candidate for rollouts.
        Mid = "mid",
        /// Above the window, at or below the ceiling: kept in the hard pool.
        Hard = "hard",
        /// Above the ceiling, or without a finite loss.
        Never = "never",
    }
}

word_enum! {
    /// What this round does with a problem.
    RouteAction {
        /// Train on the expert alone.
        Expert = "expert",
        /// Roll out.
        Rollout = "rollout",
        /// Roll out a problem of the hard pool to see whether it has come within reach.
        Probe = "probe",
        /// Leave in the hard pool; nothing is trained this round.
        Defer = "defer",
    }
}

/// One problem with its expert solution and its gold answer or tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// 32 hex digits: blake3-128 of domain, prompt and answer or tests.
    pub problem_id: String,
    /// Math or code.
    pub domain: Domain,
    /// Name of the data set it came from.
    pub source: String,
    /// The user's turn, without any template.
    pub prompt: String,
    /// The expert's solution.
    pub expert_response: Option<String>,
    /// The gold answer (math).
    pub answer: Option<String>,
    /// The tests (code).
    pub code: Option<CodeSpec>,
    /// JSON of whatever else the source had.
    pub meta: String,
}

/// How a code problem is tested.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CodeSpec {
    /// The function that the tests call.
    pub entry_point: Option<String>,
    /// Code that runs before the tests.
    pub setup: String,
    /// Independent test snippets.
    pub tests: Vec<String>,
    /// The prompt is the beginning of the program (HumanEval).
    pub prompt_is_prefix: bool,
}

/// How hard a problem's expert solution is for the current policy, and where that routes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifficultyRow {
    /// The problem.
    pub problem_id: String,
    /// Response tokens the loss was taken over.
    pub expert_tokens: u32,
    /// Mean negative log-likelihood per response token, nats. NaN when it could not be computed.
    pub expert_nll: f32,
    /// Window class.
    pub route: Route,
    /// What this round does.
    pub action: RouteAction,
    /// Whether the problem is in the hard pool after this round's routing.
    pub in_hard_pool: bool,
}

word_enum! {
    /// What became of an expert solution that was to be scored.
    Scored {
        /// It has a loss.
        Scored = "scored",
        /// It is longer than the limit.
        TooLong = "too_long",
        /// Its prompt alone fills the limit.
        PromptTooLong = "prompt_too_long",
        /// There is none.
        Empty = "empty",
    }
}

/// Loss of one expert solution under one policy: what `difficulty` is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertLoss {
    /// The problem.
    pub problem_id: String,
    /// Response tokens the loss was taken over.
    pub expert_tokens: u32,
    /// Mean negative log-likelihood per response token, nats. NaN when it could not be computed.
    pub expert_nll: f32,
    /// Whether it could, and why not.
    pub scored: Scored,
}

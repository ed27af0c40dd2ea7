//! `pairs`: answers to judge without any rollout behind them, always somebody else's table.

use crate::table::table;

/// A gold answer and a response to hold against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRow {
    /// The gold answer.
    pub gold: String,
    /// The response.
    pub response: String,
}

table! {
    PairRow => "pairs" / 1, "Gold answers and responses, to be judged as they are.";
    gold: String, "the gold answer";
    response: String, "the response that is judged";
}

//! `rejects`: rows that an importer or a stage could not use, kept so that nothing vanishes silently.

use crate::table::table;

/// A row that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectRow {
    /// 1-based line of its source on which it begins.
    pub source_row: u64,
    /// Why it was skipped; rows are counted by this text.
    pub reason: String,
    /// The row as it was found.
    pub raw: String,
}

table! {
    RejectRow => "rejects" / 1, "Rows that were skipped, with the reason.";
    source_row: u64, "1-based line of its source on which it begins";
    reason: String, "why it was skipped";
    raw: String = String::new(), "the row as it was found";
}

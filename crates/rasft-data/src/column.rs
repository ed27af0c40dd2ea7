//! What a table says of a column, and where in which file a batch stands.

use arrow::datatypes::{DataType, Field};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// The contract of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its Arrow type.
    pub data_type: DataType,
    /// Nulls are allowed.
    pub nullable: bool,
    /// A table somebody else wrote must have it; the others have defaults.
    pub required: bool,
    /// One line for people.
    pub about: &'static str,
    /// The unit of its numbers, or nothing.
    pub unit: &'static str,
}

impl Column {
    /// The Arrow field.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.data_type.clone(), self.nullable)
    }
}

/// Where a batch comes from.
#[derive(Debug, Clone)]
pub struct Site {
    /// The file.
    pub file: PathBuf,
    /// Row of the file at which the batch starts, 0-based.
    pub first_row: u64,
    /// One of our programs wrote it: every column must be there.
    pub native: bool,
    /// The columns asked for; the others are left blank. None asks for all.
    pub wanted: Option<Vec<&'static str>>,
}

impl Site {
    /// A file somebody else wrote, all columns wanted, from its first row.
    pub fn foreign(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), first_row: 0, native: false, wanted: None }
    }

    /// Whether the reader asked for this column.
    pub fn wants(&self, column: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&column))
    }
}

/// What [`crate::Table::complete`] knows beyond one batch of a table that lacks columns.
#[derive(Debug, Default)]
pub struct Foreign {
    /// Columns the file does not have.
    pub absent: BTreeSet<&'static str>,
    /// Rows of the data set before this batch.
    pub rows_before: u64,
    /// How often each problem was seen so far. Only ever looked up, never iterated.
    seen: HashMap<String, u32>,
}

impl Foreign {
    /// Whether a column has to be made up.
    pub fn lacks(&self, column: &str) -> bool {
        self.absent.contains(column)
    }

    /// 0-based number of this occurrence of a problem, in file order.
    pub fn next_index(&mut self, problem_id: &str) -> u32 {
        let count = self.seen.entry(problem_id.to_owned()).or_insert(0);
        *count += 1;
        *count - 1
    }
}

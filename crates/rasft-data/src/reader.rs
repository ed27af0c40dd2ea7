//! Streaming rows: one batch in memory at a time, shard after shard.

use crate::column::Foreign;
use crate::dataset::Shard;
use crate::error::DataError;
use crate::shard::{self, OpenShard};
use crate::table::Table;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// The rows of some shards, batch by batch. After an error there is nothing more.
pub struct Rows<T: Table> {
    left: VecDeque<Shard>,
    open: Option<OpenShard>,
    columns: Option<Vec<&'static str>>,
    foreign: Foreign,
    row_type: PhantomData<fn() -> T>,
}

impl<T: Table> Rows<T> {
    pub(crate) fn new(shards: Vec<Shard>, columns: Option<Vec<&'static str>>) -> Self {
        Self { left: shards.into(), open: None, columns, foreign: Foreign::default(), row_type: PhantomData }
    }

    /// Every row that is left.
    ///
    /// # Errors
    /// Whatever is wrong with a shard.
    pub fn all(self) -> Result<Vec<T>, DataError> {
        let rows = self.left.iter().map(|s| s.rows as usize).sum();
        // A footer may lie about the number; do not trust it with all of memory.
        let mut all = Vec::with_capacity(std::cmp::min(rows, 1 << 20));
        for batch in self {
            all.extend(batch?);
        }
        Ok(all)
    }

    fn advance(&mut self) -> Result<Option<Vec<T>>, DataError> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let Some(shard) = self.left.pop_front() else { return Ok(None) };
                    let open = shard::open::<T>(&shard, self.columns.as_deref())?;
                    self.foreign.absent = open.absent.clone();
                    self.open.insert(open)
                }
            };
            let Some(batch) = shard::guarded(&open.site.file, || open.batches.next().transpose())? else {
                self.open = None;
                continue;
            };
            let mut rows = T::decode(&batch, &open.site)?;
            if !open.site.native {
                T::complete(&mut rows, &mut self.foreign);
            }
            open.site.first_row += rows.len() as u64;
            self.foreign.rows_before += rows.len() as u64;
            return Ok(Some(rows));
        }
    }
}

impl<T: Table> Iterator for Rows<T> {
    type Item = Result<Vec<T>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.left.clear();
            self.open = None;
        }
        result.transpose()
    }
}

//! How the rows of a map stage are laid out in output shards.

use crate::blocks::rows;
use crate::parts::share;
use crate::{Ctx, Error};
use rasft_data::{ShardInfo, ShardWriter, Table, part_name};
use rasft_store::Entry;
use rasft_types::{ExpertLoss, Verdict};
use std::path::{Path, PathBuf};

/// Rows that say which unit of work they came from, so that a shard never ends inside one.
pub trait OfUnit: Table {
    /// The unit; rows of one unit stand together.
    fn unit(&self) -> &str;
}

impl OfUnit for Verdict {
    fn unit(&self) -> &str {
        &self.problem_id
    }
}

impl OfUnit for ExpertLoss {
    fn unit(&self) -> &str {
        &self.problem_id
    }
}

/// The shards of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One for each block.
    Blocks,
    /// `of` shards with the same number of units, `--shards`.
    Parts {
        /// Shards.
        of: usize,
        /// Units in all of them.
        units: usize,
    },
    /// One of them, `--shard`.
    Part {
        /// Which.
        index: usize,
    },
}

impl Layout {
    /// What the caller asked for.
    pub fn of(ctx: &Ctx, units: usize) -> Self {
        match (ctx.shard, ctx.shards) {
            (Some(shard), _) => Self::Part { index: shard.index },
            (None, Some(of)) => Self::Parts { of, units },
            (None, None) => Self::Blocks,
        }
    }
}

/// Writes rows into shards that end between units.
pub struct Cutter<'a, O: OfUnit> {
    dir: PathBuf,
    key: &'a str,
    of: usize,
    units: usize,
    writer: ShardWriter<O>,
    /// The current shard, and the current unit within all.
    at: (usize, usize),
    last: Option<String>,
    done: Vec<ShardInfo>,
}

impl<'a, O: OfUnit> Cutter<'a, O> {
    /// `of` shards for `units` units.
    pub fn new(dir: &Path, key: &'a str, of: usize, units: usize) -> Result<Self, Error> {
        let writer = ShardWriter::create(&dir.join(part_name(0)), key)?;
        Ok(Self { dir: dir.to_owned(), key, of, units, writer, at: (0, 0), last: None, done: Vec::new() })
    }

    /// Writes the rows of all blocks, batch by batch.
    pub fn write_all(mut self, entries: &[Entry]) -> Result<Vec<ShardInfo>, Error> {
        for batch in rows::<O>(entries) {
            self.write(&batch?)?;
        }
        while self.at.0 + 1 < self.of {
            self.next_shard()?;
        }
        self.done.push(self.writer.finish()?);
        Ok(self.done)
    }

    fn write(&mut self, batch: &[O]) -> Result<(), Error> {
        let mut from = 0;
        for (i, row) in batch.iter().enumerate() {
            let before = match i {
                0 => self.last.as_deref(),
                _ => Some(batch[i - 1].unit()),
            };
            self.at.1 += usize::from(before.is_some_and(|unit| unit != row.unit()));
            while self.at.0 + 1 < self.of && self.at.1 >= share(self.at.0, self.of, self.units).end {
                self.writer.write(&batch[from..i])?;
                from = i;
                self.next_shard()?;
            }
        }
        self.writer.write(&batch[from..])?;
        if let Some(row) = batch.last() {
            self.last = Some(row.unit().to_owned());
        }
        Ok(())
    }

    fn next_shard(&mut self) -> Result<(), Error> {
        self.at.0 += 1;
        let next = ShardWriter::create(&self.dir.join(part_name(self.at.0)), self.key)?;
        self.done.push(std::mem::replace(&mut self.writer, next).finish()?);
        Ok(())
    }
}

//! Map stages in blocks: contiguous units of work, each block cached under what its units are.
//!
//! Blocks lie on a fixed grid from the first unit on, whatever the number of output shards, so that another `--shards`
//! finds them all. A block that is not there is put together from what is: the longest run of units from its first one
//! that was ever computed together, then the next. So added problems cost themselves alone, and what `--shard I/N`
//! computed anywhere is used everywhere. The bytes of a block depend on its units, not on how it came together.

use crate::parts::share;
use crate::produce::{Product, get_or_publish};
use crate::{Ctx, Error, ShardOf};
use rasft_data::{DataSet, ShardWriter, Table, part_name};
use rasft_fs::FileLock;
use rasft_store::{Entry, KeyParams, Staging};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// How a map stage cuts its work.
pub struct Mapping<'a, I> {
    /// Independent units of work, in canonical order.
    pub units: &'a [I],
    /// Content hash of everything of a unit that shapes its rows.
    pub unit_hash: &'a dyn Fn(&I) -> String,
    /// Inputs that every unit depends on, such as the model.
    pub shared_inputs: BTreeMap<String, String>,
    /// Units in a block, and in an output shard unless the user asks for a number of shards.
    pub units_per_shard: usize,
}

/// The blocks of one run.
pub struct Blocks<'a, I> {
    ctx: &'a Ctx<'a>,
    mapping: &'a Mapping<'a, I>,
    hashes: Vec<String>,
    key: KeyParams,
    place: String,
    part: Range<usize>,
    /// Keeps `gc` away from every block until the caller has read what it needs and drops these.
    _in_use: FileLock,
}

/// What of the work is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// Blocks of which nothing is left to compute.
    pub hits: usize,
    /// Other blocks.
    pub misses: usize,
    /// Units left to compute.
    pub units_left: usize,
}

/// A run of units inside a block.
enum Piece {
    Cached(Box<Entry>),
    Missing(Range<usize>),
}

impl<'a, I> Blocks<'a, I> {
    /// The blocks of `mapping`; with `--shard I/N` those of its part. `key` holds stage and parameters. Hold them until
    /// the entries that [`Blocks::make`] gave have been read: no `gc` removes a block meanwhile.
    ///
    /// # Errors
    /// The store's lock cannot be opened.
    pub fn of(ctx: &'a Ctx<'a>, key: KeyParams, mapping: &'a Mapping<'a, I>) -> Result<Self, Error> {
        let n = mapping.units.len();
        let part = ctx.shard.map_or(0..n, |ShardOf { index, of }| share(index, of, n));
        let hashes = mapping.units.iter().map(mapping.unit_hash).collect();
        let key = KeyParams { inputs: mapping.shared_inputs.clone(), ..key };
        let place = format!("{}/blocks", key.stage);
        let in_use = ctx.store.in_use(&place)?;
        Ok(Self { ctx, mapping, hashes, place, key, part, _in_use: in_use })
    }

    /// Where the blocks lie.
    fn grid(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let size = self.mapping.units_per_shard.max(1);
        let Range { start, end } = self.part;
        let cells = if start < end { start / size..end.div_ceil(size) } else { 0..0 };
        cells.map(move |i| start.max(i * size)..end.min((i + 1) * size))
    }

    /// What is there and what is left to do.
    pub fn survey(&self) -> Result<Survey, Error> {
        let mut found = Survey::default();
        for block in self.grid() {
            let left: usize = self.pieces(block)?.iter().map(Piece::units_left).sum();
            found.units_left += left;
            if left == 0 { found.hits += 1 } else { found.misses += 1 }
        }
        Ok(found)
    }

    /// Every block in order, looked up or made; `compute` gets the units of which nothing is there.
    ///
    /// # Errors
    /// Those of `compute`, an interruption, or damage to a block that is read.
    pub fn make<O: Table>(
        &self,
        mut compute: impl FnMut(&[I]) -> Result<Vec<O>, Error>,
    ) -> Result<(Vec<Entry>, Survey), Error> {
        let (mut entries, mut found) = (Vec::new(), Survey::default());
        let mut meanwhile = self.ctx.waiting_for(&self.place);
        for block in self.grid() {
            let (mut left, key) = (0, self.block_key(&block));
            let (entry, _) = get_or_publish(self.ctx, &self.place, &key, &mut meanwhile, BTreeMap::new, |staging| {
                let pieces = self.pieces(block.clone())?;
                left = pieces.iter().map(Piece::units_left).sum();
                self.fill(staging, pieces, &mut compute)
            })?;
            found.units_left += left;
            if left == 0 {
                found.hits += 1
            } else {
                found.misses += 1
            }
            entries.push(entry);
        }
        Ok((entries, found))
    }

    /// Writes one block.
    fn fill<O: Table>(
        &self,
        staging: &Staging,
        pieces: Vec<Piece>,
        compute: &mut impl FnMut(&[I]) -> Result<Vec<O>, Error>,
    ) -> Result<Product, Error> {
        let mut writer = ShardWriter::<O>::create(&staging.path().join(part_name(0)), staging.key().as_str())?;
        for piece in pieces {
            match piece {
                // Reading rehashes: what is damaged is never passed on.
                Piece::Cached(entry) => {
                    for batch in entry.data_set()?.read::<O>()? {
                        writer.write(&batch?)?;
                    }
                }
                Piece::Missing(range) => {
                    if self.ctx.cancelled() {
                        let kept = "finished blocks are kept; the same command goes on from here";
                        return Err(Error::Interrupted(kept.into()));
                    }
                    writer.write(&compute(&self.mapping.units[range])?)?;
                }
            }
        }
        let shards = vec![writer.finish()?];
        Ok(Product { schema: O::NAME, version: O::VERSION, shards, files: vec![], counts: None, summary: Value::Null })
    }

    /// A block as what is there of it, and the rest.
    fn pieces(&self, block: Range<usize>) -> Result<Vec<Piece>, Error> {
        let (mut pieces, mut start) = (Vec::new(), block.start);
        while start < block.end {
            match self.longest_from(start, block.end)? {
                Some((entry, end)) => {
                    pieces.push(Piece::Cached(Box::new(entry)));
                    start = end;
                }
                None => {
                    pieces.push(Piece::Missing(start..block.end));
                    break;
                }
            }
        }
        Ok(pieces)
    }

    /// The longest cached run of units from `start`, and where it ends.
    fn longest_from(&self, start: usize, end: usize) -> Result<Option<(Entry, usize)>, Error> {
        if self.ctx.force {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        let hashed = |hash: &String| hasher.update(hash.as_bytes()).finalize();
        let runs: Vec<blake3::Hash> = self.hashes[start..end].iter().map(hashed).collect();
        for (n, rows) in runs.iter().enumerate().rev() {
            if let Some(entry) = self.ctx.store.lookup(&self.place, &self.key_of(rows).key())? {
                return Ok(Some((entry, start + n + 1)));
            }
        }
        Ok(None)
    }

    fn block_key(&self, block: &Range<usize>) -> KeyParams {
        let mut hasher = blake3::Hasher::new();
        for hash in &self.hashes[block.clone()] {
            hasher.update(hash.as_bytes());
        }
        self.key_of(&hasher.finalize())
    }

    fn key_of(&self, rows: &blake3::Hash) -> KeyParams {
        let mut key = self.key.clone();
        key.inputs.insert("rows".into(), rows.to_hex().to_string());
        key
    }
}

impl Piece {
    fn units_left(&self) -> usize {
        match self {
            Self::Cached(_) => 0,
            Self::Missing(range) => range.len(),
        }
    }
}

/// All rows of some blocks, in order.
pub fn rows<O: Table>(entries: &[Entry]) -> impl Iterator<Item = Result<Vec<O>, Error>> + '_ {
    let open = |entry: &Entry| -> Result<_, Error> { Ok(DataSet::open(&entry.path)?.read::<O>()?) };
    entries.iter().flat_map(move |entry| {
        let (rows, failed) = match open(entry) {
            Ok(rows) => (Some(rows), None),
            Err(e) => (None, Some(Err(e))),
        };
        failed.into_iter().chain(rows.into_iter().flatten().map(|batch| batch.map_err(Error::from)))
    })
}

#[cfg(test)]
mod tests;

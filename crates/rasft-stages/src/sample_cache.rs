//! Samples that exist already, by rollout id: what makes `--n 8` after `--n 4`, more problems, or a run after a kill
//! compute only what is missing.
//!
//! All samples of one policy under one set of parameters share a place in the store, `samples/<identity>`. Its entries,
//! *segments*, are tables of rollouts in the order in which they finished; each appears by one rename and is hashed
//! before it is read, as everything in the store. Any number of processes add segments at once: a sample is the same
//! whoever computes it, so two copies of one do no harm. Small segments are merged as they pile up, and what is covered
//! by others is removed when no other process uses the place. Deliberately absent: which samples are wanted, and how
//! they are made.

use crate::Error;
use rasft_data::{Manifest, ShardWriter, Table, part_name};
use rasft_store::{Entry, Key, KeyParams, Store};
use rasft_types::Rollout;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// Raised whenever the bytes of a sample would change for the same parameters.
const VERSION: u32 = 1;
/// Rows in small segments at which these are merged; a segment with fewer is small.
const MERGE_ROWS: u64 = 4096;
/// Small segments at which they are merged, however few rows they have.
const MERGE_SEGMENTS: usize = 64;
/// Small segments that a run may leave behind.
const LEAVE_SEGMENTS: usize = 4;

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct At {
    segment: u32,
    row: u32,
}

/// The samples of one identity.
pub struct SampleCache<'a> {
    store: &'a Store,
    place: String,
    key: KeyParams,
    /// Samples of a lower generation count as absent.
    generation: u32,
    segments: Vec<Entry>,
    index: HashMap<u128, At>,
    /// Segments that are still small: those that were found, then ours in the order in which they were made.
    small: Vec<u32>,
    in_use: rasft_fs::FileLock,
}

/// What a cache may take from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Everything that is there.
    All,
    /// Nothing: samples are computed again and, from then on, preferred to the older ones.
    Nothing,
}

impl<'a> SampleCache<'a> {
    /// The place of an identity: all parameters that shape a sample but problem and index, and the policy's id.
    pub fn place(identity: &Value, policy_id: &str) -> String {
        format!("samples/{}", &key_params(identity, policy_id).key().as_str()[..32])
    }

    /// Opens the cache and reads the ids of all samples in it.
    ///
    /// # Errors
    /// A damaged segment, or a disk that refuses.
    pub fn open(store: &'a Store, identity: &Value, policy_id: &str, reuse: Reuse) -> Result<Self, Error> {
        let place = Self::place(identity, policy_id);
        let in_use = store.in_use(&place)?;
        let mut cache = Self {
            store,
            place,
            key: key_params(identity, policy_id),
            generation: 0,
            segments: Vec::new(),
            index: HashMap::new(),
            small: Vec::new(),
            in_use,
        };
        cache.load(reuse)?;
        Ok(cache)
    }

    /// Whether there is a sample of this id.
    pub fn has(&self, rollout_id: &str) -> bool {
        parse(rollout_id).is_some_and(|id| self.index.contains_key(&id))
    }

    /// Keeps finished samples; when it returns they outlive the process.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn add(&mut self, rows: &[Rollout]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.write(rows)?;
        self.small.push(self.segments.len() as u32 - 1);
        let n_rows: u64 = self.small.iter().map(|s| self.segments[*s as usize].rows()).sum();
        if n_rows >= MERGE_ROWS || self.small.len() >= MERGE_SEGMENTS { self.merge() } else { Ok(()) }
    }

    /// The samples of these ids, in their order.
    ///
    /// # Errors
    /// An id that is not there, or a damaged segment.
    pub fn rows(&self, rollout_ids: &[String]) -> Result<Vec<Rollout>, Error> {
        let mut wanted: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
        for (nth, id) in rollout_ids.iter().enumerate() {
            let at = parse(id).and_then(|id| self.index.get(&id));
            let at = at.ok_or_else(|| Error::runtime(format!("sample {id} is not in the store's {}", self.place)))?;
            wanted.entry(at.segment).or_default().push((at.row, nth));
        }
        let mut found: Vec<Option<Rollout>> = vec![None; rollout_ids.len()];
        for (segment, mut rows) in wanted {
            rows.sort_unstable();
            let mut rows = rows.into_iter().peekable();
            let all = self.segments[segment as usize].data_set()?.read::<Rollout>()?;
            let mut first = 0;
            for batch in all {
                let batch = batch?;
                let behind = first + batch.len() as u32;
                while let Some((row, nth)) = rows.next_if(|(row, _)| *row < behind) {
                    found[nth] = batch.get((row - first) as usize).cloned();
                }
                first = behind;
            }
        }
        let gone = || Error::runtime(format!("{}: a segment has fewer rows than its index", self.place));
        found.into_iter().map(|row| row.ok_or_else(gone)).collect()
    }

    /// Merges what is small and removes what is covered, if nobody else uses the cache.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn close(mut self) -> Result<(), Error> {
        if self.small.len() > LEAVE_SEGMENTS {
            self.merge()?;
        }
        let mut used = vec![false; self.segments.len()];
        self.index.values().for_each(|at| used[at.segment as usize] = true);
        let covered: Vec<Key> =
            self.segments.iter().zip(used).filter(|(_, used)| !used).map(|(entry, _)| entry.key.clone()).collect();
        drop(self.in_use);
        if !covered.is_empty() {
            self.store.discard(&self.place, &covered)?;
        }
        Ok(())
    }

    fn load(&mut self, reuse: Reuse) -> Result<(), Error> {
        let mut segments = Vec::new();
        for key in self.store.keys(&self.place)? {
            let Some(entry) = self.store.lookup(&self.place, &key)? else { continue };
            segments.push((generation(&entry), entry));
        }
        // Of two copies the newer generation counts, then the one in the greater segment: what is covered is found so.
        segments.sort_by(|(a, x), (b, y)| (b, y.rows(), &x.key).cmp(&(a, x.rows(), &y.key)));
        if reuse == Reuse::Nothing {
            self.generation = segments.first().map_or(0, |(newest, _)| newest + 1);
            return Ok(());
        }
        self.generation = segments.first().map_or(0, |(newest, _)| *newest);
        for (generation, entry) in segments {
            // Those of killed runs too; samples of older generations stay where they are.
            if generation == self.generation && entry.rows() < MERGE_ROWS {
                self.small.push(self.segments.len() as u32);
            }
            self.enter(entry)?;
        }
        Ok(())
    }

    /// Takes a segment up; samples that are there already stay where they are.
    fn enter(&mut self, entry: Entry) -> Result<(), Error> {
        let segment = self.segments.len() as u32;
        let mut row = 0;
        for batch in entry.data_set()?.read_columns::<Rollout>(&["rollout_id"])? {
            for rollout in batch? {
                if let Some(id) = parse(&rollout.rollout_id) {
                    self.index.entry(id).or_insert(At { segment, row });
                }
                row += 1;
            }
        }
        self.segments.push(entry);
        Ok(())
    }

    /// Publishes a segment, whose rows from now on count.
    fn write(&mut self, rows: &[Rollout]) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        for row in rows {
            hasher.update(row.rollout_id.as_bytes());
        }
        let mut key = self.key.clone();
        key.params.insert("generation".into(), self.generation.into());
        key.inputs.insert("rows".into(), hasher.finalize().to_hex().to_string());
        let make = |staging: &rasft_store::Staging| -> Result<Manifest, Error> {
            let mut writer =
                ShardWriter::<Rollout>::create(&staging.path().join(part_name(0)), staging.key().as_str())?;
            writer.write(rows)?;
            let (schema, shards) = (Rollout::NAME.to_owned(), vec![writer.finish()?]);
            let params = Value::Object(key.params.clone());
            Ok(Manifest { schema, version: Rollout::VERSION, shards, params, ..Manifest::default() })
        };
        // Whoever writes the same rows is done at once.
        let (entry, _) = self.store.get_or_make(&self.place, &key, || Ok(()), make)?;
        let segment = self.segments.len() as u32;
        for (row, rollout) in (0..).zip(rows) {
            if let Some(id) = parse(&rollout.rollout_id) {
                self.index.insert(id, At { segment, row });
            }
        }
        self.segments.push(entry);
        Ok(())
    }

    /// One segment out of the small ones, in order: later reads want neighbours together. Rows that another segment has
    /// too are left out.
    fn merge(&mut self) -> Result<(), Error> {
        let small = std::mem::take(&mut self.small);
        if small.len() < 2 {
            return Ok(());
        }
        let mut rows = Vec::new();
        for segment in small {
            let all = self.segments[segment as usize].data_set()?.read_all::<Rollout>()?;
            let is_here = |row: u32, id: &str| {
                let at = parse(id).and_then(|id| self.index.get(&id));
                at.is_some_and(|at| (at.segment, at.row) == (segment, row))
            };
            rows.extend((0..).zip(all).filter(|(row, rollout)| is_here(*row, &rollout.rollout_id)).map(|(_, r)| r));
        }
        if rows.is_empty() { Ok(()) } else { self.write(&rows) }
    }
}

fn key_params(identity: &Value, policy_id: &str) -> KeyParams {
    KeyParams {
        stage: "samples".to_owned(),
        stage_version: VERSION,
        params: identity.as_object().cloned().unwrap_or_else(Map::new),
        inputs: BTreeMap::from([("policy".to_owned(), policy_id.to_owned())]),
    }
}

fn generation(entry: &Entry) -> u32 {
    entry.manifest.params["generation"].as_u64().unwrap_or(0) as u32
}

fn parse(rollout_id: &str) -> Option<u128> {
    u128::from_str_radix(rollout_id, 16).ok()
}

#[cfg(test)]
mod tests;

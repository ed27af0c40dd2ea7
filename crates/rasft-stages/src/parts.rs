//! The output parts of a data set, `--shards` and `--shard`: how units are divided, and how a key says so.
//!
//! Invariant: part I of `--shard I/N` has the bytes of part I of `--shards N`. So what stands inside a part names the
//! result without its division.

use crate::job::Job;
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs};
use rasft_data::{DataSet, ShardInfo, ShardWriter, Table, part_name};
use serde_json::json;
use std::ops::Range;
use std::path::Path;

/// Units in a part unless the user says how many parts there are.
const UNITS_PER_PART: usize = 256;
/// Units whose rows are in memory at once.
const UNITS_AT_ONCE: usize = 256;

/// Units of part `index` of `of`: contiguous, and sizes differ by one at most.
pub fn share(index: usize, of: usize, n: usize) -> Range<usize> {
    // Wide, so that no product overflows.
    let at = |i: usize| (i as u128 * n as u128 / of.max(1) as u128) as usize;
    at(index)..at(index + 1)
}

/// Which parts are wanted, and what stands in each.
#[derive(Debug, Clone)]
pub struct Parts {
    of: usize,
    n_units: usize,
    /// The wanted ones.
    pub wanted: Vec<usize>,
}

impl Parts {
    /// The parts of `n_units` units.
    pub fn new(ctx: &Ctx, n_units: usize) -> Self {
        let of = ctx.shard.map(|s| s.of).or(ctx.shards).unwrap_or_else(|| n_units.div_ceil(UNITS_PER_PART).max(1));
        let wanted = ctx.shard.map_or_else(|| (0..of).collect(), |s| vec![s.index]);
        Self { of, n_units, wanted }
    }

    /// Names the division in the key of `job`, and gives the key that stands in the parts themselves.
    pub fn name(ctx: &Ctx, job: &mut Job) -> String {
        let inside = job.key.key().to_string();
        if let Some(of) = ctx.shard.map(|s| s.of).or(ctx.shards) {
            job.key.params.insert("shards".into(), json!(of));
        }
        if let Some(shard) = ctx.shard {
            job.key.params.insert("only_shard".into(), json!(shard.index));
        }
        inside
    }

    /// Units of a part.
    pub fn units(&self, part: usize) -> Range<usize> {
        share(part, self.of, self.n_units)
    }

    /// Every wanted unit, in order.
    pub fn all_units(&self) -> impl Iterator<Item = usize> + '_ {
        self.wanted.iter().flat_map(|part| self.units(*part))
    }

    /// Writes the wanted parts into `dir`; `rows` gives the rows of some units.
    ///
    /// # Errors
    /// Those of `rows`, and a disk that refuses.
    pub fn write<T: Table>(
        &self,
        dir: &Path,
        key: &str,
        mut rows: impl FnMut(Range<usize>) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<ShardInfo>, Error> {
        let mut shards = Vec::new();
        for &part in &self.wanted {
            let mut writer = ShardWriter::<T>::create(&dir.join(part_name(part)), key)?;
            let units = self.units(part);
            for from in units.clone().step_by(UNITS_AT_ONCE) {
                writer.write(&rows(from..units.end.min(from + UNITS_AT_ONCE))?)?;
            }
            shards.push(writer.finish()?);
        }
        Ok(shards)
    }
}

/// What is missing of a data set made in parts, in words: it is the result of one `--shard`, one file of several, or a
/// directory in which a part before the last is not there. Parts behind the last leave no trace.
pub fn missing(data: &DataSet) -> Option<String> {
    if let Some(manifest) = data.manifest() {
        let number = |name: &str| manifest.params[name].as_u64();
        let (index, of) = (number("only_shard")?, number("shards")?);
        return (of > 1).then(|| format!("only part {index} of {of} (--shard {index}/{of})"));
    }
    let path = data.path();
    let names: Vec<String> = if path.is_file() {
        vec![path.file_name()?.to_string_lossy().into_owned()]
    } else {
        data.shards().iter().filter_map(|shard| Some(shard.path.file_name()?.to_string_lossy().into_owned())).collect()
    };
    let there: Option<Vec<usize>> = names.iter().map(|name| part_index(name)).collect();
    let there = there?;
    if path.is_file() {
        let beside = std::fs::read_dir(path.parent()?).ok()?;
        let parts = beside.flatten().filter_map(|entry| part_index(&entry.file_name().to_string_lossy())).count();
        return (parts > 1).then(|| format!("only one of the {parts} parts in its folder"));
    }
    let last = there.iter().max()?;
    let absent: Vec<String> = (0..*last).filter(|i| !there.contains(i)).map(|i| i.to_string()).collect();
    (!absent.is_empty())
        .then(|| format!("{} of {} parts or more; not there: {}", there.len(), last + 1, absent.join(", ")))
}

/// The number of a file that [`part_name`] named.
fn part_index(name: &str) -> Option<usize> {
    let index = name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok()?;
    (part_name(index) == name).then_some(index)
}

/// [`produce`] for a stage that samples; `left` is asked in a dry run that misses.
pub fn produce_sampled(
    ctx: &Ctx,
    job: &Job,
    make: impl FnOnce(&Path, &str) -> Result<(Product, Tally), Error>,
    left: impl FnOnce() -> Result<Tally, Error>,
) -> Result<Outputs, Error> {
    let mut done = None;
    let mut outputs = produce(ctx, job, |dir, key| {
        let (product, tally) = make(dir, key)?;
        done = Some(tally);
        Ok(product)
    })?;
    match (done, &outputs.entry) {
        (Some(tally), _) => tally.enter(&mut outputs),
        (None, None) => left()?.enter(&mut outputs),
        (None, Some(entry)) => outputs.hits = entry.manifest.shards.len(),
    }
    Ok(outputs)
}

/// Samples and parts of a run: found, and made or left to make.
pub struct Tally {
    hits: usize,
    misses: usize,
    cached: u64,
    computed: u64,
}

impl Tally {
    /// `n` samples of each unit, of which `computed` were not found.
    pub fn of(parts: &Parts, n: &[u32], computed: impl Fn(usize) -> u64) -> Self {
        let of_part = |part: &usize| parts.units(*part).map(&computed).sum::<u64>();
        let missed: Vec<u64> = parts.wanted.iter().map(of_part).collect();
        let all: u64 = parts.all_units().map(|unit| u64::from(n[unit])).sum();
        let computed: u64 = missed.iter().sum();
        let misses = missed.iter().filter(|n| **n > 0).count();
        Self { hits: missed.len() - misses, misses, cached: all - computed, computed }
    }

    /// What the user sees of it; it says how this run went, so it is no part of the result.
    pub fn enter(self, outputs: &mut Outputs) {
        (outputs.hits, outputs.misses) = (self.hits, self.misses);
        // Units are counted in samples here.
        if let Some(summary) = outputs.summary.as_object_mut() {
            summary.remove("units_left");
        }
        outputs.summary["samples_cached"] = self.cached.into();
        outputs.summary[if outputs.dry_run { "samples_left" } else { "samples_computed" }] = self.computed.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_tile_the_units() {
        for (of, n_units) in [(1, 0), (3, 10), (8, 3), (4, 4)] {
            let parts = Parts { of, n_units, wanted: (0..of).collect() };
            assert_eq!(parts.all_units().collect::<Vec<_>>(), (0..n_units).collect::<Vec<_>>(), "{of} {n_units}");
        }
    }
}

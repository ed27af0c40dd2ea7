//! The one way a stage makes a result: look it up, else compute into a staging directory and publish whole.
//!
//! Two grains: [`produce`] for stages that need all rows at once, [`map_shards`] for stages whose rows are independent,
//! which keeps every finished shard even if the run is killed before the data set is complete.

use crate::job::Job;
use crate::{Ctx, Error, Outputs};
use rasft_data::{Counts, DataSet, FileInfo, InputRef, Manifest, ShardInfo, ShardWriter, Table, part_name};
use rasft_store::{Entry, KeyParams, Origin, Staging};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What a stage put into its staging directory.
pub struct Product {
    /// Table name, or what else it is.
    pub schema: &'static str,
    /// Version of the schema.
    pub version: u32,
    /// Parquet shards.
    pub shards: Vec<ShardInfo>,
    /// Other files.
    pub files: Vec<FileInfo>,
    /// Where rows went.
    pub counts: Option<Counts>,
    /// Figures for people and later stages.
    pub summary: Value,
}

impl Product {
    /// One shard of table `T`.
    pub fn table<T: Table>(dir: &Path, key: &str, rows: &[T], summary: Value) -> Result<Self, Error> {
        let mut writer = ShardWriter::<T>::create(&dir.join(part_name(0)), key)?;
        writer.write(rows)?;
        let shards = vec![writer.finish()?];
        Ok(Self { schema: T::NAME, version: T::VERSION, shards, files: Vec::new(), counts: None, summary })
    }
}

/// Gives the result of `job` from the store, or makes it with `make(staging directory, key)`.
pub fn produce(
    ctx: &Ctx,
    job: &Job,
    make: impl FnOnce(&Path, &str) -> Result<Product, Error>,
) -> Result<Outputs, Error> {
    let make = |staging: &Staging| make(staging.path(), staging.key().as_str());
    let stage = job.key.stage.as_str();
    if ctx.dry_run {
        return Ok(match ctx.store.lookup(stage, &job.key.key())? {
            Some(entry) => outputs(entry, 1, 0, true),
            None => planned(ctx, &job.key, 0, 1)?,
        });
    }
    let (entry, made) = get_or_publish(ctx, stage, &job.key, || job.input_refs(), make)?;
    Ok(outputs(entry, usize::from(!made), usize::from(made), false))
}

/// How [`map_shards`] cuts and computes.
pub struct Mapping<'a, I> {
    /// Independent units of work, in canonical order.
    pub units: &'a [I],
    /// Content hash of everything of a unit that shapes its rows.
    pub unit_hash: &'a dyn Fn(&I) -> String,
    /// Inputs that every shard depends on, such as the model.
    pub shared_inputs: BTreeMap<String, String>,
    /// Units in a shard unless the user asks for a number of shards.
    pub units_per_shard: usize,
}

/// What stands beside the shards of a finished data set.
pub struct Finished {
    /// Figures for people and later stages.
    pub summary: Value,
    /// Files written beside the shards.
    pub files: Vec<FileInfo>,
}

/// [`map_shards_with`] for stages that leave nothing but their table.
pub fn map_shards<I, O: Table>(
    ctx: &Ctx,
    job: &mut Job,
    mapping: &Mapping<I>,
    compute: impl FnMut(&[I]) -> Result<Vec<O>, Error>,
    summarise: impl FnOnce(&DataSet) -> Result<Value, Error>,
) -> Result<Outputs, Error> {
    let finish = |_: &Path, _: &str, data: &DataSet| Ok(Finished { summary: summarise(data)?, files: Vec::new() });
    map_shards_with(ctx, job, mapping, compute, finish)
}

/// Computes a data set shard by shard, each cached on its own, and assembles them.
///
/// `compute` gets the units of one shard; `finish(directory, key, data)` sees the assembled shards and may write more
/// files beside them.
pub fn map_shards_with<I, O: Table>(
    ctx: &Ctx,
    job: &mut Job,
    mapping: &Mapping<I>,
    mut compute: impl FnMut(&[I]) -> Result<Vec<O>, Error>,
    finish: impl FnOnce(&Path, &str, &DataSet) -> Result<Finished, Error>,
) -> Result<Outputs, Error> {
    let n = mapping.units.len();
    let of = ctx.shard.map(|s| s.of).or(ctx.shards).unwrap_or_else(|| n.div_ceil(mapping.units_per_shard).max(1));
    job.key.params.insert("shards".into(), json!(of));
    if let Some(shard) = ctx.shard {
        job.key.params.insert("only_shard".into(), json!(shard.index));
    }
    let wanted: Vec<usize> = ctx.shard.map_or_else(|| (0..of).collect(), |s| vec![s.index]);
    if !ctx.force
        && let Some(entry) = ctx.store.lookup(&job.key.stage, &job.key.key())?
    {
        return Ok(outputs(entry, wanted.len(), 0, ctx.dry_run));
    }
    let place = format!("{}/shards", job.key.stage);
    let keys: Vec<KeyParams> =
        wanted.iter().map(|&i| shard_key(job, mapping, &mapping.units[range(i, of, n)])).collect();
    if ctx.dry_run {
        let hits = keys.iter().map(|k| ctx.store.lookup(&place, &k.key())).collect::<Result<Vec<_>, _>>()?;
        let hits = hits.iter().flatten().count();
        return planned(ctx, &job.key, hits, keys.len() - hits);
    }
    let (mut entries, mut misses) = (Vec::new(), 0);
    for (shard, key) in wanted.iter().zip(&keys) {
        let units = &mapping.units[range(*shard, of, n)];
        let (entry, made) = get_or_publish(ctx, &place, key, BTreeMap::new, |staging| {
            if ctx.cancelled() {
                return Err(Error::Interrupted("finished shards are kept; the same command goes on from here".into()));
            }
            Product::table(staging.path(), staging.key().as_str(), &compute(units)?, Value::Null)
        })?;
        misses += usize::from(made);
        entries.push((*shard, entry));
    }
    let make = |staging: &Staging| assemble::<O>(staging, &entries, finish);
    let (entry, _) = get_or_publish(ctx, &job.key.stage, &job.key, || job.input_refs(), make)?;
    Ok(outputs(entry, keys.len() - misses, misses, false))
}

/// Units of part `index` of `of`: contiguous, and sizes differ by one at most.
fn range(index: usize, of: usize, n: usize) -> std::ops::Range<usize> {
    index * n / of..(index + 1) * n / of
}

fn shard_key<I>(job: &Job, mapping: &Mapping<I>, units: &[I]) -> KeyParams {
    let mut hasher = blake3::Hasher::new();
    for unit in units {
        hasher.update((mapping.unit_hash)(unit).as_bytes());
    }
    let mut params = job.key.params.clone();
    params.remove("shards");
    params.remove("only_shard");
    let mut inputs = mapping.shared_inputs.clone();
    inputs.insert("rows".into(), hasher.finalize().to_hex().to_string());
    KeyParams { stage: job.key.stage.clone(), stage_version: job.key.stage_version, params, inputs }
}

fn assemble<O: Table>(
    staging: &Staging,
    entries: &[(usize, Entry)],
    finish: impl FnOnce(&Path, &str, &DataSet) -> Result<Finished, Error>,
) -> Result<Product, Error> {
    let mut shards = Vec::new();
    for (index, entry) in entries {
        for info in &entry.manifest.shards {
            shards.push(staging.adopt(entry, info, &part_name(*index))?);
        }
    }
    let data = DataSet::open(staging.path())?;
    let Finished { summary, files } = finish(staging.path(), staging.key().as_str(), &data)?;
    Ok(Product { schema: O::NAME, version: O::VERSION, shards, files, counts: None, summary })
}

/// The entry under `place`, and whether it had to be made. Others who want the same key wait meanwhile.
fn get_or_publish(
    ctx: &Ctx,
    place: &str,
    params: &KeyParams,
    inputs: impl FnOnce() -> BTreeMap<String, InputRef>,
    make: impl FnOnce(&Staging) -> Result<Product, Error>,
) -> Result<(Entry, bool), Error> {
    let manifest = |staging: &Staging| -> Result<Manifest, Error> {
        let started = Instant::now();
        let product = make(staging)?;
        Ok(Manifest {
            schema: product.schema.to_owned(),
            version: product.version,
            shards: product.shards,
            files: product.files,
            params: Value::Object(params.params.clone()),
            inputs: inputs(),
            counts: product.counts,
            summary: product.summary,
            run: json!({ "host": ctx.host, "seconds": started.elapsed().as_secs_f64() }),
            ..Manifest::default()
        })
    };
    if ctx.force {
        let _turn = ctx.store.lock(place, &params.key())?;
        let staging = ctx.store.staging(place, params)?;
        let manifest = manifest(&staging)?;
        return Ok((ctx.store.publish_over(staging, manifest)?, true));
    }
    let (entry, origin) = ctx.store.get_or_make(place, params, manifest)?;
    Ok((entry, origin == Origin::Made))
}

fn outputs(entry: Entry, hits: usize, misses: usize, dry_run: bool) -> Outputs {
    Outputs {
        stage: entry.place.clone(),
        key: entry.key.to_string(),
        path: entry.path.clone(),
        hits,
        misses,
        rows: entry.rows(),
        summary: entry.manifest.summary.clone(),
        dry_run,
        entry: Some(entry),
    }
}

fn planned(ctx: &Ctx, params: &KeyParams, hits: usize, misses: usize) -> Result<Outputs, Error> {
    let key = params.key();
    let path = ctx.store.entry_path(&params.stage, &key)?;
    // Why it is a miss: what differs from the nearest result that there is.
    let summary = json!({ "nearest": ctx.store.explain(&params.stage, params)?.nearest });
    let (stage, key) = (params.stage.clone(), key.to_string());
    Ok(Outputs { stage, key, path, hits, misses, rows: 0, summary, dry_run: true, entry: None })
}

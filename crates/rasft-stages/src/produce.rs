//! The one way a stage makes a result: look it up, else compute into a staging directory and publish whole.
//!
//! Two grains: [`produce`] for stages that need all rows at once, [`map_shards`] for stages whose units are independent,
//! which keeps every finished block even if the run is killed before the data set is complete.

pub use crate::blocks::Mapping;
use crate::blocks::{self, Blocks, Survey};
use crate::job::Job;
use crate::layout::{Cutter, Layout, OfUnit};
use crate::parts::{Parts, share};
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
        Self::table_in_shards(dir, key, rows, 1, summary)
    }

    /// Table `T` in so many shards of equal size.
    pub fn table_in_shards<T: Table>(
        dir: &Path,
        key: &str,
        rows: &[T],
        n_shards: usize,
        summary: Value,
    ) -> Result<Self, Error> {
        let shard = |i: usize| {
            let mut writer = ShardWriter::<T>::create(&dir.join(part_name(i)), key)?;
            writer.write(&rows[share(i, n_shards, rows.len())])?;
            Ok::<_, Error>(writer.finish()?)
        };
        let shards = (0..n_shards).map(shard).collect::<Result<_, _>>()?;
        Ok(Self { schema: T::NAME, version: T::VERSION, shards, files: Vec::new(), counts: None, summary })
    }
}

/// Gives the result of `job` from the store, or makes it with `make(staging directory, key)`.
pub fn produce(
    ctx: &Ctx,
    job: &Job,
    make: impl FnOnce(&Path, &str) -> Result<Product, Error>,
) -> Result<Outputs, Error> {
    produce_surveyed(ctx, job, || Ok(Survey { misses: 1, ..Survey::default() }), make)
}

/// [`produce`] for a stage part of whose work is cached in blocks; a dry run that misses asks `survey` what is left.
pub fn produce_surveyed(
    ctx: &Ctx,
    job: &Job,
    survey: impl FnOnce() -> Result<Survey, Error>,
    make: impl FnOnce(&Path, &str) -> Result<Product, Error>,
) -> Result<Outputs, Error> {
    let make = |staging: &Staging| make(staging.path(), staging.key().as_str());
    let stage = job.key.stage.as_str();
    if ctx.dry_run {
        let found = if ctx.force { None } else { ctx.store.lookup(stage, &job.key.key())? };
        return Ok(match found {
            Some(entry) => outputs(entry, 1, 0, true),
            None => planned(ctx, &job.key, survey()?)?,
        });
    }
    let meanwhile = ctx.waiting_for(stage);
    let (entry, made) = get_or_publish(ctx, stage, &job.key, meanwhile, || job.input_refs(), make)?;
    Ok(outputs(entry, usize::from(!made), usize::from(made), false))
}

/// Computes a data set block by block, each cached on its own (see [`Blocks`]), and assembles them.
///
/// `compute` gets units of one block; `summarise` sees the assembled shards.
pub fn map_shards<I, O: OfUnit>(
    ctx: &Ctx,
    job: &mut Job,
    mapping: &Mapping<I>,
    compute: impl FnMut(&[I]) -> Result<Vec<O>, Error>,
    summarise: impl FnOnce(&DataSet) -> Result<Value, Error>,
) -> Result<Outputs, Error> {
    let block_key = job.key.clone();
    job.key.params.insert("units_per_shard".into(), mapping.units_per_shard.into());
    let inside = Parts::name(ctx, job);
    if !ctx.force
        && let Some(entry) = ctx.store.lookup(&job.key.stage, &job.key.key())?
    {
        let shards = entry.manifest.shards.len();
        return Ok(outputs(entry, shards, 0, ctx.dry_run));
    }
    let blocks = Blocks::of(ctx, block_key, mapping)?;
    if ctx.dry_run {
        return planned(ctx, &job.key, blocks.survey()?);
    }
    let (entries, found) = blocks.make(compute)?;
    let layout = Layout::of(ctx, mapping.units.len());
    let make = |staging: &Staging| assemble::<O>(staging, &inside, &entries, layout, summarise);
    let (stage, meanwhile) = (&job.key.stage, ctx.waiting_for(&job.key.stage));
    let (entry, _) = get_or_publish(ctx, stage, &job.key, meanwhile, || job.input_refs(), make)?;
    drop(blocks);
    Ok(outputs(entry, found.hits, found.misses, false))
}

fn assemble<O: OfUnit>(
    staging: &Staging,
    inside: &str,
    entries: &[Entry],
    layout: Layout,
    summarise: impl FnOnce(&DataSet) -> Result<Value, Error>,
) -> Result<Product, Error> {
    let shards = match layout {
        Layout::Blocks if !entries.is_empty() => adopted(staging, entries)?,
        Layout::Blocks => vec![ShardWriter::<O>::create(&staging.path().join(part_name(0)), inside)?.finish()?],
        Layout::Parts { of, units } => Cutter::<O>::new(staging.path(), inside, of, units)?.write_all(entries)?,
        Layout::Part { index } => {
            let mut writer = ShardWriter::<O>::create(&staging.path().join(part_name(index)), inside)?;
            blocks::rows(entries).try_for_each(|batch| Ok::<_, Error>(writer.write(&batch?)?))?;
            vec![writer.finish()?]
        }
    };
    let summary = summarise(&DataSet::open(staging.path())?)?;
    Ok(Product { schema: O::NAME, version: O::VERSION, shards, files: Vec::new(), counts: None, summary })
}

/// Each block as a shard of its own, without a copy.
fn adopted(staging: &Staging, entries: &[Entry]) -> Result<Vec<ShardInfo>, Error> {
    let shards = entries.iter().flat_map(|entry| entry.manifest.shards.iter().map(move |info| (entry, info)));
    let adopt = |(i, (entry, info)): (usize, (&Entry, &ShardInfo))| staging.adopt(entry, info, &part_name(i));
    Ok(shards.enumerate().map(adopt).collect::<Result<_, _>>()?)
}

/// The entry under `place`, and whether it had to be made. While another process has the
/// key, `meanwhile` is called (see [`rasft_store::Store::lock`]).
pub fn get_or_publish(
    ctx: &Ctx,
    place: &str,
    params: &KeyParams,
    meanwhile: impl FnMut() -> Result<(), Error>,
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
        let _turn = ctx.store.lock(place, &params.key(), meanwhile)?;
        let staging = ctx.store.staging(place, params)?;
        let manifest = manifest(&staging)?;
        return Ok((ctx.store.publish_over(staging, manifest)?, true));
    }
    let (entry, origin) = ctx.store.get_or_make(place, params, meanwhile, manifest)?;
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

/// A dry run's answer to a miss.
fn planned(ctx: &Ctx, params: &KeyParams, left: Survey) -> Result<Outputs, Error> {
    let key = params.key();
    let path = ctx.store.entry_path(&params.stage, &key)?;
    // Why it is a miss: what differs from the nearest result that there is.
    let summary =
        json!({ "nearest": ctx.store.explain(&params.stage, params)?.nearest, "units_left": left.units_left });
    let Survey { hits, misses, .. } = left;
    let (stage, key) = (params.stage.clone(), key.to_string());
    Ok(Outputs { stage, key, path, hits, misses, rows: 0, summary, dry_run: true, entry: None })
}

//! `rasft-import`: foreign files, or the synthetic world, to problems; with a report on duplicates and contamination.

use crate::job::Job;
use crate::produce::{Product, produce};
use crate::{Ctx, Error, Outputs, check};
use rasft_data::{Counts, DataSet, FileInfo, REJECTS_FILE, RejectRow, Table, write_rejects};
use rasft_problems::synthetic::{GENERATOR_VERSION, Split, World};
use rasft_problems::{BadRows, BenchIndex, ColumnMap, FinalAnswer, Format, ImportOptions, Imported, import, take};
use rasft_types::Problem;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

const STAGE: &str = "import";
const VERSION: u32 = 2;
/// Rows of the synthetic world in one import: they are held in memory.
const MAX_ROWS: u64 = 10_000_000;
/// Overlapping problems named in the manifest.
const NAMED: usize = 20;

/// Where problems come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files of a foreign format.
    Files {
        /// Their format.
        format: Format,
        /// The files, in order.
        files: Vec<PathBuf>,
        /// Which fields fill which columns.
        map: ColumnMap,
        /// How expert solutions end.
        final_answer: Option<FinalAnswer>,
    },
    /// A table of problems, ours or somebody else's.
    Parquet(PathBuf),
    /// The synthetic world.
    Synthetic {
        /// Levels in turn.
        levels: RangeInclusive<u8>,
        /// Themes by name; empty for all.
        themes: Vec<String>,
        /// First row.
        first_row: u64,
        /// Number of rows.
        rows: u64,
        /// Which prompts may come up.
        split: Split,
        /// Per cent of the carries and borrows that the solutions forget.
        slips: u32,
    },
}

/// Paths of the stage's inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Where problems come from.
    pub source: Source,
    /// Benchmarks to look for among them.
    pub against: Vec<PathBuf>,
}

/// Parameters of the stage.
#[derive(Debug, Clone, Serialize)]
pub struct Params {
    /// Name of the data set in the `source` column.
    pub name: Option<String>,
    /// Leave out this many problems at the beginning.
    pub skip: Option<usize>,
    /// At most this many problems.
    pub limit: Option<usize>,
    /// This many, chosen by seed.
    pub sample: Option<usize>,
    /// Leave out problems that overlap with a benchmark.
    pub drop_contaminated: bool,
    /// Seed of the sample, and of the synthetic world.
    pub seed: u64,
}

impl Params {
    fn options(&self, format: Format, bad_rows: BadRows) -> ImportOptions {
        ImportOptions {
            source: self.name.clone(),
            skip: self.skip.unwrap_or(0),
            limit: self.limit,
            sample: self.sample,
            seed: self.seed,
            bad_rows,
            ..ImportOptions::new(format)
        }
    }

    /// Refuses values that leave nothing, and rows that cannot be numbered or held.
    fn validate(&self, source: &Source) -> Result<(), Error> {
        self.limit.map_or(Ok(()), |n| check::at_least("limit", n, 1))?;
        self.sample.map_or(Ok(()), |n| check::at_least("sample", n, 1))?;
        let Source::Synthetic { first_row, rows, slips, .. } = source else { return Ok(()) };
        check::within("rows", *rows, 1, MAX_ROWS)?;
        check::within("first_row", *first_row, 0, u64::MAX - MAX_ROWS)?;
        check::within("slips", *slips, 0, 100)?;
        // Levels and themes are checked before any row is made.
        if let Some(world) = world(source, self.seed) {
            world.problems(0..0)?;
        }
        Ok(())
    }
}

/// Runs the stage.
///
/// # Errors
/// Files that cannot be read, records that are no problems, nothing left.
pub fn run(inputs: &Inputs, params: &Params, ctx: &Ctx) -> Result<Outputs, Error> {
    ctx.no_shard(STAGE)?;
    params.validate(&inputs.source)?;
    ctx.gives(Problem::NAME)?;
    let mut job = Job::new(STAGE, VERSION, params)?;
    job.key.params.insert("source".into(), describe(&inputs.source));
    job.key.params.insert("on_bad_row".into(), on_bad_row(&inputs.source, ctx));
    let n_shards = job.output_shards(ctx);
    match &inputs.source {
        Source::Files { files, .. } => {
            for (i, file) in files.iter().enumerate() {
                if !file.is_file() {
                    let why = if file.is_dir() {
                        "a directory\nhint: --in takes the files in it"
                    } else {
                        "no such file\nhint: look at the path; files are read where they are, none is fetched"
                    };
                    return Err(Error::bad_input(format!("{}: {why}", file.display())));
                }
                job.input(&format!("file {i}"), &ctx.store.file_hash(file)?, file);
            }
        }
        Source::Parquet(path) => drop(job.data(ctx, "problems", path)?),
        Source::Synthetic { .. } => {}
    }
    let mut benches = Vec::new();
    for (i, path) in inputs.against.iter().enumerate() {
        benches.push(job.data(ctx, &format!("against {i}"), path)?);
    }
    produce(ctx, &job, |dir, key| {
        let mut imported = read(&inputs.source, params, ctx)?;
        let report = Report::of(&mut imported, &benches, params)?;
        if imported.problems.is_empty() {
            return Err(Error::bad_input(format!(
                "{}: no problem is left of {} records\nhint: {}",
                place(&inputs.source),
                imported.n_in,
                report.advice()
            )));
        }
        write(dir, key, &imported, &report, n_shards)
    })
}

fn place(source: &Source) -> String {
    match source {
        Source::Files { files, .. } => files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "),
        Source::Parquet(path) => path.display().to_string(),
        Source::Synthetic { .. } => "synthetic".to_owned(),
    }
}

/// The synthetic world, if the problems come from it.
fn world(source: &Source, seed: u64) -> Option<World> {
    let Source::Synthetic { levels, themes, split, slips, .. } = source else { return None };
    Some(World { levels: levels.clone(), themes: themes.clone(), split: *split, slips: *slips, seed })
}

/// What bad rows do, and what the list of those that were skipped calls the files.
fn on_bad_row(source: &Source, ctx: &Ctx) -> Value {
    match source {
        Source::Files { files, .. } if ctx.skip_bad_rows => {
            json!({ "skip": files.iter().map(|f| file_name(f)).collect::<Vec<_>>() })
        }
        _ => json!("fail"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What of the source enters the key, beside the files' contents.
fn describe(source: &Source) -> Value {
    match source {
        Source::Files { format, map, final_answer, .. } => {
            json!({ "format": format.to_string(), "map": format!("{map:?}"), "final_answer": final_answer.map(|f| format!("{f:?}")) })
        }
        Source::Parquet(_) => json!({ "format": "parquet" }),
        Source::Synthetic { levels, themes, first_row, rows, split, slips } => json!({
            "format": "synthetic", "generator": GENERATOR_VERSION, "split": format!("{split:?}"), "levels": [levels.start(), levels.end()],
            "themes": themes, "slips": slips, "first_row": first_row, "rows": rows,
        }),
    }
}

fn read(source: &Source, params: &Params, ctx: &Ctx) -> Result<Imported, Error> {
    match source {
        Source::Files { format, files, map, final_answer } => {
            let options = ImportOptions {
                map: map.clone(),
                final_answer: *final_answer,
                ..params.options(*format, if ctx.skip_bad_rows { BadRows::Skip } else { BadRows::Fail })
            };
            Ok(import(files, &options)?)
        }
        Source::Parquet(path) => {
            let rows = DataSet::open(path)?.non_empty()?.read_all::<Problem>()?;
            Ok(take(rows, &params.options(Format::Jsonl, BadRows::Fail)))
        }
        Source::Synthetic { first_row, rows, .. } => {
            let problems =
                world(source, params.seed).map_or(Ok(vec![]), |w| w.problems(*first_row..first_row + rows))?;
            Ok(take(problems, &params.options(Format::Jsonl, BadRows::Fail)))
        }
    }
}

/// What was found among the problems.
struct Report {
    n_contaminated: usize,
    n_dropped: usize,
    examples: Vec<Value>,
    n_near_duplicates: usize,
}

impl Report {
    /// Looks for near duplicates and for overlap with benchmarks, and drops the overlap if asked.
    fn of(imported: &mut Imported, benches: &[DataSet], params: &Params) -> Result<Self, Error> {
        let n_near_duplicates = rasft_problems::duplicates::near_duplicates(&imported.problems).len();
        let mut index = BenchIndex::default();
        for bench in benches {
            index.add(&bench.read_all::<Problem>()?);
        }
        let found = index.check(&imported.problems);
        let examples = found.iter().take(NAMED).map(|c| {
            json!({ "problem_id": c.problem_id, "bench": c.bench_source, "bench_problem_id": c.bench_problem_id, "shared_13_grams": c.n_shared, "whole_prompt": c.whole_prompt })
        });
        let examples = examples.collect();
        let n_contaminated = found.len();
        let mut n_dropped = 0;
        if params.drop_contaminated {
            let bad: BTreeSet<String> = found.into_iter().map(|c| c.problem_id).collect();
            imported.problems.retain(|p| !bad.contains(&p.problem_id));
            n_dropped = bad.len();
        }
        Ok(Self { n_contaminated, n_dropped, examples, n_near_duplicates })
    }

    fn advice(&self) -> &'static str {
        if self.n_dropped > 0 {
            "every problem overlaps with a benchmark of --against"
        } else {
            "check the files and the format"
        }
    }
}

fn write(dir: &Path, key: &str, imported: &Imported, report: &Report, n_shards: usize) -> Result<Product, Error> {
    let mut n_rejected: BTreeMap<String, u64> = BTreeMap::new();
    for (why, n) in [
        ("repeated", imported.repeated.len() as u64),
        ("bad_row", imported.rejects.len() as u64),
        ("not_sampled", imported.n_unsampled),
        ("skipped_at_the_beginning", imported.n_skipped),
        ("beyond_limit", imported.n_beyond_limit),
        ("contaminated", report.n_dropped as u64),
    ] {
        if n > 0 {
            n_rejected.insert(why.to_owned(), n);
        }
    }
    let counts = Counts { n_in: imported.n_in, n_out: imported.problems.len() as u64, n_rejected };
    let has = |f: fn(&Problem) -> bool| imported.problems.iter().filter(|p| f(p)).count();
    let summary = json!({
        "problems": imported.problems.len(),
        "with_answer": has(|p| p.answer.is_some()),
        "with_expert": has(|p| p.expert_response.is_some()),
        "repeated": imported.repeated.len(),
        "bad_rows": imported.rejects.len(),
        "near_duplicates": report.n_near_duplicates,
        "contaminated": report.n_contaminated,
        "contamination_examples": report.examples,
    });
    let mut product =
        Product { counts: Some(counts), ..Product::table_in_shards(dir, key, &imported.problems, n_shards, summary)? };
    if !imported.rejects.is_empty() {
        let rows: Vec<RejectRow> = imported
            .rejects
            .iter()
            .map(|r| RejectRow {
                source_row: r.source_row,
                reason: format!("{}: {}", file_name(&r.source_file), r.reason),
                raw: r.raw.clone(),
            })
            .collect();
        let info: FileInfo = write_rejects(dir, key, &rows)?;
        debug_assert_eq!(info.file, REJECTS_FILE);
        product.files.push(info);
    }
    Ok(product)
}

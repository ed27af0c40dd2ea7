//! From files to problems: reading, converting, leaving out repeats, and choosing how many.

use crate::error::{ProblemsError, RowError};
use crate::formats::jsonl::ColumnMap;
use crate::formats::{Convert, Format};
use crate::gold::FinalAnswer;
use crate::source::{self, RawRecord};
use rasft_types::Problem;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What to do with a record that is no problem of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRows {
    /// Stop with an error.
    Fail,
    /// Leave it out and list it.
    Skip,
}

/// Parameters of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The shape of the records.
    pub format: Format,
    /// Name of the data set for the `source` column; none: the format's own name.
    pub source: Option<String>,
    /// Which fields fill which columns; only for [`Format::Jsonl`].
    pub map: ColumnMap,
    /// How expert solutions end; none: the format's default ([`Format::final_answer`]).
    pub final_answer: Option<FinalAnswer>,
    /// Leave out this many distinct problems at the beginning.
    pub skip: usize,
    /// Take at most this many distinct problems behind them.
    pub limit: Option<usize>,
    /// Keep this many of them, chosen by `seed` and problem id.
    pub sample: Option<usize>,
    /// Seed of the sample.
    pub seed: u64,
    /// What to do with bad rows.
    pub bad_rows: BadRows,
}

impl ImportOptions {
    /// The options that change nothing: the whole file as the format reads it, failing at the first bad row.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            source: None,
            map: ColumnMap::default(),
            final_answer: None,
            skip: 0,
            limit: None,
            sample: None,
            seed: 42,
            bad_rows: BadRows::Fail,
        }
    }
}

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The file.
    pub source_file: PathBuf,
    /// 1-based line on which the record begins.
    pub source_row: u64,
    /// Why.
    pub reason: String,
    /// The record's text.
    pub raw: String,
}

/// A record whose problem had come before, in the same or another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedRow {
    /// The file.
    pub source_file: PathBuf,
    /// 1-based line on which the record begins.
    pub source_row: u64,
    /// The problem.
    pub problem_id: String,
}

/// What came of an import. `n_in = problems + repeated + rejects + n_skipped + n_unsampled + n_beyond_limit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The problems, in source order.
    pub problems: Vec<Problem>,
    /// Records left out because they are no problems.
    pub rejects: Vec<Reject>,
    /// Records left out because they repeat an earlier problem.
    pub repeated: Vec<RepeatedRow>,
    /// Records found.
    pub n_in: u64,
    /// Problems left out at the beginning.
    pub n_skipped: u64,
    /// Records behind the last problem of the limit; whether they are problems was not looked at.
    pub n_beyond_limit: u64,
    /// Problems that the sample did not choose.
    pub n_unsampled: u64,
}

/// Reads files in the order given.
///
/// Exact repeats (same problem id) are dropped first, then the skipped problems; the limit counts the distinct problems
/// behind those, and what comes after it is only counted; of these the sample keeps the n problems with the smallest
/// blake3(seed, problem id). So a sample of the same data under the same seed is the same whatever the order of the rows,
/// and a larger sample contains a smaller one.
///
/// # Errors
/// An unreadable or damaged file; under [`BadRows::Fail`], the first bad row; `--map` with another format than `jsonl`.
pub fn import(files: &[PathBuf], options: &ImportOptions) -> Result<Imported, ProblemsError> {
    if options.format != Format::Jsonl && !options.map.is_empty() {
        return Err(ProblemsError::Usage {
            option: "--map",
            detail: format!("the format {} has its own fields", options.format),
            hint: "use the format `jsonl`, or leave --map out".into(),
        });
    }
    let convert = Convert::new(options);
    let mut sink = Sink::new(options);
    for file in files {
        let mut records = source::open(file)?;
        while !sink.is_full() {
            let Some(record) = records.next() else { break };
            let record = record?;
            match problem(&convert, file, &record) {
                Ok(problem) => sink.accept(problem, file, record.line),
                Err(fault) => {
                    if options.bad_rows == BadRows::Fail {
                        records.count_rest()?;
                    }
                    sink.reject(fault, file, record)?;
                }
            }
        }
        sink.n_beyond_limit += records.count_rest()?;
    }
    Ok(sink.finish())
}

fn problem(convert: &Convert, file: &Path, record: &RawRecord) -> Result<Problem, Box<RowError>> {
    let fault = |field: String, expected: String, found: String, hint: String| {
        Box::new(RowError { file: file.to_owned(), line: record.line, field, expected, found, hint })
    };
    match &record.parsed {
        Err(not) => Err(fault(
            String::new(),
            "a JSON object".into(),
            not.found.clone(),
            "write one JSON object a line, or one array of objects".into(),
        )),
        Ok(map) => convert.problem(map.clone()).map_err(|f| fault(f.field, f.expected, f.found, f.hint)),
    }
}

/// Takes problems that are there already: a table, or the synthetic world. Skip, limit, sample and the `source` column
/// are those of `options`, as in [`import`].
#[must_use]
pub fn take(problems: impl IntoIterator<Item = Problem>, options: &ImportOptions) -> Imported {
    let mut sink = Sink::new(options);
    for (row, mut problem) in problems.into_iter().enumerate() {
        if sink.is_full() {
            sink.n_beyond_limit += 1;
            continue;
        }
        if let Some(source) = &options.source {
            problem.source.clone_from(source);
        }
        sink.accept(problem, Path::new(""), row as u64);
    }
    sink.finish()
}

/// Where problems go; holds no more of them than will be kept, except ids.
struct Sink<'a> {
    options: &'a ImportOptions,
    n_distinct: usize,
    n_beyond_limit: u64,
    seen: HashSet<String>,
    kept: Kept,
    rejects: Vec<Reject>,
    repeated: Vec<RepeatedRow>,
}

enum Kept {
    All(Vec<Problem>),
    /// By (hash of seed and id), with the place in the source.
    Smallest(BTreeMap<[u8; 32], (usize, Problem)>, usize),
}

impl<'a> Sink<'a> {
    fn new(options: &'a ImportOptions) -> Self {
        let kept = match options.sample {
            None => Kept::All(Vec::new()),
            Some(n) => Kept::Smallest(BTreeMap::new(), n),
        };
        let (rejects, repeated) = (Vec::new(), Vec::new());
        Self { options, n_distinct: 0, n_beyond_limit: 0, seen: HashSet::new(), kept, rejects, repeated }
    }

    fn is_full(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.n_distinct >= limit.saturating_add(self.options.skip))
    }

    fn accept(&mut self, problem: Problem, file: &Path, row: u64) {
        if !self.seen.insert(problem.problem_id.clone()) {
            let source_file = file.to_owned();
            self.repeated.push(RepeatedRow { source_file, source_row: row, problem_id: problem.problem_id });
            return;
        }
        let place = self.n_distinct;
        self.n_distinct += 1;
        if place < self.options.skip {
            return;
        }
        match &mut self.kept {
            Kept::All(all) => all.push(problem),
            Kept::Smallest(smallest, n) => {
                smallest.insert(draw(self.options.seed, &problem.problem_id), (place, problem));
                if smallest.len() > *n {
                    smallest.pop_last();
                }
            }
        }
    }

    fn reject(&mut self, fault: Box<RowError>, file: &Path, record: RawRecord) -> Result<(), ProblemsError> {
        match self.options.bad_rows {
            BadRows::Fail => Err(fault.into()),
            BadRows::Skip => {
                let reason = match fault.field.as_str() {
                    "" => format!("expected {}, found {}", fault.expected, fault.found),
                    field => format!("field {field:?}: expected {}, found {}", fault.expected, fault.found),
                };
                let source_file = file.to_owned();
                self.rejects.push(Reject { source_file, source_row: record.line, reason, raw: record.raw });
                Ok(())
            }
        }
    }

    fn finish(self) -> Imported {
        let problems = match self.kept {
            Kept::All(all) => all,
            Kept::Smallest(smallest, _) => {
                let mut chosen: Vec<(usize, Problem)> = smallest.into_values().collect();
                chosen.sort_unstable_by_key(|(place, _)| *place);
                chosen.into_iter().map(|(_, problem)| problem).collect()
            }
        };
        let n_skipped = self.n_distinct.min(self.options.skip);
        let n_unsampled = self.n_distinct - n_skipped - problems.len();
        let n_read = self.n_distinct + self.repeated.len() + self.rejects.len();
        Imported {
            problems,
            rejects: self.rejects,
            repeated: self.repeated,
            n_in: n_read as u64 + self.n_beyond_limit,
            n_skipped: n_skipped as u64,
            n_beyond_limit: self.n_beyond_limit,
            n_unsampled: n_unsampled as u64,
        }
    }
}

fn draw(seed: u64, problem_id: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(problem_id.as_bytes());
    *hasher.finalize().as_bytes()
}

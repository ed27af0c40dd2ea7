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
    /// Stop after this many distinct problems.
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

/// What came of an import. `n_in = problems + repeated + rejects + n_unsampled`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The problems, in source order.
    pub problems: Vec<Problem>,
    /// Records left out because they are no problems.
    pub rejects: Vec<Reject>,
    /// Records left out because they repeat an earlier problem.
    pub repeated: Vec<RepeatedRow>,
    /// Records read.
    pub n_in: u64,
    /// Problems that the sample did not choose.
    pub n_unsampled: u64,
}

/// Reads files in the order given.
///
/// Exact repeats (same problem id) are dropped first, then the limit counts distinct problems and stops the reading, then
/// the sample keeps the n problems with the smallest blake3(seed, problem id). So a sample of the same data under the same
/// seed is the same whatever the order of the rows, and a larger sample contains a smaller one.
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
        if sink.is_full() {
            break;
        }
        let mut records = source::open(file)?;
        while let Some(record) = records.next() {
            let record = record?;
            sink.n_in += 1;
            match problem(&convert, file, &record) {
                Ok(problem) => sink.accept(problem, file, record.line),
                Err(fault) => {
                    if options.bad_rows == BadRows::Fail {
                        records.verify_rest()?;
                    }
                    sink.reject(fault, file, record)?;
                }
            }
            if sink.is_full() {
                records.verify_rest()?;
                break;
            }
        }
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

/// Where problems go; holds no more of them than will be kept, except ids.
struct Sink<'a> {
    options: &'a ImportOptions,
    n_in: u64,
    n_distinct: usize,
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
        Self { options, n_in: 0, n_distinct: 0, seen: HashSet::new(), kept, rejects, repeated }
    }

    fn is_full(&self) -> bool {
        self.options.limit.is_some_and(|limit| self.n_distinct >= limit)
    }

    fn accept(&mut self, problem: Problem, file: &Path, line: u64) {
        if !self.seen.insert(problem.problem_id.clone()) {
            let source_file = file.to_owned();
            self.repeated.push(RepeatedRow { source_file, source_row: line, problem_id: problem.problem_id });
            return;
        }
        let place = self.n_distinct;
        self.n_distinct += 1;
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
        let n_unsampled = (self.n_distinct - problems.len()) as u64;
        Imported { problems, rejects: self.rejects, repeated: self.repeated, n_in: self.n_in, n_unsampled }
    }
}

fn draw(seed: u64, problem_id: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(problem_id.as_bytes());
    *hasher.finalize().as_bytes()
}

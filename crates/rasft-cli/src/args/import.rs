//! `rasft-import`.

use crate::session::Cli;
use crate::{CommonArgs, Failure, config};
use clap::{Args, Parser};
use rasft_problems::synthetic::{DEFAULT_LEVELS, Split};
use rasft_problems::{ColumnMap, FinalAnswer, Format};
use rasft_stages::import::{Inputs, Params, Source};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  # GSM8K as its publisher distributes it
  rasft-import gsm8k --in train.jsonl --out problems

  # MATH500, Minerva, AIME, AMC, OlympiadBench, SVAMP, MAWPS: one format copes with their field names
  rasft-import math --in math500/test.jsonl --out math500

  # any JSONL: say which fields fill which columns
  rasft-import jsonl --in data.jsonl.zst --map prompt=instruction --map expert_response=output --map answer=meta.gold

  # leave out training problems that overlap with benchmarks
  rasft-import numina --in numina.jsonl --against gsm8k --against math500 --drop-contaminated

  # the built-in generator
  rasft-import synthetic --rows 1000 --levels 1..4 --seed 7";

const FORMATS: &[&str] = &["jsonl", "parquet", "gsm8k", "math", "numina", "humaneval", "mbpp", "kodcode", "synthetic"];

/// Turn foreign data into problems
#[derive(Debug, Parser)]
#[command(name = "rasft-import", version, after_help = EXAMPLES)]
pub struct ImportCli {
    /// Stage flags.
    #[command(flatten)]
    pub args: ImportArgs,
    /// Common flags.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli for ImportCli {
    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// Flags of `rasft-import`, and the keys of `[import]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportArgs {
    /// jsonl, parquet, gsm8k, math, numina, humaneval, mbpp, kodcode or synthetic
    pub format: Option<String>,
    /// Source files, in order; .gz and .zst are read as they are; format parquet: one file or directory
    #[arg(long = "in", id = "in", value_name = "FILE", num_args = 1..)]
    #[serde(rename = "in")]
    pub files: Vec<PathBuf>,
    /// Format jsonl: which field fills a column (prompt, expert_response, answer, source, …); dots reach into objects
    #[arg(long, value_name = "COLUMN=FIELD")]
    pub map: Vec<String>,
    /// Name of the data set in the column `source` [default: the format's; parquet: what the table says]
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// How expert solutions end: boxed or as-is [default: the format's]
    #[arg(long, value_name = "boxed|as-is")]
    pub final_answer: Option<String>,
    /// Leave out the first N problems, e.g. those set aside for something else
    #[arg(long, value_name = "N")]
    pub skip: Option<usize>,
    /// Only the first N problems (behind the skipped ones)
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// N of these problems, chosen by seed
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// Benchmarks to look for among the problems (repeatable)
    #[arg(long, value_name = "DATASET")]
    pub against: Vec<PathBuf>,
    /// Leave out problems that overlap with a benchmark
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub drop_contaminated: Option<bool>,
    /// Format synthetic: number of problems [default: 1000]
    #[arg(long, value_name = "N")]
    pub rows: Option<u64>,
    /// Format synthetic: first row; distinct ranges are distinct draws [default: 0]
    #[arg(long, value_name = "N")]
    pub first_row: Option<u64>,
    /// Format synthetic: levels of difficulty, taken in turn [default: 1..6]
    #[arg(long, value_name = "FIRST..LAST")]
    pub levels: Option<String>,
    /// Format synthetic: themes of the stories [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub themes: Vec<String>,
    /// Format synthetic: train and held-out prompts never meet, whatever seeds and rows [default: all]
    #[arg(long, value_name = "all|train|held-out")]
    pub split: Option<String>,
    /// Format synthetic: per cent of the carries and borrows that the written solutions forget, for pretraining a model
    /// that is often wrong; the answers stay right [default: 0]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub slips: Option<u32>,
}

impl ImportArgs {
    /// The stage's inputs and parameters.
    pub fn resolve(&self, seed: u64) -> Result<(Inputs, Params), Failure> {
        let word = self
            .format
            .as_deref()
            .ok_or_else(|| Failure::usage(format!("missing FORMAT: one of {}", FORMATS.join(", "))))?;
        let source = match word {
            "synthetic" => Source::Synthetic {
                levels: self.levels.as_deref().map_or(Ok(DEFAULT_LEVELS), levels)?,
                themes: self.themes.clone(),
                first_row: self.first_row.unwrap_or(0),
                rows: self.rows.unwrap_or(1000),
                split: split(self.split.as_deref())?,
                slips: self.slips.unwrap_or(0),
            },
            "parquet" => match self.files.as_slice() {
                [one] => Source::Parquet(one.clone()),
                _ => return Err(Failure::usage("format parquet takes exactly one --in: a file or a directory")),
            },
            _ => self.files_source(word)?,
        };
        let params = Params {
            name: self.source.clone(),
            skip: self.skip,
            limit: self.limit,
            sample: self.sample,
            drop_contaminated: self.drop_contaminated.unwrap_or(false),
            seed,
        };
        Ok((Inputs { source, against: self.against.clone() }, params))
    }

    fn files_source(&self, word: &str) -> Result<Source, Failure> {
        let unknown = |_| {
            Failure::usage(format!(
                "unknown format {word:?}{}\nhint: formats are {}",
                config::did_you_mean(word, FORMATS),
                FORMATS.join(", ")
            ))
        };
        let format: Format = word.parse().map_err(unknown)?;
        if self.files.is_empty() {
            return Err(Failure::usage(format!("missing --in: the files of format {word}")));
        }
        let final_answer = match self.final_answer.as_deref() {
            None => None,
            Some("boxed") => Some(FinalAnswer::Boxed),
            Some("as-is") => Some(FinalAnswer::AsIs),
            Some(other) => return Err(Failure::usage(format!("--final-answer {other}: expected boxed or as-is"))),
        };
        let map = ColumnMap::parse(&self.map).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Source::Files { format, files: self.files.clone(), map, final_answer })
    }
}

fn split(word: Option<&str>) -> Result<Split, Failure> {
    match word {
        None | Some("all") => Ok(Split::All),
        Some("train") => Ok(Split::Train),
        Some("held-out") => Ok(Split::HeldOut),
        Some(other) => Err(Failure::usage(format!("--split {other}: expected all, train or held-out"))),
    }
}

/// `1..4` and `1..=4` both include both ends; `3` is one level.
fn levels(text: &str) -> Result<RangeInclusive<u8>, Failure> {
    let wrong = || Failure::usage(format!("--levels {text}: expected FIRST..LAST, such as 1..4 (both included)"));
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) =
        (first.trim().parse().map_err(|_| wrong())?, last.trim_start_matches('=').trim().parse().map_err(|_| wrong())?);
    Ok(first..=last)
}

//! One module per foreign record shape; each turns the fields of one record into the parts of a problem.
//!
//! What a format does not use stays in `meta`. No format guesses: a record that lacks what the format needs is a fault.

pub mod gsm8k;
pub mod humaneval;
pub mod jsonl;
pub mod kodcode;
pub mod math;
pub mod mbpp;
pub mod numina;
mod python;

use crate::gold::{FinalAnswer, with_box};
use crate::id::problem_id;
use crate::import::ImportOptions;
use crate::record::{Fault, Fields};
use rasft_types::{CodeSpec, Domain, Problem};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// The record shapes that are read from JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Any record; the fields are named by a map.
    Jsonl,
    /// `question`, `answer` with `#### gold`.
    Gsm8k,
    /// MATH, MATH500, Minerva, AIME, AMC, OlympiadBench, SVAMP, MAWPS.
    Math,
    /// NuminaMath: `problem`, `solution`, perhaps `answer` and `messages`.
    Numina,
    /// HumanEval: `prompt`, `canonical_solution`, `test`, `entry_point`.
    HumanEval,
    /// MBPP, full or sanitized.
    Mbpp,
    /// KodCode: `question`, `solution`, `test`.
    KodCode,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] =
        &[Self::Jsonl, Self::Gsm8k, Self::Math, Self::Numina, Self::HumanEval, Self::Mbpp, Self::KodCode];

    /// Its word on the command line, and the default of the `source` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Gsm8k => "gsm8k",
            Self::Math => "math",
            Self::Numina => "numina",
            Self::HumanEval => "humaneval",
            Self::Mbpp => "mbpp",
            Self::KodCode => "kodcode",
        }
    }

    /// How expert solutions end unless the caller says otherwise: boxed for GSM8K, whose own mark no verifier and no
    /// format filter looks for, and as they are for the others.
    pub fn final_answer(self) -> FinalAnswer {
        match self {
            Self::Gsm8k => FinalAnswer::Boxed,
            _ => FinalAnswer::AsIs,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|f| f.as_str() == word).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|f| f.as_str()).collect();
            format!("unknown format {word:?}, expected one of {}", known.join("|"))
        })
    }
}

/// The parts of a problem that a format finds.
struct Draft {
    domain: Domain,
    source: Option<String>,
    prompt: String,
    expert_response: Option<String>,
    answer: Option<String>,
    code: Option<CodeSpec>,
}

impl Draft {
    fn math(prompt: &str, expert_response: Option<String>, answer: Option<String>) -> Self {
        let prompt = prompt.trim().to_owned();
        Self { domain: Domain::Math, source: None, prompt, expert_response, answer, code: None }
    }

    fn code(prompt: String, program: Option<&str>, code: CodeSpec) -> Self {
        let expert_response = program.map(python::fenced);
        Self { domain: Domain::Code, source: None, prompt, expert_response, answer: None, code: Some(code) }
    }
}

/// A conversion with its parameters resolved.
pub(crate) struct Convert<'a> {
    options: &'a ImportOptions,
    final_answer: FinalAnswer,
}

impl<'a> Convert<'a> {
    pub(crate) fn new(options: &'a ImportOptions) -> Self {
        Self { options, final_answer: options.final_answer.unwrap_or(options.format.final_answer()) }
    }

    /// One record as a problem.
    pub(crate) fn problem(&self, record: Map<String, Value>) -> Result<Problem, Fault> {
        let mut fields = Fields::new(record);
        let draft = match self.options.format {
            Format::Jsonl => jsonl::draft(&mut fields, &self.options.map, self.options.source.is_none()),
            Format::Gsm8k => gsm8k::draft(&mut fields, self.final_answer),
            Format::Math => math::draft(&mut fields),
            Format::Numina => numina::draft(&mut fields),
            Format::HumanEval => humaneval::draft(&mut fields),
            Format::Mbpp => mbpp::draft(&mut fields),
            Format::KodCode => kodcode::draft(&mut fields),
        }?;
        Ok(self.finish(draft, fields))
    }

    fn finish(&self, draft: Draft, fields: Fields) -> Problem {
        let Draft { domain, source, prompt, mut expert_response, answer, code } = draft;
        if let (Domain::Math, FinalAnswer::Boxed, Some(text), Some(gold)) =
            (domain, self.final_answer, &expert_response, &answer)
        {
            expert_response = Some(with_box(text, gold));
        }
        let source = self.options.source.clone().or(source).unwrap_or_else(|| self.options.format.as_str().to_owned());
        let problem_id = problem_id(domain, &prompt, answer.as_deref(), code.as_ref());
        Problem { problem_id, domain, source, prompt, expert_response, answer, code, meta: fields.into_meta() }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Converts one record written as JSON.
    pub fn convert(options: &ImportOptions, record: Value) -> Result<Problem, Fault> {
        Convert::new(options).problem(record.as_object().expect("an object").clone())
    }
}

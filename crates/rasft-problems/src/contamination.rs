//! Overlap of training problems with benchmark problems.
//!
//! A training text (prompt or expert response) is contaminated by a benchmark problem when they share a run of 13 words;
//! a prompt also when it has exactly the words of a benchmark's prompt, which is the only test for benchmark prompts shorter
//! than 13 words. Words are those of [`crate::words::words`]. Only the prompts of the benchmarks are looked at: a
//! solution that quotes a well-known lemma is not a leak of the question.
//!
//! The words of the benchmarks are numbered once, and a run is looked up by its 13 numbers: no hash collision can report an
//! overlap that is not there. Time is linear in the words of the training texts plus the overlaps found. What to do with
//! contaminated problems is the caller's choice.

use crate::words::words;
use rasft_types::Problem;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Words in a run; the length that the GPT-3 paper (arXiv 2005.14165, appendix C) uses, as design.md §4 asks.
pub const RUN_WORDS: usize = 13;

type Run = [u32; RUN_WORDS];

/// The benchmarks' prompts, indexed.
#[derive(Debug, Clone, Default)]
pub struct BenchIndex {
    vocabulary: HashMap<String, u32>,
    runs: HashMap<Run, Vec<u32>>,
    wholes: HashMap<Vec<u32>, u32>,
    problems: Vec<BenchProblem>,
}

#[derive(Debug, Clone)]
struct BenchProblem {
    source: String,
    problem_id: String,
}

/// Which text of the training problem overlaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The prompt.
    Prompt,
    /// The expert response.
    ExpertResponse,
}

/// A training problem that overlaps with a benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contamination {
    /// Index of the training problem among those given.
    pub row: usize,
    /// Its id.
    pub problem_id: String,
    /// Which of its texts overlaps most.
    pub place: Place,
    /// Source of the benchmark problem it overlaps with most (of equals, the first indexed).
    pub bench_source: String,
    /// Id of that benchmark problem.
    pub bench_problem_id: String,
    /// Different runs of 13 words shared with it.
    pub n_shared: usize,
    /// The prompts have the same words from beginning to end.
    pub whole_prompt: bool,
    /// Benchmark problems it overlaps with at all.
    pub n_bench_problems: usize,
}

impl BenchIndex {
    /// Adds the problems of a benchmark.
    pub fn add(&mut self, problems: &[Problem]) {
        for problem in problems {
            let idx = self.problems.len() as u32;
            let BenchIndex { vocabulary, runs, wholes, .. } = self;
            let mut number = |word: String| {
                let next = vocabulary.len() as u32;
                *vocabulary.entry(word).or_insert(next)
            };
            let text: Vec<u32> = words(&problem.prompt).map(&mut number).collect();
            for run in text.array_windows::<RUN_WORDS>() {
                let owners = runs.entry(*run).or_default();
                if owners.last() != Some(&idx) {
                    owners.push(idx);
                }
            }
            if !text.is_empty() {
                wholes.entry(text).or_insert(idx);
            }
            self.problems.push(BenchProblem { source: problem.source.clone(), problem_id: problem.problem_id.clone() });
        }
    }

    /// Benchmark problems indexed.
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Whether nothing is indexed.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The training problems that overlap with the benchmarks, in the order given.
    pub fn check(&self, problems: &[Problem]) -> Vec<Contamination> {
        problems.iter().enumerate().filter_map(|(row, problem)| self.check_one(row, problem)).collect()
    }

    fn check_one(&self, row: usize, problem: &Problem) -> Option<Contamination> {
        let prompt = self.numbered(&problem.prompt);
        let expert = problem.expert_response.as_deref().map(|text| self.numbered(text)).unwrap_or_default();
        let whole =
            prompt.iter().copied().collect::<Option<Vec<u32>>>().and_then(|text| self.wholes.get(&text).copied());
        // Overlaps by (benchmark problem, place); a whole prompt counts even if it is too short for a run.
        let mut shared: BTreeMap<(u32, Place), usize> = BTreeMap::new();
        if let Some(idx) = whole {
            shared.insert((idx, Place::Prompt), 0);
        }
        for (place, text) in [(Place::Prompt, &prompt), (Place::ExpertResponse, &expert)] {
            for run in self.known_runs(text) {
                for &idx in &self.runs[&run] {
                    *shared.entry((idx, place)).or_default() += 1;
                }
            }
        }
        let rank = |(&(idx, place), &n): (&(u32, Place), &usize)| {
            (whole == Some(idx) && place == Place::Prompt, n, std::cmp::Reverse((idx, place)))
        };
        let (whole_prompt, n_shared, std::cmp::Reverse((idx, place))) = shared.iter().map(rank).max()?;
        let bench = &self.problems[idx as usize];
        Some(Contamination {
            row,
            problem_id: problem.problem_id.clone(),
            place,
            bench_source: bench.source.clone(),
            bench_problem_id: bench.problem_id.clone(),
            n_shared,
            whole_prompt,
            n_bench_problems: shared.keys().map(|(idx, _)| idx).collect::<BTreeSet<_>>().len(),
        })
    }

    /// The words' numbers; none for a word that no benchmark has.
    fn numbered(&self, text: &str) -> Vec<Option<u32>> {
        words(text).map(|word| self.vocabulary.get(&word).copied()).collect()
    }

    /// The different runs of a text that some benchmark has.
    fn known_runs(&self, text: &[Option<u32>]) -> BTreeSet<Run> {
        let mut found = BTreeSet::new();
        let mut run: Vec<u32> = Vec::with_capacity(text.len());
        for word in text {
            match word {
                None => run.clear(),
                Some(number) => {
                    run.push(*number);
                    if let Some(last) = run.last_chunk::<RUN_WORDS>().filter(|last| self.runs.contains_key(*last)) {
                        found.insert(*last);
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasft_types::Domain;

    fn problem(source: &str, prompt: &str, expert: Option<&str>) -> Problem {
        Problem {
            problem_id: crate::problem_id(Domain::Math, prompt, None, None),
            domain: Domain::Math,
            source: source.into(),
            prompt: prompt.into(),
            expert_response: expert.map(str::to_owned),
            answer: None,
            code: None,
            meta: "{}".into(),
        }
    }

    const LONG: &str = "One two three, four five six seven; eight nine ten eleven twelve thirteen fourteen fifteen.";

    fn index() -> BenchIndex {
        let mut index = BenchIndex::default();
        index.add(&[problem("a", "What is 1 + 1?", None), problem("a", LONG, None)]);
        index.add(&[
            problem("b", LONG, None),
            problem("b", "Zero one two three four five six seven eight nine ten eleven twelve", None),
        ]);
        index
    }

    #[test]
    fn counts_runs_and_names_the_benchmark() {
        let thirteen = "x TWO three four five six seven eight nine ten eleven $twelve$ thirteen\nfourteen y";
        let twelve = "x two three four five six seven eight nine ten eleven twelve thirteen y";
        let cases = [
            (problem("t", thirteen, None), Some((Place::Prompt, "a", 1, false, 2))),
            (problem("t", twelve, None), None),
            (problem("t", LONG, None), Some((Place::Prompt, "a", 3, true, 2))),
            (problem("t", "other", Some(thirteen)), Some((Place::ExpertResponse, "a", 1, false, 2))),
            (problem("t", "what is 1+1", None), Some((Place::Prompt, "a", 0, true, 1))),
            (problem("t", "what is 1+1 now", None), None),
            (problem("t", "", None), None),
        ];
        for (p, expected) in cases {
            let found = index().check(std::slice::from_ref(&p));
            let short = found
                .first()
                .map(|c| (c.place, c.bench_source.as_str(), c.n_shared, c.whole_prompt, c.n_bench_problems));
            assert_eq!(short, expected, "{}", p.prompt);
        }
    }

    #[test]
    fn a_run_repeated_counts_once() {
        let twice = format!("{LONG} and again {LONG}");
        let found = index().check(&[problem("t", &twice, None)]);
        assert_eq!((found[0].n_shared, found[0].whole_prompt, found[0].row), (3, false, 0));
    }
}

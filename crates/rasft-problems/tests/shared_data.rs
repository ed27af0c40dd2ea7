//! Every published data set at hand imports whole, with the fields its publisher meant.

use rasft_problems::gold::boxed;
use rasft_problems::{BenchIndex, FinalAnswer, Format, ImportOptions, Imported, import, near_duplicates};
use rasft_types::{Domain, Problem};
use std::path::PathBuf;

/// The directory of shared data sets, if it is there.
fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("RASFT_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let data = root.join("data");
    if !data.is_dir() {
        println!("skipped: ../shared not found");
        return None;
    }
    Some(data)
}

fn read(path: &str, options: &ImportOptions) -> Option<Imported> {
    let imported = import(&[shared()?.join(path)], options).unwrap_or_else(|e| panic!("{path}: {e}"));
    let n = imported.problems.len() + imported.repeated.len() + imported.rejects.len();
    assert_eq!(imported.n_in, n as u64 + imported.n_skipped + imported.n_unsampled + imported.n_beyond_limit);
    Some(imported)
}

fn expert(problem: &Problem) -> &str {
    problem.expert_response.as_deref().unwrap_or_default()
}

fn answer(problem: &Problem) -> &str {
    problem.answer.as_deref().unwrap_or_default()
}

#[test]
fn row_counts() {
    // Path, format, records in the file, repeats among them, problems without an expert solution.
    let table = [
        ("bench/aime24/test.jsonl", Format::Math, 30, 0, 0),
        ("bench/aime25/test.jsonl", Format::Math, 30, 0, 30),
        ("bench/amc23/test.jsonl", Format::Math, 40, 0, 40),
        ("bench/gsm8k/test.jsonl", Format::Gsm8k, 1319, 0, 0),
        ("bench/math_oai/test.jsonl", Format::Math, 500, 0, 0),
        ("bench/mawps/singleop.jsonl", Format::Math, 562, 31, 531),
        ("bench/minerva_math/test.jsonl", Format::Math, 272, 0, 0),
        ("bench/olympiadbench/test.jsonl", Format::Math, 675, 0, 0),
        ("bench/svamp/test.jsonl", Format::Math, 1000, 0, 1000),
        ("code/HumanEval.jsonl.gz", Format::HumanEval, 164, 0, 0),
        ("code/mbpp.jsonl", Format::Mbpp, 974, 0, 0),
        ("code/sanitized-mbpp.json", Format::Mbpp, 427, 0, 0),
        ("train/gsm8k_train.jsonl", Format::Gsm8k, 7473, 0, 0),
    ];
    for (path, format, n_in, n_repeated, n_without_expert) in table {
        let Some(got) = read(path, &ImportOptions::new(format)) else { return };
        assert_eq!((got.n_in, got.repeated.len(), got.rejects.len()), (n_in, n_repeated, 0), "{path}");
        assert_eq!(got.problems.iter().filter(|p| p.expert_response.is_none()).count(), n_without_expert, "{path}");
        for p in &got.problems {
            let code = matches!(format, Format::HumanEval | Format::Mbpp);
            assert_eq!(p.domain, if code { Domain::Code } else { Domain::Math });
            assert_eq!((p.answer.is_none(), p.code.is_some()), (code, code), "{path}: {}", p.prompt);
            assert!(!p.prompt.trim().is_empty() && p.source == format.as_str());
            assert!(serde_json::from_str::<serde_json::Value>(&p.meta).is_ok_and(|meta| meta.is_object()));
        }
    }
}

#[test]
fn gsm8k_fields() {
    let Some(got) = read("train/gsm8k_train.jsonl", &ImportOptions::new(Format::Gsm8k)) else { return };
    let first = &got.problems[0];
    assert!(first.prompt.starts_with("Natalia sold clips to 48 of her friends"));
    assert_eq!(
        expert(first),
        "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May.\n\
         The final answer is \\boxed{72}."
    );
    for p in &got.problems {
        assert_eq!(boxed(expert(p)), p.answer);
        assert!(answer(p).parse::<i64>().is_ok(), "{}", answer(p));
        assert!(!expert(p).contains("<<") && !expert(p).contains("####"));
    }
    let options = ImportOptions { final_answer: Some(FinalAnswer::AsIs), ..ImportOptions::new(Format::Gsm8k) };
    let Some(as_is) = read("train/gsm8k_train.jsonl", &options) else { return };
    assert!(as_is.problems.iter().all(|p| expert(p).contains("\n#### ")));
    let ids = |all: &Imported| all.problems.iter().map(|p| p.problem_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&as_is), ids(&got));
}

#[test]
fn benchmark_answers() {
    let options = ImportOptions::new(Format::Math);
    // Path, row among the problems, beginning of the prompt, gold.
    let table = [
        ("bench/aime24/test.jsonl", 7, "", "025"),
        ("bench/aime25/test.jsonl", 4, "", "336^\\circ"),
        ("bench/amc23/test.jsonl", 0, "Cities $A$ and $B$ are $45$ miles apart.", "27"),
        ("bench/amc23/test.jsonl", 15, "", "-1"),
        ("bench/math_oai/test.jsonl", 0, "Convert the point $(0,3)$", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("bench/minerva_math/test.jsonl", 0, "Each of the two Magellan telescopes", "1.6"),
        ("bench/mawps/singleop.jsonl", 0, "If there are 7 bottle caps in a box", "14"),
        ("bench/olympiadbench/test.jsonl", 0, "Xenia and Sergey play the following game.", "2"),
        ("bench/svamp/test.jsonl", 0, "There are 87 oranges and 290 bananas in Philip's collection.", "145"),
    ];
    for (path, row, prompt, gold) in table {
        let Some(got) = read(path, &options) else { return };
        let p = &got.problems[row];
        assert!(p.prompt.starts_with(prompt), "{path}: {}", p.prompt);
        assert_eq!(answer(p), gold, "{path}");
    }
    let Some(svamp) = read("bench/svamp/test.jsonl", &options) else { return };
    assert!(svamp.problems[0].prompt.ends_with("into 93 groups, How big is each group of bananas?"));
    let Some(mawps) = read("bench/mawps/singleop.jsonl", &options) else { return };
    assert!(mawps.problems.iter().any(|p| answer(p) == "3.33333"));
}

#[test]
fn olympiad_answers_in_parts_and_with_units() {
    let Some(got) = read("bench/olympiadbench/test.jsonl", &ImportOptions::new(Format::Math)) else { return };
    let by_id = |id: u64| {
        let wanted = |p: &&Problem| serde_json::from_str::<serde_json::Value>(&p.meta).is_ok_and(|m| m["id"] == id);
        got.problems.iter().find(wanted).expect("the record is there")
    };
    assert_eq!(answer(by_id(1664)), "$69$,$84$");
    assert_eq!(answer(by_id(2426)), "$\\frac{600}{7}$");
    assert!(by_id(2426).meta.contains("\"unit\":\"km/h\""));
    assert_eq!(got.problems.iter().filter(|p| p.meta.contains("\"other_solutions\":[")).count(), 138);
    assert!(got.problems.iter().all(|p| !expert(p).is_empty()));
}

#[test]
fn code_problems() {
    let Some(got) = read("code/HumanEval.jsonl.gz", &ImportOptions::new(Format::HumanEval)) else { return };
    let p = &got.problems[0];
    let code = p.code.as_ref().expect("tests");
    assert!(p.prompt.starts_with("from typing import List\n\n\ndef has_close_elements"), "{}", p.prompt);
    assert!(p.prompt.ends_with("\"\"\"\n"), "the prefix is kept byte for byte");
    assert_eq!((code.entry_point.as_deref(), code.prompt_is_prefix), (Some("has_close_elements"), true));
    assert!(
        code.tests[0].contains("def check(candidate):") && code.tests[0].ends_with("\ncheck(has_close_elements)\n")
    );
    assert!(
        expert(p).starts_with("```python\nfrom typing import List") && expert(p).ends_with("    return False\n```")
    );
    assert_eq!(p.meta, "{\"task_id\":\"HumanEval/0\"}");

    let Some(got) = read("code/mbpp.jsonl", &ImportOptions::new(Format::Mbpp)) else { return };
    let code = got.problems[0].code.as_ref().expect("tests");
    assert_eq!((code.entry_point.as_deref(), code.tests.len(), code.prompt_is_prefix), (Some("min_cost"), 3, false));
    assert!(got.problems[0].prompt.contains("pass these tests:\n\nassert min_cost([[1, 2, 3]"));
    assert_eq!(
        got.problems.iter().filter(|p| p.code.as_ref().is_some_and(|c| c.setup.contains("root = Node(1)"))).count(),
        2
    );
    let unnamed: Vec<&str> = got
        .problems
        .iter()
        .filter(|p| p.code.as_ref().is_some_and(|c| c.entry_point.is_none()))
        .map(|p| p.meta.as_str())
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    assert!(got.problems.iter().all(|p| !format!("{p:?}").contains("\\r")));

    let Some(got) = read("code/sanitized-mbpp.json", &ImportOptions::new(Format::Mbpp)) else { return };
    assert_eq!(got.problems.iter().filter(|p| p.code.as_ref().is_some_and(|c| c.setup == "import math")).count(), 13);
    let named = |p: &Problem| p.code.as_ref().is_some_and(|c| c.entry_point.is_some());
    assert!(got.problems.iter().all(named));
}

#[test]
fn a_sample_does_not_depend_on_size_and_keeps_source_order() {
    let take = |n| ImportOptions { sample: Some(n), ..ImportOptions::new(Format::Gsm8k) };
    let Some(all) = read("train/gsm8k_train.jsonl", &ImportOptions::new(Format::Gsm8k)) else { return };
    let Some(small) = read("train/gsm8k_train.jsonl", &take(100)) else { return };
    let Some(large) = read("train/gsm8k_train.jsonl", &take(1000)) else { return };
    assert_eq!((small.problems.len(), small.n_unsampled, small.n_in), (100, 7373, 7473));
    let mut rest = all.problems.iter();
    assert!(large.problems.iter().all(|p| rest.any(|q| q == p)), "in source order");
    let mut rest = large.problems.iter();
    assert!(small.problems.iter().all(|p| rest.any(|q| q == p)), "the larger sample holds the smaller");
    let other = ImportOptions { seed: 43, ..take(100) };
    let Some(other) = read("train/gsm8k_train.jsonl", &other) else { return };
    assert_ne!(small.problems, other.problems);
    let limit = ImportOptions { limit: Some(5), ..ImportOptions::new(Format::Gsm8k) };
    let Some(first) = read("train/gsm8k_train.jsonl", &limit) else { return };
    assert_eq!((first.problems.as_slice(), first.n_in, first.n_beyond_limit), (&all.problems[..5], 7473, 7468));
}

#[test]
fn overlap_between_published_sets() {
    let Some(train) = read("train/gsm8k_train.jsonl", &ImportOptions::new(Format::Gsm8k)) else { return };
    let Some(bench) = read("bench/gsm8k/test.jsonl", &ImportOptions::new(Format::Gsm8k)) else { return };
    let mut index = BenchIndex::default();
    index.add(&bench.problems);
    let itself = index.check(&bench.problems);
    assert_eq!(itself.iter().filter(|c| c.whole_prompt).count(), 1319, "a benchmark is wholly contaminated by itself");
    let found = index.check(&train.problems);
    assert!(!found.is_empty() && found.len() < 200, "{}", found.len());
    for c in &found {
        assert!(!c.whole_prompt && c.n_shared > 0, "{c:?}");
    }
    assert!(near_duplicates(&train.problems).len() < 20);

    // The hand-verified MBPP is a part of the full one, with the prompts of some tasks rewritten.
    let Some(full) = read("code/mbpp.jsonl", &ImportOptions::new(Format::Mbpp)) else { return };
    let Some(clean) = read("code/sanitized-mbpp.json", &ImportOptions::new(Format::Mbpp)) else { return };
    let mut index = BenchIndex::default();
    index.add(&full.problems);
    assert!(index.check(&clean.problems).len() > 400);
}

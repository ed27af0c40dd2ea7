//! What length does to a rollout on its way from the engine to the mixture.

mod support;

use rasft_data::{DataSet, ShardWriter, Table};
use rasft_types::{Fallback, FinishReason, MixtureRow, Outcome, Rollout, Solvability, TrajectorySource, Verdict};
use std::path::Path;
use support::{Bench, quickstart_model};

fn read<T: Table>(path: &str) -> Vec<T> {
    DataSet::open(path).and_then(|data| data.read_all()).expect("a table of ours")
}

fn write<T: Table>(path: &Path, rows: &[T]) -> String {
    let mut writer = ShardWriter::<T>::create(path, "test").expect("create");
    writer.write(rows).and_then(|()| writer.finish().map(drop)).expect("write");
    path.display().to_string()
}

/// Solvability as if every rollout were correct and trained on.
fn all_trained(rollouts: &[Rollout]) -> Vec<Solvability> {
    let mut rows: Vec<Solvability> = Vec::new();
    for r in rollouts {
        if rows.last().is_none_or(|s| s.problem_id != r.problem_id) {
            rows.push(Solvability {
                problem_id: r.problem_id.clone(),
                n_samples: 2,
                n_verified: 2,
                solvability: 1.0,
                solvability_low: 0.3,
                solvability_high: 1.0,
                n_unique: 2,
                n_usable: 2,
                n_correct: 2,
                difficulty_ratio: 0.0,
                expert_reward: 1.0,
                group_rewards: vec![1.0; 3],
                group_advantages: None,
                expert_weight: 0.3,
                rollout_weights: vec![],
                rollout_ids: vec![],
                fallback: Fallback::None,
            });
        }
        let row = rows.last_mut().expect("pushed above");
        row.rollout_weights.push(0.02);
        row.rollout_ids.push(r.rollout_id.clone());
    }
    rows
}

/// Problems, and a mixture of rollouts that all count as correct, with what the command said.
fn mixture(
    bench: &Bench,
    rollouts: &[Rollout],
    problems: &str,
    max_length: &str,
) -> (Vec<MixtureRow>, serde_json::Value) {
    let model = quickstart_model().display().to_string();
    let r = write(&bench.path("rollouts.parquet"), rollouts);
    let verdicts = read::<Verdict>(&bench.ok("rasft-verify", &["--rollouts", &r, "--problems", problems]));
    let right = |v| Verdict { outcome: Outcome::Correct, correct: true, ..v };
    let v = write(&bench.path("verdicts.parquet"), &verdicts.into_iter().map(right).collect::<Vec<_>>());
    let s = write(&bench.path("solvability.parquet"), &all_trained(rollouts));
    let tables = ["--problems", problems, "--rollouts", &r, "--verdicts", &v, "--solvability", &s];
    let rest = ["--model", &model, "--max-length", max_length, "--system-prompt", "", "--json"];
    let made = bench.run("rasft-score", &[&["mixture"], &tables[..], &rest[..]].concat()).json();
    (read(made["path"].as_str().expect("a path")), made["summary"].clone())
}

fn sampled(bench: &Bench, problems: &str) -> Vec<Rollout> {
    let model = quickstart_model().display().to_string();
    let args = ["--problems", problems, "--model", &model, "--n", "2", "--max-new-tokens", "8", "--system-prompt", ""];
    read(&bench.ok("rasft-rollout", &args))
}

#[test]
fn a_rollout_that_was_cut_off_trains_without_eos() {
    let bench = Bench::new();
    let p = bench.problems(4);
    let mut rollouts = sampled(&bench, &p);
    assert!(rollouts.iter().all(|r| r.finish_reason == FinishReason::Length), "eight tokens end no solution");
    rollouts[1].finish_reason = FinishReason::Stop;
    let (rows, summary) = mixture(&bench, &rollouts, &p, "512");
    let experts = || rows.iter().filter(|r| r.source == TrajectorySource::Expert);
    let eos = *experts().next().expect("experts").input_ids.last().expect("tokens");
    assert!(experts().all(|r| r.input_ids.last() == Some(&eos) && !r.truncated));
    let own: Vec<&MixtureRow> = rows.iter().filter(|r| r.source == TrajectorySource::Rollout).collect();
    assert_eq!((own.len(), summary["truncated"].as_u64()), (8, Some(7)));
    for row in own {
        let cut = row.rollout_id.as_ref() != Some(&rollouts[1].rollout_id);
        assert_eq!((row.truncated, row.input_ids.last() == Some(&eos)), (cut, !cut), "{}", row.response_text);
    }
}

#[test]
fn a_problem_whose_rollout_does_not_fit_trains_on_its_expert_alone() {
    let bench = Bench::new();
    let p = bench.problems(3);
    let mut rollouts = sampled(&bench, &p);
    rollouts[0].completion = "and so on ".repeat(600);
    let (rows, summary) = mixture(&bench, &rollouts, &p, "512");
    let first: Vec<&MixtureRow> = rows.iter().filter(|r| r.problem_id == rollouts[0].problem_id).collect();
    assert_eq!((first.len(), first[0].source, first[0].weight), (1, TrajectorySource::Expert, 1.0));
    assert_eq!(summary["fallbacks"], serde_json::json!({ "none": 2, "too_long": 1 }));
    assert_eq!(rows.len(), 1 + 2 * 3);
}

#[test]
fn what_the_mixture_will_not_take_is_known_when_verdicts_are_given() {
    let bench = Bench::new();
    let p = bench.problems(3);
    let rollouts = sampled(&bench, &p);
    let r = write(&bench.path("r.parquet"), &rollouts);
    let longest = rollouts.iter().map(|r| r.prompt_tokens as usize + r.token_ids.len()).max().expect("rollouts");
    let too_long = |max: usize| {
        let max = max.to_string();
        let v = bench.run("rasft-verify", &["--rollouts", &r, "--problems", &p, "--max-length", &max, "--json"]).json();
        v["summary"]["rejected_by"]["too_long"].as_u64().unwrap_or(0)
    };
    assert_eq!(too_long(longest), 0);
    assert!(too_long(longest - 1) >= 1);
    assert_eq!(too_long(1), rollouts.len() as u64);
    // Completions whose tokens nobody counted cannot be rejected; that is said.
    let uncounted: Vec<Rollout> = rollouts.into_iter().map(|r| Rollout { token_ids: vec![], ..r }).collect();
    let u = write(&bench.path("u.parquet"), &uncounted);
    let ran = bench.run("rasft-verify", &["--rollouts", &u, "--problems", &p, "--max-length", "1", "--json"]);
    assert_eq!(ran.json()["summary"]["length_unknown"].as_u64(), Some(6));
    assert!(ran.stderr.contains("6 rollouts lack prompt_tokens or token_ids"), "{}", ran.stderr);
}

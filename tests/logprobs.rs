//! One policy, one number: the log-probabilities that a rollout carries are those of the difficulty scorer, of the
//! mixture's reference column, and of the trainer's own forward pass.

mod support;

use rasft_data::{DataSet, ShardWriter};
use rasft_types::{DifficultyRow, FinishReason, MixtureRow, Problem, Rollout, StepMetrics, TrajectorySource};
use std::collections::BTreeMap;
use support::{Bench, quickstart_model};

const PROMPT: [&str; 2] = ["--system-prompt", ""];
const TOLERANCE: f64 = 1e-5;

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
}

fn rollouts(bench: &Bench, problems: &str, model: &str) -> (String, Vec<Rollout>) {
    let base = ["--problems", problems, "--model", model, "--n", "4", "--max-new-tokens", "120"];
    let path = bench.ok("rasft-rollout", &[&base[..], &PROMPT].concat());
    let rows = DataSet::open(&path).and_then(|d| d.read_all::<Rollout>()).expect("rollouts");
    (path, rows)
}

#[test]
fn the_difficulty_scorer_sees_the_same_numbers() {
    let (bench, model) = (Bench::new(), quickstart_model().display().to_string());
    let p = bench.problems(12);
    let (_, rows) = rollouts(&bench, &p, &model);
    let problems = DataSet::open(&p).and_then(|d| d.read_all::<Problem>()).expect("problems");
    // Every finished sample becomes the expert of a problem of its own.
    let (mut experts, mut expected) = (Vec::new(), BTreeMap::new());
    for row in rows.iter().filter(|r| r.finish_reason == FinishReason::Stop && !r.completion.is_empty()) {
        let problem = problems.iter().find(|p| p.problem_id == row.problem_id).expect("its problem");
        let expert_response = Some(row.completion.clone());
        let problem_id = row.rollout_id.clone();
        expected.insert(problem_id.clone(), row);
        experts.push(Problem { problem_id, expert_response, ..problem.clone() });
    }
    assert!(experts.len() > 20, "{} finished", experts.len());
    let path = bench.path("experts.parquet");
    let mut writer = ShardWriter::<Problem>::create(&path, "").expect("create");
    writer.write(&experts).and_then(|()| writer.finish()).expect("write");
    let path = path.display().to_string();
    let scored =
        bench.ok("rasft-score", &[&["difficulty", "--problems", &path, "--model", &model][..], &PROMPT].concat());
    let scored = DataSet::open(scored).and_then(|d| d.read_all::<DifficultyRow>()).expect("difficulty");
    let mut compared = 0;
    for row in scored {
        let sample = expected[&row.problem_id];
        // A text may be read as other tokens than it was written in.
        if row.expert_tokens as usize == sample.token_ids.len() {
            let difference = f64::from(row.expert_nll) + mean(&sample.token_logprobs);
            assert!(difference.abs() < TOLERANCE, "{}: {difference}", row.problem_id);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} compared");
}

#[test]
fn the_reference_column_and_the_trainer_see_the_same_numbers() {
    let (bench, model) = (Bench::new(), quickstart_model().display().to_string());
    let p = bench.problems(12);
    let (r, rows) = rollouts(&bench, &p, &model);
    let v = bench.ok("rasft-verify", &["--rollouts", &r, "--problems", &p]);
    let tables = ["--problems", &p, "--rollouts", &r, "--verdicts", &v];
    let s = bench.ok("rasft-score", &[&["solvability"], &tables[..]].concat());
    let models = ["--solvability", &s, "--model", &model, "--reference", &model];
    let m = bench.ok("rasft-score", &[&["mixture"], &tables[..], &models[..], &PROMPT[..]].concat());
    let mixture = DataSet::open(&m).and_then(|d| d.read_all::<MixtureRow>()).expect("mixture");
    let by_id: BTreeMap<&str, &Rollout> = rows.iter().map(|r| (r.rollout_id.as_str(), r)).collect();
    let mut compared = 0;
    for row in mixture.iter().filter(|row| row.source == TrajectorySource::Rollout) {
        let sample = by_id[row.rollout_id.as_deref().expect("its rollout")];
        if row.input_ids[row.prompt_len as usize..] == sample.token_ids {
            let difference = f64::from(row.ref_logprob) - mean(&sample.token_logprobs);
            assert!(difference.abs() < TOLERANCE, "{}: {difference}", sample.rollout_id);
            compared += 1;
        }
    }
    assert!(compared > 5, "{compared} compared");
    // Before its first update the policy is the reference, so every ratio that the trainer computes is 1.
    let train = ["--mixture", &m, "--model", &model, "--steps", "1", "--batch-size", "16", "--learning-rate", "1e-4"];
    let c = bench.ok("rasft-train", &train);
    let metrics = std::path::Path::new(&c).join("metrics.parquet");
    let metrics = DataSet::open(metrics).and_then(|d| d.read_all::<StepMetrics>()).expect("metrics");
    assert!((metrics[0].mean_ratio - 1.0).abs() < TOLERANCE, "{}", metrics[0].mean_ratio);
}

//! A few rows of every table, with the corners: nulls, empty lists, NaN, text beyond ASCII.

use crate::{Manifest, RejectRow, ShardInfo, ShardWriter, Table, part_name};
use rasft_types::*;
use std::path::Path;

/// Writes rows as a data set of `n_shards` shards with a manifest.
pub(super) fn data_set<T: Table>(dir: &Path, rows: &[T], n_shards: usize) -> Manifest {
    let per_shard = rows.len().div_ceil(n_shards).max(1);
    let shards: Vec<ShardInfo> = (0..n_shards)
        .map(|i| {
            let mut writer = ShardWriter::<T>::create(&dir.join(part_name(i)), "k").unwrap();
            writer.write(rows.chunks(per_shard).nth(i).unwrap_or(&[])).unwrap();
            writer.finish().unwrap()
        })
        .collect();
    let manifest = Manifest {
        schema: T::NAME.to_owned(),
        version: T::VERSION,
        stage: "test".to_owned(),
        key: "k".to_owned(),
        shards,
        ..Manifest::default()
    };
    manifest.write(dir).unwrap();
    manifest
}

pub(super) fn problem(i: usize) -> Problem {
    let code = CodeSpec {
        entry_point: (i.is_multiple_of(2)).then(|| "f".to_owned()),
        setup: "import math".to_owned(),
        tests: (0..i % 4).map(|t| format!("assert f({t}) == {i}")).collect(),
        prompt_is_prefix: i % 2 == 1,
    };
    Problem {
        problem_id: format!("{i:032x}"),
        domain: if i.is_multiple_of(3) { Domain::Code } else { Domain::Math },
        source: "synthetic".to_owned(),
        prompt: format!("Was ist {i} × ½? 你好"),
        expert_response: (!i.is_multiple_of(5)).then(|| format!("it is {i}\n\\boxed{{{i}}}")),
        answer: (!i.is_multiple_of(3)).then(|| i.to_string()),
        code: (i.is_multiple_of(3)).then_some(code),
        meta: "{}".to_owned(),
    }
}

pub(super) fn difficulty(i: usize) -> DifficultyRow {
    DifficultyRow {
        problem_id: format!("{i:032x}"),
        expert_tokens: i as u32,
        expert_nll: if i.is_multiple_of(4) { f32::NAN } else { 0.1 * i as f32 },
        route: Route::ALL[i % Route::ALL.len()],
        action: RouteAction::ALL[i % RouteAction::ALL.len()],
        in_hard_pool: i.is_multiple_of(2),
    }
}

pub(super) fn expert_loss(i: usize) -> ExpertLoss {
    let DifficultyRow { problem_id, expert_tokens, expert_nll, .. } = difficulty(i);
    ExpertLoss { problem_id, expert_tokens, expert_nll, scored: Scored::ALL[i % Scored::ALL.len()] }
}

pub(super) fn rollout(i: usize) -> Rollout {
    Rollout {
        rollout_id: format!("{:032x}", i + 7),
        problem_id: format!("{:032x}", i / 4),
        sample_index: (i % 4) as u32,
        policy_id: "p".repeat(64),
        round: 2,
        prompt_tokens: 11,
        completion: "so x = 3 ".repeat(i % 6),
        token_ids: (0..(i % 6) as u32 * 3).collect(),
        token_logprobs: (0..(i % 6) * 3).map(|t| -0.01 * (t * i) as f32).collect(),
        finish_reason: FinishReason::ALL[i % FinishReason::ALL.len()],
    }
}

pub(super) fn verdict(i: usize) -> Verdict {
    let r = rollout(i);
    Verdict {
        rollout_id: r.rollout_id,
        problem_id: r.problem_id,
        sample_index: r.sample_index,
        outcome: Outcome::ALL[i % Outcome::ALL.len()],
        correct: i.is_multiple_of(Outcome::ALL.len()),
        method: Method::ALL[i % Method::ALL.len()],
        extracted: (i.is_multiple_of(2)).then(|| "½".to_owned()),
        usable: i.is_multiple_of(3),
        rejected_by: Rejection::ALL[..i % Rejection::ALL.len()].to_vec(),
        duplicate_of: (i.is_multiple_of(7)).then(|| "d".repeat(32)),
        tests_passed: (i.is_multiple_of(3)).then_some(i as u32),
        tests_total: (i.is_multiple_of(3)).then_some(u32::MAX),
        detail: None,
    }
}

pub(super) fn solvability(i: usize) -> Solvability {
    Solvability {
        problem_id: format!("{i:032x}"),
        n_samples: 4,
        n_verified: 2,
        solvability: 0.5,
        solvability_low: 0.1,
        solvability_high: 0.9,
        n_unique: 4,
        n_usable: 3,
        n_correct: 2,
        difficulty_ratio: 1.0 / 3.0,
        expert_reward: 0.7,
        group_rewards: vec![0.7, 1.0, -0.0],
        group_advantages: (i.is_multiple_of(2)).then(|| vec![f64::MIN_POSITIVE, 0.1 + 0.2]),
        expert_weight: 1.0,
        rollout_weights: vec![0.5; i % 3],
        rollout_ids: vec!["r".repeat(32); i % 3],
        fallback: Fallback::ALL[i % Fallback::ALL.len()],
    }
}

pub(super) fn mixture(i: usize) -> MixtureRow {
    MixtureRow {
        trajectory_id: format!("{i:032x}"),
        problem_id: format!("{i:032x}"),
        source: TrajectorySource::ALL[i % 2],
        rollout_id: (i % 2 == 1).then(|| "r".repeat(32)),
        route: Route::Mid,
        round: 0,
        weight: 0.25 * i as f64,
        prompt_text: "<|user|>".to_owned(),
        response_text: "yes".to_owned(),
        input_ids: vec![1, 2, u32::MAX],
        prompt_len: 1,
        truncated: false,
        ref_logprob: -0.5,
        order: u64::MAX - i as u64,
        old_logprobs: (i % 2 == 1).then(|| vec![-0.25, -0.5]),
    }
}

pub(super) fn metrics(i: usize) -> StepMetrics {
    StepMetrics { step: i as u64 + 1, loss: 1.0 / (i + 1) as f64, tokens: 1 << 40, ..StepMetrics::default() }
}

pub(super) fn eval_sample(i: usize) -> EvalSampleRow {
    EvalSampleRow { bench: "math500".to_owned(), model_id: "m".to_owned(), rollout: rollout(i), verdict: verdict(i) }
}

pub(super) fn eval_summary(i: usize) -> EvalSummaryRow {
    EvalSummaryRow {
        bench: "math500".to_owned(),
        model_id: "m".to_owned(),
        n_problems: 500,
        n_samples: 4,
        metric: format!("pass@{i}"),
        value: 0.25,
        ci_low: f64::NAN,
        ci_high: 0.5,
    }
}

pub(super) fn reject(i: usize) -> RejectRow {
    RejectRow { source_row: i as u64, reason: "no prompt".to_owned(), raw: "{\"a\":1}".to_owned() }
}

pub(super) fn comparison(i: usize) -> EvalComparisonRow {
    EvalComparisonRow {
        bench: "math500".to_owned(),
        metric: "avg@4".to_owned(),
        baseline: "a".to_owned(),
        model: "b".to_owned(),
        n_problems: i as u32,
        baseline_value: 0.5,
        value: 0.75,
        difference: 0.25,
        ci_low: 0.1,
        ci_high: 0.4,
        p_value: 0.05,
    }
}

pub(super) fn judged_pair(i: usize) -> JudgedPair {
    let Verdict { extracted, outcome, method, correct, .. } = verdict(i);
    JudgedPair { gold: i.to_string(), response: "4".to_owned(), extracted, outcome, method, correct }
}

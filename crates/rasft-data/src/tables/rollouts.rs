//! `rollouts`: sampled completions with their tokens.

use crate::column::Foreign;
use crate::hash::hash128;
use crate::table::table;
use rasft_types::{FinishReason, Rollout};

table! {
    Rollout => "rollouts" / 1, "Sampled completions of a policy, in problem order, then sample_index.", completed by complete;
    rollout_id: String = String::new(), "32 hex digits: blake3-128 of problem_id, policy_id, sampling parameters, seed and sample_index; derived when absent";
    problem_id: String, "the problem";
    sample_index: u32 = 0, "0-based index among the samples of this problem; counted in file order when absent";
    policy_id: String = String::new(), "content hash of the policy";
    round: u32 = 0, "round of the experiment";
    prompt_tokens: u32 = 0, "length of the templated prompt" in "tokens";
    completion: String, "text of the completion without special tokens";
    token_ids: Vec<u32> = Vec::new(), "completion tokens, with the end-of-sequence token when one was sampled";
    token_logprobs: Vec<f32> = Vec::new(), "log-probability of each chosen token under the untempered policy" in "nats";
    finish_reason: FinishReason = FinishReason::Stop, "stop|length|error: why generation ended";
}

pub(super) fn complete(rows: &mut [Rollout], foreign: &mut Foreign) {
    for row in rows {
        if foreign.lacks("sample_index") {
            row.sample_index = foreign.next_index(&row.problem_id);
        }
        if foreign.lacks("rollout_id") {
            let index = row.sample_index.to_le_bytes();
            row.rollout_id = hash128(&[b"rollout", row.problem_id.as_bytes(), &index, row.completion.as_bytes()]);
        }
    }
}

//! `mixture`: the weighted trajectories a trainer reads.

use crate::column::Foreign;
use crate::hash::hash128;
use crate::table::table;
use rasft_types::{MixtureRow, Route, TrajectorySource};

table! {
    MixtureRow => "mixture" / 2 reads 1, "Weighted training trajectories, tokenised.", completed by complete;
    trajectory_id: String = String::new(), "32 hex digits; derived from the row's position and tokens when absent";
    problem_id: String = String::new(), "the problem";
    source: TrajectorySource = TrajectorySource::Expert, "expert|rollout: who wrote it";
    rollout_id: Option<String> = None, "the rollout, if it is one";
    route: Route = Route::Mid, "easy|gap|mid|hard|never: place of the problem in the moving window";
    round: u32 = 0, "round of the experiment";
    weight: f64 = 1.0, "the advantage that scales the trajectory's loss; 1 when absent";
    prompt_text: String = String::new(), "the templated prompt";
    response_text: String = String::new(), "the response";
    input_ids: Vec<u32>, "prompt, response and end-of-sequence tokens";
    prompt_len: u32, "leading tokens of input_ids that are not trained on" in "tokens";
    truncated: bool = false, "the response was cut to fit";
    ref_logprob: f32 = f32::NAN, "mean log-probability per response token under the frozen reference; NaN when absent" in "nats";
    order: u64 = 0, "training order; the row's position when absent";
    old_logprobs: Option<Vec<f32>> = None, "log-probability of each response token under the policy that sampled it; only for grpo" in "nats";
}

fn complete(rows: &mut [MixtureRow], foreign: &mut Foreign) {
    for (row, position) in rows.iter_mut().zip(foreign.rows_before..) {
        if foreign.lacks("order") {
            row.order = position;
        }
        if foreign.lacks("trajectory_id") {
            let tokens: Vec<u8> = row.input_ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            row.trajectory_id =
                hash128(&[b"trajectory", &position.to_le_bytes(), &tokens, &row.prompt_len.to_le_bytes()]);
        }
    }
}

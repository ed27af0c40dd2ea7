//! `expert_loss`: the part of `difficulty` that needs the policy, before any routing; one part of it comes from
//! `rasft-score difficulty --shard`.

use crate::table::table;
use rasft_types::{ExpertLoss, Scored};

table! {
    ExpertLoss => "expert_loss" / 1, "Loss of the expert solution under the current policy, before routing.";
    problem_id: String, "the problem";
    expert_tokens: u32 = 0, "response tokens the loss was taken over" in "tokens";
    expert_nll: f32, "mean negative log-likelihood per response token under the current policy; NaN when it could not be computed" in "nats";
    scored: Scored = Scored::Scored, "scored|too_long|prompt_too_long|empty: whether it could be computed, and why not";
}

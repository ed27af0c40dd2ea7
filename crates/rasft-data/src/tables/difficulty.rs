//! `difficulty`: how hard each expert solution is for the current policy, and what the window makes of it.

use crate::table::table;
use rasft_types::{DifficultyRow, Route, RouteAction};

table! {
    DifficultyRow => "difficulty" / 1, "Loss of the expert solution under the current policy, and the route that follows.";
    problem_id: String, "the problem";
    expert_tokens: u32 = 0, "response tokens the loss was taken over" in "tokens";
    expert_nll: f32, "mean negative log-likelihood per response token under the current policy; NaN when it could not be computed" in "nats";
    route: Route, "easy|gap|mid|hard|never: place in the moving window";
    action: RouteAction, "expert|rollout|probe|defer: what this round does";
    in_hard_pool: bool = false, "the problem is in the hard pool after this round's routing";
}

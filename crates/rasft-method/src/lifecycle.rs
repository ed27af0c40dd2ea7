//! What one round does with each of its problems: routing, selection, probes and the final flush as one plan.
//!
//! A round is the toolkit's refresh. Invariant: one action per problem, decided under the round's own window (the reference's B1–B3
//! and B8 cannot occur), and independent of the order in which problems come.

use crate::hard_pool::{Probe, probe};
use crate::profile::Profile;
use crate::routing::route;
use crate::selection::{DrawKey, choose, main_count, probe_count};
use crate::window::Window;
use rasft_types::{Route, RouteAction};

/// A problem of the round with its loss under the current policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Its id.
    pub problem_id: &'a str,
    /// Mean loss of its expert response, nats per token; NaN if it could not be computed.
    pub loss: f64,
    /// Whether it comes from the hard pool of the round before.
    pub pooled: bool,
}

/// How the round selects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundParams {
    /// Share of the window's problems that is rolled out.
    pub main_rollout_ratio: f64,
    /// Share of the hard pool that is probed.
    pub hard_probe_ratio: f64,
    /// Last round: the hard pool is emptied.
    pub flush: bool,
    /// What a problem of the pool trains on when it leaves without rollouts.
    pub profile: Profile,
    /// Seed of the draws.
    pub seed: u64,
    /// Round of the experiment.
    pub round: u32,
}

/// What the round does with one problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Window class under the current policy.
    pub route: Route,
    /// What is done.
    pub action: RouteAction,
    /// Whether it is in the hard pool afterwards, unless its rollouts take it out ([`crate::hard_pool::leaves`]).
    pub in_hard_pool: bool,
}

/// Plans a round.
///
/// New problems: easy, gap, never → expert; mid → a seeded [`main_count`] of them is rolled out, the others expert; hard → expert, and
/// into the pool. Pool problems: a seeded [`probe_count`] of them is probed by [`probe`]; the others are deferred. With `flush` the
/// pool is emptied. A pool problem that leaves without rollouts (released or flushed) trains on its expert once more under
/// `reference`, not at all under `calibrated` (it was trained when it came in).
///
/// # Shapes
/// As many plans as candidates, same order.
///
/// # Source
/// algorithm.md §4, §5, §10.4; Part A 1 and 2.
///
/// # Deviations
/// A problem that turns hard in the flushed round is trained once, not twice; the pool is probed even if no problem falls in the window
/// (B8).
pub fn plan_round(candidates: &[Candidate<'_>], window: &Window, params: &RoundParams) -> Vec<Planned> {
    let routes: Vec<Route> = candidates.iter().map(|c| route(c.loss, window)).collect();
    let mids = positions(candidates, |i, c| !c.pooled && routes[i] == Route::Mid);
    let pool = positions(candidates, |_, c| c.pooled);
    let rolled_out = draw(candidates, &mids, main_count(mids.len(), params.main_rollout_ratio), "main", params);
    let probed = draw(candidates, &pool, probe_count(pool.len(), params.hard_probe_ratio), "probe", params);

    let plan = |(i, c): (usize, &Candidate<'_>)| {
        let route = routes[i];
        let (action, pooled) = if c.pooled {
            let found = if probed[i] { Some(probe(c.loss, window)) } else { None };
            pool_action(found, params)
        } else if rolled_out[i] {
            (RouteAction::Rollout, false)
        } else {
            (RouteAction::Expert, route == Route::Hard)
        };
        Planned { route, action, in_hard_pool: pooled && !params.flush }
    };
    candidates.iter().enumerate().map(plan).collect()
}

/// Action and membership of a pool problem; `found` is `None` if it was not probed.
fn pool_action(found: Option<Probe>, params: &RoundParams) -> (RouteAction, bool) {
    let leaving = match params.profile {
        Profile::Reference => RouteAction::Expert,
        Profile::Calibrated => RouteAction::Defer,
    };
    match found {
        Some(Probe::RollOut) => (RouteAction::Probe, true),
        Some(Probe::Released) => (leaving, false),
        Some(Probe::Stays) | None if params.flush => (leaving, false),
        Some(Probe::Stays) | None => (RouteAction::Defer, true),
    }
}

fn positions(candidates: &[Candidate<'_>], is_member: impl Fn(usize, &Candidate<'_>) -> bool) -> Vec<usize> {
    (0..candidates.len()).filter(|&i| is_member(i, &candidates[i])).collect()
}

/// A mask over all candidates of `k` drawn from `members`.
fn draw(candidates: &[Candidate<'_>], members: &[usize], k: usize, purpose: &str, params: &RoundParams) -> Vec<bool> {
    let ids: Vec<&str> = members.iter().map(|&i| candidates[i].problem_id).collect();
    let mut mask = vec![false; candidates.len()];
    for at in choose(&ids, k, DrawKey { seed: params.seed, round: params.round, purpose }) {
        mask[members[at]] = true;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Window =
        Window { easy_floor: 0.1, window_low: 0.2, window_high: 0.4, hard_probe_ceiling: 0.9, alpha: 0.0 };

    fn params(profile: Profile, flush: bool) -> RoundParams {
        RoundParams { main_rollout_ratio: 0.5, hard_probe_ratio: 1.0, flush, profile, seed: 42, round: 1 }
    }

    fn check(loss: f64, pooled: bool, p: RoundParams, action: RouteAction, in_hard_pool: bool) {
        let planned = plan_round(&[Candidate { problem_id: "p", loss, pooled }], &W, &p)[0];
        assert_eq!((planned.action, planned.in_hard_pool), (action, in_hard_pool), "{loss} {pooled} {p:?}");
    }

    #[test]
    fn new_problems() {
        for profile in [Profile::Reference, Profile::Calibrated] {
            let p = params(profile, false);
            for loss in [0.05, 0.15, 0.95, f64::NAN] {
                check(loss, false, p, RouteAction::Expert, false);
            }
            check(0.3, false, p, RouteAction::Rollout, false);
            check(0.5, false, p, RouteAction::Expert, true);
            check(0.5, false, params(profile, true), RouteAction::Expert, false);
        }
    }

    #[test]
    fn pool_problems() {
        use Profile::{Calibrated, Reference};
        for (profile, leaving) in [(Reference, RouteAction::Expert), (Calibrated, RouteAction::Defer)] {
            check(0.15, true, params(profile, false), leaving, false);
            check(0.5, true, params(profile, false), RouteAction::Probe, true);
            check(0.95, true, params(profile, false), RouteAction::Defer, true);
            check(0.95, true, params(profile, true), leaving, false);
            check(0.5, true, params(profile, true), RouteAction::Probe, false);
            let unprobed = RoundParams { hard_probe_ratio: 0.0, ..params(profile, false) };
            check(0.15, true, unprobed, RouteAction::Defer, true);
            check(0.5, true, RoundParams { flush: true, ..unprobed }, leaving, false);
        }
    }

    #[test]
    fn plans_do_not_depend_on_order() {
        let ids: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
        let candidate = |(i, id)| Candidate { problem_id: id, loss: i as f64 * 0.025, pooled: i % 3 == 0 };
        let forward: Vec<Candidate<'_>> = ids.iter().map(String::as_str).enumerate().map(candidate).collect();
        let backward: Vec<Candidate<'_>> = forward.iter().rev().copied().collect();
        let p = RoundParams { hard_probe_ratio: 0.4, ..params(Profile::Reference, false) };
        let mut reversed = plan_round(&backward, &W, &p);
        reversed.reverse();
        assert_eq!(plan_round(&forward, &W, &p), reversed);
    }
}

//! Which tokens may be drawn, and the draw.
//!
//! A candidate is one u64, weight above id, so that plain integer order is "most likely first, then lowest id". The
//! vocabulary is never sorted: a threshold that provably loses nothing leaves few candidates, and of these only as many
//! are sorted as top-p takes.

use super::softmax::BLOCK;
use crate::SamplingParams;
use rasft_model::ops::simd::multiversion;

/// Candidates sorted at first by [`nucleus`]; doubled while they are not enough.
const FIRST_SORTED: usize = 64;

/// So many tokens would have to share what top-p leaves out for a first, quick threshold to be too high.
const FEW: f64 = 1024.0;

/// Inverted bits of the weight (a non-negative f32 orders as its bits), then the id.
type Key = u64;

fn key(weight: f32, id: usize) -> Key {
    (u64::from(!weight.to_bits()) << 32) | id as u64
}

fn weight(key: Key) -> f32 {
    f32::from_bits(!((key >> 32) as u32))
}

fn id(key: Key) -> u32 {
    key as u32
}

/// Draws a token in proportion to its weight among those that min-p, then top-k, then top-p leave.
///
/// `weights` are relative to the largest, which is 1; `sums` holds the sum of each block; `uniform` is in [0, 1).
/// `keys` is room to work in.
pub(crate) fn draw(weights: &[f32], sums: &[f64], params: &SamplingParams, uniform: f64, keys: &mut Vec<Key>) -> u32 {
    let all = params.min_p == 0.0 && (params.top_k == 0 || params.top_k as usize >= weights.len());
    if all && params.top_p >= 1.0 {
        return draw_any(weights, sums, uniform);
    }
    filter(weights, sums, params, keys);
    let total: f64 = keys.iter().map(|k| f64::from(weight(*k))).sum();
    let mut rest = uniform * total;
    for key in keys.iter() {
        rest -= f64::from(weight(*key));
        if rest < 0.0 {
            return id(*key);
        }
    }
    // Rounding may leave a crumb, which the last candidate takes.
    keys.last().map_or(0, |key| id(*key))
}

/// Leaves in `keys` the candidates that pass every filter, most likely first.
fn filter(weights: &[f32], sums: &[f64], params: &SamplingParams, keys: &mut Vec<Key>) {
    keys.clear();
    let k = params.top_k as usize;
    let least = params.min_p as f32;
    if k > 0 && k < weights.len() {
        most_likely(weights, least, k, keys);
    } else if params.min_p > 0.0 {
        at_least(weights, least, keys);
    } else {
        let total: f64 = sums.iter().sum();
        let (target, left_out) = (params.top_p * total, (1.0 - params.top_p) * total);
        // Nearly always the set is among those that weigh this much, which are few.
        at_least(weights, (left_out / FEW) as f32, keys);
        if !nucleus(keys, target) {
            // All tokens below this weigh less together than half of what top-p leaves out, so the set is among the others.
            keys.clear();
            at_least(weights, (0.5 * left_out / weights.len() as f64) as f32, keys);
            nucleus(keys, target);
        }
        return;
    }
    keys.sort_unstable();
    if params.top_p < 1.0 {
        let total: f64 = keys.iter().map(|k| f64::from(weight(*k))).sum();
        nucleus(keys, params.top_p * total);
    }
}

multiversion! {
    /// Collects the tokens of at least this weight.
    fn at_least(weights: &[f32], least: f32, keys: &mut Vec<Key>) {
        /// Looked at together; most hold nothing.
        const GROUP: usize = 32;
        for (group, weights) in weights.chunks(GROUP).enumerate() {
            if weights.iter().fold(false, |any, w| any | (*w >= least)) {
                let here = weights.iter().enumerate().filter(|(_, w)| **w >= least);
                keys.extend(here.map(|(i, w)| key(*w, group * GROUP + i)));
            }
        }
    }
}

/// Collects the `k` most likely tokens, `k` ≥ 1, of at least this weight.
fn most_likely(weights: &[f32], least: f32, k: usize, keys: &mut Vec<Key>) {
    let room = 2 * k + FIRST_SORTED;
    // Only what beats the k-th best so far can still count; of equals the lowest id, seen first, is kept.
    let mut bar = None;
    for (i, w) in weights.iter().enumerate() {
        if *w >= least && bar.is_none_or(|bar| *w > bar) {
            keys.push(key(*w, i));
            if keys.len() == room {
                let (_, last, _) = keys.select_nth_unstable(k - 1);
                bar = Some(weight(*last));
                keys.truncate(k);
            }
        }
    }
    if keys.len() > k {
        keys.select_nth_unstable(k - 1);
        keys.truncate(k);
    }
}

/// Keeps the smallest set of most likely candidates whose weight reaches `target`, sorted; whether it does.
fn nucleus(keys: &mut Vec<Key>, target: f64) -> bool {
    let (mut sorted, mut mass, mut kept) = (0, 0.0, 0);
    while kept < keys.len() {
        if kept == sorted {
            let upto = (sorted * 2).max(FIRST_SORTED).min(keys.len());
            if upto < keys.len() {
                keys[sorted..].select_nth_unstable(upto - sorted - 1);
            }
            keys[sorted..upto].sort_unstable();
            sorted = upto;
        }
        mass += f64::from(weight(keys[kept]));
        kept += 1;
        if mass >= target {
            break;
        }
    }
    keys.truncate(kept);
    mass >= target
}

/// Draws from all tokens, in order of their ids: first the block, then the token in it.
fn draw_any(weights: &[f32], sums: &[f64], uniform: f64) -> u32 {
    let mut rest = uniform * sums.iter().sum::<f64>();
    let mut last = 0;
    for (b, (block, sum)) in weights.chunks(BLOCK).zip(sums).enumerate() {
        if rest >= *sum {
            rest -= sum;
            continue;
        }
        for (i, w) in block.iter().enumerate() {
            rest -= f64::from(*w);
            if *w > 0.0 {
                last = b * BLOCK + i;
            }
            if rest < 0.0 {
                return last as u32;
            }
        }
        // The block's sum was rounded: its last token with any weight takes the crumb.
        return last as u32;
    }
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests;

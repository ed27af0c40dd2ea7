//! One block, forward and backward, written out.
//!
//! ```text
//! x₂ = x  + Wo·attention(rope(Wq·n₁), rope(Wk·n₁), Wv·n₁),   n₁ = norm(x)
//! y  = x₂ + Wd·(silu(Wg·n₂) ∘ Wu·n₂),                        n₂ = norm(x₂)
//! ```
//!
//! Each W is a [`super::map`], with an adapter beside it or not. Invariant: the forward pass is the one of
//! [`super::super::block`], kernel for kernel, so its rows have the same bits. The backward pass adds each gradient to its
//! sum as it is computed. What costs a pass over memory to compute (norms, the activation) is computed again rather than
//! kept.

use super::super::place::Place;
use super::Sums;
use super::map::{BlockSums, BlockWeights};
use crate::ops::kernels::{
    Start, activate, add_gradients_of_norm, add_in_place, attention_gradients, normalise, replace_by_gradients,
    scatter_add_rows,
};
use crate::pool::Pool;

/// What the backward pass needs of a block's forward pass, besides its input; rows are tokens.
#[derive(Debug)]
pub(super) struct Inner {
    /// Queries and keys before their norms, in families that have those.
    raw: Option<[Vec<f32>; 2]>,
    /// Rotated queries and keys, and values.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// What attention gives.
    mixed: Vec<f32>,
    x2: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Inner {
    /// From `x` (T, D) to everything but the block's result.
    pub fn forward(place: &Place<'_>, w: &BlockWeights<'_>, x: &[f32], pool: &mut Pool) -> Self {
        let eps = place.eps();
        let mut normed = pool.take(x.len());
        normalise(x, &w.input_norm.widened(), eps, &mut normed);
        let mut q = w.q.forward(&normed, pool);
        let mut k = w.k.forward(&normed, pool);
        let v = w.v.forward(&normed, pool);
        let raw = w.qk_norms.map(|[q_norm, k_norm]| {
            let raw = [pool.copy_of(&q), pool.copy_of(&k)];
            normalise(&raw[0], &q_norm.widened(), eps, &mut q);
            normalise(&raw[1], &k_norm.widened(), eps, &mut k);
            raw
        });
        place.rotate(&mut q, 1.0);
        place.rotate(&mut k, 1.0);
        let mut mixed = pool.take(q.len());
        place.attend([&q, &k, &v], &mut mixed, pool);
        let mut x2 = w.o.forward(&mixed, pool);
        add_in_place(&mut x2, x);
        normalise(&x2, &w.post_norm.widened(), eps, &mut normed);
        let (gate, up) = (w.gate.forward(&normed, pool), w.up.forward(&normed, pool));
        pool.give([normed]);
        Self { raw, q, k, v, mixed, x2, gate, up }
    }

    /// The block's result, (T, D).
    pub fn output(&self, w: &BlockWeights<'_>, pool: &mut Pool) -> Vec<f32> {
        let mut act = pool.take(self.gate.len());
        activate(&self.gate, &self.up, &mut act);
        let mut y = w.down.forward(&act, pool);
        add_in_place(&mut y, &self.x2);
        pool.give([act]);
        y
    }

    /// Turns `dy` (T, D), the gradient of the block's result, into the gradient of its input `x`, and adds the gradients
    /// of what trains to `g`.
    pub fn backward(
        mut self,
        place: &Place<'_>,
        w: &BlockWeights<'_>,
        (g, sums): (&mut BlockSums<'_>, Sums),
        x: &[f32],
        dy: &mut [f32],
        pool: &mut Pool,
    ) {
        g.each_summed(|sum| sums.ready(sum));
        let start = sums.start();
        self.feed_forward_gradients(place, w, (&mut *g, start), dy, pool);
        let [dq, dk, dv] = self.attention_gradients(place, w, (&mut *g, start), dy, pool);
        let mut normed = pool.take(x.len());
        normalise(x, &w.input_norm.widened(), place.eps(), &mut normed);
        let q = w.q.add_gradients(&dq, &normed, &mut g.q, start, pool);
        let k = w.k.add_gradients(&dk, &normed, &mut g.k, start, pool);
        let v = w.v.add_gradients(&dv, &normed, &mut g.v, start, pool);
        let mut dnormed = normed;
        w.q.input_gradient(&dq, q, &mut dnormed, Start::Zero, pool);
        w.k.input_gradient(&dk, k, &mut dnormed, Start::Kept, pool);
        w.v.input_gradient(&dv, v, &mut dnormed, Start::Kept, pool);
        add_gradients_of_norm(x, &w.input_norm.widened(), place.eps(), &dnormed, dy, g.input_norm.as_deref_mut());
        pool.give([dnormed, dq, dk, dv]);
        self.give_back(pool);
    }

    /// `∂L/∂y → ∂L/∂x₂` in `dy`; gate and up are overwritten.
    fn feed_forward_gradients(
        &mut self,
        place: &Place<'_>,
        w: &BlockWeights<'_>,
        (g, start): (&mut BlockSums<'_>, Start),
        dy: &mut [f32],
        pool: &mut Pool,
    ) {
        let mut act = pool.take(self.gate.len());
        activate(&self.gate, &self.up, &mut act);
        let down = w.down.add_gradients(dy, &act, &mut g.down, start, pool);
        let mut dact = act;
        w.down.input_gradient(dy, down, &mut dact, Start::Zero, pool);
        replace_by_gradients(&mut self.gate, &mut self.up, &dact);
        let (dgate, dup) = (&self.gate, &self.up);
        let mut normed = pool.take(self.x2.len());
        normalise(&self.x2, &w.post_norm.widened(), place.eps(), &mut normed);
        let gate = w.gate.add_gradients(dgate, &normed, &mut g.gate, start, pool);
        let up = w.up.add_gradients(dup, &normed, &mut g.up, start, pool);
        let mut dnormed = normed;
        w.gate.input_gradient(dgate, gate, &mut dnormed, Start::Zero, pool);
        w.up.input_gradient(dup, up, &mut dnormed, Start::Kept, pool);
        let dw = g.post_norm.as_deref_mut();
        add_gradients_of_norm(&self.x2, &w.post_norm.widened(), place.eps(), &dnormed, dy, dw);
        pool.give([dact, dnormed]);
    }

    /// Gradients of the projections to queries, keys and values, from `∂L/∂x₂` in `dy`, which stays: `x` is a summand of x₂.
    fn attention_gradients(
        &self,
        place: &Place<'_>,
        w: &BlockWeights<'_>,
        (g, start): (&mut BlockSums<'_>, Start),
        dy: &[f32],
        pool: &mut Pool,
    ) -> [Vec<f32>; 3] {
        let o = w.o.add_gradients(dy, &self.mixed, &mut g.o, start, pool);
        let mut dmixed = pool.take(self.mixed.len());
        w.o.input_gradient(dy, o, &mut dmixed, Start::Zero, pool);
        let mut grads = [&self.q, &self.k, &self.v].map(|x| pool.take(x.len()));
        self.gradients_of_attention(place, &dmixed, &mut grads, pool);
        pool.give([dmixed]);
        for dx in &mut grads[..2] {
            place.rotate(dx, -1.0);
        }
        if let (Some(raw), Some(weights), Some(sums)) = (&self.raw, &w.qk_norms, &mut g.qk_norms) {
            for i in 0..2 {
                let mut dx = pool.take(raw[i].len());
                dx.fill(0.0);
                let dw = sums[i].as_deref_mut();
                add_gradients_of_norm(&raw[i], &weights[i].widened(), place.eps(), &grads[i], &mut dx, dw);
                pool.give([std::mem::replace(&mut grads[i], dx)]);
            }
        }
        grads
    }

    /// Gradients of rotated queries and keys, and of values, from `dmixed`.
    fn gradients_of_attention(&self, place: &Place<'_>, dmixed: &[f32], grads: &mut [Vec<f32>; 3], pool: &mut Pool) {
        let gradients = |[k, v]: [&[f32]; 2], into: [&mut [f32]; 3]| {
            let slices = [&self.q, k, v, &self.mixed, dmixed];
            attention_gradients(slices, place.spans, place.heads(), place.scale(), into);
        };
        let [dq, dk, dv] = grads;
        let Some(keys) = place.keys else {
            gradients([&self.k, &self.v], [dq, dk, dv]);
            return;
        };
        let [k, v] = place.seen(keys, [&self.k, &self.v], pool);
        let [mut dk_seen, mut dv_seen] = [&k, &v].map(|x| pool.brief().take(x.len()));
        gradients([&k, &v], [dq, &mut dk_seen, &mut dv_seen]);
        // A row's gradient is the sum of what each span that sees it gives.
        let add = |seen: &[f32], sum: &mut [f32]| {
            sum.fill(0.0);
            scatter_add_rows(keys, seen, sum);
        };
        rayon::join(|| add(&dk_seen, dk), || add(&dv_seen, dv));
        pool.brief().give([k, v, dk_seen, dv_seen]);
    }

    /// Returns all buffers.
    pub fn give_back(self, pool: &mut Pool) {
        pool.give([self.q, self.k, self.v, self.mixed, self.x2, self.gate, self.up]);
        if let Some(raw) = self.raw {
            pool.give(raw);
        }
    }
}

//! One block, forward and backward, written out.
//!
//! ```text
//! x₂ = x  + Wo·attention(rope(Wq·n₁), rope(Wk·n₁), Wv·n₁),   n₁ = norm(x)
//! y  = x₂ + Wd·(silu(Wg·n₂) ∘ Wu·n₂),                        n₂ = norm(x₂)
//! ```
//!
//! Invariant: the forward pass is the one of [`super::super::block`], kernel for kernel, so its rows have the same bits. The
//! backward pass adds each weight's gradient to its sum as it is computed. What costs a pass over memory to compute
//! (norms, the activation) is computed again rather than kept.

use super::super::params::{Affine, BlockParams};
use super::super::place::Place;
use super::Sums;
use crate::ops::kernels::{
    Start, Weight, activate, add_column_sums, add_gradients_of_norm, add_in_place, affine_into, attend,
    attention_gradients, input_gradient, normalise, replace_by_gradients, weight_gradient,
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
    pub fn forward(place: &Place<'_>, w: &BlockParams<Weight<'_>>, x: &[f32], pool: &mut Pool) -> Self {
        let (t, config) = (place.n_tokens(), place.config);
        let (d, ff, eps) = (config.hidden_size, config.intermediate_size, place.eps());
        let mut normed = pool.take(t * d);
        normalise(x, &w.input_norm.widened(), eps, &mut normed);
        let mut q = project(&normed, &w.q, config.q_dim(), d, pool);
        let mut k = project(&normed, &w.k, config.kv_dim(), d, pool);
        let v = project(&normed, &w.v, config.kv_dim(), d, pool);
        let raw = w.qk_norms.map(|[q_norm, k_norm]| {
            let raw = [pool.copy_of(&q), pool.copy_of(&k)];
            normalise(&raw[0], &q_norm.widened(), eps, &mut q);
            normalise(&raw[1], &k_norm.widened(), eps, &mut k);
            raw
        });
        place.rotate(&mut q, 1.0);
        place.rotate(&mut k, 1.0);
        let mut mixed = pool.take(q.len());
        attend([&q, &k, &v], place.spans, place.heads(), place.scale(), &mut mixed);
        let mut x2 = pool.take(t * d);
        affine_into(&mixed, w.o, None, d, config.q_dim(), &mut x2);
        add_in_place(&mut x2, x);
        normalise(&x2, &w.post_norm.widened(), eps, &mut normed);
        let (mut gate, mut up) = (pool.take(t * ff), pool.take(t * ff));
        affine_into(&normed, w.gate, None, ff, d, &mut gate);
        affine_into(&normed, w.up, None, ff, d, &mut up);
        pool.give([normed]);
        Self { raw, q, k, v, mixed, x2, gate, up }
    }

    /// The block's result, (T, D).
    pub fn output(&self, place: &Place<'_>, w: &BlockParams<Weight<'_>>, pool: &mut Pool) -> Vec<f32> {
        let (d, ff) = (place.config.hidden_size, place.config.intermediate_size);
        let (mut act, mut y) = (pool.take(self.gate.len()), pool.take(self.x2.len()));
        activate(&self.gate, &self.up, &mut act);
        affine_into(&act, w.down, None, d, ff, &mut y);
        add_in_place(&mut y, &self.x2);
        pool.give([act]);
        y
    }

    /// Turns `dy` (T, D), the gradient of the block's result, into the gradient of its input `x`, and adds the weights'
    /// gradients to `g`.
    pub fn backward(
        mut self,
        place: &Place<'_>,
        w: &BlockParams<Weight<'_>>,
        (g, sums): (&mut BlockParams<&mut [f32]>, Sums),
        x: &[f32],
        dy: &mut [f32],
        pool: &mut Pool,
    ) {
        g.each_summed(|sum| sums.ready(sum));
        let start = sums.start();
        self.feed_forward_gradients(place, w, (&mut *g, start), dy, pool);
        let [dq, dk, dv] = self.attention_gradients(place, w, (&mut *g, start), dy, pool);
        let (d, eps) = (place.config.hidden_size, place.eps());
        let mut normed = pool.take(x.len());
        normalise(x, &w.input_norm.widened(), eps, &mut normed);
        let projections = [(&dq, &mut g.q), (&dk, &mut g.k), (&dv, &mut g.v)];
        for (dy, Affine { weight, bias }) in projections {
            weight_gradient(dy, &normed, weight.len() / d, d, weight, start);
            if let Some(bias) = bias {
                add_column_sums(dy, bias);
            }
        }
        let mut dnormed = normed;
        for (dy, weight, start) in
            [(&dq, w.q.weight, Start::Zero), (&dk, w.k.weight, Start::Kept), (&dv, w.v.weight, Start::Kept)]
        {
            input_gradient(dy, weight, weight.len() / d, d, &mut dnormed, start);
        }
        add_gradients_of_norm(x, &w.input_norm.widened(), eps, &dnormed, dy, g.input_norm);
        pool.give([dnormed, dq, dk, dv]);
        self.give_back(pool);
    }

    /// `∂L/∂y → ∂L/∂x₂` in `dy`; gate and up are overwritten.
    fn feed_forward_gradients(
        &mut self,
        place: &Place<'_>,
        w: &BlockParams<Weight<'_>>,
        (g, start): (&mut BlockParams<&mut [f32]>, Start),
        dy: &mut [f32],
        pool: &mut Pool,
    ) {
        let (d, ff, eps) = (place.config.hidden_size, place.config.intermediate_size, place.eps());
        let mut act = pool.take(self.gate.len());
        activate(&self.gate, &self.up, &mut act);
        weight_gradient(dy, &act, d, ff, g.down, start);
        let mut dact = act;
        input_gradient(dy, w.down, d, ff, &mut dact, Start::Zero);
        replace_by_gradients(&mut self.gate, &mut self.up, &dact);
        let (dgate, dup) = (&self.gate, &self.up);
        let mut normed = pool.take(self.x2.len());
        normalise(&self.x2, &w.post_norm.widened(), eps, &mut normed);
        weight_gradient(dgate, &normed, ff, d, g.gate, start);
        weight_gradient(dup, &normed, ff, d, g.up, start);
        let mut dnormed = normed;
        input_gradient(dgate, w.gate, ff, d, &mut dnormed, Start::Zero);
        input_gradient(dup, w.up, ff, d, &mut dnormed, Start::Kept);
        add_gradients_of_norm(&self.x2, &w.post_norm.widened(), eps, &dnormed, dy, g.post_norm);
        pool.give([dact, dnormed]);
    }

    /// Gradients of the projections to queries, keys and values, from `∂L/∂x₂` in `dy`, which stays: `x` is a summand of x₂.
    fn attention_gradients(
        &self,
        place: &Place<'_>,
        w: &BlockParams<Weight<'_>>,
        (g, start): (&mut BlockParams<&mut [f32]>, Start),
        dy: &[f32],
        pool: &mut Pool,
    ) -> [Vec<f32>; 3] {
        let (d, q_dim) = (place.config.hidden_size, place.config.q_dim());
        weight_gradient(dy, &self.mixed, d, q_dim, g.o, start);
        let mut dmixed = pool.take(self.mixed.len());
        input_gradient(dy, w.o, d, q_dim, &mut dmixed, Start::Zero);
        let mut grads = [&self.q, &self.k, &self.v].map(|x| pool.take(x.len()));
        let into = grads.each_mut().map(Vec::as_mut_slice);
        let slices = [&self.q, &self.k, &self.v, &self.mixed, &dmixed].map(Vec::as_slice);
        attention_gradients(slices, place.spans, place.heads(), place.scale(), into);
        pool.give([dmixed]);
        for dx in &mut grads[..2] {
            place.rotate(dx, -1.0);
        }
        if let (Some(raw), Some(weights), Some(sums)) = (&self.raw, &w.qk_norms, &mut g.qk_norms) {
            for i in 0..2 {
                let mut dx = pool.take(raw[i].len());
                dx.fill(0.0);
                add_gradients_of_norm(&raw[i], &weights[i].widened(), place.eps(), &grads[i], &mut dx, sums[i]);
                pool.give([std::mem::replace(&mut grads[i], dx)]);
            }
        }
        grads
    }

    /// Returns all buffers.
    pub fn give_back(self, pool: &mut Pool) {
        pool.give([self.q, self.k, self.v, self.mixed, self.x2, self.gate, self.up]);
        if let Some(raw) = self.raw {
            pool.give(raw);
        }
    }
}

fn project(x: &[f32], map: &Affine<Weight<'_>>, n: usize, k: usize, pool: &mut Pool) -> Vec<f32> {
    let mut y = pool.take(x.len() / k * n);
    affine_into(x, map.weight, map.bias.map(Weight::widened).as_deref(), n, k, &mut y);
    y
}

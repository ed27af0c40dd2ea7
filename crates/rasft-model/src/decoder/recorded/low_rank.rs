//! The adapter of one map in the recorded pass: `s·(u·Bᵀ)`, `u = (m∘x)·Aᵀ`, beside frozen weights.
//!
//! Neither u nor the mask m of the dropout is kept for the backward pass: u costs little, and m follows from seed, step,
//! place and module. Source: Hu et al. 2021, LoRA, §4.1.

use crate::lora::Masks;
use crate::ops::kernels::{
    Start, Weight, add_masked_product, add_scaled_product, affine_into, input_gradient, multiply_in_place,
    scale_in_place, weight_gradient,
};
use crate::pool::Pool;

/// A and B of one module.
pub(super) struct LowRank<'a> {
    /// (r, K).
    pub a: &'a [f32],
    /// (N, r).
    pub b: &'a [f32],
    /// r.
    pub rank: usize,
    /// s.
    pub scale: f32,
    /// Those of the dropout, if there is one.
    pub masks: Option<&'a Masks<'a>>,
    /// Names the stream of its mask.
    pub module: String,
}

/// What the gradient of the input needs of the way through A and B.
pub(super) struct Detour {
    /// (T, r).
    du: Vec<f32>,
    /// m (T, K).
    mask: Option<Vec<f32>>,
}

impl LowRank<'_> {
    /// K.
    fn n_in(&self) -> usize {
        self.a.len() / self.rank
    }

    /// m (T, K).
    fn mask(&self, len: usize, pool: &mut Pool) -> Option<Vec<f32>> {
        self.masks.map(|masks| {
            let mut mask = pool.take(len);
            masks.fill(&mut mask, &self.module);
            mask
        })
    }

    /// u of what dropout leaves of x.
    fn inner(&self, left: &[f32], pool: &mut Pool) -> Vec<f32> {
        let mut u = pool.take(left.len() / self.n_in() * self.rank);
        affine_into(left, Weight::F32(self.a), None, self.rank, self.n_in(), &mut u);
        u
    }

    /// `y += s·(u·Bᵀ)`
    pub fn add_to(&self, x: &[f32], y: &mut [f32], pool: &mut Pool) {
        let pool = pool.brief();
        let mut left = self.mask(x.len(), pool);
        if let Some(left) = &mut left {
            multiply_in_place(left, x);
        }
        let u = self.inner(left.as_deref().unwrap_or(x), pool);
        add_scaled_product(&u, self.b, self.scale, self.rank, y);
        pool.give([u]);
        left.into_iter().for_each(|left| pool.give([left]));
    }

    /// `dB += s·dyᵀ·u`, `dA += duᵀ·(m∘x)` with `du = s·dy·B`
    pub fn add_gradients(
        &self,
        dy: &[f32],
        x: &[f32],
        [da, db]: &mut [&mut [f32]; 2],
        start: Start,
        pool: &mut Pool,
    ) -> Detour {
        let pool = pool.brief();
        let (k, n, rank) = (self.n_in(), self.b.len() / self.rank, self.rank);
        let mask = self.mask(x.len(), pool);
        let left = mask.as_ref().map(|mask| {
            let mut left = pool.copy_of(x);
            multiply_in_place(&mut left, mask);
            left
        });
        let x = left.as_deref().unwrap_or(x);
        let mut u = self.inner(x, pool);
        scale_in_place(&mut u, self.scale);
        weight_gradient(dy, &u, n, rank, db, start);
        let mut du = u;
        input_gradient(dy, Weight::F32(self.b), n, rank, &mut du, Start::Zero);
        scale_in_place(&mut du, self.scale);
        weight_gradient(&du, x, rank, k, da, start);
        left.into_iter().for_each(|left| pool.give([left]));
        Detour { du, mask }
    }

    /// `dx += m∘(du·A)`
    pub fn add_input_gradient(&self, Detour { du, mask }: Detour, dx: &mut [f32], pool: &mut Pool) {
        let pool = pool.brief();
        match mask {
            None => input_gradient(&du, Weight::F32(self.a), self.rank, self.n_in(), dx, Start::Kept),
            Some(mask) => {
                add_masked_product(&du, self.a, &mask, self.rank, dx);
                pool.give([mask]);
            }
        }
        pool.give([du]);
    }
}

//! One linear map of a block, forward and backward, whichever of it trains.
//!
//! ```text
//! y   = x·Wᵀ + b          [+ s·(u·Bᵀ),   u = (m∘x)·Aᵀ]
//! dx  = dy·W              [+ m∘(du·A),  du = s·dy·B]
//! dW += dyᵀ·x,  db += Σ dy;   or, beside frozen weights,   dB += s·dyᵀ·u,  dA += duᵀ·(m∘x)
//! ```
//!
//! The gradient of the input comes apart from the others, so that it may take the place of the input.

use super::super::params::{Affine, BlockParams, ModelParams};
use super::low_rank::{Detour, LowRank};
use crate::ops::kernels::{Start, Weight, add_column_sums, affine_into, input_gradient, weight_gradient};
use crate::pool::Pool;

/// Where a gradient is added up; nowhere for what does not train.
pub(super) type Sum<'g> = Option<&'g mut [f32]>;

/// All weights of a model, and of one block.
pub(super) type Weights<'a> = ModelParams<Weight<'a>, Map<'a>>;
pub(super) type BlockWeights<'a> = BlockParams<Weight<'a>, Map<'a>>;
/// The sums of their gradients.
pub(super) type AllSums<'g> = ModelParams<Sum<'g>, MapSums<'g>>;
pub(super) type BlockSums<'g> = BlockParams<Sum<'g>, MapSums<'g>>;

/// A linear map from K to N values.
pub(super) struct Map<'a> {
    /// W (N, K) and b (N).
    pub affine: Affine<Weight<'a>>,
    /// K.
    pub n_in: usize,
    /// The adapter beside them.
    pub low_rank: Option<LowRank<'a>>,
}

/// The sums of a map's gradients.
pub(super) struct MapSums<'g> {
    pub affine: Affine<Sum<'g>>,
    /// Of A and B.
    pub low_rank: Option<[&'g mut [f32]; 2]>,
}

impl Map<'_> {
    fn n_out(&self) -> usize {
        self.affine.weight.len() / self.n_in
    }

    /// x (T, K) → y (T, N).
    pub fn forward(&self, x: &[f32], pool: &mut Pool) -> Vec<f32> {
        let (k, n, Affine { weight, bias }) = (self.n_in, self.n_out(), &self.affine);
        let mut y = pool.take(x.len() / k * n);
        affine_into(x, *weight, bias.map(Weight::widened).as_deref(), n, k, &mut y);
        if let Some(low_rank) = &self.low_rank {
            low_rank.add_to(x, &mut y, pool);
        }
        y
    }

    /// Adds the gradients of what trains to their sums, given dy (T, N) and x (T, K); returns what
    /// [`Map::input_gradient`] needs of it.
    pub fn add_gradients(
        &self,
        dy: &[f32],
        x: &[f32],
        sums: &mut MapSums<'_>,
        start: Start,
        pool: &mut Pool,
    ) -> Option<Detour> {
        let Affine { weight, bias } = &mut sums.affine;
        if let Some(dw) = weight {
            weight_gradient(dy, x, self.n_out(), self.n_in, dw, start);
        }
        if let Some(Some(db)) = bias {
            add_column_sums(dy, db);
        }
        let (low_rank, sums) = (self.low_rank.as_ref()?, sums.low_rank.as_mut()?);
        Some(low_rank.add_gradients(dy, x, sums, start, pool))
    }

    /// dy (T, N) → dx (T, K), or dx with it added.
    pub fn input_gradient(&self, dy: &[f32], detour: Option<Detour>, dx: &mut [f32], start: Start, pool: &mut Pool) {
        input_gradient(dy, self.affine.weight, self.n_out(), self.n_in, dx, start);
        if let (Some(low_rank), Some(detour)) = (&self.low_rank, detour) {
            low_rank.add_input_gradient(detour, dx, pool);
        }
    }
}

impl BlockSums<'_> {
    /// Norms and biases, whose gradients are sums over tokens rather than products.
    pub fn each_summed(&mut self, mut visit: impl FnMut(&mut [f32])) {
        let norms = [&mut self.input_norm, &mut self.post_norm].into_iter().chain(self.qk_norms.iter_mut().flatten());
        let biases = [&mut self.q, &mut self.k, &mut self.v].into_iter().filter_map(|map| map.affine.bias.as_mut());
        norms.chain(biases).flatten().for_each(|sum| visit(sum));
    }
}

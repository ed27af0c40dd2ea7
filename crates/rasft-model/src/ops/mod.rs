//! The numerical operations of the decoder, for training and for inference alike.
//!
//! Every op has a CPU kernel with forward and backward and a twin of the same name in [`plain`]; a call takes the
//! kernel when all its tensors are f32 on the CPU, else the twin. Weights may also be bf16 there, see [`weight`]; those take
//! no gradient.
//!
//! Batch invariance: in a forward kernel, the result of a row has the same bits whatever other rows are present, how
//! many they are, where the row stands, and how many threads run. It holds by construction: each element of a product is
//! one chain of fused multiply-adds in the order of k (from 0, or from the bias), whatever the tiling; sums go through 64
//! lanes by index and one fixed tree; maxima do not depend on order. Backward passes give the same bits for any number
//! of threads.
//!
//! Kernels share their work on rayon's current pool; a loop of many small ops runs faster when it is itself inside
//! that pool (`rayon::scope`), because each op is then spared a hand-over between threads. Where ops are long enough for
//! the others' sleep to matter, [`crate::threads::awake`] goes further.

mod attention;
mod attention_grad;
mod cached;
mod check;
mod cross_entropy;
mod divergence;
mod embedding;
mod few_rows;
mod gemm;
mod kv;
mod linear;
mod low_rank;
mod microkernel;
mod operand;
mod pack;
mod packed_weight;
pub mod plain;
mod rms_norm;
mod rope;
pub mod simd;
mod swiglu;
mod weight;

pub use attention::attention;
pub use cached::attention_cached;
pub use check::OpError;
pub use cross_entropy::linear_cross_entropy;
pub use divergence::replace_by_divergence_gradients;
pub use embedding::embedding;
pub use kv::{KvLayerMut, KvLayout};
pub use linear::linear;
pub use packed_weight::{PackedWeight, linear_packed};
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use swiglu::swiglu;

/// The kernels on slices, forward and backward, for passes that are written out.
pub(crate) mod kernels {
    pub(crate) use super::attention::{Heads, attend};
    pub(crate) use super::attention_grad::gradients_into as attention_gradients;
    pub(crate) use super::cached::Prefix;
    pub(crate) use super::check::slice;
    pub(crate) use super::cross_entropy::{Vocabulary, forward as cross_entropy, gradients as cross_entropy_gradients};
    pub(crate) use super::embedding::{gather_rows, scatter_add_rows};
    pub(crate) use super::gemm::Start;
    pub(crate) use super::linear::{
        add_column_sums, add_in_place, affine_into, input_gradient, split_columns, weight_gradient,
    };
    pub(crate) use super::low_rank::{add_masked_product, add_scaled_product, multiply_in_place, scale_in_place};
    pub(crate) use super::rms_norm::{add_gradients as add_gradients_of_norm, normalise};
    pub(crate) use super::rope::rotate_in_place;
    pub(crate) use super::swiglu::{activate, activate_joint, replace_by_gradients};
    pub(crate) use super::weight::{Round, Weight, rounded};
}

#[cfg(test)]
mod tests;

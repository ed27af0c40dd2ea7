//! The forward pass of a model that does not train, written out over the kernels on weights laid out for them.
//!
//! It computes what [`super::block`] computes, kernel for kernel, so each row has the same bits; that stays the path on
//! other devices and the oracle in tests. What it leaves out is what a decoding step of some rows cannot afford: a fresh
//! tensor for every intermediate result, and a copy for every part of a joint product. Absent on purpose: gradients, adapters
//! (they are merged when a model is loaded for inference).

use candle_core::{Result, Tensor, Var};

use super::params::{Affine, BlockParams, ModelParams};
use super::place::{Place, values};
use crate::cache::CachePart;
use crate::ops::kernels::{Prefix, Vocabulary, activate_joint, add_in_place, cross_entropy, normalise, split_columns};
use crate::ops::{KvLayerMut, PackedWeight};
use crate::pool::Pool;

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Inference {
    /// `None` in tied models: the output projection is looked up.
    embedding: Option<PackedWeight>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: PackedWeight,
}

#[derive(Debug)]
struct Block {
    input_norm: Vec<f32>,
    qkv: PackedWeight,
    /// The biases of queries, keys and values, end to end.
    bias: Option<Vec<f32>>,
    qk_norms: Option<[Vec<f32>; 2]>,
    o: PackedWeight,
    post_norm: Vec<f32>,
    gate_up: PackedWeight,
    down: PackedWeight,
}

/// Where attention finds the tokens before the batch.
enum Past<'a, 'c> {
    /// Nowhere: sequences are whole.
    None,
    /// In the cache, which takes up the new ones.
    Cache { layers: &'a mut [KvLayerMut<'c>], prefixes: &'c [Option<Prefix>] },
}

impl Inference {
    /// Lays the parameters out; each is dropped when that is done.
    pub(super) fn new(params: ModelParams<Var>) -> Result<Self> {
        let ModelParams { embedding, blocks, norm, head } = params;
        let pack = |var: Var| PackedWeight::new(&[&var]);
        let embedding = pack(embedding)?;
        let (embedding, head) = match head {
            Some(head) => (Some(embedding), pack(head)?),
            None => (None, embedding),
        };
        let blocks = blocks.into_iter().map(Block::new).collect::<Result<_>>()?;
        Ok(Self { embedding, blocks, norm: vector(&norm)?, head })
    }

    /// Hidden states after the final norm, (T, D), over whole sequences.
    pub(super) fn hidden(&self, place: &Place<'_>, ids: &[u32]) -> Vec<f32> {
        let mut hidden = vec![0.0; place.n_tokens() * place.config.hidden_size];
        self.forward(place, ids, &mut Past::None, &mut Pool::default(), &mut hidden);
        hidden
    }

    /// The same of new tokens, whose predecessors are in the cache.
    pub(super) fn hidden_cached(&self, place: &Place<'_>, ids: &[u32], cache: CachePart<'_>, hidden: &mut [f32]) {
        let CachePart { mut layers, prefixes, pool } = cache;
        self.forward(place, ids, &mut Past::Cache { layers: &mut layers, prefixes }, pool, hidden);
    }

    /// Unnormalised scores (N, V) of hidden states (N, D).
    pub(super) fn logits(&self, hidden: &[f32], logits: &mut [f32]) {
        self.head.apply(hidden, None, logits);
    }

    /// Log-probability of one target per row, (N).
    pub(super) fn token_logprobs(&self, hidden: &[f32], targets: &[u32]) -> Vec<f32> {
        cross_entropy(hidden, Vocabulary::Packed(&self.head), self.head.k(), targets)
    }

    fn forward(&self, place: &Place<'_>, ids: &[u32], past: &mut Past<'_, '_>, pool: &mut Pool, hidden: &mut [f32]) {
        let mut x = pool.take(hidden.len());
        self.embedding.as_ref().unwrap_or(&self.head).look_up(ids, &mut x);
        for (layer, block) in self.blocks.iter().enumerate() {
            block.add_attention(place, layer, past, &mut x, pool);
            block.add_feed_forward(place, &mut x, pool);
        }
        normalise(&x, &self.norm, place.eps(), hidden);
        pool.give([x]);
    }
}

impl Block {
    fn new(params: BlockParams<Var>) -> Result<Self> {
        let BlockParams { input_norm, q, k, v, qk_norms, o, post_norm, gate, up, down } = params;
        let qkv = [q, k, v];
        let biases = qkv.iter().filter_map(|Affine { bias, .. }| bias.as_ref()).map(|bias| vector(bias));
        let bias = biases.collect::<Result<Vec<_>>>()?.concat();
        let [q, k, v] = qkv.each_ref().map(|Affine { weight, .. }| weight.as_tensor());
        Ok(Self {
            input_norm: vector(&input_norm)?,
            qkv: PackedWeight::new(&[q, k, v])?,
            bias: (!bias.is_empty()).then_some(bias),
            qk_norms: match qk_norms {
                Some([q, k]) => Some([vector(&q)?, vector(&k)?]),
                None => None,
            },
            o: PackedWeight::new(&[&o.weight])?,
            post_norm: vector(&post_norm)?,
            gate_up: PackedWeight::new(&[&gate.weight, &up.weight])?,
            down: PackedWeight::new(&[&down.weight])?,
        })
    }

    /// `x += Wo·attention(rope(Wq·n), rope(Wk·n), Wv·n)`, `n = norm(x)`
    fn add_attention(&self, place: &Place<'_>, layer: usize, past: &mut Past<'_, '_>, x: &mut [f32], pool: &mut Pool) {
        let (t, config, eps) = (place.n_tokens(), place.config, place.eps());
        let (q_dim, kv_dim) = (config.q_dim(), config.kv_dim());
        let mut normed = pool.take(x.len());
        normalise(x, &self.input_norm, eps, &mut normed);
        let mut joint = pool.take(t * self.qkv.n());
        self.qkv.apply(&normed, self.bias.as_deref(), &mut joint);
        let [mut q, mut k, mut v] = [q_dim, kv_dim, kv_dim].map(|n| pool.take(t * n));
        split_columns(&joint, self.qkv.n(), [&mut q, &mut k, &mut v]);
        if let Some([q_norm, k_norm]) = &self.qk_norms {
            for (x, norm) in [(&mut q, q_norm), (&mut k, k_norm)] {
                let raw = pool.copy_of(x);
                normalise(&raw, norm, eps, x);
                pool.give([raw]);
            }
        }
        place.rotate(&mut q, 1.0);
        place.rotate(&mut k, 1.0);
        let mut mixed = pool.take(q.len());
        match past {
            Past::None => place.attend([&q, &k, &v], &mut mixed, pool),
            Past::Cache { layers, prefixes } => {
                let layer = &mut layers[layer];
                layer.store(&k, &v, place.spans);
                layer.attend(&q, place.spans, prefixes, place.heads(), place.scale(), &mut mixed);
            }
        }
        let mut y = normed;
        self.o.apply(&mixed, None, &mut y);
        add_in_place(x, &y);
        pool.give([y, joint, q, k, v, mixed]);
    }

    /// `x += Wd·(silu(Wg·n) ∘ Wu·n)`, `n = norm(x)`
    fn add_feed_forward(&self, place: &Place<'_>, x: &mut [f32], pool: &mut Pool) {
        let (t, ff) = (place.n_tokens(), place.config.intermediate_size);
        let mut normed = pool.take(x.len());
        normalise(x, &self.post_norm, place.eps(), &mut normed);
        let (mut joint, mut act) = (pool.take(t * 2 * ff), pool.take(t * ff));
        self.gate_up.apply(&normed, None, &mut joint);
        activate_joint(&joint, ff, &mut act);
        let mut y = normed;
        self.down.apply(&act, None, &mut y);
        add_in_place(x, &y);
        pool.give([y, joint, act]);
    }
}

fn vector(tensor: &Tensor) -> Result<Vec<f32>> {
    let (storage, layout) = tensor.storage_and_layout();
    Ok(values(&storage, layout)?.to_vec())
}

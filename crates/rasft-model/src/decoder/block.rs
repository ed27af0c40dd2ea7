//! The blocks of the network and the one forward pass through them.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::Trainable;
use super::rope_tables::RopeTables;
use crate::cache::KvCache;
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops;
use crate::packed::{Packed, Span};
use crate::weights::{EMBEDDING, LM_HEAD};

/// Where a layer's attention finds the tokens before the batch.
pub(super) trait Past {
    /// q (T, H, Dh), k and v (T, Hkv, Dh) → (T, H, Dh).
    fn attend(
        &mut self,
        layer: usize,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        spans: &[Span],
        scale: f32,
    ) -> candle_core::Result<Tensor>;
}

/// Nowhere: sequences are whole.
pub(super) struct Uncached;

impl Past for Uncached {
    fn attend(
        &mut self,
        _: usize,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        spans: &[Span],
        scale: f32,
    ) -> candle_core::Result<Tensor> {
        ops::attention(q, k, v, spans, scale)
    }
}

/// In the cache, which takes up the new ones.
pub(super) struct Cached<'a>(pub(super) &'a mut KvCache);

impl Past for Cached<'_> {
    fn attend(
        &mut self,
        layer: usize,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        spans: &[Span],
        scale: f32,
    ) -> candle_core::Result<Tensor> {
        ops::attention_cached(q, k, v, &mut self.0.layer_mut(layer), spans, scale)
    }
}

/// The weights, arranged for the forward pass.
#[derive(Debug)]
pub(super) struct Network {
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    /// The output projection (V, D); the embedding itself in tied models.
    head: Tensor,
}

#[derive(Debug)]
struct Block {
    input_norm: Tensor,
    q: Projection,
    k: Projection,
    v: Projection,
    q_norm: Option<Tensor>,
    k_norm: Option<Tensor>,
    o: Projection,
    post_norm: Tensor,
    gate: Projection,
    up: Projection,
    down: Projection,
}

#[derive(Debug)]
struct Projection {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Projection {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Parameters by name.
struct Lookup<'a> {
    by_name: BTreeMap<&'a str, &'a Var>,
    trainable: Trainable,
}

impl Lookup<'_> {
    fn find(&self, name: &str) -> Option<Tensor> {
        let var = self.by_name.get(name)?;
        Some(match self.trainable {
            Trainable::Yes => var.as_tensor().clone(),
            Trainable::No => var.as_detached_tensor(),
        })
    }

    fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        self.find(name).ok_or_else(|| ModelError::Request(format!("parameter {name} is missing")))
    }

    fn projection(&self, layer: usize, name: &str) -> Result<Projection, ModelError> {
        let prefix = format!("model.layers.{layer}.{name}");
        Ok(Projection { weight: self.get(&format!("{prefix}.weight"))?, bias: self.find(&format!("{prefix}.bias")) })
    }

    fn block(&self, layer: usize) -> Result<Block, ModelError> {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        Ok(Block {
            input_norm: self.get(&name("input_layernorm"))?,
            q: self.projection(layer, "self_attn.q_proj")?,
            k: self.projection(layer, "self_attn.k_proj")?,
            v: self.projection(layer, "self_attn.v_proj")?,
            q_norm: self.find(&name("self_attn.q_norm")),
            k_norm: self.find(&name("self_attn.k_norm")),
            o: self.projection(layer, "self_attn.o_proj")?,
            post_norm: self.get(&name("post_attention_layernorm"))?,
            gate: self.projection(layer, "mlp.gate_proj")?,
            up: self.projection(layer, "mlp.up_proj")?,
            down: self.projection(layer, "mlp.down_proj")?,
        })
    }
}

impl Network {
    pub(super) fn new(
        config: &DecoderConfig,
        parameters: &[(String, Var)],
        trainable: Trainable,
    ) -> Result<Self, ModelError> {
        let by_name = parameters.iter().map(|(name, var)| (name.as_str(), var)).collect();
        let lookup = Lookup { by_name, trainable };
        let embedding = lookup.get(EMBEDDING)?;
        let head = if config.tie_word_embeddings { embedding.clone() } else { lookup.get(LM_HEAD)? };
        let blocks = (0..config.n_layers).map(|layer| lookup.block(layer)).collect::<Result<_, _>>()?;
        Ok(Self { embedding, blocks, norm: lookup.get("model.norm.weight")?, head })
    }

    pub(super) fn head_weight(&self) -> &Tensor {
        &self.head
    }

    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        Ok(ops::linear(hidden, &self.head, None)?)
    }

    /// Tokens to hidden states after the final norm, (T, D).
    pub(super) fn forward(
        &self,
        config: &DecoderConfig,
        rope: &RopeTables,
        batch: &Packed,
        past: &mut impl Past,
    ) -> Result<Tensor, ModelError> {
        let positions = batch.positions();
        let (cos, sin) = rope.up_to(batch.spans.iter().map(|s| s.past + s.len).max().unwrap_or(0))?;
        let place = Place { cos, sin, positions, spans: &batch.spans };
        let mut x = ops::embedding(&self.embedding, &batch.ids)?; // (T, D)
        for (layer, block) in self.blocks.iter().enumerate() {
            let normed = ops::rms_norm(&x, &block.input_norm, config.rms_norm_eps)?;
            x = (x + block.attention(&normed, config, &place, layer, past)?)?;
            let normed = ops::rms_norm(&x, &block.post_norm, config.rms_norm_eps)?;
            let inner = ops::swiglu(&block.gate.apply(&normed)?, &block.up.apply(&normed)?)?; // (T, I)
            x = (x + block.down.apply(&inner)?)?;
        }
        Ok(ops::rms_norm(&x, &self.norm, config.rms_norm_eps)?)
    }
}

/// Where the tokens of a batch stand.
struct Place<'a> {
    cos: Tensor,
    sin: Tensor,
    positions: Vec<u32>,
    spans: &'a [Span],
}

impl Block {
    fn attention(
        &self,
        x: &Tensor,
        config: &DecoderConfig,
        place: &Place<'_>,
        layer: usize,
        past: &mut impl Past,
    ) -> candle_core::Result<Tensor> {
        let (n_tokens, head_dim) = (x.dim(0)?, config.head_dim);
        let heads = |y: Tensor, n: usize| y.reshape((n_tokens, n, head_dim)); // (T, H, Dh)
        let turned = |y: Tensor, norm: &Option<Tensor>| {
            let y = match norm {
                Some(weight) => ops::rms_norm(&y, weight, config.rms_norm_eps)?,
                None => y,
            };
            ops::rope(&y, &place.cos, &place.sin, &place.positions)
        };
        let q = turned(heads(self.q.apply(x)?, config.n_heads)?, &self.q_norm)?;
        let k = turned(heads(self.k.apply(x)?, config.n_kv_heads)?, &self.k_norm)?;
        let v = heads(self.v.apply(x)?, config.n_kv_heads)?;
        let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let mixed = past.attend(layer, &q, &k, &v, place.spans, scale)?;
        self.o.apply(&mixed.reshape((n_tokens, config.q_dim()))?)
    }
}

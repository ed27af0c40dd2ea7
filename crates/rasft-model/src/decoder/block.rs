//! The blocks of the network and the one forward pass through them.

use candle_core::Tensor;

use super::projection::{Projection, Source};
use super::rope_tables::RopeTables;
use crate::cache::KvCache;
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::lora::Masks;
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
    /// The output projection (V, D) as stored; the embedding itself in tied models.
    head_weight: Tensor,
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

impl Block {
    fn new(source: &mut Source, layer: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        Ok(Self {
            input_norm: source.get(&name("input_layernorm"))?,
            q: source.projection(layer, "self_attn.q_proj")?,
            k: source.projection(layer, "self_attn.k_proj")?,
            v: source.projection(layer, "self_attn.v_proj")?,
            q_norm: source.find(&name("self_attn.q_norm")),
            k_norm: source.find(&name("self_attn.k_norm")),
            o: source.projection(layer, "self_attn.o_proj")?,
            post_norm: source.get(&name("post_attention_layernorm"))?,
            gate: source.projection(layer, "mlp.gate_proj")?,
            up: source.projection(layer, "mlp.up_proj")?,
            down: source.projection(layer, "mlp.down_proj")?,
        })
    }
}

impl Network {
    pub(super) fn new(config: &DecoderConfig, mut source: Source) -> Result<Self, ModelError> {
        let embedding = source.get(EMBEDDING)?;
        let blocks = (0..config.n_layers).map(|layer| Block::new(&mut source, layer)).collect::<Result<_, _>>()?;
        let norm = source.get("model.norm.weight")?;
        let head_weight = if config.tie_word_embeddings { embedding.clone() } else { source.get(LM_HEAD)? };
        Ok(Self { embedding, blocks, norm, head_weight })
    }

    pub(super) fn head_weight(&self) -> &Tensor {
        &self.head_weight
    }

    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        Ok(ops::linear(hidden, &self.head_weight, None)?)
    }

    /// Tokens to hidden states after the final norm, (T, D).
    pub(super) fn forward(
        &self,
        config: &DecoderConfig,
        rope: &RopeTables,
        batch: &Packed,
        past: &mut impl Past,
        masks: Option<&Masks<'_>>,
    ) -> Result<Tensor, ModelError> {
        let positions = batch.positions();
        let (cos, sin) = rope.up_to(batch.spans.iter().map(|s| s.past + s.len).max().unwrap_or(0))?;
        let place = Place { cos, sin, positions, spans: &batch.spans, masks };
        let mut x = ops::embedding(&self.embedding, &batch.ids)?; // (T, D)
        for (layer, block) in self.blocks.iter().enumerate() {
            let normed = ops::rms_norm(&x, &block.input_norm, config.rms_norm_eps)?;
            x = (x + block.attention(&normed, config, &place, layer, past)?)?;
            let normed = ops::rms_norm(&x, &block.post_norm, config.rms_norm_eps)?;
            let (gate, up) = (block.gate.apply(&normed, masks)?, block.up.apply(&normed, masks)?); // (T, I)
            x = (x + block.down.apply(&ops::swiglu(&gate, &up)?, masks)?)?;
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
    /// What an adapter's dropout leaves of its inputs; only in training.
    masks: Option<&'a Masks<'a>>,
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
        let masks = place.masks;
        let q = turned(heads(self.q.apply(x, masks)?, config.n_heads)?, &self.q_norm)?;
        let k = turned(heads(self.k.apply(x, masks)?, config.n_kv_heads)?, &self.k_norm)?;
        let v = heads(self.v.apply(x, masks)?, config.n_kv_heads)?;
        let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let mixed = past.attend(layer, &q, &k, &v, place.spans, scale)?;
        self.o.apply(&mixed.reshape((n_tokens, config.q_dim()))?, masks)
    }
}

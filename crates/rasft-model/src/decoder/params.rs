//! Every parameter by its role: weights as slices, in the same shape the sums of their gradients, and variables on their
//! way to being laid out.

use crate::config::DecoderConfig;
use crate::error::ModelError;

/// All parameters of a model.
pub(super) struct ModelParams<T> {
    /// (V, D).
    pub embedding: T,
    pub blocks: Vec<BlockParams<T>>,
    /// (D).
    pub norm: T,
    /// (V, D); `None` in tied models, whose output projection is the embedding.
    pub head: Option<T>,
}

/// The parameters of one block.
pub(super) struct BlockParams<T> {
    pub input_norm: T,
    pub q: Affine<T>,
    pub k: Affine<T>,
    pub v: Affine<T>,
    pub qk_norms: Option<[T; 2]>,
    pub o: T,
    pub post_norm: T,
    pub gate: T,
    pub up: T,
    pub down: T,
}

/// A projection with a bias in some families.
pub(super) struct Affine<T> {
    pub weight: T,
    pub bias: Option<T>,
}

impl<T> ModelParams<T> {
    /// Deals out `all`, which come in the order of [`crate::weights::parameter_shapes`]; `None` if they are too few or
    /// too many.
    pub fn in_order(config: &DecoderConfig, mut all: impl Iterator<Item = T>) -> Option<Self> {
        let params = Self {
            embedding: all.next()?,
            blocks: (0..config.n_layers).map(|_| BlockParams::in_order(config, &mut all)).collect::<Option<_>>()?,
            norm: all.next()?,
            head: if config.tie_word_embeddings { None } else { Some(all.next()?) },
        };
        all.next().is_none().then_some(params)
    }
}

impl<T> BlockParams<T> {
    fn in_order(config: &DecoderConfig, all: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self {
            input_norm: all.next()?,
            q: Affine::in_order(config, all)?,
            k: Affine::in_order(config, all)?,
            v: Affine::in_order(config, all)?,
            qk_norms: if config.qk_norm { Some([all.next()?, all.next()?]) } else { None },
            o: all.next()?,
            post_norm: all.next()?,
            gate: all.next()?,
            up: all.next()?,
            down: all.next()?,
        })
    }
}

impl<T> BlockParams<T> {
    /// Visits norms and biases, whose gradients are sums over tokens rather than products.
    pub fn each_summed(&mut self, mut visit: impl FnMut(&mut T)) {
        visit(&mut self.input_norm);
        visit(&mut self.post_norm);
        self.qk_norms.iter_mut().flatten().for_each(&mut visit);
        [&mut self.q, &mut self.k, &mut self.v].into_iter().filter_map(|map| map.bias.as_mut()).for_each(visit);
    }
}

impl<T> Affine<T> {
    fn in_order(config: &DecoderConfig, all: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self { weight: all.next()?, bias: if config.qkv_bias { Some(all.next()?) } else { None } })
    }
}

/// What to say when [`ModelParams::in_order`] gives nothing.
pub(super) fn misfit() -> ModelError {
    ModelError::Request("the parameters are not those the config asks for".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::parameter_shapes;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn roles_match_the_names_of_every_family() {
        for (family, tied) in [("Qwen2ForCausalLM", true), ("LlamaForCausalLM", false), ("Qwen3ForCausalLM", true)] {
            let model_type = family.trim_end_matches("ForCausalLM").to_lowercase();
            let json = json!({
                "architectures": [family], "model_type": model_type, "hidden_act": "silu", "hidden_size": 8,
                "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6,
                "head_dim": 4, "vocab_size": 5, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "tie_word_embeddings": tied, "max_position_embeddings": 64,
            });
            let config = DecoderConfig::from_json(&json, None, Path::new("config.json")).unwrap();
            let names: Vec<String> = parameter_shapes(&config).into_iter().map(|(name, _)| name).collect();
            let params = ModelParams::in_order(&config, names.iter().map(String::as_str)).unwrap();
            let block = &params.blocks[1];
            let of_block = |part: &str| format!("model.layers.1.{part}");
            assert_eq!(params.embedding, "model.embed_tokens.weight");
            assert_eq!(block.input_norm, of_block("input_layernorm.weight"));
            for (found, name) in [(&block.q, "q"), (&block.k, "k"), (&block.v, "v")] {
                assert_eq!(found.weight, of_block(&format!("self_attn.{name}_proj.weight")));
                let bias = of_block(&format!("self_attn.{name}_proj.bias"));
                assert_eq!(found.bias, config.qkv_bias.then_some(bias.as_str()));
            }
            let norms = ["q", "k"].map(|name| of_block(&format!("self_attn.{name}_norm.weight")));
            assert_eq!(block.qk_norms.map(|norms| norms.map(str::to_owned)), config.qk_norm.then_some(norms));
            for (found, name) in [
                (block.o, "self_attn.o_proj.weight"),
                (block.post_norm, "post_attention_layernorm.weight"),
                (block.gate, "mlp.gate_proj.weight"),
                (block.up, "mlp.up_proj.weight"),
                (block.down, "mlp.down_proj.weight"),
            ] {
                assert_eq!(found, of_block(name));
            }
            assert_eq!((params.norm, params.head), ("model.norm.weight", (!tied).then_some("lm_head.weight")));
            assert!(ModelParams::in_order(&config, names.iter().skip(1)).is_none());
            assert!(ModelParams::in_order(&config, names.iter().chain(&names[..1])).is_none());
        }
    }
}

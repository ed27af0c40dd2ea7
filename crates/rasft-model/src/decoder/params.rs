//! Every parameter by its role: weights as slices, in the same shape the sums of their gradients, and variables on their
//! way to being laid out. `M` is what stands for a linear map.

use crate::config::DecoderConfig;
use crate::error::ModelError;

/// All parameters of a model.
pub(super) struct ModelParams<T, M = Affine<T>> {
    /// (V, D).
    pub embedding: T,
    pub blocks: Vec<BlockParams<T, M>>,
    /// (D).
    pub norm: T,
    /// (V, D); `None` in tied models, whose output projection is the embedding.
    pub head: Option<T>,
}

/// The parameters of one block.
pub(super) struct BlockParams<T, M = Affine<T>> {
    pub input_norm: T,
    pub q: M,
    pub k: M,
    pub v: M,
    pub qk_norms: Option<[T; 2]>,
    pub o: M,
    pub post_norm: T,
    pub gate: M,
    pub up: M,
    pub down: M,
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

    /// The same with other linear maps; `f` is called in the order of the forward pass with the layer and the name of the
    /// module in it.
    pub fn with_maps<M, E>(
        self,
        mut f: impl FnMut(usize, &str, Affine<T>) -> Result<M, E>,
    ) -> Result<ModelParams<T, M>, E> {
        let Self { embedding, blocks, norm, head } = self;
        let blocks = blocks.into_iter().enumerate().map(|(layer, block)| {
            let mut f = |module: &str, map| f(layer, module, map);
            Ok(BlockParams {
                input_norm: block.input_norm,
                q: f("self_attn.q_proj", block.q)?,
                k: f("self_attn.k_proj", block.k)?,
                v: f("self_attn.v_proj", block.v)?,
                qk_norms: block.qk_norms,
                o: f("self_attn.o_proj", block.o)?,
                post_norm: block.post_norm,
                gate: f("mlp.gate_proj", block.gate)?,
                up: f("mlp.up_proj", block.up)?,
                down: f("mlp.down_proj", block.down)?,
            })
        });
        Ok(ModelParams { embedding, blocks: blocks.collect::<Result<_, E>>()?, norm, head })
    }
}

impl<T> BlockParams<T> {
    fn in_order(config: &DecoderConfig, all: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self {
            input_norm: all.next()?,
            q: Affine::in_order(config.qkv_bias, all)?,
            k: Affine::in_order(config.qkv_bias, all)?,
            v: Affine::in_order(config.qkv_bias, all)?,
            qk_norms: if config.qk_norm { Some([all.next()?, all.next()?]) } else { None },
            o: Affine::in_order(false, all)?,
            post_norm: all.next()?,
            gate: Affine::in_order(false, all)?,
            up: Affine::in_order(false, all)?,
            down: Affine::in_order(false, all)?,
        })
    }
}

impl<T> Affine<T> {
    fn in_order(has_bias: bool, all: &mut impl Iterator<Item = T>) -> Option<Self> {
        Some(Self { weight: all.next()?, bias: if has_bias { Some(all.next()?) } else { None } })
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
                (block.o.weight, "self_attn.o_proj.weight"),
                (block.post_norm, "post_attention_layernorm.weight"),
                (block.gate.weight, "mlp.gate_proj.weight"),
                (block.up.weight, "mlp.up_proj.weight"),
                (block.down.weight, "mlp.down_proj.weight"),
            ] {
                assert_eq!(found, of_block(name));
            }
            let named = |layer: usize, module: &str, map: Affine<&str>| match map.weight {
                weight if weight == format!("model.layers.{layer}.{module}.weight") => Ok(weight.to_owned()),
                weight => Err(format!("{layer} {module}: {weight}")),
            };
            let maps = ModelParams::in_order(&config, names.iter().map(String::as_str)).unwrap().with_maps(named);
            assert_eq!(maps.map(|maps| maps.blocks.len()), Ok(2));
            assert_eq!((params.norm, params.head), ("model.norm.weight", (!tied).then_some("lm_head.weight")));
            assert!(ModelParams::in_order(&config, names.iter().skip(1)).is_none());
            assert!(ModelParams::in_order(&config, names.iter().chain(&names[..1])).is_none());
        }
    }
}

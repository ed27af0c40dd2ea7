//! A decoder's weights and the sums of their gradients by their roles in the recorded pass.
//!
//! With an adapter the decoder's parameters are its matrices, A before B, in the order of the maps they stand beside;
//! nothing else has a sum then.

use std::ops::Deref;

use candle_core::{Layout, Storage};

use super::super::Decoder;
use super::super::params::{ModelParams, misfit};
use super::low_rank::LowRank;
use super::map::{AllSums, Map, MapSums, Weights};
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::lora::Masks;
use crate::ops::kernels::Weight;

/// All weights that the passes read, those of an adapter last, locked for reading.
pub(super) fn locked(decoder: &Decoder) -> Result<Vec<(impl Deref<Target = Storage>, &Layout)>, ModelError> {
    if !decoder.can_record() {
        return Err(ModelError::Request(
            "a recorded pass needs all weights trainable, or an adapter, on the CPU".into(),
        ));
    }
    let adapter = if decoder.adapter().is_some() { decoder.parameters() } else { &[] };
    Ok(decoder.weights().iter().chain(adapter).map(|(_, var)| var.as_tensor().storage_and_layout()).collect())
}

/// The locked weights by their roles; `masks` are those of an adapter's dropout.
pub(super) fn weights<'a>(
    decoder: &Decoder,
    locked: &'a [(impl Deref<Target = Storage>, &Layout)],
    masks: Option<&'a Masks<'a>>,
) -> Result<Weights<'a>, ModelError> {
    let all = locked.iter().map(|(storage, layout)| weight(storage, layout)).collect::<Result<Vec<_>, ModelError>>()?;
    let (base, adapter) = all.split_at(decoder.weights().len());
    let mut adapter = adapter.iter().map(|matrix| match matrix {
        Weight::F32(matrix) => Ok(*matrix),
        Weight::Bf16(_) => Err(misfit()),
    });
    let mut next = || adapter.next().unwrap_or_else(|| Err(misfit()));
    let all = ModelParams::in_order(decoder.config(), base.iter().copied()).ok_or_else(misfit)?;
    all.with_maps(|layer, name, affine| {
        let low_rank = match decoder.adapter().filter(|lora| lora.adapts(name)) {
            None => None,
            Some(lora) => Some(LowRank {
                a: next()?,
                b: next()?,
                rank: lora.rank,
                scale: lora.scale() as f32,
                masks,
                module: format!("model.layers.{layer}.{name}"),
            }),
        };
        Ok(Map { affine, n_in: n_in(decoder.config(), name), low_rank })
    })
}

/// Sums, one per parameter of the decoder and as long as it, by the roles of those.
pub(super) fn sums<'g>(decoder: &Decoder, into: &'g mut [Vec<f32>]) -> Result<AllSums<'g>, ModelError> {
    let mut into = into.iter_mut().map(Vec::as_mut_slice);
    let Some(lora) = decoder.adapter() else {
        let all = ModelParams::in_order(decoder.config(), into.map(Some)).ok_or_else(misfit)?;
        return all.with_maps(|_, _, affine| Ok(MapSums { affine, low_rank: None }));
    };
    let frozen = (0..decoder.weights().len()).map(|_| None);
    ModelParams::in_order(decoder.config(), frozen).ok_or_else(misfit)?.with_maps(|_, name, affine| {
        let mut next = || into.next().ok_or_else(misfit);
        let low_rank = if lora.adapts(name) { Some([next()?, next()?]) } else { None };
        Ok(MapSums { affine, low_rank })
    })
}

fn weight<'a>(storage: &'a Storage, layout: &Layout) -> Result<Weight<'a>, ModelError> {
    match storage {
        Storage::Cpu(storage) => Ok(Weight::of("recorded pass", storage, layout)?),
        _ => Err(ModelError::Request("recorded pass: expected weights on the CPU".into())),
    }
}

/// K of a module.
fn n_in(config: &DecoderConfig, name: &str) -> usize {
    match name {
        "self_attn.o_proj" => config.q_dim(),
        "mlp.down_proj" => config.intermediate_size,
        _ => config.hidden_size,
    }
}

//! Keys and values of the tokens a decoder has already seen, f32, one fixed region per sequence slot and layer.
//!
//! How a region is laid out belongs to the attention kernel ([`KvLayout`]); this module keeps track of which slots hold
//! how many tokens. Invariant: positions `0..len(slot)` are valid in every layer; what lies behind is never read.

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops::{KvLayerMut, KvLayout};

/// The cache of one decoder.
#[derive(Debug, Clone)]
pub struct KvCache {
    layout: KvLayout,
    /// Keys and values of each layer.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    lens: Vec<usize>,
}

impl KvCache {
    /// Room for `n_slots` sequences of at least `max_len` tokens; memory is touched only as it is filled.
    ///
    /// # Errors
    /// The size does not fit the address space.
    pub fn new(config: &DecoderConfig, n_slots: usize, max_len: usize) -> Result<Self, ModelError> {
        let bytes = max_len
            .checked_mul(2 * size_of::<f32>() * config.n_layers * config.kv_dim())
            .and_then(|slot| slot.checked_mul(n_slots));
        if bytes.is_none_or(|b| b > isize::MAX as usize / 2) {
            let detail = format!("a cache of {n_slots} slots × {max_len} tokens does not fit in memory");
            return Err(ModelError::Request(detail));
        }
        let layout = KvLayout::new(n_slots, config.n_kv_heads, config.head_dim, max_len);
        let layer = || (vec![0.0; layout.n_values()], vec![0.0; layout.n_values()]);
        Ok(Self { layout, layers: (0..config.n_layers).map(|_| layer()).collect(), lens: vec![0; n_slots] })
    }

    /// Bytes that a cache of one slot of `max_len` tokens takes over all layers.
    #[must_use]
    pub fn slot_bytes(config: &DecoderConfig, max_len: usize) -> usize {
        let layout = KvLayout::new(1, config.n_kv_heads, config.head_dim, max_len);
        2 * size_of::<f32>() * config.n_layers * layout.n_values()
    }

    /// Number of slots.
    #[must_use]
    pub fn n_slots(&self) -> usize {
        self.lens.len()
    }

    /// Tokens one slot can hold; at least what was asked for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.layout.capacity()
    }

    /// Tokens a slot holds.
    ///
    /// # Panics
    /// There is no such slot.
    #[must_use]
    pub fn len(&self, slot: usize) -> usize {
        self.lens[slot]
    }

    /// Whether no slot holds a token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lens.iter().all(|len| *len == 0)
    }

    /// Forgets the tokens of a slot from position `len` on; `truncate(slot, 0)` frees the slot.
    ///
    /// # Panics
    /// There is no such slot.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        self.lens[slot] = self.lens[slot].min(len);
    }

    /// Copies the first `len` tokens of slot `from` into the slots `to`, whose contents are replaced.
    ///
    /// # Errors
    /// A slot does not exist, or `from` holds fewer tokens.
    pub fn fork(&mut self, from: usize, len: usize, to: &[usize]) -> Result<(), ModelError> {
        let n_slots = self.n_slots();
        if let Some(absent) = to.iter().chain([&from]).find(|slot| **slot >= n_slots) {
            return Err(ModelError::Request(format!("cache slot {absent} does not exist, there are {n_slots}")));
        }
        if len > self.lens[from] {
            let held = self.lens[from];
            return Err(ModelError::Request(format!("cannot fork {len} tokens of slot {from}, it holds {held}")));
        }
        for &slot in to.iter().filter(|slot| **slot != from) {
            for layer in 0..self.layers.len() {
                self.layer_mut(layer).copy_prefix(from, slot, len);
            }
            self.lens[slot] = len;
        }
        Ok(())
    }

    /// The part of one layer, as the kernel takes it.
    pub(crate) fn layer_mut(&mut self, layer: usize) -> KvLayerMut<'_> {
        let (keys, values) = &mut self.layers[layer];
        KvLayerMut { layout: self.layout, keys, values }
    }

    /// Records that every layer now holds `len` tokens of a slot.
    pub(crate) fn set_len(&mut self, slot: usize, len: usize) {
        self.lens[slot] = len;
    }
}

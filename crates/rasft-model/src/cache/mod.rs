//! Keys and values of the tokens a decoder has already seen, f32, one fixed region per sequence slot and layer.
//!
//! How a region is laid out belongs to the attention kernel ([`KvLayout`]); this module keeps track of which slots hold
//! how many tokens, and whose first tokens lie in another slot. Invariants: positions `0..len(slot)` are valid in every
//! layer, in the slot or in the holder of its prefix; what lies behind is never read. A holder holds its own first
//! positions itself, so a prefix is found in one step.

mod memory;

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::ops::kernels::Prefix;
use crate::ops::{KvLayerMut, KvLayout};
use crate::pool::Pool;
pub(crate) use memory::Memory;

/// The cache of one decoder.
#[derive(Debug)]
pub struct KvCache {
    layout: KvLayout,
    n_layers: usize,
    /// Layer by layer, keys and then values.
    memory: Memory,
    lens: Vec<usize>,
    /// Per slot, where its first positions lie if not in itself.
    prefixes: Vec<Option<Prefix>>,
    /// Room for the intermediate results of a step, one for each part.
    pools: Vec<Pool>,
}

/// Some slots of a cache: a thread works on them while others work on the rest.
pub(crate) struct CachePart<'a> {
    pub layers: Vec<KvLayerMut<'a>>,
    /// Per slot of the whole cache, where its first positions lie if not in itself; a slot and its holder are in one part.
    pub prefixes: &'a [Option<Prefix>],
    pub pool: &'a mut Pool,
}

impl KvCache {
    /// Room for `n_slots` sequences of at least `max_len` tokens; memory is taken from the system as it is filled.
    ///
    /// # Errors
    /// The size does not fit the address space, or the system has no such room.
    pub fn new(config: &DecoderConfig, n_slots: usize, max_len: usize) -> Result<Self, ModelError> {
        Self::in_memory(None, config, n_slots, max_len)
    }

    /// [`KvCache::new`] in the memory of a cache that is done, if that suits.
    pub(crate) fn in_memory(
        spare: Option<Memory>,
        config: &DecoderConfig,
        n_slots: usize,
        max_len: usize,
    ) -> Result<Self, ModelError> {
        let bytes = KvLayout::rounded(max_len)
            .unwrap_or(usize::MAX)
            .checked_mul(2 * size_of::<f32>() * config.n_layers * config.kv_dim())
            .and_then(|slot| slot.checked_mul(n_slots));
        if bytes.is_none_or(|b| b > isize::MAX as usize / 2) {
            let detail = format!("a cache of {n_slots} slots × {max_len} tokens does not fit in memory");
            return Err(ModelError::Request(detail));
        }
        let layout = KvLayout::new(n_slots, config.n_kv_heads, config.head_dim, max_len);
        let n_values = 2 * config.n_layers * layout.n_values();
        let failed = |e| ModelError::Request(format!("a cache of {n_slots} slots × {max_len} tokens: {e}"));
        let memory = match spare.filter(|memory| memory.suits(n_values)) {
            Some(memory) => memory,
            None => Memory::new(n_values).map_err(failed)?,
        };
        Ok(Self {
            layout,
            n_layers: config.n_layers,
            memory,
            lens: vec![0; n_slots],
            prefixes: vec![None; n_slots],
            pools: Vec::new(),
        })
    }

    /// Its memory, for another one.
    pub(crate) fn into_memory(self) -> Memory {
        self.memory
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

    /// Whether it was made for models of this shape.
    pub(crate) fn fits(&self, config: &DecoderConfig) -> bool {
        self.n_layers == config.n_layers && self.layout.is_of(config.n_kv_heads, config.head_dim)
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
        self.hand_over(slot, len);
        self.lens[slot] = self.lens[slot].min(len);
        self.prefixes[slot] = self.prefixes[slot].map(|p| Prefix { len: p.len.min(len), ..p }).filter(|p| p.len > 0);
    }

    /// Makes slots `to`, whose contents are replaced, begin with the first `len` tokens of slot `from`. Nothing is copied
    /// until `from` forgets them.
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
        if self.prefixes[from].is_some_and(|prefix| prefix.len < len) {
            self.make_whole(from);
        }
        for &slot in to.iter().filter(|slot| **slot != from) {
            self.truncate(slot, 0);
            // Handing `slot` over may have changed where `from` finds its own first positions.
            let holder = self.prefixes[from].map_or(from, |prefix| prefix.holder);
            self.prefixes[slot] = Some(Prefix { holder, len }).filter(|prefix| prefix.len > 0);
            self.lens[slot] = len;
        }
        Ok(())
    }

    /// Copies a slot's prefix into the slot itself.
    pub(crate) fn make_whole(&mut self, slot: usize) {
        if let Some(Prefix { holder, len }) = self.prefixes[slot].take() {
            for layer in 0..self.n_layers {
                self.layer_mut(layer).copy_prefix(holder, slot, len);
            }
        }
    }

    /// Before `slot` forgets what lies behind position `kept`: the slot that borrows most becomes the holder for all.
    fn hand_over(&mut self, slot: usize, kept: usize) {
        let borrows = |prefix: &Option<Prefix>| prefix.filter(|p| p.holder == slot && p.len > kept).map(|p| p.len);
        let borrowers = || self.prefixes.iter().enumerate().filter_map(|(at, p)| Some((at, borrows(p)?)));
        let Some((heir, _)) = borrowers().max_by_key(|(at, len)| (*len, std::cmp::Reverse(*at))) else { return };
        let others: Vec<usize> = borrowers().map(|(at, _)| at).filter(|at| *at != heir).collect();
        self.make_whole(heir);
        for other in others {
            self.prefixes[other] = self.prefixes[other].map(|prefix| Prefix { holder: heir, ..prefix });
        }
    }

    /// The part of one layer, as the kernel takes it.
    pub(crate) fn layer_mut(&mut self, layer: usize) -> KvLayerMut<'_> {
        let n = self.layout.n_values();
        let (keys, values) = self.memory.as_mut_slice()[2 * layer * n..2 * (layer + 1) * n].split_at_mut(n);
        KvLayerMut::whole(self.layout, keys, values)
    }

    /// The slot in which the first positions of a slot lie: itself, or the holder of its prefix.
    pub(crate) fn family(&self, slot: usize) -> usize {
        family(&self.prefixes, slot)
    }

    /// The cache in `n` parts, each with the slots of some families; `part_of` names the part of a family.
    pub(crate) fn parts(&mut self, n: usize, part_of: impl Fn(usize) -> Option<usize>) -> Vec<CachePart<'_>> {
        self.pools.resize_with(n.max(self.pools.len()), Pool::default);
        let prefixes = &self.prefixes;
        let part_of: Vec<_> = (0..self.lens.len()).map(|slot| part_of(family(prefixes, slot))).collect();
        let part = |pool| CachePart { layers: Vec::with_capacity(self.n_layers), prefixes, pool };
        let mut parts: Vec<_> = self.pools.iter_mut().take(n).map(part).collect();
        let n_values = self.layout.n_values();
        for layer in self.memory.as_mut_slice().chunks_exact_mut((2 * n_values).max(1)).take(self.n_layers) {
            let (keys, values) = layer.split_at_mut(n_values);
            let layers = KvLayerMut::parts(self.layout, keys, values, n, &part_of);
            parts.iter_mut().zip(layers).for_each(|(part, layer)| part.layers.push(layer));
        }
        parts
    }

    /// Records that every layer now holds `len` tokens of a slot.
    pub(crate) fn set_len(&mut self, slot: usize, len: usize) {
        self.lens[slot] = len;
    }
}

fn family(prefixes: &[Option<Prefix>], slot: usize) -> usize {
    prefixes[slot].map_or(slot, |prefix| prefix.holder)
}

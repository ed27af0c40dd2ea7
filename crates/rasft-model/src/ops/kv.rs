//! Where keys and values lie in memory, for [`super::cached`].
//!
//! Invariant: slots do not share memory, so that threads may work on different ones without knowing of each other.

use super::check::require;
use super::microkernel::WIDTH;
use crate::packed::Span;
use candle_core::Result;
use rayon::prelude::*;

/// Keys of one panel: they lie side by side, a vector per dimension, so that a sequence's keys are one stretch of memory.
pub(crate) const PANEL: usize = WIDTH;

/// Where the keys and values of one layer lie in two flat slices.
///
/// Keys: slot, kv head, panel of 16 positions, dimension, position in the panel. Values: slot, kv head, position, dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    n_slots: usize,
    n_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl KvLayout {
    /// A layout for `n_slots` sequences of at least `max_len` positions (rounded up to whole panels).
    pub fn new(n_slots: usize, n_kv_heads: usize, head_dim: usize, max_len: usize) -> Self {
        Self { n_slots, n_kv_heads, head_dim, capacity: max_len.next_multiple_of(PANEL) }
    }

    /// Positions that a slot of at least `max_len` has; `None` if no number can say.
    pub(crate) fn rounded(max_len: usize) -> Option<usize> {
        max_len.checked_next_multiple_of(PANEL)
    }

    /// Number of f32 values one layer needs, for the keys and again for the values.
    pub fn n_values(&self) -> usize {
        self.n_slots * self.slot_len()
    }

    /// Whether it is for so many heads of this size.
    pub(crate) fn is_of(&self, n_kv_heads: usize, head_dim: usize) -> bool {
        (self.n_kv_heads, self.head_dim) == (n_kv_heads, head_dim)
    }

    /// Key-value heads × size of one, for messages.
    pub(super) fn heads(&self) -> String {
        format!("{}, {}", self.n_kv_heads, self.head_dim)
    }

    /// Positions a slot can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of slots.
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    fn slot_len(&self) -> usize {
        self.n_kv_heads * self.head_len()
    }

    fn head_len(&self) -> usize {
        self.capacity * self.head_dim
    }

    /// Where one key-value head of a slot lies in it.
    fn head(&self, g: usize) -> std::ops::Range<usize> {
        g * self.head_len()..(g + 1) * self.head_len()
    }
}

/// The cache of one layer, or some slots of it, borrowed for one call.
pub struct KvLayerMut<'a> {
    layout: KvLayout,
    /// By number; `None` where another part has the slot.
    slots: Vec<Option<SlotMut<'a>>>,
}

struct SlotMut<'a> {
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl<'a> KvLayerMut<'a> {
    /// All slots.
    ///
    /// # Errors
    /// The keys or the values are not [`KvLayout::n_values`] long.
    pub fn new(layout: KvLayout, keys: &'a mut [f32], values: &'a mut [f32]) -> Result<Self> {
        let n = layout.n_values();
        let sized = keys.len() == n && values.len() == n;
        let found = || format!("{} keys, {} values", keys.len(), values.len());
        require(sized, "kv cache", "cache", || n.to_string(), found)?;
        Ok(Self::whole(layout, keys, values))
    }

    /// As [`KvLayerMut::new`] with slices known to have the right length.
    pub(crate) fn whole(layout: KvLayout, keys: &'a mut [f32], values: &'a mut [f32]) -> Self {
        Self::parts(layout, keys, values, 1, &vec![Some(0); layout.n_slots]).swap_remove(0)
    }

    /// The slots in `n` parts; `part_of` has the part of each, if any is to have it.
    pub(crate) fn parts(
        layout: KvLayout,
        keys: &'a mut [f32],
        values: &'a mut [f32],
        n: usize,
        part_of: &[Option<usize>],
    ) -> Vec<Self> {
        let part = || Self { layout, slots: (0..layout.n_slots).map(|_| None).collect() };
        let mut parts: Vec<Self> = (0..n).map(|_| part()).collect();
        let slot_len = layout.slot_len().max(1);
        let slots = keys.chunks_mut(slot_len).zip(values.chunks_mut(slot_len));
        for (slot, ((keys, values), part)) in slots.zip(part_of).enumerate() {
            if let Some(part) = part {
                parts[*part].slots[slot] = Some(SlotMut { keys, values });
            }
        }
        parts
    }

    pub(super) fn layout(&self) -> &KvLayout {
        &self.layout
    }

    /// Fails unless each span has a slot of its own, with room for it.
    pub(super) fn check_slots(&self, op: &'static str, spans: &[Span]) -> Result<()> {
        let KvLayout { n_slots, capacity, .. } = self.layout;
        let mut used = vec![false; n_slots];
        for span in spans {
            let fits = span.slot < n_slots && span.past + span.len <= capacity;
            let expected = || format!("{n_slots} slots of {capacity} positions");
            require(fits, op, "spans", expected, || format!("{span:?}"))?;
            let free = !std::mem::replace(&mut used[span.slot], true);
            require(free, op, "spans", || "a slot per span".into(), || format!("slot {} twice", span.slot))?;
        }
        Ok(())
    }

    /// Keys and values of one head of a slot that this part has.
    pub(super) fn head(&self, slot: usize, g: usize) -> (&[f32], &[f32]) {
        let head = self.layout.head(g);
        // An absent slot reads as an empty one, and the bounds of the kernels fail.
        self.slots[slot].as_ref().map_or((&[], &[]), |slot| (&slot.keys[head.clone()], &slot.values[head]))
    }

    /// Makes the first `len` positions of slot `to` equal to those of slot `from`; later ones stay.
    ///
    /// # Panics
    /// One of the slots is not in this part.
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        let pair = self.slots.get_disjoint_mut([from, to]);
        let Ok([Some(from), Some(to)]) = pair else { panic!("slots {from} and {to} are in this part of the cache") };
        let (dh, rest) = (self.layout.head_dim, len % PANEL);
        for g in 0..self.layout.n_kv_heads {
            let base = self.layout.head(g).start;
            let panels = base + (len - rest) * dh;
            to.keys[base..panels].copy_from_slice(&from.keys[base..panels]);
            for row in (panels..panels + dh * PANEL).step_by(PANEL).take_while(|_| rest > 0) {
                to.keys[row..row + rest].copy_from_slice(&from.keys[row..row + rest]);
            }
            to.values[base..base + len * dh].copy_from_slice(&from.values[base..base + len * dh]);
        }
    }

    /// Takes up the keys and values of new tokens.
    pub(crate) fn store(&mut self, k: &[f32], v: &[f32], spans: &[Span]) {
        let KvLayout { n_kv_heads, head_dim: dh, n_slots, .. } = self.layout;
        let mut of_slot = vec![None; n_slots];
        for span in spans {
            assert!(self.slots[span.slot].is_some(), "slot {} is in this part of the cache", span.slot);
            of_slot[span.slot] = Some(span);
        }
        let slots = self.slots.par_iter_mut().zip(of_slot);
        slots.filter_map(|(slot, span)| Some((slot.as_mut()?, span?))).for_each(|(slot, span)| {
            for (row, position) in span.rows().zip(span.past..) {
                let panel = |g: usize| self.layout.head(g).start + position / PANEL * PANEL * dh;
                for g in 0..n_kv_heads {
                    let new = (row * n_kv_heads + g) * dh..(row * n_kv_heads + g + 1) * dh;
                    let column = panel(g) + position % PANEL;
                    for (d, &value) in k[new.clone()].iter().enumerate() {
                        slot.keys[column + d * PANEL] = value;
                    }
                    slot.values[self.layout.head(g).start + position * dh..][..dh].copy_from_slice(&v[new]);
                }
            }
        });
    }
}

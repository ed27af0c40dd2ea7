//! The memory of a cache: reserved at once, taken from the system as it is filled.
//!
//! A decoding step touches every sequence's keys and values in every layer, in more pages of the usual size than a processor
//! remembers the places of; looking them up costs up to half of such a step's reading. Large pages end that, but each fills
//! as a whole with the first value in it, so only a cache that is small as a whole asks for them.

use memmap2::MmapMut;

/// Caches up to here ask for large pages.
const LARGE_PAGES_UP_TO: usize = 1 << 30;

/// Values, whatever they are.
#[derive(Debug)]
pub(crate) struct Memory(MmapMut);

impl Memory {
    /// Whether it is enough for `n_values` f32, and not more than twice as much.
    pub fn suits(&self, n_values: usize) -> bool {
        let held = self.0.len() / size_of::<f32>();
        (held / 2..=held).contains(&n_values)
    }

    /// Room for `n_values` f32.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(n_values: usize) -> std::io::Result<Self> {
        let memory = MmapMut::map_anon(n_values.max(1) * size_of::<f32>())?;
        #[cfg(target_os = "linux")]
        if memory.len() <= LARGE_PAGES_UP_TO {
            // A kernel without large pages says so; nothing but speed depends on them.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        Ok(Self(memory))
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_suits_what_fills_half_of_it() {
        let memory = Memory::new(1000).unwrap();
        assert_eq!([499, 500, 1000, 1001].map(|n| memory.suits(n)), [false, true, true, false]);
    }
}

//! Buffers that outlive the values in them.
//!
//! A training step, and a decoding step, needs the same few sizes again and again. Fresh memory of this size comes from
//! the operating system page by page, which costs more than most passes over it. Absent on purpose: any bound but what was
//! in use at once.

/// Free buffers; a buffer taken from here is the caller's until it is given back.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    free: Vec<Vec<f32>>,
    brief: Option<Box<Self>>,
}

impl Pool {
    /// `len` values, whatever they are.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        // One of this very size need not be resized, which would fill it.
        if let Some(i) = self.free.iter().position(|buffer| buffer.len() == len) {
            return self.free.swap_remove(i);
        }
        let fits = |buffer: &Vec<f32>| buffer.capacity() >= len;
        let smallest = (0..self.free.len()).filter(|&i| fits(&self.free[i])).min_by_key(|&i| self.free[i].capacity());
        if let Some(i) = smallest {
            let mut buffer = self.free.swap_remove(i);
            buffer.resize(len, 0.0);
            return buffer;
        }
        // Batches have grown: a buffer of the old size makes room for one of the new.
        if let Some(largest) = (0..self.free.len()).max_by_key(|&i| self.free[i].capacity()) {
            self.free.swap_remove(largest);
        }
        vec![0.0; len]
    }

    /// Buffers apart, for what is given back at once: among the others, those that are kept for long would come to lie in
    /// larger ones than they need.
    pub(crate) fn brief(&mut self) -> &mut Self {
        self.brief.get_or_insert_default()
    }

    /// A copy of `values`.
    pub(crate) fn copy_of(&mut self, values: &[f32]) -> Vec<f32> {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Takes buffers back.
    pub(crate) fn give<const N: usize>(&mut self, buffers: [Vec<f32>; N]) {
        self.free.extend(buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_replaced_when_they_are_too_small() {
        let mut pool = Pool::default();
        let (small, large) = (pool.take(10), pool.take(100));
        let at = large.as_ptr();
        pool.give([large, small]);
        let again = pool.take(60);
        assert_eq!((again.as_ptr(), again.len()), (at, 60));
        pool.give([again]);
        let grown = pool.take(200);
        assert_eq!((grown.len(), pool.free.len()), (200, 1), "the largest of those too small is gone");
        assert_eq!(pool.copy_of(&[1.0, 2.0]), [1.0, 2.0]);
        pool.brief().give([vec![5.0; 200]]);
        assert_ne!(pool.take(200), [5.0; 200]);
        assert_eq!(pool.brief().take(200), [5.0; 200]);
    }
}

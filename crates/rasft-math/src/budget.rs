//! Work units: what every step pays, so that each input ends after a fixed amount of work.
//!
//! Invariant: spending depends on the input alone. A unit is roughly the cost of one token or one double-double
//! operation; operations on long integers pay by their length.

use std::cell::Cell;

/// The budget ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("work budget exhausted")]
pub struct Exhausted;

/// A purse of work units.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// Work units granted to one comparison unless the caller says otherwise: some 20 ms; real answers need a tenth.
    pub const DEFAULT: u64 = 120_000;

    /// A purse of `units`.
    pub fn new(units: u64) -> Self {
        Self { left: Cell::new(units) }
    }

    /// Pays `units`.
    ///
    /// # Errors
    /// [`Exhausted`] when fewer are left; the purse is then empty, so later payments fail too.
    pub fn spend(&self, units: u64) -> Result<(), Exhausted> {
        match self.left.get().checked_sub(units) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(Exhausted)
            }
        }
    }

    /// The units left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Whether a payment has failed or the last unit was spent.
    pub fn is_empty(&self) -> bool {
        self.left.get() == 0
    }
}

//! Values of expressions, three ways: exactly over the rationals ([`exact`]), modulo a prime for rational functions
//! ([`modular`]), and in double-doubles with error bounds for everything else ([`numeric`]).

pub mod ball;
pub mod dd;
pub mod elementary;
pub mod exact;
pub mod modular;
pub mod numeric;
pub mod points;

use crate::budget::Exhausted;

/// Why an expression has no value of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Its value is not of this kind (irrational, not real, symbolic).
    #[error("no value of this kind")]
    NotHere,
    /// It has no value at all: a division by zero.
    #[error("undefined")]
    Undefined,
    /// Too large to write down.
    #[error("too large to evaluate")]
    Huge,
    /// The budget ran out.
    #[error(transparent)]
    Budget(#[from] Exhausted),
}

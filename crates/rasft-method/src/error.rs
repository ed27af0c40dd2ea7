//! What can be wrong with the arguments of this crate's functions.

/// A parameter or an input for which the method is not defined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MethodError {
    /// A number lies outside its range.
    #[error("{name} is {value}, expected {expected}")]
    OutOfRange {
        /// The parameter's name.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two parameters contradict each other.
    #[error("{low_name} ({low}) is greater than {high_name} ({high})")]
    Crossed {
        /// The parameter that should be smaller.
        low_name: &'static str,
        /// Its value.
        low: f64,
        /// The parameter that should be greater.
        high_name: &'static str,
        /// Its value.
        high: f64,
    },
    /// No loss to calibrate on.
    #[error(
        "none of {n} calibration losses is finite\nhint: score problems that have expert responses within the length limit"
    )]
    NoFiniteLoss {
        /// How many losses were given.
        n: usize,
    },
}

/// `Ok` if `holds`, else an [`MethodError::OutOfRange`].
pub(crate) fn require(holds: bool, name: &'static str, value: f64, expected: &'static str) -> Result<(), MethodError> {
    if holds { Ok(()) } else { Err(MethodError::OutOfRange { name, value, expected }) }
}

/// `Ok` if `low <= high`, else a [`MethodError::Crossed`].
pub(crate) fn ordered(low_name: &'static str, low: f64, high_name: &'static str, high: f64) -> Result<(), MethodError> {
    if low <= high { Ok(()) } else { Err(MethodError::Crossed { low_name, low, high_name, high }) }
}

//! Parameters are checked before any work: the message names the flag, its value, and what was expected.

use crate::Error;
use crate::policy::parse_device;
use rasft_method::MethodError;
use std::fmt::Display;

/// A flag as it is written on the command line.
fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// The message that every refusal has.
pub fn refuse<T>(name: &str, value: impl Display, expected: impl Display) -> Result<T, Error> {
    Err(Error::usage(format!("{} {value}: expected {expected}", flag(name))))
}

/// A number from `low` to `high`.
pub fn between(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..=high).contains(&value) { Ok(()) } else { refuse(name, value, format!("a number from {low} to {high}")) }
}

/// A whole number that is not smaller than `least`.
pub fn at_least<N: PartialOrd + Display>(name: &str, value: N, least: N) -> Result<(), Error> {
    if value >= least { Ok(()) } else { refuse(name, value, format!("at least {least}")) }
}

/// A whole number from `low` to `high`.
pub fn within<N: PartialOrd + Display>(name: &str, value: N, low: N, high: N) -> Result<(), Error> {
    if value >= low && value <= high { Ok(()) } else { refuse(name, value, format!("{low} to {high}")) }
}

/// What the method itself says of its parameters.
pub fn method(result: Result<(), MethodError>) -> Result<(), Error> {
    match result {
        Ok(()) => Ok(()),
        Err(MethodError::OutOfRange { name, value, expected }) => refuse(name, value, expected),
        Err(MethodError::Crossed { low_name, low, high_name, high }) => {
            refuse(low_name, low, format!("at most {} {high}", flag(high_name)))
        }
        Err(other) => Err(Error::usage(other.to_string())),
    }
}

/// A device that this machine has.
pub fn device(name: Option<&str>) -> Result<(), Error> {
    parse_device(name).map(drop)
}

//! Tests of the crate as a whole: one file for each promise.

mod damage;
mod deterministic;
mod foreign;
mod round_trip;
mod sample;

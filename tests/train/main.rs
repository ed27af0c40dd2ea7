//! `rasft-train` as a program: it goes on where it was stopped, repeats to the byte, refuses what it cannot train on, and
//! writes what other programs read.

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod fixture;
mod others;
mod promises;
mod refused;
mod resume;
mod rounded;

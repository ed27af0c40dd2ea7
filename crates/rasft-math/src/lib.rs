//! Verification of mathematical answers: find the answer in a response, read it, and decide whether it equals the gold.
//!
//! Nothing a model wrote is ever executed. A response goes through three steps, each in its own module:
//! [`extract()`] finds the answer's text, [`answer`] reads it into a typed value (numbers exact, brackets, order, base and
//! unit kept), and [`compare`] decides equality: exact rationals first, then identity testing modulo a prime for rational
//! functions, then evaluation at fixed points in double-double arithmetic with error bounds.
//!
//! Invariants: every step draws on a [`Budget`] of work units, never on a clock, so a verdict is the same on every
//! machine; recursion is bounded by [`lex::MAX_DEPTH`]; no input makes the crate panic.
//!
//! Number crates: `num-bigint`, `num-integer`, `num-rational` and `num-traits` (MIT or Apache-2.0) hold exact values: pure
//! Rust, and the arithmetic is small next to parsing, so a faster big integer (dashu) would buy nothing here.
//! Transcendental values need some thirty digits and an error bound, not arbitrary precision, so double-doubles of our own
//! ([`eval::dd`]) do: IEEE additions, products and roots only, and therefore the same on every machine. `astro-float` and
//! `dashu-float` are arbitrary-precision, which identity testing has no use for; `inari` is interval arithmetic at sixteen
//! digits, too few to tell a near miss from rounding; crates on GMP or MPFR (`rug`) are LGPL underneath.
//!
//! Deliberately absent: computer algebra (no solving, no integration), files, threads, clocks.

pub mod answer;
pub mod budget;
pub mod compare;
pub mod eval;
pub mod expr;
pub mod extract;
pub mod lex;
pub mod parse;
pub mod units;
pub mod verifier;
pub mod words;

pub use budget::Budget;
pub use extract::{Extracted, Source, extract, gold_from_solution};
pub use verifier::{Options, Report, Tolerance, Verifier};

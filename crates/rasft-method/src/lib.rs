//! The method: text filters, difficulty window, routing, rewards, advantages, weights, intervals and evaluation figures.
//!
//! Invariant: pure functions of their arguments. No I/O, no tensors, no threads, no clock, no global random state; every
//! random number derives from a seed and a name. Section numbers (§) in the docs are those of `algorithm.md`.
//!
//! Reading order: [`text`] and [`similarity`] feed [`filters`], [`code`] and [`screen`] (which rollouts may be trained
//! on); [`calibration`], [`window`], [`routing`], [`selection`], [`hard_pool`] and [`lifecycle`] decide what a round does with
//! a problem; [`rewards`], [`advantages`], [`weights`] and [`solvability`] turn verdicts into weights; [`interval`] and
//! [`metrics`] say how sure a figure is.

pub mod advantages;
pub mod calibration;
pub mod code;
pub mod error;
pub mod extract;
pub mod filters;
pub mod hard_pool;
pub mod interval;
pub mod lifecycle;
pub mod metrics;
pub mod profile;
pub mod rewards;
pub mod routing;
pub mod screen;
pub mod selection;
pub mod similarity;
pub mod solvability;
pub mod text;
pub mod weights;
pub mod window;

pub use error::MethodError;
pub use profile::Profile;
pub use rasft_types::Fallback;
pub use solvability::{Sample, SolvabilityParams};

//! Training as a whole: against recorded oracles, against itself cut differently, stopped and continued.

mod adapters;
mod behaviour;
mod golden_loss;
mod golden_models;
mod golden_optim;
mod invariance;
mod resume;
mod rounded;
mod support;

//! Training: objectives, batches, optimizer, schedule, trainer and checkpoints.
//!
//! Invariants: losses, ratios, norms and optimizer state are f32 or f64 whatever the weights' type on disk; every
//! reduction has a fixed order, so a run gives the same bytes for any number of threads.
//! Absent on purpose: how mixtures are made, progress bars, files other than checkpoints and event files.

mod batch;
mod checkpoint;
mod error;
mod forward;
mod grads;
mod kl;
mod memory;
mod objectives;
mod optim;
mod pass;
pub mod reference;
mod run;
mod schedule;
mod tally;
mod tensorboard;
mod trainer;

pub use batch::{Cursor, MicroBatching, Order, Trajectory, check_against, check_trajectories, micro_batches};
pub use checkpoint::{
    STATE_FILE, TRAINER_FILE, TrainerState, load_checkpoint, load_state, read_place, save_checkpoint, save_merged,
};
pub use error::LearnError;
pub use kl::kl_to_reference;
pub use memory::{MemoryNeed, Scalars, largest_micro_batch};
pub use objectives::{
    Objective, Sequence, SequenceTerms, mean_terms, n_counted, sequence_terms, token_gradients, token_loss,
};
pub use optim::{AdamW, AdamWParams, clip_factor, global_norm};
pub use rasft_model::Activations;
pub use run::{Report, RunPlan, StepDone, Warning, train, warnings};
pub use schedule::{Schedule, ScheduleKind};
pub use tensorboard::EventFile;
pub use trainer::{Normalization, Trainer, TrainerParams};

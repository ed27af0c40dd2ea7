//! The decoder as a whole: against recorded transformers runs, against candle-transformers, and against itself.

mod cached;
mod crosscheck;
mod files;
mod gguf;
mod golden;
mod gradients;
mod recorded;
mod recorded_adapters;
mod rounded;
mod support;
mod text;

//! Decoder language models: directories, configuration, weights, computation, key/value cache, tokenizer, chat template.
//!
//! One decoder serves inference and training, for Qwen2/2.5, Llama and Qwen3 weights in Hugging Face layout. Invariant: a
//! row of any result depends on its own sequence alone, bit for bit, never on what else is in the batch or on the number
//! of threads. Absent on purpose: sampling (rasft-generate) and losses (rasft-learn).

pub mod cache;
pub mod config;
pub mod decoder;
pub mod detok;
pub mod device;
pub mod dir;
pub mod error;
pub mod gguf;
pub mod item;
pub mod lora;
pub mod ops;
pub mod packed;
mod pool;
pub mod template;
pub mod threads;
pub mod tokenizer;
pub mod weights;

pub use cache::KvCache;
pub use config::DecoderConfig;
pub use decoder::recorded::{Activations, LOGIT_ROWS, LogitGradients, Predictions, Recording, Sums};
pub use decoder::{AdapterFrom, Decoder, LoadOptions, Trainable};
pub use detok::Detokenizer;
pub use dir::ModelDir;
pub use error::{ErrorClass, ModelError};
pub use lora::{Adapter, Dropout, LoraConfig};
pub use packed::{Packed, Span};
pub use pool::Pool;
pub use template::{ChatTemplate, Message};
pub use tokenizer::{SpecialText, Specials, TextCodec, Tokenizer};
pub use weights::WeightsDtype;

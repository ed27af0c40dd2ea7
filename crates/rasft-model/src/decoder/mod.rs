//! The decoder itself: embedding, blocks of attention and SwiGLU with residuals, final norm, output projection.
//!
//! Three ways through the weights: [`Decoder::hidden`] over whole sequences (in candle's graph when the decoder trains),
//! [`Decoder::hidden_cached`] over their newest tokens with a key/value cache (never differentiable), and
//! [`Decoder::record`] with a backward pass of its own. All give the same bits per row. Weights lie as stored, or laid out
//! for inference on the CPU; those that train may be rounded to bf16 beside a master copy. Absent on purpose: padding, attention masks other than causal, dropout, sampling, losses.

use std::path::Path;
use std::sync::Mutex;

use candle_core::{Device, Tensor, Var};

use crate::cache::{KvCache, Memory};
use crate::config::DecoderConfig;
use crate::dir::ModelDir;
use crate::error::ModelError;
use crate::lora::Masks;
use crate::ops;
use crate::packed::Packed;
use crate::weights::{self, WeightsDtype};

mod adapted;
mod block;
mod checks;
mod inference;
mod init;
mod params;
mod place;
mod projection;
pub mod recorded;
mod rope_tables;
mod rounded;
mod save;
mod shared_rows;
mod shares;

pub use adapted::AdapterFrom;
use block::Network;
use inference::Inference;
use params::ModelParams;
use place::Place;
use projection::{Form, Source};
use rope_tables::RopeTables;
use shared_rows::SharedRows;

/// Whether gradients are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trainable {
    /// Inference only: weights are laid out for speed, and neither listed nor saved.
    #[default]
    No,
    /// Every parameter can get a gradient: in candle's graph or, rounded to bf16, through [`Decoder::record`] alone.
    Yes,
}

/// How a model is brought into memory.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Type of the weights that the passes read. f32; or bf16 with gradients on the CPU, where what trains has a master copy
    /// in f32 beside it.
    pub dtype: WeightsDtype,
    /// Where.
    pub device: Device,
    /// Whether gradients are recorded.
    pub trainable: Trainable,
}

impl Default for LoadOptions {
    /// f32 on the CPU, inference only.
    fn default() -> Self {
        Self { dtype: WeightsDtype::F32, device: Device::Cpu, trainable: Trainable::No }
    }
}

impl LoadOptions {
    /// f32 on the CPU, with gradients.
    #[must_use]
    pub fn trainable() -> Self {
        Self { trainable: Trainable::Yes, ..Self::default() }
    }
}

/// A language model in memory.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    parameters: Vec<(String, Var)>,
    /// The parameters in bf16, for which they are the master copy.
    rounded: Option<Vec<(String, Var)>>,
    /// Weights that record gradients in candle's graph; `None` when the decoder is not trainable or its weights are rounded.
    tracked: Option<Network>,
    frozen: Frozen,
    rope: RopeTables,
    device: Device,
    /// The adapter that trains instead of the weights, if there is one.
    lora: Option<adapted::Lora>,
    /// Memory of a cache that is done.
    spare: Mutex<Option<Memory>>,
}

/// The weights without gradients.
#[derive(Debug)]
enum Frozen {
    /// As stored, on any device; beside a trainable network they share its storage.
    Stored(Network),
    /// Laid out for the kernels of the CPU.
    LaidOut(Inference),
}

impl Decoder {
    /// Loads the weights of a model directory.
    ///
    /// # Errors
    /// The config is not supported, or a tensor is missing, unexpected, misshapen or not finite.
    pub fn load(dir: &ModelDir, options: &LoadOptions) -> Result<Self, ModelError> {
        rounded::check(options)?;
        let config = dir.config()?;
        let parameters = weights::load(dir, &config, WeightsDtype::F32, &options.device)?;
        if let Some(adapter) = dir.adapter() {
            let matrices = adapter.load(&config, &options.device)?;
            crate::lora::merge(&parameters, &matrices, adapter.lora.scale())?;
        }
        Self::assemble(config, parameters, options)
    }

    /// A random model: matrices from N(0, 0.02²), norms 1, biases 0; the same for the same config and seed everywhere.
    ///
    /// # Errors
    /// The tensors cannot be made.
    pub fn init(config: &DecoderConfig, seed: u64, options: &LoadOptions) -> Result<Self, ModelError> {
        rounded::check(options)?;
        let parameters = init::parameters(config, seed, &options.device)?;
        Self::assemble(config.clone(), parameters, options)
    }

    fn assemble(
        config: DecoderConfig,
        parameters: Vec<(String, Var)>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        let network = |parameters, form| Network::new(&config, Source::new(parameters, form));
        let mut rounded = None;
        let (frozen, tracked, parameters) = match options.trainable {
            Trainable::Yes if options.dtype == WeightsDtype::Bf16 => {
                let copies = rounded.insert(rounded::copies(&parameters)?);
                (Frozen::Stored(network(copies.clone(), Form::Detached)?), None, parameters)
            }
            Trainable::Yes => {
                let tracked = network(parameters.clone(), Form::Tracked)?;
                (Frozen::Stored(network(parameters.clone(), Form::Detached)?), Some(tracked), parameters)
            }
            Trainable::No if options.device.is_cpu() => {
                let parameters = ModelParams::in_order(&config, parameters.into_iter().map(|(_, var)| var));
                let parameters = parameters.ok_or_else(params::misfit)?;
                (Frozen::LaidOut(rayon::scope(|_| Inference::new(parameters))?), None, Vec::new())
            }
            Trainable::No => (Frozen::Stored(network(parameters, Form::Detached)?), None, Vec::new()),
        };
        let rope = RopeTables::new(&config, &options.device)?;
        let device = options.device.clone();
        Ok(Self { config, parameters, rounded, tracked, frozen, rope, device, lora: None, spare: Mutex::default() })
    }

    /// What the computation depends on.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether there are parameters that train.
    #[must_use]
    pub fn trainable(&self) -> Trainable {
        if self.tracked.is_some() || self.rounded.is_some() { Trainable::Yes } else { Trainable::No }
    }

    /// Every parameter of a trainable decoder under its HF name, in the order of the forward pass; a tied model has no
    /// `lm_head.weight`. Empty when the decoder is not trainable: its weights are laid out for inference.
    ///
    /// Values may be replaced in place (`Var::set`); the next call of any method sees them, after
    /// [`Decoder::round_weights`] where they are a master copy.
    #[must_use]
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Number of scalars in all parameters.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        self.config.n_parameters()
    }

    /// Hidden states after the final norm, over whole sequences.
    ///
    /// # Shapes
    /// T tokens → (T, D), f32; row t belongs to token t of the batch. Differentiable when the decoder is trainable and its
    /// parameters are no master copy: those train through [`Decoder::record`] alone.
    ///
    /// # Errors
    /// The batch is empty, a span has a past, a token is not in the vocabulary, or a sequence is longer than
    /// `max_position_embeddings`.
    pub fn hidden(&self, batch: &Packed) -> Result<Tensor, ModelError> {
        self.hidden_masked(batch, None)
    }

    fn hidden_masked(&self, batch: &Packed, masks: Option<&Masks<'_>>) -> Result<Tensor, ModelError> {
        self.check_whole(batch)?;
        match self.answering() {
            Answering::Network(network) => {
                network.forward(&self.config, &self.rope, batch, &mut block::Uncached, masks)
            }
            Answering::LaidOut(inference) => {
                let computed = SharedRows::of(batch);
                let pass = |place: &Place<'_>| inference.hidden(place, &computed.rows.ids);
                let rows = rayon::scope(|_| self.with_shared_rows(&computed, pass))?;
                let hidden = self.rows(rows, self.config.hidden_size)?;
                Ok(match computed.keys {
                    None => hidden,
                    Some(_) => ops::embedding(&hidden, &computed.row_of)?,
                })
            }
        }
    }

    /// A cache for this decoder, in the memory of the one that was handed back last, if that suits.
    ///
    /// # Errors
    /// As [`KvCache::new`].
    pub fn cache(&self, n_slots: usize, max_len: usize) -> Result<KvCache, ModelError> {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.take());
        KvCache::in_memory(spare, &self.config, n_slots, max_len)
    }

    /// Keeps the memory of a cache for the next, or until the decoder goes: to take so much afresh from the system costs as
    /// much as a dozen steps.
    pub fn hand_back(&self, cache: KvCache) {
        if let Ok(mut spare) = self.spare.lock() {
            *spare = Some(cache.into_memory());
        }
    }

    /// Hidden states after the final norm of new tokens, whose predecessors are in the cache; never differentiable.
    ///
    /// The cache takes up the new tokens' keys and values. Row for row the same bits as [`Decoder::hidden`].
    ///
    /// # Shapes
    /// T new tokens → (T, D), f32.
    ///
    /// # Errors
    /// As [`Decoder::hidden`]; a span names an absent slot, a slot twice, another past than the slot holds, or overflows it.
    pub fn hidden_cached(&self, batch: &Packed, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        self.check_batch(batch)?;
        checks::check_slots(&self.config, batch, cache)?;
        let hidden = match &self.frozen {
            Frozen::Stored(network) => {
                batch.spans.iter().for_each(|span| cache.make_whole(span.slot));
                network.forward(&self.config, &self.rope, batch, &mut block::Cached(cache), None)?
            }
            Frozen::LaidOut(inference) => {
                let long = batch.spans.iter().filter(|span| span.len > 1);
                long.for_each(|span| cache.make_whole(span.slot));
                let hidden = rayon::scope(|_| self.hidden_in_shares(inference, batch, cache))?;
                self.rows(hidden, self.config.hidden_size)?
            }
        };
        for span in &batch.spans {
            cache.set_len(span.slot, span.past + span.len);
        }
        Ok(hidden)
    }

    /// Unnormalised scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// hidden (N, D) → (N, V), f32.
    ///
    /// # Errors
    /// The shape does not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        match self.answering() {
            Answering::Network(network) => network.logits(hidden),
            Answering::LaidOut(_) => {
                let mut logits = Vec::new();
                self.logits_into(hidden, &mut logits)?;
                self.rows(logits, self.config.vocab_size)
            }
        }
    }

    /// [`Decoder::logits`] row by row into memory that is used again: at (N, V), fresh memory is a cost of its own.
    ///
    /// # Errors
    /// The shape does not fit.
    pub fn logits_into(&self, hidden: &Tensor, logits: &mut Vec<f32>) -> Result<(), ModelError> {
        match self.answering() {
            Answering::Network(network) => *logits = network.logits(hidden)?.flatten_all()?.to_vec1()?,
            Answering::LaidOut(inference) => {
                logits.resize(self.check_hidden(hidden)? * self.config.vocab_size, 0.0);
                let (storage, layout) = hidden.storage_and_layout();
                let hidden = place::values(&storage, layout)?;
                rayon::scope(|_| inference.logits(hidden, logits));
            }
        }
        Ok(())
    }

    /// Log-probability of one target per row, without ever holding (N, V): `y_n = log softmax(h_n · Wᵀ)[target_n]`.
    ///
    /// # Shapes
    /// hidden (N, D), N targets → (N), nats, f32; differentiable where [`Decoder::hidden`] is.
    ///
    /// # Errors
    /// The lengths differ or a target is not in the vocabulary.
    ///
    /// # Source
    /// algorithm.md §11.
    pub fn token_logprobs(&self, hidden: &Tensor, targets: &[u32]) -> Result<Tensor, ModelError> {
        let inference = match self.answering() {
            Answering::Network(network) => {
                return Ok(ops::linear_cross_entropy(hidden, network.head_weight(), targets)?);
            }
            Answering::LaidOut(inference) => inference,
        };
        let n = self.check_hidden(hidden)?;
        if targets.len() != n {
            return Err(ModelError::Request(format!("{n} rows predict {} targets", targets.len())));
        }
        self.check_targets(targets)?;
        let (storage, layout) = hidden.storage_and_layout();
        let values = place::values(&storage, layout)?;
        let logprobs = rayon::scope(|_| inference.token_logprobs(values, targets));
        Ok(Tensor::from_vec(logprobs, n, &self.device)?)
    }

    /// Writes the weights that the passes read under HF names to `path`, whole or not at all; the bytes depend on the values
    /// alone.
    ///
    /// # Errors
    /// The decoder is not trainable or trains an adapter, or the file cannot be written.
    pub fn save_weights(&self, path: &Path, dtype: WeightsDtype) -> Result<(), ModelError> {
        if self.trainable() == Trainable::No {
            return Err(ModelError::Request("only a trainable decoder can be saved".into()));
        }
        if self.lora.is_some() {
            return Err(ModelError::Request("save the adapter, or the model with the adapter merged".into()));
        }
        weights::save(self.weights(), path, dtype)
    }

    /// Writes a whole model directory that transformers and this crate load: config, weights, and the tokenizer and
    /// template files of `source`, if one is given. The directory must exist.
    ///
    /// # Errors
    /// The decoder is not trainable, or a file cannot be read or written.
    pub fn save_dir(&self, dir: &Path, source: Option<&ModelDir>, dtype: WeightsDtype) -> Result<(), ModelError> {
        self.save_weights(&dir.join("model.safetensors"), dtype)?;
        save::side_files(&self.config, dir, source, dtype)
    }

    fn answering(&self) -> Answering<'_> {
        match (&self.tracked, &self.frozen) {
            (Some(network), _) | (None, Frozen::Stored(network)) => Answering::Network(network),
            (None, Frozen::LaidOut(inference)) => Answering::LaidOut(inference),
        }
    }

    /// Rows of `width` values as a tensor.
    fn rows(&self, values: Vec<f32>, width: usize) -> Result<Tensor, ModelError> {
        Ok(Tensor::from_vec(values, ((), width), &self.device)?)
    }
}

/// The weights that answer: those that train, if some do.
enum Answering<'a> {
    Network(&'a Network),
    LaidOut(&'a Inference),
}

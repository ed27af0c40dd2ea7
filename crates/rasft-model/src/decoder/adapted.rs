//! A decoder whose weights are frozen and whose adapter trains.
//!
//! [`Decoder::parameters`] are then the adapter's matrices alone, so optimizer, moments and clipping see nothing else. The
//! frozen weights exist once: the decoder with its adapter off ([`Decoder::without_adapter`]) shares them.

use std::path::Path;
use std::sync::Mutex;

use candle_core::{DType, Tensor, Var};

use super::block::Network;
use super::projection::{Form, Source};
use super::rope_tables::RopeTables;
use super::{Decoder, Frozen, LoadOptions, Trainable, rounded, save};
use crate::dir::ModelDir;
use crate::error::ModelError;
use crate::lora::{self, Adapter, Dropout, LoraConfig, Masks};
use crate::packed::Packed;
use crate::weights::{self, WeightsDtype};

/// What a decoder with an adapter keeps beside its networks.
#[derive(Debug)]
pub(super) struct Lora {
    config: LoraConfig,
    /// The frozen weights under their HF names, in the type they were asked for.
    pub(super) base: Vec<(String, Var)>,
}

/// Where the matrices of an adapter come from.
#[derive(Debug, Clone, Copy)]
pub enum AdapterFrom<'a> {
    /// Fresh ones, by this seed.
    Seed(u64),
    /// A directory.
    Files(&'a Adapter),
}

impl Decoder {
    /// Loads frozen weights and puts a trainable adapter beside them, which is f32 whatever the frozen ones are held in.
    ///
    /// # Errors
    /// As [`Decoder::load`]; the directory is an adapter itself; the adapter does not fit.
    pub fn load_with_adapter(
        dir: &ModelDir,
        lora: &LoraConfig,
        from: AdapterFrom<'_>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        rounded::check(options)?;
        let config = dir.config()?;
        let lora = lora.clone().checked()?;
        let base = weights::load(dir, &config, options.dtype, &options.device)?;
        let parameters = match from {
            AdapterFrom::Seed(seed) => lora::init(&config, &lora, seed, &options.device)?,
            AdapterFrom::Files(adapter) if !adapter.lora.is_same_map(&lora) => {
                let (path, theirs) = (adapter.path.display(), &adapter.lora);
                return Err(ModelError::Request(format!("{path}: the adapter has {theirs}, not {lora}")));
            }
            AdapterFrom::Files(adapter) => adapter.load(&config, &options.device)?,
        };
        let network = |form| {
            let source = Source::new(base.clone(), form).with_adapter(parameters.clone(), lora.scale());
            Network::new(&config, source)
        };
        let tracked = (options.trainable == Trainable::Yes).then(|| network(Form::Tracked)).transpose()?;
        let frozen = Frozen::Stored(network(Form::Detached)?);
        let rope = RopeTables::new(&config, &options.device)?;
        let (device, lora) = (options.device.clone(), Some(Lora { config: lora, base }));
        Ok(Self { config, parameters, rounded: None, tracked, frozen, rope, device, lora, spare: Mutex::default() })
    }

    /// The adapter that trains, if there is one.
    #[must_use]
    pub fn adapter(&self) -> Option<&LoraConfig> {
        self.lora.as_ref().map(|lora| &lora.config)
    }

    /// The frozen weights alone, for inference; they are shared, not copied. `None` without an adapter.
    ///
    /// # Errors
    /// The rotary tables cannot be made.
    pub fn without_adapter(&self) -> Result<Option<Self>, ModelError> {
        let Some(lora) = &self.lora else { return Ok(None) };
        let frozen = Frozen::Stored(Network::new(&self.config, Source::new(lora.base.clone(), Form::Detached))?);
        let rope = RopeTables::new(&self.config, &self.device)?;
        let (config, device) = (self.config.clone(), self.device.clone());
        let (parameters, rounded, tracked, lora) = (Vec::new(), None, None, None);
        Ok(Some(Self { config, parameters, rounded, tracked, frozen, rope, device, lora, spare: Mutex::default() }))
    }

    /// [`Decoder::hidden`] with the adapter's dropout; `rows` names, per sequence of the batch, its place in the step.
    ///
    /// # Errors
    /// As [`Decoder::hidden`], or there is not one row per sequence.
    pub fn hidden_with_dropout(&self, batch: &Packed, dropout: Dropout, rows: &[u64]) -> Result<Tensor, ModelError> {
        let p = self.adapter().map_or(0.0, |lora| lora.dropout);
        if p == 0.0 {
            return self.hidden(batch);
        }
        self.check_dropout(batch, rows)?;
        self.hidden_masked(batch, Some(&Masks { p, dropout, rows, spans: &batch.spans }))
    }

    /// Writes the adapter as PEFT does, with the tokenizer and template files of `source`. The directory must exist.
    ///
    /// # Errors
    /// There is no adapter, or a file cannot be read or written.
    pub fn save_adapter(
        &self,
        dir: &Path,
        source: Option<&ModelDir>,
        base: Option<&str>,
        dtype: WeightsDtype,
    ) -> Result<(), ModelError> {
        let lora = self.adapter().ok_or_else(|| ModelError::Request("there is no adapter to save".into()))?;
        lora::save(dir, lora, &self.parameters, base, dtype)?;
        source.map_or(Ok(()), |source| save::text_files(dir, source))
    }

    /// Writes a whole model directory in which the adapter is part of the weights: `W + s·B·A`. The directory must exist.
    ///
    /// # Errors
    /// There is no adapter, or a file cannot be read or written.
    pub fn save_merged(&self, dir: &Path, source: Option<&ModelDir>, dtype: WeightsDtype) -> Result<(), ModelError> {
        let lora = self.lora.as_ref().ok_or_else(|| ModelError::Request("there is no adapter to merge".into()))?;
        let copied = |(name, var): &(String, Var)| {
            let values = var.as_detached_tensor().to_dtype(DType::F32)?;
            Ok((name.clone(), Var::from_tensor(&values.copy()?)?))
        };
        let merged = lora.base.iter().map(copied).collect::<Result<Vec<_>, ModelError>>()?;
        lora::merge(&merged, &self.parameters, lora.config.scale())?;
        weights::save(&merged, &dir.join("model.safetensors"), dtype)?;
        save::side_files(&self.config, dir, source, dtype)
    }
}

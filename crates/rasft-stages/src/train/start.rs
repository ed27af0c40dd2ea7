//! Where a run starts: the model or the adapter on it, the optimizer it takes over, and the reference it is held to.

use super::resume::Left;
use super::settings::{Params, Settings};
use super::{Inputs, memory};
use crate::adapter::BASE;
use crate::job::Job;
use crate::policy::{Policy, parse_device, verify_files};
use crate::{Ctx, Error};
use rasft_data::MANIFEST_FILE;
use rasft_learn::{
    Activations, AdamW, MemoryNeed, STATE_FILE, Scalars, TRAINER_FILE, Trainer, TrainerState, load_state, read_place,
    save_checkpoint, save_merged,
};
use rasft_model::lora::ADAPTER_WEIGHTS;
use rasft_model::{
    Adapter, AdapterFrom, Decoder, DecoderConfig, LoadOptions, LoraConfig, ModelDir, Tokenizer, WeightsDtype,
};
use std::path::{Path, PathBuf};

/// Opened and named, but not yet in memory.
pub(super) struct Start {
    model: Policy,
    config: DecoderConfig,
    weights: Weights,
    merge: bool,
    reference: Option<Policy>,
    continue_from: Option<PathBuf>,
    options: LoadOptions,
    /// Whether the objective has a divergence from a reference.
    divergence: bool,
    seed: u64,
}

/// What trains, and from where.
enum Weights {
    /// All of it, from random values.
    Scratch,
    /// All of it.
    All,
    /// An adapter on the frozen weights of `base`; a fresh one unless the model is an adapter already.
    Adapter(Box<Frozen>),
}

/// Frozen weights and what trains on them.
struct Frozen {
    base: ModelDir,
    lora: LoraConfig,
}

impl Start {
    /// Opens every input and names it in the key; reads no weights.
    pub fn open(
        ctx: &Ctx,
        job: &mut Job,
        inputs: &Inputs,
        params: &Params,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let model = if params.from_scratch {
            Policy::open_without_weights(&inputs.model, ctx)?
        } else {
            Policy::open(&inputs.model, ctx)?
        };
        job.input("model", model.input_hash(), &inputs.model);
        if let Some(path) = &inputs.continue_from {
            job.input("continue", &optimizer_hash(ctx, path)?, path);
            warn_of_master(path, settings);
            check_continued(ctx, path, settings, &model, &inputs.model)?;
        }
        let weights = match &settings.lora {
            Some(lora) => adapted(ctx, job, &model, lora)?,
            None if params.from_scratch => Weights::Scratch,
            None => Weights::All,
        };
        let own_reference = matches!(weights, Weights::Adapter(_));
        let reference = match (&inputs.reference, settings.trainer.objective.kl_weight()) {
            (Some(path), Some(_)) => {
                let reference = job.policy(ctx, "reference", path)?;
                reference.check_reference_of(model.dir(), path)?;
                Some(reference)
            }
            (None, Some(_)) if !own_reference => {
                return Err(Error::usage(format!(
                    "missing --reference: objective {} is held to a frozen model\nhint: give the model that the experiment started from",
                    params.objective
                )));
            }
            (Some(_), None) => {
                tracing::warn!("--reference is not used: objective {} compares with no model", params.objective);
                None
            }
            _ => None,
        };
        let device = parse_device(params.device.as_deref())?;
        let options = LoadOptions { dtype: settings.dtype, device, ..LoadOptions::trainable() };
        Ok(Self {
            config: model.dir().config()?,
            model,
            weights,
            merge: params.lora.as_ref().is_some_and(|lora| lora.merge),
            reference,
            continue_from: inputs.continue_from.clone(),
            options,
            divergence: settings.trainer.objective.kl_weight().is_some(),
            seed: params.seed,
        })
    }

    /// What the computation depends on.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Refuses a mixture that another tokenizer made; a model without one is taken at its word.
    pub fn check_tokenizer(&self, mixture: &Path, expected: Option<&str>) -> Result<(), Error> {
        let (Some(expected), Some(_)) = (expected, self.model.dir().find("tokenizer.json")) else { return Ok(()) };
        let actual = Tokenizer::from_dir(self.model.dir())?.content_hash().to_owned();
        if actual == expected {
            return Ok(());
        }
        Err(Error::bad_input(format!(
            "{}: it was made with another tokenizer than the model has (expected {expected}, the model's is {actual})\nhint: run `rasft-score mixture --model` with this model",
            mixture.display()
        )))
    }

    /// Refuses to begin what does not fit into memory, and warns of what may not.
    pub fn check_memory(&self, tokens: u64, activations: Activations) -> Result<(), Error> {
        let n = self.config.n_parameters() as u64;
        let (adapter, trained) = match &self.weights {
            Weights::Adapter(frozen) => {
                let shapes = rasft_model::lora::lora_shapes(&self.config, &frozen.lora);
                (true, shapes.iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum())
            }
            _ => (false, n),
        };
        let reference = self.reference.as_ref().map(|reference| memory::of_reference(reference.dir())).transpose()?;
        let none = Scalars { trained: 0, frozen: 0, half: 0 };
        let mut scalars = Scalars { trained, ..reference.unwrap_or(none) };
        match (self.options.dtype, adapter) {
            (WeightsDtype::Bf16, _) => scalars.half += n,
            (WeightsDtype::F32, true) => scalars.frozen += n,
            (WeightsDtype::F32, false) => {}
        }
        let mut need = MemoryNeed::of(&self.config, scalars, tokens, activations);
        if self.divergence {
            need = need.with_divergence(&self.config);
        }
        if self.options.device.is_cpu()
            && let Some(warning) = memory::check(
                &need,
                memory::available(),
                memory::Run { adapter, activations, dtype: self.options.dtype },
            )?
        {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// The trainer at the beginning of the run, or where it was left.
    pub fn trainer(&self, settings: &Settings, steps: u64, left: Option<&Left>) -> Result<Trainer, Error> {
        let before = match &self.continue_from {
            None => 0,
            Some(path) => {
                verify_files(path, &|_| true)?;
                read_place(path)?.step
            }
        };
        let params = settings.trainer(steps, before);
        self.model.verify()?;
        self.warn_of_rounding();
        let decoder = self.decoder(left)?;
        let optimizer: Option<AdamW> = match left.map(|left| &left.dir).or(self.continue_from.as_ref()) {
            None => None,
            Some(dir) => Some(load_state(dir, &decoder, params.adamw)?.0),
        };
        let own_reference = if params.objective.kl_weight().is_some() { decoder.without_adapter()? } else { None };
        let mut trainer = Trainer::new(decoder, params).with_seed(self.seed);
        if let Some(optimizer) = optimizer {
            trainer.restore(optimizer);
        }
        Ok(match (&self.reference, own_reference) {
            (Some(reference), _) => {
                let options = LoadOptions { device: self.options.device.clone(), ..LoadOptions::default() };
                reference.verify()?;
                trainer.with_reference(Decoder::load(reference.dir(), &options)?)?
            }
            (None, Some(base)) => trainer.with_reference(base)?,
            (None, None) => trainer,
        })
    }

    /// Says that the adapter learns over other values than those it will be put on.
    fn warn_of_rounding(&self) {
        if let Weights::Adapter(frozen) = &self.weights
            && self.options.dtype == WeightsDtype::Bf16
            && !self.merge
            && let Some(tensor) = super::rounding::first_rounded(frozen.base.weight_files(), 0)
        {
            tracing::warn!(
                "--dtype bf16 rounds the weights of {} ({tensor} and perhaps more): the adapter learns over the rounded ones, and whoever loads it puts it on those of the file; --merge writes the model that was trained, --dtype f32 trains over the weights as they are",
                frozen.base.path().display()
            );
        }
    }

    fn decoder(&self, left: Option<&Left>) -> Result<Decoder, Error> {
        let options = &self.options;
        Ok(match (&self.weights, left) {
            (Weights::Adapter(frozen), Some(left)) => {
                let Frozen { base, lora } = &**frozen;
                let adapter = Adapter::open(&left.dir)?;
                Decoder::load_with_adapter(base, lora, AdapterFrom::Files(&adapter), options)?
            }
            (Weights::Adapter(frozen), None) => {
                let Frozen { base, lora } = &**frozen;
                let from = self.model.dir().adapter().map_or(AdapterFrom::Seed(self.seed), AdapterFrom::Files);
                Decoder::load_with_adapter(base, lora, from, options)?
            }
            (_, Some(left)) => Decoder::load(&ModelDir::open(&left.dir)?, options)?,
            (Weights::Scratch, None) => Decoder::init(&self.config, self.seed, options)?,
            (Weights::All, None) => Decoder::load(self.model.dir(), options)?,
        })
    }

    /// Writes the finished checkpoint.
    pub fn save(&self, dir: &Path, trainer: &Trainer, place: &TrainerState, dtype: WeightsDtype) -> Result<(), Error> {
        let (decoder, source) = (trainer.decoder(), self.model.dir());
        if self.merge {
            return Ok(save_merged(dir, decoder, source, dtype, place)?);
        }
        Ok(save_checkpoint(dir, decoder, source, dtype, trainer.optimizer(), place)?)
    }

    /// Writes a checkpoint of the unfinished run, from which [`Start::trainer`] goes on to the last bit: weights as the
    /// passes read them, and the master copy, if there is one, with the moments.
    pub fn keep(&self, dir: &Path, trainer: &Trainer, place: &TrainerState) -> Result<(), Error> {
        let (decoder, source) = (trainer.decoder(), self.model.dir());
        let dtype = if decoder.has_master() { WeightsDtype::Bf16 } else { WeightsDtype::F32 };
        Ok(save_checkpoint(dir, decoder, source, dtype, trainer.optimizer(), place)?)
    }
}

/// Says that the f32 copy behind a checkpoint's bf16 weights is not taken over. The other way nothing is lost: f32
/// weights are the copy that a run with `--dtype bf16` begins with.
fn warn_of_master(path: &Path, settings: &Settings) {
    // What cannot be read is refused when the run begins.
    let Ok(place) = read_place(path) else { return };
    let had_master = place.params["dtype"] == "bf16" && place.params["lora"].is_null();
    if had_master && settings.dtype == WeightsDtype::F32 && settings.lora.is_none() {
        tracing::warn!(
            "--continue {}: it was trained with --dtype bf16, and the f32 copy of its weights is left behind: the run goes on from the rounded ones; give --dtype bf16 to go on from the copy",
            path.display()
        );
    }
}

/// The frozen base of an adapter run, named among the inputs so that the adapter can find it again.
fn adapted(ctx: &Ctx, job: &mut Job, model: &Policy, lora: &LoraConfig) -> Result<Weights, Error> {
    if let Some(file) = model.dir().gguf() {
        return Err(Error::usage(format!(
            "--lora: {} is a GGUF file, and an adapter needs a base model in the Hugging Face layout\nhint: give the directory that the file was made from, or leave --lora out to train the whole model",
            file.display()
        )));
    }
    let mut lora = lora.clone();
    if let Some(adapter) = model.dir().adapter() {
        lora.rank_stabilised = adapter.lora.rank_stabilised; // goes on as it began
        if !adapter.lora.is_same_map(&lora) {
            let LoraConfig { rank, alpha, dropout, targets, .. } = &adapter.lora;
            return Err(Error::usage(format!(
                "--lora: the adapter {} has {}, not {lora}\nhint: give --lora {rank} --lora-alpha {alpha} --lora-dropout {dropout} --lora-targets {}, or train the whole model without --lora and --continue",
                adapter.path.display(),
                adapter.lora,
                targets.join(",")
            )));
        }
    }
    let path = model.dir().base_path();
    let absolute =
        std::fs::canonicalize(path).map_err(|e| Error::runtime(format!("cannot resolve {}: {e}", path.display())))?;
    let base = Policy::identify(ModelDir::open(path)?, path, ctx.store)?;
    job.input(BASE, base.input_hash(), &absolute);
    Ok(Weights::Adapter(Box::new(Frozen { base: ModelDir::open(path)?, lora })))
}

/// Moments of an adapter go on with an adapter; warns when it is another one than they belong to.
fn check_continued(
    ctx: &Ctx,
    path: &Path,
    settings: &Settings,
    model: &Policy,
    model_path: &Path,
) -> Result<(), Error> {
    if !Adapter::is_at(path) {
        return Ok(());
    }
    let theirs = Adapter::open(path)?;
    let (path, model_path) = (path.display(), model_path.display());
    if settings.lora.is_none() {
        let LoraConfig { rank, alpha, dropout, targets, .. } = &theirs.lora;
        let targets = targets.join(",");
        return Err(Error::usage(format!(
            "--continue {path}: it is an adapter\nhint: give --lora {rank} --lora-alpha {alpha} --lora-dropout {dropout} --lora-targets {targets} --model {path}"
        )));
    }
    let weights = |adapter: &Adapter| ctx.store.file_hash(&adapter.path.join(ADAPTER_WEIGHTS));
    let other = match model.dir().adapter() {
        None => format!("a fresh adapter, because --model {model_path} is none"),
        Some(ours) if weights(ours)? != weights(&theirs)? => format!("another adapter, --model {model_path}"),
        Some(_) => return Ok(()),
    };
    tracing::warn!(
        "--continue {path}: its moments go on with {other}; --model {path} goes on with the one that was trained"
    );
    Ok(())
}

/// The hash under which a checkpoint's optimizer enters the key: its manifest's, or that of its files.
fn optimizer_hash(ctx: &Ctx, path: &Path) -> Result<String, Error> {
    for name in [STATE_FILE, TRAINER_FILE] {
        if !path.join(name).is_file() {
            return Err(Error::bad_input(format!(
                "--continue {}: there is no {name}\nhint: give a checkpoint directory that rasft-train wrote, without --merge, which leaves the moments behind",
                path.display()
            )));
        }
    }
    if path.join(MANIFEST_FILE).exists() {
        return Ok(ctx.store.input_ref(path)?.hash);
    }
    let mut names = super::file_names(path)?;
    names.retain(|name| name == TRAINER_FILE || name.ends_with(".safetensors"));
    let files: Vec<(String, PathBuf)> = names.iter().map(|name| (name.clone(), path.join(name))).collect();
    Ok(ctx.store.files_hash(&files)?)
}

//! A model as a stage sees it: a directory, its identity, and its weights when they are needed.

use crate::adapter::open_adapter;
use crate::{Ctx, Error, foreign};
use candle_core::Device;
use rasft_data::{DataError, MANIFEST_FILE, Manifest, hash_file};
use rasft_fs::FileLock;
use rasft_model::tokenizer::token_apart;
use rasft_model::{Decoder, LoadOptions, ModelDir, ModelError, gguf};
use rasft_store::Store;
use serde::Serializer;
use std::path::Path;

/// A model directory and the content hash of all its files.
pub struct Policy {
    dir: ModelDir,
    id: String,
    input_hash: String,
    /// Keeps files that lie in the store from `gc`.
    _held: Option<FileLock>,
}

impl Policy {
    /// Opens a model directory, an adapter on its base, a GGUF file or a model on the hub and hashes it (from the store's
    /// stat cache where nothing changed).
    pub fn open(path: &Path, ctx: &Ctx) -> Result<Self, Error> {
        Self::opened(path, ctx, |path| ModelDir::open(path))
    }

    /// As [`Policy::open`], for a directory that may have no weights yet.
    pub fn open_without_weights(path: &Path, ctx: &Ctx) -> Result<Self, Error> {
        Self::opened(path, ctx, |path| ModelDir::open_tokenizer_only(path))
    }

    /// As [`Policy::open`], for a policy that runs elsewhere: weights that are here count in its identity, none are needed.
    pub fn open_with_weights_at_hand(path: &Path, ctx: &Ctx) -> Result<Self, Error> {
        Self::opened(path, ctx, |path| ModelDir::open_with_weights_at_hand(path))
    }

    fn opened(path: &Path, ctx: &Ctx, directory: fn(&Path) -> Result<ModelDir, ModelError>) -> Result<Self, Error> {
        let path = &foreign::local(path, ctx)?;
        if gguf::is_gguf(path) {
            let (dir, held) = foreign::open_gguf(path, ctx)?;
            return Ok(Self { _held: Some(held), ..Self::identify(dir, path, ctx.store)? });
        }
        match open_adapter(path, ctx)? {
            Some(adapter) => Ok(adapter),
            None => Self::identify(directory(path)?, path, ctx.store),
        }
    }

    pub(crate) fn identify(dir: ModelDir, path: &Path, store: &Store) -> Result<Self, Error> {
        let id = store.files_hash(&dir.files_for_hash())?;
        // A checkpoint of ours is an input by its manifest, so that lineage finds what made it.
        let own = path.join(MANIFEST_FILE).exists();
        let input_hash = if own { store.input_ref(path)?.hash } else { id.clone() };
        Ok(Self { dir, id, input_hash, _held: None })
    }

    /// blake3 over names and contents of the model's files, 64 hex digits: the `policy_id` and `model_id` of the tables.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The hash under which the model enters keys and manifests.
    pub fn input_hash(&self) -> &str {
        &self.input_hash
    }

    /// The directory.
    pub fn dir(&self) -> &ModelDir {
        &self.dir
    }

    /// Checks every file of a checkpoint of ours against its manifest. Directories from elsewhere carry no hashes.
    pub fn verify(&self) -> Result<(), Error> {
        verify_files(self.dir.path(), &|_| true)?;
        if self.dir.adapter().is_some() { verify_files(self.dir.base_path(), &|_| true) } else { Ok(()) }
    }

    /// As [`Policy::verify`], for stages that only tokenise: the weights are not read.
    pub fn verify_text(&self) -> Result<(), Error> {
        verify_files(self.dir.path(), &|file| !file.ends_with(".safetensors"))
    }

    /// Refuses it, given as `path`, as the reference of `model` if their token ids mean different text: it would score other
    /// texts than were sampled.
    ///
    /// # Errors
    /// As said, or the tokenizer's file is damaged.
    pub fn check_reference_of(&self, model: &ModelDir, path: &Path) -> Result<(), Error> {
        self.verify_text()?;
        match token_apart(model, &self.dir)? {
            None => Ok(()),
            Some(token) => Err(Error::bad_input(format!(
                "--reference {}: its token ids mean other text than the model's (such as that of {token:?})\nhint: give a reference with the model's vocabulary, such as the checkpoint that the model was trained from",
                path.display()
            ))),
        }
    }

    /// Verifies the files and loads the weights for inference.
    pub fn load(&self, device: Option<&str>) -> Result<Decoder, Error> {
        self.verify()?;
        tracing::debug!("{}: loading weights", self.dir.path().display());
        Ok(Decoder::load(&self.dir, &LoadOptions { device: parse_device(device)?, ..LoadOptions::default() })?)
    }
}

/// Checks the files of a directory of ours that `which` asks for against its manifest; without one there is nothing to check.
pub fn verify_files(dir: &Path, which: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    if !dir.join(MANIFEST_FILE).exists() {
        return Ok(());
    }
    let manifest = Manifest::read(dir)?;
    for (file, _, expected) in manifest.all_files().filter(|(file, ..)| which(file)) {
        let file = dir.join(file);
        let actual = hash_file(&file)?;
        if actual != expected {
            let (expected, actual) = (format!("blake3 {expected}"), format!("blake3 {actual}"));
            return Err(DataError::Corrupt { file, expected, actual }.into());
        }
    }
    Ok(())
}

/// Whether the device is the CPU, which keys do not name: its kernels give the same bits on every machine.
pub(crate) fn on_cpu(device: &Option<String>) -> bool {
    device.as_deref().is_none_or(|name| name == "cpu")
}

/// What keys name of a device, `cuda` or `metal`: its sums may come out otherwise than the CPU's; which one of several it
/// is does not matter.
pub(crate) fn device_kind<S: Serializer>(device: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let name = device.as_deref().unwrap_or("cpu");
    serializer.serialize_str(name.split_once(':').map_or(name, |(kind, _)| kind))
}

/// `cpu`, `cuda[:i]` or `metal`; the CPU if nobody says.
pub fn parse_device(name: Option<&str>) -> Result<Device, Error> {
    rasft_model::device::parse(name.unwrap_or("cpu")).map_err(|e| Error::usage(format!("--device: {e}")))
}

//! A model as a stage sees it: a directory, its identity, and its weights when they are needed.

use crate::{Ctx, Error, foreign};
use candle_core::Device;
use rasft_data::{DataError, MANIFEST_FILE, Manifest, hash_file};
use rasft_model::{Decoder, LoadOptions, ModelDir, gguf};
use rasft_store::Store;
use std::path::Path;

/// A model directory and the content hash of all its files.
pub struct Policy {
    dir: ModelDir,
    id: String,
    input_hash: String,
}

impl Policy {
    /// Opens a model directory, a GGUF file or a model on the hub and hashes it (from the store's stat cache where nothing
    /// changed).
    pub fn open(path: &Path, ctx: &Ctx) -> Result<Self, Error> {
        let path = &foreign::local(path, ctx)?;
        if gguf::is_gguf(path) {
            return Self::identify(foreign::open_gguf(path, ctx)?, path, ctx.store);
        }
        Self::identify(ModelDir::open(path)?, path, ctx.store)
    }

    /// As [`Policy::open`], for a directory that may have no weights yet.
    pub fn open_without_weights(path: &Path, ctx: &Ctx) -> Result<Self, Error> {
        let path = &foreign::local(path, ctx)?;
        if gguf::is_gguf(path) {
            return Self::identify(foreign::open_gguf(path, ctx)?, path, ctx.store);
        }
        Self::identify(ModelDir::open_tokenizer_only(path)?, path, ctx.store)
    }

    fn identify(dir: ModelDir, path: &Path, store: &Store) -> Result<Self, Error> {
        let id = store.files_hash(&dir.files_for_hash())?;
        // A checkpoint of ours is an input by its manifest, so that lineage finds what made it.
        let own = path.join(MANIFEST_FILE).exists();
        let input_hash = if own { store.input_ref(path)?.hash } else { id.clone() };
        Ok(Self { dir, id, input_hash })
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
        let path = self.dir.path();
        if !path.join(MANIFEST_FILE).exists() {
            return Ok(());
        }
        let manifest = Manifest::read(path)?;
        for (file, _, expected) in manifest.all_files() {
            let file = path.join(file);
            let actual = hash_file(&file)?;
            if actual != expected {
                let (expected, actual) = (format!("blake3 {expected}"), format!("blake3 {actual}"));
                return Err(DataError::Corrupt { file, expected, actual }.into());
            }
        }
        Ok(())
    }

    /// Verifies the files and loads the weights for inference.
    pub fn load(&self, device: Option<&str>) -> Result<Decoder, Error> {
        self.verify()?;
        tracing::debug!("{}: loading weights", self.dir.path().display());
        Ok(Decoder::load(&self.dir, &LoadOptions { device: parse_device(device)?, ..LoadOptions::default() })?)
    }
}

/// `cpu`, `cuda[:i]` or `metal`; the CPU if nobody says.
pub fn parse_device(name: Option<&str>) -> Result<Device, Error> {
    rasft_model::device::parse(name.unwrap_or("cpu")).map_err(|e| Error::usage(format!("--device: {e}")))
}

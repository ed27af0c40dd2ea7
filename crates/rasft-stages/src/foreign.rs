//! Models that are no directory yet: `hf:ORG/NAME` is fetched into the hub's cache, a `.gguf` file gets the small files of
//! the Hugging Face layout beside it, in the store.
//!
//! Both enter keys by the content of their files, like any model: neither the name on the hub nor the path counts.

use crate::{Ctx, Error, Progress};
use rasft_data::{FileInfo, Manifest, hash_file};
use rasft_fs::FileLock;
use rasft_model::{ModelDir, gguf};
use rasft_remote::hub::{self, HubModel, Watch};
use rasft_store::{KeyParams, Staging};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the side files of GGUF files are kept in the store.
const GGUF_PLACE: &str = "gguf";

/// The path itself, or the snapshot of a model on the hub.
///
/// # Errors
/// The model is not there, not ours to read, or cannot be fetched.
pub fn local<'a>(path: &'a Path, ctx: &Ctx) -> Result<Cow<'a, Path>, Error> {
    let Some(name) = path.to_str().filter(|text| HubModel::is_meant(text)) else { return Ok(Cow::Borrowed(path)) };
    let model: HubModel = name.parse()?;
    match hub::fetch(&model, &ctx.hub, &Download { ctx }) {
        Ok(snapshot) => Ok(Cow::Owned(snapshot)),
        Err(_) if ctx.cancelled() => {
            Err(Error::Interrupted("what has been fetched is kept; the same command goes on from here".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// A GGUF file as a model directory, which `gc` leaves alone until the lock is dropped.
///
/// # Errors
/// The file is damaged, or holds a model or a tokenizer that this toolkit cannot run.
pub fn open_gguf(path: &Path, ctx: &Ctx) -> Result<(ModelDir, FileLock), Error> {
    if !path.is_file() {
        return Err(Error::bad_input(format!("{}: no such file\nhint: give a .gguf file as --model", path.display())));
    }
    let inputs = BTreeMap::from([("gguf".to_owned(), ctx.store.file_hash(path)?)]);
    let (stage, stage_version) = (GGUF_PLACE.to_owned(), gguf::SIDE_FILES_VERSION);
    let key = KeyParams { stage, stage_version, params: serde_json::Map::new(), inputs };
    let make = |staging: &Staging| -> Result<Manifest, Error> {
        let mut files = Vec::new();
        for file in gguf::write_side_files(path, staging.path())? {
            let written = staging.path().join(&file);
            let bytes = written.metadata().map_err(|e| Error::runtime(format!("{}: {e}", written.display())))?.len();
            files.push(FileInfo { blake3: hash_file(&written)?, file, bytes });
        }
        Ok(Manifest { schema: "model_text".into(), version: 1, files, ..Manifest::default() })
    };
    let held = ctx.store.in_use(GGUF_PLACE)?;
    let (entry, _) = ctx.store.get_or_make(GGUF_PLACE, &key, ctx.waiting_for(GGUF_PLACE), make)?;
    Ok((ModelDir::open_gguf(path, &entry.path)?, held))
}

/// Shows a download as progress, and ends it when the user wants to stop.
struct Download<'a, 'b> {
    ctx: &'a Ctx<'b>,
}

impl Watch for Download<'_, '_> {
    fn file(&self, name: &str, bytes: u64) {
        self.progress().start(&format!("fetching {name}"), bytes, "bytes");
    }

    fn advance(&self, bytes: u64) {
        self.progress().advance(bytes, "");
    }

    fn done(&self) {
        self.progress().finish();
    }

    fn keep_going(&self) -> bool {
        !self.ctx.cancelled()
    }
}

impl Download<'_, '_> {
    fn progress(&self) -> &dyn Progress {
        self.ctx.progress
    }
}

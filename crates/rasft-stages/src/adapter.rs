//! A PEFT adapter directory as a model: which base it stands on.
//!
//! The base is what `--base` says, else what `adapter_config.json` says if that is a directory, else what the manifest of an
//! adapter of ours remembers. An adapter of ours is never put on another base than its own.

use crate::policy::Policy;
use crate::{Ctx, Error, foreign};
use rasft_data::{InputRef, MANIFEST_FILE, Manifest};
use rasft_model::{Adapter, ModelDir};
use std::path::{Path, PathBuf};

/// Role of the base model among the inputs of an adapter of ours.
pub const BASE: &str = "base";

/// The adapter at `path` on its base; `None` if there is no adapter.
pub fn open_adapter(path: &Path, ctx: &Ctx) -> Result<Option<Policy>, Error> {
    if !Adapter::is_at(path) {
        return Ok(None);
    }
    let adapter = Adapter::open(path)?;
    let recorded = recorded(path)?;
    let base = base_of(path, &adapter, recorded.as_ref(), ctx)?;
    if let Some(expected) = recorded {
        let actual = Policy::identify(ModelDir::open(&base)?, &base, ctx.store)?;
        if actual.input_hash() != expected.hash {
            return Err(Error::bad_input(format!(
                "{}: {} is not the base model that this adapter was trained on (its hash is {}, expected {})\nhint: give the right one with --base",
                path.display(),
                base.display(),
                actual.input_hash(),
                expected.hash
            )));
        }
    }
    Policy::identify(ModelDir::open_adapter(path, &base)?, path, ctx.store).map(Some)
}

fn recorded(path: &Path) -> Result<Option<InputRef>, Error> {
    if !path.join(MANIFEST_FILE).exists() {
        return Ok(None);
    }
    Ok(Manifest::read(path)?.inputs.get(BASE).cloned())
}

fn base_of(path: &Path, adapter: &Adapter, recorded: Option<&InputRef>, ctx: &Ctx) -> Result<PathBuf, Error> {
    if let Some(base) = &ctx.base {
        return Ok(foreign::local(base, ctx)?.into_owned());
    }
    let named = adapter.base.as_ref().map(PathBuf::from);
    let beside = named.as_ref().map(|base| path.join(base));
    let remembered = recorded.and_then(|base| base.path.as_ref()).map(PathBuf::from);
    let tried: Vec<PathBuf> = [named, beside, remembered].into_iter().flatten().collect();
    tried.iter().find(|base| base.join("config.json").is_file()).cloned().ok_or_else(|| {
        let places = tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        let places = if places.is_empty() { "it names none".to_owned() } else { format!("looked at {places}") };
        Error::bad_input(format!(
            "{}: the base model of this adapter was not found ({places})\nhint: say where it is with --base",
            path.display()
        ))
    })
}

//! The small files of a model directory that we write.

use std::path::Path;

use serde_json::Value;

use crate::config::{DecoderConfig, read_json};
use crate::dir::ModelDir;
use crate::error::ModelError;
use crate::weights::WeightsDtype;

/// Files that describe the text side of a model and do not change when it is trained.
const COPIED: [&str; 5] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
];

/// Writes `config.json` and copies the text side of `source`.
///
/// The config is `source`'s own, so that fields this crate does not know survive, with the type of the weights changed.
pub(super) fn side_files(
    config: &DecoderConfig,
    dir: &Path,
    source: Option<&ModelDir>,
    dtype: WeightsDtype,
) -> Result<(), ModelError> {
    let mut json = match source {
        Some(source) => read_json(&source.base_path().join("config.json"))?,
        None => config.to_hf_json(),
    };
    if let Value::Object(fields) = &mut json {
        // transformers 5 calls the field `dtype`; a stale second one would contradict the weights.
        fields.remove("dtype");
        let word = if dtype == WeightsDtype::F32 { "float32" } else { "bfloat16" };
        fields.insert("torch_dtype".into(), word.into());
    }
    let text = format!("{json:#}\n");
    rasft_fs::write_atomic(&dir.join("config.json"), text.as_bytes())?;
    source.map_or(Ok(()), |source| text_files(dir, source))
}

/// Copies the text side of `source`.
pub(super) fn text_files(dir: &Path, source: &ModelDir) -> Result<(), ModelError> {
    for name in COPIED {
        if let Some(path) = source.find(name) {
            let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
            rasft_fs::write_atomic(&dir.join(name), &bytes)?;
        }
    }
    Ok(())
}

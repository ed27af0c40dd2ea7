//! GGUF files as model directories: the small files of the Hugging Face layout are written from the metadata, the weights
//! are read from the file itself and dequantised to f32.
//!
//! Invariant: what cannot be told from the metadata for certain (a sentencepiece vocabulary, an unknown pre-tokenizer, a
//! rope scaling without its numbers) is an error, never a guess. Absent on purpose: computing on quantised weights,
//! writing GGUF, files split in parts.

mod config;
mod metadata;
mod prescan;
mod tokenizer;
mod weights;

use std::path::Path;

use serde_json::{Value, json};

use crate::error::ModelError;
use metadata::Metadata;

pub(crate) use weights::load;

/// Raised whenever [`write_side_files`] writes other bytes for the same file.
pub const SIDE_FILES_VERSION: u32 = 1;

/// Whether a path names a GGUF file.
#[must_use]
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
}

/// Writes `config.json`, `generation_config.json`, `tokenizer.json` and `tokenizer_config.json` (with the chat template)
/// of a GGUF file into a directory, which must exist. Returns their names.
///
/// # Errors
/// The file is damaged, or holds a model or a tokenizer that this toolkit cannot run.
pub fn write_side_files(gguf: &Path, dir: &Path) -> Result<Vec<String>, ModelError> {
    let file = Metadata::read(gguf)?;
    let config = config::config(&file)?;
    let special = tokenizer::Special::read(&file, config.vocab_size)?;
    let mut config_json = config.to_hf_json();
    let ids = special.ids_json();
    if let (Value::Object(fields), Value::Object(ids)) = (&mut config_json, &ids) {
        fields.extend(ids.clone());
    }
    let files = [
        ("config.json", format!("{config_json:#}\n")),
        ("generation_config.json", format!("{ids:#}\n")),
        ("tokenizer.json", format!("{}\n", tokenizer::tokenizer_json(&file, &special)?)),
        ("tokenizer_config.json", format!("{:#}\n", tokenizer_config(&file, &special)?)),
    ];
    let mut names = Vec::new();
    for (name, text) in files {
        rasft_fs::write_atomic(&dir.join(name), text.as_bytes())?;
        names.push(name.to_owned());
    }
    Ok(names)
}

fn tokenizer_config(file: &Metadata, special: &tokenizer::Special) -> Result<Value, ModelError> {
    let mut json = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "model_max_length": file.number(&file.of_architecture("context_length"))?,
        "eos_token": special.text_of(special.eos),
    });
    let named = [("bos_token", special.bos), ("pad_token", special.pad), ("unk_token", special.unk)];
    for (name, id) in named {
        if let Some(id) = id {
            json[name] = special.text_of(id).into();
        }
    }
    if let Some(template) = file.text("tokenizer.chat_template")? {
        json["chat_template"] = template.into();
    }
    Ok(json)
}

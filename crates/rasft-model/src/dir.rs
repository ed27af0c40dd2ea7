//! A Hugging Face model directory: which files are there, which a stage needs, and which make up its identity.
//!
//! A checkpoint of ours has the same layout plus `_manifest.json`, which is not part of the model. A GGUF file is such a
//! directory too: its small files are written by [`crate::gguf`], its weights stay in the file. An adapter directory stands
//! on the directory of its base model: its own small files come first, the weights are the base's. Absent on purpose:
//! fetching (`hf:`), which is turned into such a directory before it comes here.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{DecoderConfig, read_json};
use crate::error::ModelError;
use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter};

/// Small files that identify a model, in the order they are hashed.
const SMALL_FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    INDEX,
];
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// Pickled files that trainers leave beside the weights.
const OF_TRAINING: [&str; 4] = ["training_args.bin", "optimizer.bin", "scheduler.bin", "scaler.bin"];

/// A model directory whose `config.json` and weights are in place.
#[derive(Debug, Clone)]
pub struct ModelDir {
    path: PathBuf,
    weights: Vec<PathBuf>,
    /// Weights in a format that is not read here, for the identity of a policy that runs elsewhere.
    unread: Vec<PathBuf>,
    indexed: bool,
    gguf: Option<PathBuf>,
    adapter: Option<(Adapter, PathBuf)>,
}

impl ModelDir {
    /// Looks at the directory and finds its weights; reads no tensor.
    ///
    /// # Errors
    /// The path is no directory, `config.json` or the weights are missing, or the index names absent files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let dir = Self::open_tokenizer_only(path)?;
        let mut found = Self { weights: Vec::new(), indexed: false, ..dir };
        found.need("config.json", "every stage", "give a Hugging Face model directory")?;
        found.find_weights()?;
        Ok(found)
    }

    /// As [`ModelDir::open`], but neither `config.json` nor weights have to be there: enough to tokenise.
    ///
    /// # Errors
    /// The path is no directory.
    pub fn open_tokenizer_only(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        if !path.is_dir() {
            let detail = if path.exists() { "is a file, expected a directory" } else { "does not exist" };
            let hint = "give a directory with config.json, tokenizer.json and model.safetensors, an adapter's, a .gguf file, or hf:ORG/NAME";
            return Err(ModelError::bad_file(path, detail, hint));
        }
        Ok(Self {
            path: path.to_path_buf(),
            weights: Vec::new(),
            unread: Vec::new(),
            indexed: false,
            gguf: None,
            adapter: None,
        })
    }

    /// As [`ModelDir::open_tokenizer_only`], with the weights if they are there; without safetensors, pickled ones (`*.bin`)
    /// count in the identity, though nothing here reads them.
    ///
    /// # Errors
    /// The path is no directory or cannot be listed, or some of its safetensors are there and others are not: the identity
    /// would be that of no model.
    pub fn open_with_weights_at_hand(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let bare = Self::open_tokenizer_only(path)?;
        let mut found = bare.clone();
        let Err(error) = found.find_weights() else { return Ok(found) };
        let is_shard = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("model") && name.ends_with(".safetensors")
        };
        if bare.files()?.iter().any(is_shard) {
            return Err(error);
        }
        let unread = bare.pickled()?;
        Ok(Self { unread, ..bare })
    }

    /// A GGUF file with the directory that [`crate::gguf::write_side_files`] has filled from it.
    ///
    /// # Errors
    /// The directory is none, or is empty.
    pub fn open_gguf(gguf: impl AsRef<Path>, side_files: impl AsRef<Path>) -> Result<Self, ModelError> {
        let dir = Self::open_tokenizer_only(side_files)?;
        dir.need("config.json", "every stage", "write the side files of the GGUF file first")?;
        Ok(Self { gguf: Some(gguf.as_ref().to_path_buf()), ..dir })
    }

    /// The GGUF file that holds the weights, if one does.
    #[must_use]
    pub fn gguf(&self) -> Option<&Path> {
        self.gguf.as_deref()
    }

    /// An adapter directory on the model directory of its base.
    ///
    /// # Errors
    /// As [`ModelDir::open`] for the base and [`Adapter::open`] for the adapter.
    pub fn open_adapter(path: impl AsRef<Path>, base: impl AsRef<Path>) -> Result<Self, ModelError> {
        let adapter = Adapter::open(path.as_ref())?;
        let base = Self::open(base)?;
        Ok(Self { path: adapter.path.clone(), adapter: Some((adapter, base.path)), ..base })
    }

    /// The adapter, if this is one on its base.
    #[must_use]
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref().map(|(adapter, _)| adapter)
    }

    /// Where the weights and `config.json` are: the directory itself, or that of an adapter's base.
    #[must_use]
    pub fn base_path(&self) -> &Path {
        self.adapter.as_ref().map_or(&self.path, |(_, base)| base)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The safetensors files, in the order of their names.
    #[must_use]
    pub fn weight_files(&self) -> &[PathBuf] {
        &self.weights
    }

    /// The shard index, if the weights are sharded.
    #[must_use]
    pub fn weight_index(&self) -> Option<PathBuf> {
        self.indexed.then(|| self.base_path().join(INDEX))
    }

    /// The resolved configuration.
    ///
    /// # Errors
    /// See [`DecoderConfig::from_files`].
    pub fn config(&self) -> Result<DecoderConfig, ModelError> {
        DecoderConfig::from_files(&self.base_path().join("config.json"), self.find("generation_config.json").as_deref())
    }

    /// The path of a small file, if it is there.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let places = [self.path.as_path(), self.base_path()];
        places.iter().map(|place| place.join(name)).find(|path| path.is_file())
    }

    /// The path of `tokenizer.json`.
    ///
    /// # Errors
    /// It is missing; `stage` says who needs it.
    pub fn require_tokenizer(&self, stage: &str) -> Result<PathBuf, ModelError> {
        let hint = "convert the slow tokenizer with transformers' AutoTokenizer(...).save_pretrained";
        self.need("tokenizer.json", &format!("{stage} (to tokenise text)"), hint)
    }

    /// The source of the chat template and the file it stands in.
    ///
    /// # Errors
    /// Neither `chat_template.jinja` nor a `chat_template` in `tokenizer_config.json` is there; `stage` says who needs it.
    pub fn require_template(&self, stage: &str) -> Result<(String, PathBuf), ModelError> {
        self.template()?.ok_or_else(|| ModelError::Missing {
            dir: self.path.clone(),
            missing: "chat_template.jinja or a chat_template in tokenizer_config.json".into(),
            needed_for: format!("{stage} (to write prompts as the model was taught)").into(),
            hint: "a base model has none: choose the built-in ChatML template, or add chat_template.jinja".into(),
        })
    }

    /// The chat template, if the model has one.
    ///
    /// `tokenizer_config.json` may hold one text or a list of named ones, of which `default` counts.
    ///
    /// # Errors
    /// A file is there but unreadable.
    pub fn template(&self) -> Result<Option<(String, PathBuf)>, ModelError> {
        if let Some(path) = self.find("chat_template.jinja") {
            let text = std::fs::read_to_string(&path).map_err(ModelError::io(&path))?;
            return Ok(Some((text, path)));
        }
        let Some(path) = self.find("tokenizer_config.json") else { return Ok(None) };
        let json = read_json(&path)?;
        let text = match json.get("chat_template") {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Array(named)) => named
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
                .and_then(|entry| entry.get("template").and_then(Value::as_str))
                .map(str::to_owned),
            _ => None,
        };
        Ok(text.map(|t| (t, path)))
    }

    /// Every file the model's identity depends on, as (name, path), in a fixed order: the small files, then the weights.
    #[must_use]
    pub fn files_for_hash(&self) -> Vec<(String, PathBuf)> {
        let mut files: Vec<(String, PathBuf)> = SMALL_FILES
            .iter()
            .filter(|name| **name != INDEX || self.indexed)
            .filter_map(|name| self.find(name).map(|path| ((*name).to_owned(), path)))
            .collect();
        for path in &self.weights {
            let name = path.strip_prefix(self.base_path()).unwrap_or(path).to_string_lossy().into_owned();
            files.push((name, path.clone()));
        }
        files.extend(self.unread.iter().map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, path.clone())
        }));
        files.extend(self.gguf.iter().map(|path| ("model.gguf".to_owned(), path.clone())));
        if let Some(adapter) = self.adapter() {
            files.extend([ADAPTER_CONFIG, ADAPTER_WEIGHTS].map(|name| (name.to_owned(), adapter.path.join(name))));
        }
        files
    }

    fn need(&self, name: &str, needed_for: &str, hint: &str) -> Result<PathBuf, ModelError> {
        self.find(name).ok_or_else(|| ModelError::Missing {
            dir: self.path.clone(),
            missing: name.into(),
            needed_for: needed_for.into(),
            hint: hint.into(),
        })
    }

    /// Files of weights that another program would load, sorted.
    fn pickled(&self) -> Result<Vec<PathBuf>, ModelError> {
        let is_weights = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".bin") && !OF_TRAINING.contains(&&*name)
        };
        Ok(self.files()?.into_iter().filter(is_weights).collect())
    }

    /// Files of the directory, sorted.
    fn files(&self) -> Result<Vec<PathBuf>, ModelError> {
        let listed = std::fs::read_dir(&self.path).map_err(ModelError::io(&self.path))?;
        let paths = listed.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
        let mut files: Vec<PathBuf> =
            paths.map_err(ModelError::io(&self.path))?.into_iter().filter(|path| path.is_file()).collect();
        files.sort();
        Ok(files)
    }

    fn find_weights(&mut self) -> Result<(), ModelError> {
        if let Some(single) = self.find(SINGLE) {
            self.weights = vec![single];
            return Ok(());
        }
        if let Some(index) = self.find(INDEX) {
            self.weights = self.indexed_files(&index)?;
            self.indexed = true;
            return Ok(());
        }
        let other = ["adapter_config.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
        let hint = match other.into_iter().find(|name| self.find(name).is_some()) {
            Some("adapter_config.json") => "this is a PEFT adapter: say where its base model is with --base",
            Some(_) => "these are pickled weights: save the model again with safe_serialization=True",
            None => "give a Hugging Face model directory with safetensors weights",
        };
        let missing = format!("{SINGLE} or {INDEX}");
        self.need(&missing, "every stage that runs the model", hint).map(|_| ())
    }

    fn indexed_files(&self, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
        let json = read_json(index)?;
        let map = json
            .get("weight_map")
            .and_then(Value::as_object)
            .ok_or_else(|| ModelError::bad_file(index, "has no weight_map object", "fetch the index again"))?;
        let mut names: Vec<&str> = Vec::new();
        for (tensor, file) in map {
            let plain = |name: &&str| !name.is_empty() && !name.contains(['/', '\\']) && *name != "..";
            let file = file.as_str().filter(plain).ok_or_else(|| {
                ModelError::bad_file(
                    index,
                    format!("weight_map.{tensor} is not a plain file name"),
                    "fetch the index again",
                )
            })?;
            names.push(file);
        }
        names.sort_unstable();
        names.dedup();
        let hint = "fetch the missing shard again";
        names.into_iter().map(|name| self.need(name, INDEX, hint)).collect()
    }
}

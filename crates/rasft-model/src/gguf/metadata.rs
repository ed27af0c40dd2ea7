//! The header of a GGUF file: typed look-ups that name the file and the key when something is wrong.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value};

use crate::error::ModelError;

use super::prescan::has_zero_alignment;

/// A parsed header.
pub(super) struct Metadata {
    pub path: PathBuf,
    pub content: Content,
    architecture: String,
}

impl Metadata {
    /// Reads the header; no tensor.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(ModelError::io(path))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        if has_zero_alignment(&mut reader) {
            return Err(ModelError::bad_file(path, "general.alignment is 0", "fetch the file again"));
        }
        reader.rewind().map_err(ModelError::io(path))?;
        let content = Content::read(&mut reader).map_err(|e| {
            let hint = "fetch the file again; of quantised types, f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 and q2_k to q8_k are read";
            ModelError::corrupt(path, format!("not a whole GGUF file: {}", first_line(&e)), hint)
        })?;
        let mut file = Self { path: path.to_path_buf(), content, architecture: String::new() };
        file.architecture = file.text("general.architecture")?.ok_or_else(|| file.missing("general.architecture"))?;
        if file.optional_number("split.count")?.is_some_and(|n| n > 1) {
            let hint = "merge the parts with `llama-gguf-split --merge`";
            return Err(ModelError::unsupported(path, "split.count", "more than one part", "1", hint));
        }
        Ok(file)
    }

    /// `llama`, `qwen2`, …
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// A key below the architecture's own prefix.
    pub fn of_architecture(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key))
    }

    /// A whole number that may be absent. Some writers repeat it for every layer: then all must be the same.
    pub fn optional_number(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let whole = |value: &Value| match value {
            Value::U8(n) => Some(usize::from(*n)),
            Value::U16(n) => Some(usize::from(*n)),
            Value::U32(n) => Some(*n as usize),
            Value::U64(n) => usize::try_from(*n).ok(),
            Value::I32(n) => usize::try_from(*n).ok(),
            Value::I64(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        let found = match value {
            Value::Array(all) => {
                let mut all = all.iter().map(whole);
                let first = all.next().flatten();
                if all.all(|n| n == first) { first } else { None }
            }
            one => whole(one),
        };
        found.map(Some).ok_or_else(|| self.wrong(key, "one whole number"))
    }

    /// A fraction, as the shortest decimal that reads back as the same f32: 1e-5 and not 9.9999997e-6.
    pub fn optional_fraction(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(x)) if x.is_finite() => Ok(format!("{x}").parse().ok()),
            Some(Value::F64(x)) if x.is_finite() => Ok(Some(*x)),
            Some(_) => Err(self.wrong(key, "a finite number")),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, ModelError> {
        fn text(value: &Value) -> Option<&str> {
            if let Value::String(text) = value { Some(text) } else { None }
        }
        let Some(Value::Array(list)) = self.get(key) else { return Err(self.missing(key)) };
        list.iter().map(text).collect::<Option<_>>().ok_or_else(|| self.wrong(key, "a list of texts"))
    }

    /// A list of whole numbers, empty if absent.
    pub fn numbers(&self, key: &str) -> Result<Vec<i64>, ModelError> {
        let number = |value: &Value| match value {
            Value::I32(n) => Some(i64::from(*n)),
            Value::U32(n) => Some(i64::from(*n)),
            Value::I64(n) => Some(*n),
            _ => None,
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                list.iter().map(number).collect::<Option<_>>().ok_or_else(|| self.wrong(key, "a list of whole numbers"))
            }
            Some(_) => Err(self.wrong(key, "a list of whole numbers")),
        }
    }

    pub fn missing(&self, key: &str) -> ModelError {
        ModelError::bad_file(&self.path, format!("has no {key}"), "is this the GGUF file of a language model?")
    }

    pub fn wrong(&self, key: &str, expected: &str) -> ModelError {
        ModelError::bad_file(&self.path, format!("{key} is not {expected}"), "convert the model to GGUF again")
    }
}

/// candle appends a backtrace to some of its errors.
pub(super) fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

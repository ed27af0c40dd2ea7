//! `_manifest.json`: what a data set is made of and what it was made from.
//!
//! The content hash covers everything but `run` and the input paths, which may differ between machines. The file
//! carries it too, so a damaged manifest is noticed like a damaged shard.

use crate::canonical::{hash_value, sorted};
use crate::error::DataError;
use crate::hash::hash_file;
use rasft_fs::{FsError, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Name of the manifest in a data set's directory.
pub const MANIFEST_FILE: &str = "_manifest.json";

/// Version of the manifest's own layout.
const FORMAT: u64 = 1;

/// One Parquet shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// Name in the directory.
    pub file: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// blake3, 64 hex digits.
    pub blake3: String,
}

/// One file that is not a shard: model weights, rejects, a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Path relative to the directory, `/` between its parts.
    pub file: String,
    /// Bytes.
    pub bytes: u64,
    /// blake3, 64 hex digits.
    pub blake3: String,
}

impl FileInfo {
    /// Measures and hashes `dir/file`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(dir: &Path, file: &str) -> Result<Self, DataError> {
        let path = dir.join(file);
        let bytes = std::fs::metadata(&path).map_err(FsError::on("read", &path))?.len();
        Ok(Self { file: file.to_owned(), bytes, blake3: hash_file(&path)? })
    }
}

/// One input, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRef {
    /// Content hash.
    pub hash: String,
    /// Where it was, for people; outside the content hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Where the rows went: `n_in` rows came, `n_out` left, the others were rejected for a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub n_in: u64,
    /// Rows written.
    pub n_out: u64,
    /// Rows rejected, by reason.
    #[serde(default)]
    pub n_rejected: BTreeMap<String, u64>,
}

/// The manifest of a data set or of any other entry of the store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Table name, or what else it is (`checkpoint`).
    pub schema: String,
    /// Version of the schema.
    pub version: u32,
    /// The stage that made it.
    pub stage: String,
    /// The key it was made under.
    pub key: String,
    /// The Parquet shards in order.
    pub shards: Vec<ShardInfo>,
    /// Other files.
    #[serde(default)]
    pub files: Vec<FileInfo>,
    /// The parameters that shaped it.
    #[serde(default)]
    pub params: Value,
    /// What it was made from.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputRef>,
    /// Row counts, where the stage can reject rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Figures for people and later stages.
    #[serde(default)]
    pub summary: Value,
    /// Times, hosts, paths: outside the content hash.
    #[serde(default)]
    pub run: Value,
}

impl Manifest {
    /// blake3 over everything but `run` and the input paths.
    ///
    /// # Errors
    /// When a part cannot be written as JSON.
    pub fn content_hash(&self) -> Result<String, DataError> {
        Ok(hash_value(&hashed_part(self.to_value()?)))
    }

    /// Rows of all shards.
    pub fn n_rows(&self) -> u64 {
        self.shards.iter().map(|s| s.rows).sum()
    }

    /// Every file the manifest answers for: relative name, bytes, blake3.
    pub fn all_files(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        let shards = self.shards.iter().map(|s| (s.file.as_str(), s.bytes, s.blake3.as_str()));
        shards.chain(self.files.iter().map(|f| (f.file.as_str(), f.bytes, f.blake3.as_str())))
    }

    /// Writes `dir/_manifest.json`, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        let mut value = self.to_value()?;
        value["content_hash"] = self.content_hash()?.into();
        let text = format!("{:#}\n", sorted(&value));
        Ok(write_atomic(&dir.join(MANIFEST_FILE), text.as_bytes())?)
    }

    /// Reads `dir/_manifest.json` and checks it against the hash it carries.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or has a layout this program does not know.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = std::fs::read(&path).map_err(FsError::on("read", &path))?;
        Self::parse(&path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let corrupt = |expected: &str, actual: String| DataError::Corrupt {
            file: path.to_owned(),
            expected: expected.to_owned(),
            actual,
        };
        let value: Value = serde_json::from_slice(bytes).map_err(|e| corrupt("a JSON manifest", e.to_string()))?;
        match value["format"].as_u64() {
            Some(FORMAT) => {}
            found => {
                return Err(DataError::UnknownVersion {
                    file: path.to_owned(),
                    table: "manifest".to_owned(),
                    found: found.map_or("no format".to_owned(), |f| format!("manifest/{f}")),
                    known: FORMAT as u32,
                    hint: "another version of this toolkit wrote it: use that version, or make the data set again",
                });
            }
        }
        let carried = value["content_hash"].as_str().unwrap_or("none").to_owned();
        let manifest: Self =
            serde_json::from_value(value.clone()).map_err(|e| corrupt("the fields of a manifest", e.to_string()))?;
        let actual = hash_value(&hashed_part(value));
        if carried != actual {
            return Err(corrupt(&format!("content hash {carried}"), actual));
        }
        if let Some((file, ..)) = manifest.all_files().find(|(file, ..)| !stays_inside(file)) {
            return Err(corrupt("file names inside the data set", format!("{file:?}")));
        }
        Ok(manifest)
    }

    /// Checks, without reading any, that every file is there with its size.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] for the first that is not.
    pub fn check_sizes(&self, dir: &Path) -> Result<(), DataError> {
        self.all_files().try_for_each(|(file, bytes, blake3)| check_size(&dir.join(file), bytes, blake3))
    }

    fn to_value(&self) -> Result<Value, DataError> {
        let mut value = serde_json::to_value(self)
            .map_err(|e| DataError::Write { file: PathBuf::from(MANIFEST_FILE), detail: e.to_string() })?;
        value["format"] = FORMAT.into();
        Ok(value)
    }
}

/// One file's size against its manifest.
pub(crate) fn check_size(path: &Path, bytes: u64, blake3: &str) -> Result<(), DataError> {
    let actual = match std::fs::metadata(path) {
        Ok(meta) if meta.len() == bytes => return Ok(()),
        Ok(meta) => format!("{} bytes", meta.len()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "no such file".to_owned(),
        Err(e) => return Err(FsError::on("read", path)(e).into()),
    };
    Err(DataError::Corrupt { file: path.to_owned(), expected: format!("{bytes} bytes, blake3 {blake3}"), actual })
}

/// The manifest without what may differ between machines.
fn hashed_part(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.remove("run");
        map.remove("content_hash");
    }
    for input in value["inputs"].as_object_mut().into_iter().flat_map(|inputs| inputs.values_mut()) {
        if let Some(input) = input.as_object_mut() {
            input.remove("path");
        }
    }
    value
}

fn stays_inside(file: &str) -> bool {
    !file.is_empty() && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use serde_json::json;

    fn sample() -> Manifest {
        Manifest {
            schema: "problems".to_owned(),
            version: 1,
            stage: "import".to_owned(),
            key: "ab".repeat(32),
            shards: vec![ShardInfo {
                file: "part-00000.parquet".to_owned(),
                rows: 2,
                bytes: 9,
                blake3: "cd".repeat(32),
            }],
            params: json!({"seed": 42, "fraction": 0.1}),
            inputs: BTreeMap::from([(
                "in".to_owned(),
                InputRef { hash: "ef".to_owned(), path: Some("/a".to_owned()) },
            )]),
            counts: Some(Counts { n_in: 3, n_out: 2, n_rejected: BTreeMap::from([("empty".to_owned(), 1)]) }),
            summary: json!({"mean": 0.25}),
            run: json!({"host": "a"}),
            ..Manifest::default()
        }
    }

    #[test]
    fn survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        sample().write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), sample());
    }

    #[test]
    fn hash_covers_everything_but_run_and_input_paths() {
        let hash = |edit: &dyn Fn(&mut Manifest)| {
            let mut m = sample();
            edit(&mut m);
            m.content_hash().unwrap()
        };
        let base = hash(&|_| {});
        assert_eq!(base, hash(&|m| m.run = json!({"host": "b"})));
        assert_eq!(base, hash(&|m| m.inputs.get_mut("in").unwrap().path = None));
        let edits: [&dyn Fn(&mut Manifest); 10] = [
            &|m| m.schema.push('x'),
            &|m| m.version = 2,
            &|m| m.stage.push('x'),
            &|m| m.key.push('x'),
            &|m| m.shards[0].blake3.push('x'),
            &|m| m.files.push(FileInfo { file: "f".to_owned(), bytes: 0, blake3: String::new() }),
            &|m| m.params["seed"] = json!(43),
            &|m| m.inputs.get_mut("in").unwrap().hash.push('x'),
            &|m| m.counts = None,
            &|m| m.summary = json!({}),
        ];
        for (i, edit) in edits.iter().enumerate() {
            assert_ne!(base, hash(*edit), "edit {i}");
        }
    }

    #[test]
    fn damage_is_corruption() {
        let dir = tempfile::tempdir().unwrap();
        sample().write(dir.path()).unwrap();
        let path = dir.path().join(MANIFEST_FILE);
        let good = std::fs::read(&path).unwrap();
        let text = String::from_utf8(good.clone()).unwrap();
        for bad in [
            good[..good.len() / 2].to_vec(),
            text.replace("42", "43").into_bytes(),
            text.replace("part-", "../p-").into_bytes(),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(Manifest::read(dir.path()).unwrap_err().class(), Class::Corrupt);
        }
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        std::fs::write(&path, newer).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert_eq!(error.class(), Class::BadInput);
        assert!(error.to_string().contains("another version"), "{error}");
    }
}

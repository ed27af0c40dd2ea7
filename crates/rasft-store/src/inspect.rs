//! Looking into the store: list, show, verify.

use crate::entry::{Entry, KEY_FILE, files_below, read_manifest};
use crate::error::StoreError;
use crate::key::{Key, KeyParams};
use crate::store::Store;
use rasft_data::{DataError, MANIFEST_FILE, Manifest, hash_file};
use rasft_fs::FsError;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// One line of `ls`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// Stage, or stage and part.
    pub place: String,
    /// Key.
    pub key: Key,
    /// Table name, or what else it is.
    pub schema: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Its directory.
    pub path: PathBuf,
    /// What is wrong with it, if it cannot be used.
    pub problem: Option<String>,
}

/// All that is known of one entry.
#[derive(Debug, Clone)]
pub struct Details {
    /// The entry.
    pub entry: Entry,
    /// What its key was made of.
    pub params: KeyParams,
}

/// A file that is not what its writer left.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CorruptFile {
    /// The file.
    pub file: PathBuf,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub actual: String,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Entries looked at.
    pub entries: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Every damaged file, sorted by name.
    pub corrupt: Vec<CorruptFile>,
}

impl Store {
    /// Every entry, by place, then key.
    ///
    /// # Errors
    /// When a directory cannot be listed. Damaged entries are listed with their problem.
    pub fn ls(&self) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        for place in self.places()? {
            for key in self.keys(&place)? {
                all.push(self.listed(&place, key)?);
            }
        }
        Ok(all)
    }

    /// The entry behind a data set's path, an entry's path, or the beginning of a key or of a content hash, which is what
    /// `lineage` prints.
    ///
    /// # Errors
    /// None or several fit, or the entry is damaged.
    pub fn show(&self, what: &str) -> Result<Details, StoreError> {
        let (place, key) = self.find(what)?;
        let entry = self.lookup(&place, &key)?.ok_or_else(|| StoreError::NoSuchEntry { what: what.to_owned() })?;
        Ok(Details { params: entry.key_params()?, entry })
    }

    /// Reads every file of every entry and compares its hash with the manifest's.
    ///
    /// # Errors
    /// When a directory cannot be listed or a file cannot be read; damage is in the result.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let mut total = Verified::default();
        for place in self.places()? {
            for key in self.keys(&place)? {
                total.entries += 1;
                self.verify_entry(&place, &key, &mut total)?;
            }
        }
        total.corrupt.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(total)
    }

    fn verify_entry(&self, place: &str, key: &Key, total: &mut Verified) -> Result<(), StoreError> {
        let path = self.entry_path(place, key)?;
        note(KeyParams::read(&path.join(KEY_FILE), key), &path.join(KEY_FILE), total)?;
        let Some(manifest) = note(read_manifest(&path, key), &path.join(MANIFEST_FILE), total)? else { return Ok(()) };
        let files: Vec<(&str, u64, &str)> = manifest.all_files().collect();
        let checked: Vec<Result<u64, StoreError>> = files.par_iter().map(|file| check_file(&path, *file)).collect();
        for ((name, ..), result) in files.iter().zip(checked) {
            total.files += 1;
            total.bytes += note(result, &path.join(name), total)?.unwrap_or(0);
        }
        for file in files_below(&path)? {
            let own = file == Path::new(KEY_FILE) || file == Path::new(MANIFEST_FILE);
            if !own && files.iter().all(|(name, ..)| Path::new(name) != file) {
                let expected = "a file that the manifest lists".to_owned();
                total.corrupt.push(CorruptFile { file: path.join(file), expected, actual: "it does not".to_owned() });
            }
        }
        Ok(())
    }

    /// Stages, and stages with a part, that hold entries.
    pub(crate) fn places(&self) -> Result<Vec<String>, StoreError> {
        let mut places = Vec::new();
        for stage in directories(self.root())? {
            if stage.starts_with('_') {
                continue;
            }
            places.push(stage.clone());
            let parts = directories(&self.root().join(&stage))?;
            places.extend(parts.iter().filter(|p| Key::parse(p).is_err()).map(|part| format!("{stage}/{part}")));
        }
        Ok(places)
    }

    /// Keys of a place, sorted.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn keys(&self, place: &str) -> Result<Vec<Key>, StoreError> {
        Ok(directories(&self.root().join(place))?.iter().filter_map(|name| Key::parse(name).ok()).collect())
    }

    /// Place and key behind a path or the beginning of a key; what begins no key may begin a content hash.
    pub(crate) fn find(&self, what: &str) -> Result<(String, Key), StoreError> {
        let path = Path::new(what);
        let dir = if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path };
        if dir.join(MANIFEST_FILE).is_file() {
            let manifest = Manifest::read(dir)?;
            return Ok((manifest.stage, Key::parse(&manifest.key)?));
        }
        let mut fits = Vec::new();
        for place in self.places()? {
            let keys = self.keys(&place)?;
            fits.extend(
                keys.into_iter()
                    .filter(|k| !what.is_empty() && k.as_str().starts_with(what))
                    .map(|k| (place.clone(), k)),
            );
        }
        if fits.is_empty() && !what.is_empty() {
            fits = self.index()?.beginning_with(what);
        }
        match fits.len() {
            0 => Err(StoreError::NoSuchEntry { what: what.to_owned() }),
            1 => Ok(fits.remove(0)),
            _ => {
                let keys = fits.iter().map(|(_, key)| key.to_string()).collect();
                Err(StoreError::Ambiguous { prefix: what.to_owned(), keys })
            }
        }
    }

    pub(crate) fn listed(&self, place: &str, key: Key) -> Result<Listed, StoreError> {
        let path = self.entry_path(place, &key)?;
        let (schema, rows, bytes, problem) = match Entry::read(path.clone(), place, &key) {
            Ok(entry) => (entry.manifest.schema.clone(), entry.rows(), entry.bytes(), None),
            Err(e) => ("?".to_owned(), 0, 0, Some(e.to_string())),
        };
        Ok(Listed { place: place.to_owned(), key, schema, rows, bytes, path, problem })
    }
}

/// Notes damage and a missing file; passes other failures on.
fn note<V>(result: Result<V, StoreError>, file: &Path, total: &mut Verified) -> Result<Option<V>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Data(DataError::Corrupt { file, expected, actual })) => {
            total.corrupt.push(CorruptFile { file, expected, actual });
            Ok(None)
        }
        Err(_) if !file.exists() => {
            let (expected, actual) = ("a file".to_owned(), "no such file".to_owned());
            total.corrupt.push(CorruptFile { file: file.to_owned(), expected, actual });
            Ok(None)
        }
        Err(StoreError::Data(DataError::UnknownVersion { file, found, .. })) => {
            total.corrupt.push(CorruptFile { file, expected: "a manifest of this version".to_owned(), actual: found });
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn check_file(dir: &Path, (name, bytes, blake3): (&str, u64, &str)) -> Result<u64, StoreError> {
    let file = dir.join(name);
    let actual = hash_file(&file)?;
    if actual == blake3 {
        return Ok(bytes);
    }
    let expected = format!("blake3 {blake3}");
    Err(DataError::Corrupt { file, expected, actual: format!("blake3 {actual}") }.into())
}

/// Names of the directories in `dir`, sorted; none when it does not exist.
pub(crate) fn directories(dir: &Path) -> Result<Vec<String>, StoreError> {
    let on = || FsError::on("list", dir);
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(on())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(on())?;
        if entry.file_type().map_err(on())?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

//! One entry of the store, and the directory in which one is being made.

use crate::error::StoreError;
use crate::key::{Key, KeyParams};
use rasft_data::{DataError, DataSet, MANIFEST_FILE, Manifest, ShardInfo, hash_file};
use rasft_fs::{FileLock, FsError, link_or_copy, remove_tree};
use std::path::{Path, PathBuf};

/// Name of the sidecar that holds an entry's [`KeyParams`].
pub const KEY_FILE: &str = "_key.json";

/// A finished result.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its directory.
    pub path: PathBuf,
    /// Where in the store: `stage` or `stage/part`.
    pub place: String,
    /// Its key.
    pub key: Key,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Entry {
    /// Reads the manifest in `path` and checks that every file is there with its size.
    pub(crate) fn read(path: PathBuf, place: &str, key: &Key) -> Result<Self, StoreError> {
        let manifest = read_manifest(&path, key)?;
        manifest.check_sizes(&path)?;
        Ok(Self { path, place: place.to_owned(), key: key.clone(), manifest })
    }

    /// The entry as a data set.
    ///
    /// # Errors
    /// When a shard is gone or cut short.
    pub fn data_set(&self) -> Result<DataSet, StoreError> {
        Ok(DataSet::open(&self.path)?)
    }

    /// What other entries call this one as an input.
    ///
    /// # Errors
    /// When the manifest cannot be written as JSON.
    pub fn content_hash(&self) -> Result<String, StoreError> {
        Ok(self.manifest.content_hash()?)
    }

    /// The parameters behind the key.
    ///
    /// # Errors
    /// When the sidecar is gone or damaged.
    pub fn key_params(&self) -> Result<KeyParams, StoreError> {
        KeyParams::read(&self.path.join(KEY_FILE), &self.key)
    }

    /// Rows of all shards.
    pub fn rows(&self) -> u64 {
        self.manifest.n_rows()
    }

    /// Bytes of all files that the manifest lists.
    pub fn bytes(&self) -> u64 {
        self.manifest.all_files().map(|(_, bytes, _)| bytes).sum()
    }
}

/// The manifest of the entry `key`; one of another key, or none at all, is damage.
pub(crate) fn read_manifest(path: &Path, key: &Key) -> Result<Manifest, StoreError> {
    let file = path.join(MANIFEST_FILE);
    let corrupt = |actual: String| DataError::Corrupt {
        file: file.clone(),
        expected: format!("the manifest of key {key}"),
        actual,
    };
    if !file.exists() {
        return Err(corrupt("no such file".to_owned()).into());
    }
    let manifest = Manifest::read(path)?;
    if manifest.key != key.as_str() {
        return Err(corrupt(format!("the manifest of key {}", manifest.key)).into());
    }
    Ok(manifest)
}

/// A private directory in which an entry is made; dropped before publication, it is removed.
#[derive(Debug)]
pub struct Staging {
    pub(crate) path: PathBuf,
    pub(crate) place: String,
    pub(crate) params: KeyParams,
    pub(crate) key: Key,
    // Held while we live: `gc` takes a directory whose lock is free for a dead process's.
    pub(crate) lock: Option<FileLock>,
}

impl Staging {
    /// Where to write the files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key being made.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Takes a shard of another entry over under the name `file`, by hard link: how a data set is put together from
    /// shards that were cached one by one.
    ///
    /// # Errors
    /// When the link or copy cannot be made, or the shard is not what its writer left.
    pub fn adopt(&self, entry: &Entry, shard: &ShardInfo, file: &str) -> Result<ShardInfo, StoreError> {
        let from = entry.path.join(&shard.file);
        // What is computed from the assembled shards would otherwise give damage a hash of its own.
        let actual = hash_file(&from)?;
        if actual != shard.blake3 {
            let (expected, actual) = (format!("blake3 {}", shard.blake3), format!("blake3 {actual}"));
            return Err(DataError::Corrupt { file: from, expected, actual }.into());
        }
        link_or_copy(&from, &self.path.join(file))?;
        Ok(ShardInfo { file: file.to_owned(), ..shard.clone() })
    }

    /// Refuses files that the manifest does not list.
    pub(crate) fn check_listed(&self, manifest: &Manifest) -> Result<(), StoreError> {
        for file in files_below(&self.path)? {
            if manifest.all_files().all(|(listed, ..)| Path::new(listed) != file) {
                return Err(StoreError::Unlisted { file });
            }
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: what stays behind is recognised by its free lock and removed by `gc`.
        let _ = remove_tree(&self.path);
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove();
        }
    }
}

/// Relative paths of all files below `dir`, sorted.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(relative) = left.pop() {
        let here = dir.join(&relative);
        let on = || FsError::on("list", &here);
        for entry in std::fs::read_dir(&here).map_err(on())? {
            let entry = entry.map_err(on())?;
            let name = relative.join(entry.file_name());
            if entry.file_type().map_err(on())?.is_dir() { left.push(name) } else { files.push(name) }
        }
    }
    files.sort();
    Ok(files)
}

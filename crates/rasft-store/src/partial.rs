//! Unfinished work that shall outlive its process: checkpoints of a training run that is not published yet.
//!
//! It lies under `_partial/<place>/<key>/` and belongs to whoever holds the key's lock. Nothing here is an entry: look-ups
//! never see it, and it goes when the entry is published, or by `gc`. What lies in there is the stage's own affair.

use crate::entry::files_below;
use crate::error::StoreError;
use crate::inspect::directories;
use crate::key::Key;
use crate::store::{Store, TMP};
use rasft_fs::{FileLock, FsError, remove_tree, temp_sibling};
use std::path::{Path, PathBuf};

/// Where unfinished work lies.
const PARTIAL: &str = "_partial";

/// Unfinished work on one key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Partial {
    /// Stage, or stage and part.
    pub place: String,
    /// Key of the entry it will become.
    pub key: Key,
    /// Bytes.
    pub bytes: u64,
    /// Its directory.
    pub path: PathBuf,
}

impl Store {
    /// Where unfinished work on a key lies or would lie; the directory is not made.
    ///
    /// # Errors
    /// [`StoreError::BadPlace`].
    pub fn partial_path(&self, place: &str, key: &Key) -> Result<PathBuf, StoreError> {
        self.entry_path(place, key)?;
        Ok(self.root().join(PARTIAL).join(place).join(key.as_str()))
    }

    /// All unfinished work, by place, then key.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn partials(&self) -> Result<Vec<Partial>, StoreError> {
        let mut found = Vec::new();
        let root = self.root().join(PARTIAL);
        let mut left = vec![String::new()];
        while let Some(place) = left.pop() {
            for name in directories(&root.join(&place))? {
                match Key::parse(&name) {
                    Ok(key) if !place.is_empty() => {
                        let path = root.join(&place).join(&name);
                        found.push(Partial { place: place.clone(), key, bytes: bytes_below(&path)?, path });
                    }
                    _ if place.is_empty() => left.push(name),
                    _ => left.push(format!("{place}/{name}")),
                }
            }
        }
        found.sort_by(|a, b| (&a.place, a.key.as_str()).cmp(&(&b.place, b.key.as_str())));
        Ok(found)
    }

    /// Removes what is left of a key's unfinished work, unless a process is at it. Disappears by one rename.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard_partial(&self, place: &str, key: &Key) -> Result<bool, StoreError> {
        let path = self.partial_path(place, key)?;
        if !path.exists() {
            return Ok(true);
        }
        let Some(lock) = FileLock::try_acquire(&self.lock_path(place, key)?)? else { return Ok(false) };
        let grave = temp_sibling(&self.root().join(TMP).join(&key.as_str()[..16]));
        match std::fs::rename(&path, &grave) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            other => {
                other.map_err(FsError::on("remove", &path))?;
                remove_tree(&grave)?;
            }
        }
        lock.remove()?;
        Ok(true)
    }
}

fn bytes_below(dir: &Path) -> Result<u64, StoreError> {
    let mut total = 0;
    for file in files_below(dir)? {
        // A checkpoint may be replaced while we look.
        total += std::fs::metadata(dir.join(file)).map_or(0, |m| m.len());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParams;

    fn store() -> (tempfile::TempDir, Store, Key) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        let params = KeyParams {
            stage: "train".to_owned(),
            stage_version: 1,
            params: serde_json::Map::new(),
            inputs: std::collections::BTreeMap::new(),
        };
        (dir, store, params.key())
    }

    fn put(store: &Store, place: &str, key: &Key) -> PathBuf {
        let path = store.partial_path(place, key).unwrap();
        std::fs::create_dir_all(path.join("step-1")).unwrap();
        std::fs::write(path.join("step-1/w"), "12345").unwrap();
        path
    }

    #[test]
    fn is_listed_apart_from_entries_and_discarded_whole() {
        let (_dir, store, key) = store();
        assert_eq!(store.partials().unwrap(), []);
        let path = put(&store, "train", &key);
        let part = put(&store, "rollout/shards", &key);
        let found = store.partials().unwrap();
        assert_eq!(
            found.iter().map(|p| (p.place.as_str(), p.bytes)).collect::<Vec<_>>(),
            [("rollout/shards", 5), ("train", 5)]
        );
        assert_eq!(store.ls().unwrap(), []);
        assert_eq!(store.verify().unwrap().entries, 0);
        assert!(store.discard_partial("train", &key).unwrap());
        assert!(!path.exists() && part.exists());
        assert!(store.discard_partial("train", &key).unwrap(), "nothing left is no failure");
    }

    #[test]
    fn gc_lists_it_and_spares_what_is_kept_or_at_work() {
        let (_dir, store, key) = store();
        let path = put(&store, "train", &key);
        assert_eq!(store.gc_plan(&[key.as_str()[..8].to_owned()]).unwrap().partial, []);
        let plan = store.gc_plan(&[]).unwrap();
        assert_eq!(plan.partial.len(), 1);
        let lock = store.lock("train", &key, || Ok::<_, StoreError>(())).unwrap();
        assert_eq!(store.gc_apply(&plan).unwrap().busy, std::slice::from_ref(&path));
        assert!(path.exists());
        drop(lock);
        store.gc_apply(&plan).unwrap();
        assert!(!path.exists());
    }
}

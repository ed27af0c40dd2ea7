//! Look up, make, publish.

use crate::entry::{Entry, KEY_FILE, Staging};
use crate::error::StoreError;
use crate::key::{Key, KeyParams};
use rasft_data::{DataError, Manifest, sorted};
use rasft_fs::{
    FileLock, FsError, create_dir_all, publish_dir, replace_dir, set_read_only, temp_sibling, write_atomic,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Version of the directory layout.
const LAYOUT: u64 = 1;
/// The file that says so.
const LAYOUT_FILE: &str = "_store.json";
/// Directories of the store's own.
pub(crate) const TMP: &str = "_tmp";
pub(crate) const LOCKS: &str = "_locks";
pub(crate) const ROOTS: &str = "_roots";
pub(crate) const STAT: &str = "_stat";
/// How often a waiting process looks whether the lock is free.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How [`Store::get_or_make`] came by its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Hit,
    /// We made it.
    Made,
    /// Another process made it while we waited.
    Waited,
}

/// A store on disk.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, made when absent.
    ///
    /// # Errors
    /// When directories cannot be made or the layout is another version's.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let layout = root.join(LAYOUT_FILE);
        match std::fs::read(&layout) {
            Ok(bytes) => {
                let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                if value["layout"].as_u64() != Some(LAYOUT) {
                    return Err(StoreError::UnknownLayout { root, found: value["layout"].to_string(), known: LAYOUT });
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                for dir in [TMP, LOCKS, ROOTS, STAT] {
                    create_dir_all(&root.join(dir))?;
                }
                write_atomic(&layout, format!("{}\n", json!({ "layout": LAYOUT })).as_bytes())?;
            }
            Err(e) => return Err(FsError::on("read", &layout)(e).into()),
        }
        Ok(Self { root })
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the entry is or would be.
    ///
    /// # Errors
    /// [`StoreError::BadPlace`].
    pub fn entry_path(&self, place: &str, key: &Key) -> Result<PathBuf, StoreError> {
        let word = |w: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
            !w.is_empty() && !w.starts_with('_') && w.len() < 64 && w.bytes().all(plain)
        };
        if place.split('/').count() > 2 || !place.split('/').all(word) {
            return Err(StoreError::BadPlace { place: place.to_owned() });
        }
        Ok(self.root.join(place).join(key.as_str()))
    }

    /// The entry, if there is one. Reads its manifest and the sizes of its files, not their bytes.
    ///
    /// # Errors
    /// An entry that is there and damaged is corrupt, not absent.
    pub fn lookup(&self, place: &str, key: &Key) -> Result<Option<Entry>, StoreError> {
        let path = self.entry_path(place, key)?;
        if !path.is_dir() {
            return Ok(None);
        }
        match Entry::read(path.clone(), place, key) {
            // `gc` may have taken it away between the two looks.
            Err(_) if !path.is_dir() => Ok(None),
            other => other.map(Some),
        }
    }

    /// A private directory in which to make the entry of `params`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn staging(&self, place: &str, params: &KeyParams) -> Result<Staging, StoreError> {
        let key = params.key();
        self.entry_path(place, &key)?;
        let path = temp_sibling(&self.root.join(TMP).join(&key.as_str()[..16]));
        let lock = FileLock::acquire(&path.with_added_extension("lock"))?;
        // A killed process with our number may have left it.
        rasft_fs::remove_tree(&path)?;
        create_dir_all(&path)?;
        Ok(Staging { path, place: place.to_owned(), params: params.clone(), key, lock: Some(lock) })
    }

    /// Makes a staged entry visible. Its manifest gets its place and key here. If another process was first, its
    /// entry is taken and ours is dropped.
    ///
    /// # Errors
    /// When a listed file is missing, a file is not listed, or the disk refuses.
    pub fn publish(&self, staging: Staging, manifest: Manifest) -> Result<Entry, StoreError> {
        let dest = self.prepare(&staging, manifest)?;
        // Theirs is as good as ours: one key, one content.
        publish_dir(&staging.path, &dest)?;
        self.published(&staging)
    }

    /// Makes a staged entry visible in the place of the one that is there (`--force`).
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub fn publish_over(&self, staging: Staging, manifest: Manifest) -> Result<Entry, StoreError> {
        let dest = self.prepare(&staging, manifest)?;
        replace_dir(&staging.path, &dest)?;
        self.published(&staging)
    }

    /// The lock of a key, which keeps others waiting until it is dropped. Look up again once it is held.
    ///
    /// As long as another process holds it, `meanwhile` is called again and again: there a caller says that it waits,
    /// and gives up by an error.
    ///
    /// # Errors
    /// When the lock file cannot be opened, or those of `meanwhile`.
    pub fn lock<E: From<StoreError>>(
        &self,
        place: &str,
        key: &Key,
        mut meanwhile: impl FnMut() -> Result<(), E>,
    ) -> Result<FileLock, E> {
        let path = self.lock_path(place, key)?;
        loop {
            if let Some(lock) = FileLock::try_acquire(&path).map_err(StoreError::from)? {
                return Ok(lock);
            }
            meanwhile()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Keeps `gc` and [`Store::discard`] away from all entries of a place until the lock is dropped; shared among
    /// any number of users. Waits as long as they take to remove one entry.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn in_use(&self, place: &str) -> Result<FileLock, StoreError> {
        Ok(FileLock::acquire_shared(&self.place_lock_path(place))?)
    }

    pub(crate) fn place_lock_path(&self, place: &str) -> PathBuf {
        self.root.join(LOCKS).join(format!("{}.lock", place.replace('/', ".")))
    }

    pub(crate) fn lock_path(&self, place: &str, key: &Key) -> Result<PathBuf, StoreError> {
        self.entry_path(place, key)?;
        Ok(self.root.join(LOCKS).join(format!("{}.{key}.lock", place.replace('/', "."))))
    }

    /// The entry of `params`: looked up, waited for (see [`Store::lock`] for `meanwhile`), or made by `make`, which
    /// fills the staging directory.
    ///
    /// # Errors
    /// Those of the store, of `meanwhile` and of `make`; a failure leaves no entry.
    pub fn get_or_make<E: From<StoreError>>(
        &self,
        place: &str,
        params: &KeyParams,
        meanwhile: impl FnMut() -> Result<(), E>,
        make: impl FnOnce(&Staging) -> Result<Manifest, E>,
    ) -> Result<(Entry, Origin), E> {
        let key = params.key();
        if let Some(entry) = self.lookup(place, &key)? {
            return Ok((entry, Origin::Hit));
        }
        let lock = self.lock(place, &key, meanwhile)?;
        if let Some(entry) = self.lookup(place, &key)? {
            return Ok((entry, Origin::Waited));
        }
        let staging = self.staging(place, params)?;
        let manifest = make(&staging)?;
        let entry = self.publish(staging, manifest)?;
        lock.remove().map_err(StoreError::from)?;
        Ok((entry, Origin::Made))
    }

    /// Completes a staged directory and returns where it goes.
    fn prepare(&self, staging: &Staging, mut manifest: Manifest) -> Result<PathBuf, StoreError> {
        manifest.stage = staging.place.clone();
        manifest.key = staging.key.to_string();
        manifest.check_sizes(&staging.path)?;
        staging.check_listed(&manifest)?;
        let sidecar = serde_json::to_value(&staging.params)
            .map_err(|e| DataError::Write { file: staging.path.join(KEY_FILE), detail: e.to_string() })?;
        write_atomic(&staging.path.join(KEY_FILE), format!("{:#}\n", sorted(&sidecar)).as_bytes())?;
        manifest.write(&staging.path)?;
        set_read_only(&staging.path)?;
        let dest = self.entry_path(&staging.place, &staging.key)?;
        create_dir_all(dest.parent().unwrap_or(&self.root))?;
        Ok(dest)
    }

    fn published(&self, staging: &Staging) -> Result<Entry, StoreError> {
        let path = self.entry_path(&staging.place, &staging.key)?;
        Entry::read(path, &staging.place, &staging.key)
    }
}

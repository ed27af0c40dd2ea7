//! Hashes of inputs; files are read once and remembered by what `stat` says of them.

use crate::error::StoreError;
use crate::store::{STAT, Store};
use rasft_data::{DataSet, InputRef, MANIFEST_FILE, Manifest, hash_file, hash_value, hash128};
use rasft_fs::{FsError, create_dir_all, write_atomic};
use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file touched this recently may change again without its times showing it (they are as coarse as a clock tick).
const UNSETTLED: Duration = Duration::from_millis(50);

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    path: PathBuf,
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
    device: u64,
}

/// A remembered hash.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    stat: Stat,
    blake3: String,
}

impl Store {
    /// blake3 of a file, 64 hex digits; read only when size, times, inode or device changed since the last time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file_hash(&self, path: &Path) -> Result<String, StoreError> {
        let on = || FsError::on("read", path);
        let absolute = std::fs::canonicalize(path).map_err(on())?;
        let stat = Stat::of(&absolute, &std::fs::metadata(&absolute).map_err(on())?);
        let memo = self.memo_path(&absolute);
        if let Some(known) = recall(&memo).filter(|known| known.stat == stat) {
            return Ok(known.blake3);
        }
        let blake3 = hash_file(&absolute)?;
        let after = Stat::of(&absolute, &std::fs::metadata(&absolute).map_err(on())?);
        if after == stat && stat.settled(SystemTime::now()) {
            remember(&memo, &Remembered { stat, blake3: blake3.clone() })?;
        }
        Ok(blake3)
    }

    /// One hash over several files, such as those of a model directory; names count, places do not.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files_hash(&self, files: &[(String, PathBuf)]) -> Result<String, StoreError> {
        let mut hashes = serde_json::Map::new();
        for (name, path) in files {
            hashes.insert(name.clone(), self.file_hash(path)?.into());
        }
        Ok(hash_value(&hashes.into()))
    }

    /// The hash under which a stage takes `path` as an input: a manifest's content hash, a hash over the Parquet
    /// files of a foreign directory, or a file's blake3.
    ///
    /// # Errors
    /// When there is nothing, nothing to hash, or a listed file is gone or cut short.
    pub fn input_ref(&self, path: &Path) -> Result<InputRef, StoreError> {
        let hash = if path.is_dir() && path.join(MANIFEST_FILE).exists() {
            let manifest = Manifest::read(path)?;
            manifest.check_sizes(path)?;
            manifest.content_hash()?
        } else if path.is_file() {
            self.file_hash(path)?
        } else {
            DataSet::open(path)?.content_hash_with(&mut |file| self.file_hash(file))?
        };
        Ok(InputRef { hash, path: Some(path.display().to_string()) })
    }

    fn memo_path(&self, absolute: &Path) -> PathBuf {
        let name = hash128(&[absolute.as_os_str().as_encoded_bytes()]);
        self.root().join(STAT).join(&name[..2]).join(format!("{name}.json"))
    }
}

fn recall(memo: &Path) -> Option<Remembered> {
    // An unreadable memo costs one more reading of the file, nothing else.
    serde_json::from_slice(&std::fs::read(memo).ok()?).ok()
}

fn remember(memo: &Path, what: &Remembered) -> Result<(), StoreError> {
    let Ok(text) = serde_json::to_vec(what) else { return Ok(()) };
    if let Some(dir) = memo.parent() {
        create_dir_all(dir)?;
    }
    Ok(write_atomic(memo, &text)?)
}

impl Stat {
    #[cfg(unix)]
    fn of(path: &Path, meta: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            path: path.to_owned(),
            size: meta.len(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            device: meta.dev(),
        }
    }

    #[cfg(not(unix))]
    fn of(path: &Path, meta: &Metadata) -> Self {
        let since = |t: std::io::Result<SystemTime>| {
            let t = t.ok().and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
            t.map_or(0, |t| t.as_nanos() as i128)
        };
        let (mtime_ns, ctime_ns) = (since(meta.modified()), since(meta.created()));
        Self { path: path.to_owned(), size: meta.len(), mtime_ns, ctime_ns, inode: 0, device: 0 }
    }

    /// Whether the last change is long enough ago that another would show.
    fn settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        now - self.ctime_ns.max(self.mtime_ns) > UNSETTLED.as_nanos() as i128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(store: &Store, path: &Path) -> (Stat, PathBuf) {
        let path = std::fs::canonicalize(path).unwrap();
        (Stat::of(&path, &std::fs::metadata(&path).unwrap()), store.memo_path(&path))
    }

    #[test]
    fn a_remembered_hash_is_used_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "one").unwrap();
        let (stat_one, memo) = stat(&store, &file);
        remember(&memo, &Remembered { stat: stat_one, blake3: "remembered".to_owned() }).unwrap();
        assert_eq!(store.file_hash(&file).unwrap(), "remembered");
        std::fs::write(&file, "three").unwrap();
        assert_eq!(store.file_hash(&file).unwrap(), hash_file(&file).unwrap());
        std::fs::write(&memo, "{ not json").unwrap();
        assert_eq!(store.file_hash(&file).unwrap(), hash_file(&file).unwrap());
    }

    #[test]
    fn a_file_replaced_by_one_of_the_same_size_and_time_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        let [file, other] = ["f", "g"].map(|n| dir.path().join(n));
        std::fs::write(&file, "one").unwrap();
        std::fs::write(&other, "two").unwrap();
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let (stat_one, memo) = stat(&store, &file);
        remember(&memo, &Remembered { stat: stat_one, blake3: "remembered".to_owned() }).unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(store.file_hash(&file).unwrap(), hash_file(&file).unwrap());
    }

    #[test]
    fn only_settled_files_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "one").unwrap();
        let (stat, _) = stat(&store, &file);
        let at = |ns: i128| SystemTime::UNIX_EPOCH + Duration::from_nanos((stat.ctime_ns + ns) as u64);
        assert!(!stat.settled(at(0)));
        assert!(!stat.settled(at(-1_000_000_000)));
        assert!(stat.settled(at(1_000_000_000)));
    }

    #[test]
    fn names_count_and_places_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s")).unwrap();
        let files = ["a", "b"].map(|n| {
            std::fs::write(dir.path().join(n), "same").unwrap();
            dir.path().join(n)
        });
        let hash = |name: &str, path: &PathBuf| store.files_hash(&[(name.to_owned(), path.clone())]).unwrap();
        assert_eq!(hash("config.json", &files[0]), hash("config.json", &files[1]));
        assert_ne!(hash("config.json", &files[0]), hash("tokenizer.json", &files[0]));
    }
}

//! Advisory locks between processes, released by the operating system even when the holder is killed.
//!
//! A lock file is removed only by a holder that is alone with it.

use crate::error::FsError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// A lock, exclusive or shared, held until dropped.
#[derive(Debug)]
pub struct FileLock {
    path: PathBuf,
    // Closing the file releases the lock.
    _file: File,
}

impl FileLock {
    /// Waits until the lock on the file `path` is ours; the file is made when it is absent.
    ///
    /// # Errors
    /// When the file cannot be opened or the file system knows no locks.
    pub fn acquire(path: &Path) -> Result<Self, FsError> {
        loop {
            let file = open(path)?;
            file.lock().map_err(FsError::on("lock", path))?;
            if let Some(lock) = Self::settle(path, file) {
                return Ok(lock);
            }
        }
    }

    /// Waits until nobody holds the lock exclusively, and then shares it with others who share it.
    ///
    /// # Errors
    /// When the file cannot be opened or the file system knows no locks.
    pub fn acquire_shared(path: &Path) -> Result<Self, FsError> {
        loop {
            let file = open(path)?;
            file.lock_shared().map_err(FsError::on("lock", path))?;
            if let Some(lock) = Self::settle(path, file) {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock, exclusively, if nobody holds it.
    ///
    /// # Errors
    /// When the file cannot be opened or the file system knows no locks.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, FsError> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(FsError::on("lock", path)(e)),
            }
            if let Some(lock) = Self::settle(path, file) {
                return Ok(Some(lock));
            }
        }
    }

    /// The file that is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the lock file and releases an exclusive lock; waiters notice and make a new one.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> Result<(), FsError> {
        crate::dir::remove_file(&self.path)
    }

    /// The lock counts only if `path` still leads to the file we locked: the holder before us may have removed it.
    fn settle(path: &Path, file: File) -> Option<Self> {
        is_at(path, &file).then(|| Self { path: path.to_owned(), _file: file })
    }
}

fn open(path: &Path) -> Result<File, FsError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(FsError::on("open the lock file", path))
}

#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(path: &Path, _file: &File) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let first = FileLock::acquire(&path).unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(first);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn sharers_keep_the_exclusive_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let (first, second) = (FileLock::acquire_shared(&path).unwrap(), FileLock::acquire_shared(&path).unwrap());
        drop(first);
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(second);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    /// Lock files are removed by their holders while others wait on them: still never two holders.
    #[test]
    fn removal_under_contention_keeps_exclusion() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = FileLock::acquire(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lock.remove().unwrap();
                    }
                });
            }
        });
    }
}

//! One file, written whole or not at all.

use crate::error::FsError;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells temporary names of one process apart.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A name beside `path` that nobody else uses: hidden, and recognisable as temporary.
pub fn temp_sibling(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.tmp-{}-{serial}", std::process::id()))
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Forces a directory's entries to disk, so that a rename inside it survives a power cut.
pub fn sync_dir(dir: &Path) -> Result<(), FsError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(FsError::on("sync the directory", dir))
}

/// A file that appears under its name only when [`AtomicFile::commit`] is called; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temp: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// When the directory does not exist or cannot be written.
    pub fn create(path: &Path) -> Result<Self, FsError> {
        loop {
            let temp = temp_sibling(path);
            match OpenOptions::new().write(true).create_new(true).open(&temp) {
                Ok(file) => {
                    let file = Some(BufWriter::with_capacity(1 << 18, file));
                    return Ok(Self { path: path.to_owned(), temp, file });
                }
                // A killed process with our number left it; the next serial is free.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(FsError::on("create", path)(e)),
            }
        }
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes, syncs, renames to the final name and syncs the directory.
    ///
    /// # Errors
    /// When any of these fails; the temporary file is removed then.
    pub fn commit(mut self) -> Result<(), FsError> {
        let on = |action| FsError::on(action, &self.path);
        let buffered = self.file.take().ok_or_else(|| on("commit")(io::Error::other("committed twice")))?;
        let file = buffered.into_inner().map_err(|e| on("write")(e.into_error()))?;
        file.sync_all().map_err(on("sync"))?;
        drop(file);
        std::fs::rename(&self.temp, &self.path).map_err(on("rename a temporary file to"))?;
        sync_dir(parent(&self.path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(buf),
            None => Err(io::Error::other("the file has been committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the temporary name is gone and this does nothing.
        if let Some(buffered) = self.file.take() {
            // Throws the buffer away: a full disk must not be asked once more.
            let _ = buffered.into_parts();
        }
        let _ = std::fs::remove_file(&self.temp);
    }
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(FsError::on("write", path))?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn dropped_before_commit_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half of the ne").unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(file);
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn commit_replaces_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomic(&dir.path().join("no/such/a"), b"x").unwrap_err();
        assert!(error.to_string().contains("no/such/a"), "{error}");
    }

    /// `/dev/full` answers every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn full_disk_is_explained() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut file = AtomicFile::create(&path).unwrap();
        file.file = Some(BufWriter::new(full));
        file.write_all(b"x").unwrap();
        let error = file.commit().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(names(dir.path()).is_empty());
    }
}

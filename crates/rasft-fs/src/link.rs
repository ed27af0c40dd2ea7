//! A second name for a file: a hard link where the file system allows it, a copy elsewhere.

use crate::atomic::AtomicFile;
use crate::error::FsError;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// How the second name came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// Both names are one file.
    Hard,
    /// The bytes were copied.
    Copied,
}

/// Gives the file `source` the further name `dest`, which must not exist.
///
/// # Errors
/// When `source` cannot be read, or `dest` exists or cannot be made.
pub fn link_or_copy(source: &Path, dest: &Path) -> Result<Linked, FsError> {
    use io::ErrorKind as K;
    match fs::hard_link(source, dest) {
        Ok(()) => Ok(Linked::Hard),
        // Another file system, one without links, a protected file, or a file with its last link used up.
        Err(e) if matches!(e.kind(), K::CrossesDevices | K::Unsupported | K::PermissionDenied | K::TooManyLinks) => {
            copy(source, dest)?;
            Ok(Linked::Copied)
        }
        Err(e) if e.kind() == K::NotFound && !source.exists() => Err(FsError::on("link", source)(e)),
        Err(e) => Err(FsError::on("link to", dest)(e)),
    }
}

fn copy(source: &Path, dest: &Path) -> Result<(), FsError> {
    let mut from = File::open(source).map_err(FsError::on("read", source))?;
    let mut to = AtomicFile::create(dest)?;
    io::copy(&mut from, &mut to).map_err(FsError::on("write", dest))?;
    to.commit()
}

/// Whether two names lead to one file; false when either is absent.
#[cfg(unix)]
pub fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

/// Whether two names lead to one file; unknown here, so false.
#[cfg(not(unix))]
pub fn same_file(_a: &Path, _b: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_share_the_file_and_copies_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|n| dir.path().join(n));
        fs::write(&a, "x").unwrap();
        assert_eq!(link_or_copy(&a, &b).unwrap(), Linked::Hard);
        assert!(same_file(&a, &b));
        copy(&a, &c).unwrap();
        assert!(!same_file(&a, &c));
        assert_eq!(fs::read_to_string(&c).unwrap(), "x");
    }

    #[test]
    fn an_existing_name_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|n| dir.path().join(n));
        fs::write(&a, "x").unwrap();
        fs::write(&b, "y").unwrap();
        assert!(link_or_copy(&a, &b).is_err());
        assert_eq!(fs::read_to_string(&b).unwrap(), "y");
    }
}

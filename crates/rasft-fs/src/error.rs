//! The one error of this crate: what was attempted, on which path, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A file system operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", path.display(), hint(source))]
pub struct FsError {
    /// The verb, as in "cannot write".
    pub action: &'static str,
    /// The object.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// Builds the error; use with `map_err(FsError::on("read", path))`.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError {
        move |source| FsError { action, path: path.to_owned(), source }
    }

    /// The kind the operating system reported.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// Advice for the failures a user can mend, on a line of its own.
fn hint(source: &io::Error) -> &'static str {
    use io::ErrorKind as K;
    match source.kind() {
        K::StorageFull => {
            "\nhint: the disk is full: free some space (`rasft-store gc` lists what can go) and run again; finished work is kept"
        }
        K::QuotaExceeded => {
            "\nhint: your disk quota is used up: free some space or point --store elsewhere, and run again; finished work is kept"
        }
        K::ReadOnlyFilesystem => "\nhint: the file system is read-only: choose another --store or --out",
        K::PermissionDenied => "\nhint: check the owner and permissions of the file and its directory",
        K::NotFound => "\nhint: check the spelling of the path",
        K::NotADirectory => "\nhint: a part of the path is a file, not a directory",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_path_and_says_what_to_do() {
        let error = FsError::on("write", Path::new("/x/y"))(io::Error::from(io::ErrorKind::StorageFull));
        let text = error.to_string();
        assert!(text.starts_with("cannot write /x/y: "), "{text}");
        assert!(text.contains("\nhint: the disk is full"), "{text}");
    }
}

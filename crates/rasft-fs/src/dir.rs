//! Directories that appear, are replaced and disappear as a whole.

use crate::atomic::{parent, sync_dir, temp_sibling};
use crate::error::FsError;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// What became of a directory offered for publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It now stands under the final name.
    Ours,
    /// Somebody else's stood there first; ours is untouched.
    Theirs,
}

/// `mkdir -p`.
///
/// # Errors
/// When a directory cannot be made.
pub fn create_dir_all(dir: &Path) -> Result<(), FsError> {
    fs::create_dir_all(dir).map_err(FsError::on("create the directory", dir))
}

/// Forces every file and directory below `dir` to disk.
///
/// # Errors
/// When something cannot be opened or synced.
pub fn sync_tree(dir: &Path) -> Result<(), FsError> {
    walk(dir, &mut |path, kind| match kind {
        Kind::File => File::open(path).and_then(|f| f.sync_all()).map_err(FsError::on("sync", path)),
        Kind::Dir => sync_dir(path),
    })
}

/// Makes every file below `path` (or the file itself) read-only; directories stay writable.
///
/// # Errors
/// When permissions cannot be read or changed.
pub fn set_read_only(path: &Path) -> Result<(), FsError> {
    walk(path, &mut |path, kind| match kind {
        Kind::Dir => Ok(()),
        Kind::File => {
            let on = || FsError::on("make read-only", path);
            let mut permissions = fs::metadata(path).map_err(on())?.permissions();
            if permissions.readonly() {
                return Ok(());
            }
            permissions.set_readonly(true);
            fs::set_permissions(path, permissions).map_err(on())
        }
    })
}

/// Syncs `staging` and renames it to `dest`, unless `dest` is there already.
///
/// # Errors
/// When syncing or renaming fails for another reason than a `dest` that exists.
pub fn publish_dir(staging: &Path, dest: &Path) -> Result<Published, FsError> {
    sync_tree(staging)?;
    match renameat_with(CWD, staging, CWD, dest, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Ok(Published::Theirs),
        Err(e) if unsupported(e) => match fs::rename(staging, dest) {
            Ok(()) => {}
            // rename(2) refuses to replace a directory that holds something.
            Err(_) if dest.exists() => return Ok(Published::Theirs),
            Err(e) => return Err(FsError::on("rename a staged directory to", dest)(e)),
        },
        Err(e) => return Err(FsError::on("rename a staged directory to", dest)(e.into())),
    }
    sync_dir(parent(dest))?;
    Ok(Published::Ours)
}

/// Puts `staging` in the place of `dest`; a reader sees the old directory or the new one, never a mixture.
/// Where the file system cannot exchange two names there is an instant without `dest`.
///
/// # Errors
/// When syncing, renaming or removing the old directory fails.
pub fn replace_dir(staging: &Path, dest: &Path) -> Result<(), FsError> {
    if publish_dir(staging, dest)? == Published::Ours {
        return Ok(());
    }
    let on = || FsError::on("replace the directory", dest);
    match renameat_with(CWD, staging, CWD, dest, RenameFlags::EXCHANGE) {
        Ok(()) => {
            sync_dir(parent(dest))?;
            remove_tree(staging)
        }
        Err(e) if unsupported(e) => {
            let old = temp_sibling(dest);
            fs::rename(dest, &old).map_err(on())?;
            fs::rename(staging, dest).map_err(on())?;
            sync_dir(parent(dest))?;
            remove_tree(&old)
        }
        Err(e) => Err(on()(e.into())),
    }
}

/// Removes a file, read-only or not; one that is absent is no error.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(FsError::on("remove", path)(e)),
    }
}

/// Removes a directory and all below it, read-only files and directories included; an absent one is no error.
///
/// # Errors
/// When something below cannot be removed.
pub fn remove_tree(dir: &Path) -> Result<(), FsError> {
    match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(FsError::on("remove", dir)(e)),
        Ok(meta) if !meta.is_dir() => return remove_file(dir),
        Ok(_) => {}
    }
    let on = || FsError::on("remove", dir);
    make_writable(dir)?;
    for entry in fs::read_dir(dir).map_err(on())? {
        remove_tree(&entry.map_err(on())?.path())?;
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(on()(e)),
        _ => Ok(()),
    }
}

/// Lets the owner remove entries of a read-only directory.
#[cfg(unix)]
fn make_writable(dir: &Path) -> Result<(), FsError> {
    use std::os::unix::fs::PermissionsExt;
    let on = || FsError::on("make writable", dir);
    let mode = fs::metadata(dir).map_err(on())?.permissions().mode();
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o700)).map_err(on())
}

#[cfg(not(unix))]
fn make_writable(_dir: &Path) -> Result<(), FsError> {
    Ok(())
}

fn unsupported(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

enum Kind {
    File,
    Dir,
}

/// Visits every file below `path`, then the directory that holds it. Symbolic links are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path, Kind) -> Result<(), FsError>) -> Result<(), FsError> {
    let on = || FsError::on("list", path);
    let kind = fs::symlink_metadata(path).map_err(on())?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    if !kind.is_dir() {
        return visit(path, Kind::File);
    }
    for entry in fs::read_dir(path).map_err(on())? {
        walk(&entry.map_err(on())?.path(), visit)?;
    }
    visit(path, Kind::Dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn dir_with(root: &Path, name: &str, content: &str) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/f"), content).unwrap();
        dir
    }

    #[test]
    fn the_first_publication_wins() {
        let root = tempfile::tempdir().unwrap();
        let dest = root.path().join("dest");
        let a = dir_with(root.path(), "a", "first");
        let b = dir_with(root.path(), "b", "second");
        assert_eq!(publish_dir(&a, &dest).unwrap(), Published::Ours);
        assert_eq!(publish_dir(&b, &dest).unwrap(), Published::Theirs);
        assert_eq!(fs::read_to_string(dest.join("sub/f")).unwrap(), "first");
        assert!(b.exists() && !a.exists());
    }

    #[test]
    fn replacing_swaps_contents_and_removes_the_old_ones() {
        let root = tempfile::tempdir().unwrap();
        let dest = dir_with(root.path(), "dest", "old");
        set_read_only(&dest).unwrap();
        let new = dir_with(root.path(), "new", "new");
        replace_dir(&new, &dest).unwrap();
        assert_eq!(fs::read_to_string(dest.join("sub/f")).unwrap(), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn read_only_trees_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = dir_with(root.path(), "d", "x");
        set_read_only(&dir).unwrap();
        assert!(fs::metadata(dir.join("sub/f")).unwrap().permissions().readonly());
        let mut permissions = fs::metadata(dir.join("sub")).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(dir.join("sub"), permissions).unwrap();
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
        remove_tree(&dir).unwrap();
    }
}

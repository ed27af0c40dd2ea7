//! `--out`: a second name for an entry, where the user wants it.

use crate::entry::{Entry, files_below};
use crate::error::StoreError;
use crate::key::Key;
use crate::store::{ROOTS, Store};
use rasft_data::{MANIFEST_FILE, Manifest, hash128};
use rasft_fs::{
    FsError, create_dir_all, link_or_copy, remove_tree, replace_dir, same_file, set_read_only, temp_sibling,
    write_atomic,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A view that was made: what `gc` starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Root {
    pub path: PathBuf,
    pub place: String,
    pub key: Key,
}

impl Store {
    /// Makes `out` a view of `entry`: hard links, or copies on another file system, all read-only. An older view or
    /// data set of the same kind at `out` is replaced at once; anything else is left alone.
    ///
    /// # Errors
    /// [`StoreError::WouldClobber`], [`StoreError::OtherKind`], or a disk that refuses.
    pub fn view(&self, entry: &Entry, out: &Path) -> Result<(), StoreError> {
        if same_file(out, &entry.path) {
            return Ok(());
        }
        let out = absolute(out)?;
        if !up_to_date(entry, &out) {
            refuse_foreign(&out, &entry.manifest.schema)?;
            let parent = out.parent().unwrap_or(Path::new("/"));
            create_dir_all(parent)?;
            let staged = temp_sibling(&out);
            let made = link_all(entry, &staged).and_then(|()| Ok(replace_dir(&staged, &out)?));
            if made.is_err() {
                remove_tree(&staged)?;
            }
            made?;
        }
        self.record_root(entry, out)
    }

    /// Whether [`Store::view`] could make `out` a view of a result of kind `schema`, before there is one. A directory inside
    /// the store may be the result itself, which only `view` can tell.
    ///
    /// # Errors
    /// As [`Store::view`].
    pub fn check_view(&self, out: &Path, schema: &str) -> Result<(), StoreError> {
        let inside = |real: PathBuf| std::fs::canonicalize(self.root()).is_ok_and(|root| real.starts_with(root));
        if std::fs::canonicalize(out).is_ok_and(inside) {
            return Ok(());
        }
        refuse_foreign(&absolute(out)?, schema)
    }

    fn record_root(&self, entry: &Entry, out: PathBuf) -> Result<(), StoreError> {
        let file = self.root().join(ROOTS).join(format!("{}.json", hash128(&[out.as_os_str().as_encoded_bytes()])));
        let root = Root { path: out, place: entry.place.clone(), key: entry.key.clone() };
        if read_root(&file).is_some_and(|known| known == root) {
            return Ok(());
        }
        let on = FsError::on("record the view", &file);
        let text = serde_json::to_vec(&root).map_err(|e| on(e.into()))?;
        Ok(write_atomic(&file, &text)?)
    }
}

/// A recorded view; none when the record cannot be read.
pub(crate) fn read_root(file: &Path) -> Option<Root> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    Ok(std::path::absolute(path).map_err(FsError::on("resolve", path))?)
}

/// Whether `out` already shows the entry.
fn up_to_date(entry: &Entry, out: &Path) -> bool {
    let files = || files_below(out).is_ok_and(|files| files.len() == 1 + entry.manifest.all_files().count());
    out.join(MANIFEST_FILE).exists()
        && Manifest::read(out).is_ok_and(|m| m == entry.manifest && m.check_sizes(out).is_ok())
        && files()
}

/// Lets only an absent or empty directory, or one that holds a data set of kind `schema` and nothing else, be replaced.
fn refuse_foreign(out: &Path, schema: &str) -> Result<(), StoreError> {
    let refuse = |found: String| Err(StoreError::WouldClobber { path: out.to_owned(), found });
    match std::fs::symlink_metadata(out) {
        Err(_) => return Ok(()),
        Ok(meta) if !meta.is_dir() => return refuse("a file or link of that name".to_owned()),
        Ok(_) => {}
    }
    let files = files_below(out)?;
    if files.is_empty() {
        return Ok(());
    }
    if !out.join(MANIFEST_FILE).exists() {
        return refuse(format!("it holds {}", files[0].display()));
    }
    let manifest = match Manifest::read(out) {
        Ok(manifest) => manifest,
        Err(_) => return refuse(format!("its {MANIFEST_FILE} cannot be read")),
    };
    if manifest.schema != schema {
        let (found, result) = (format!("{} of `{}`", manifest.schema, manifest.stage), schema.to_owned());
        return Err(StoreError::OtherKind { path: out.to_owned(), found, result });
    }
    let ours =
        |file: &PathBuf| file == Path::new(MANIFEST_FILE) || manifest.all_files().any(|(f, ..)| Path::new(f) == file);
    match files.iter().find(|file| !ours(file)) {
        None => Ok(()),
        Some(file) => refuse(format!("it also holds {}", file.display())),
    }
}

fn link_all(entry: &Entry, staged: &Path) -> Result<(), StoreError> {
    create_dir_all(staged)?;
    // The manifest comes last, as everywhere.
    for file in entry.manifest.all_files().map(|(file, ..)| file).chain([MANIFEST_FILE]) {
        let dest = staged.join(file);
        if let Some(dir) = dest.parent() {
            create_dir_all(dir)?;
        }
        link_or_copy(&entry.path.join(file), &dest)?;
    }
    Ok(set_read_only(staged)?)
}

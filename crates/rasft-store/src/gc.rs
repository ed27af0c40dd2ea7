//! What may go: entries that no view and no `--keep` root reaches, and what killed processes left behind.
//!
//! Reached means: the entry of a root, every entry among its inputs, theirs, and so on, the per-shard entries whose
//! files are part of any of these, and all entries of a place that one of these names as its [`CACHE_FIELD`]. Other
//! per-part entries are a cache of finished work; without them nothing is lost but the time to make them again.
//! What a running process uses ([`Store::in_use`]) stays in any case.

use crate::error::StoreError;
use crate::inspect::Listed;
use crate::key::Key;
use crate::lineage::Index;
use crate::partial::Partial;
use crate::store::{ROOTS, Store, TMP};
use crate::view::read_root;
use rasft_data::{MANIFEST_FILE, Manifest};
use rasft_fs::{FileLock, FsError, remove_file, remove_tree, temp_sibling};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The field of a manifest's summary that names the place whose entries a result was put together from.
pub const CACHE_FIELD: &str = "sample_cache";

/// What `gc` would do; show it, then hand it to [`Store::gc_apply`].
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcPlan {
    /// Entries that stay.
    pub keep: Vec<Listed>,
    /// Entries that go.
    pub delete: Vec<Listed>,
    /// Unfinished work that goes: its run would begin anew.
    pub partial: Vec<Partial>,
    /// Staging directories of processes that are gone.
    pub stale: Vec<PathBuf>,
    /// Records of views that are gone.
    pub vanished: Vec<PathBuf>,
}

impl GcPlan {
    /// Bytes of what goes. Files with another hard link (a copy of a view) free nothing.
    pub fn bytes(&self) -> u64 {
        let partial = self.partial.iter().map(|partial| partial.bytes);
        self.delete.iter().map(|entry| entry.bytes).chain(partial).sum()
    }
}

/// What `gc` did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct GcReport {
    /// Entries removed.
    pub deleted: u64,
    /// Entries left because a process was working on their key.
    pub busy: Vec<PathBuf>,
}

impl Store {
    /// Finds what no view and none of the `keep` roots (data sets, checkpoints, entry paths or keys) reaches.
    /// Changes nothing.
    ///
    /// # Errors
    /// When a `keep` root is no data set, or the store cannot be listed.
    pub fn gc_plan(&self, keep: &[String]) -> Result<GcPlan, StoreError> {
        let index = self.index()?;
        let mut reached = Reached::default();
        let (kept, partial): (Vec<Partial>, Vec<Partial>) =
            self.partials()?.into_iter().partition(|p| keep.iter().any(|what| is_meant(p, what)));
        let mut plan = GcPlan { stale: self.stale_staging()?, partial, ..GcPlan::default() };
        for what in keep {
            let dir = Path::new(what);
            if dir.join(MANIFEST_FILE).is_file() {
                reached.visit(&Manifest::read(dir)?, &index);
            } else {
                let (place, key) = match self.find(what) {
                    Err(StoreError::NoSuchEntry { .. }) if kept.iter().any(|p| is_meant(p, what)) => continue,
                    other => other?,
                };
                reached.visit(&Manifest::read(&self.entry_path(&place, &key)?)?, &index);
            }
        }
        for record in files(&self.root().join(ROOTS))? {
            match read_root(&record).map(|root| (Manifest::read(&root.path), root)) {
                Some((Ok(manifest), root)) if manifest.key == root.key.as_str() => reached.visit(&manifest, &index),
                _ => plan.vanished.push(record),
            }
        }
        for entry in self.ls()? {
            let kept = reached.has(&entry.place, &entry.key)
                || reached.caches.contains(&entry.place)
                || self.feeds(&entry, &reached);
            if kept { plan.keep.push(entry) } else { plan.delete.push(entry) }
        }
        Ok(plan)
    }

    /// Carries a plan out. Each entry disappears by one rename before its files are removed.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn gc_apply(&self, plan: &GcPlan) -> Result<GcReport, StoreError> {
        let mut report = GcReport::default();
        for entry in &plan.delete {
            let Some(place) = FileLock::try_acquire(&self.place_lock_path(&entry.place))? else {
                report.busy.push(entry.path.clone());
                continue;
            };
            let Some(lock) = FileLock::try_acquire(&self.lock_path(&entry.place, &entry.key)?)? else {
                report.busy.push(entry.path.clone());
                continue;
            };
            let grave = temp_sibling(&self.root().join(TMP).join(&entry.key.as_str()[..16]));
            match std::fs::rename(&entry.path, &grave) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => {
                    other.map_err(FsError::on("remove", &entry.path))?;
                    remove_tree(&grave)?;
                    report.deleted += 1;
                }
            }
            lock.remove()?;
            place.remove()?;
        }
        for partial in &plan.partial {
            if !self.discard_partial(&partial.place, &partial.key)? {
                report.busy.push(partial.path.clone());
            }
        }
        for dir in &plan.stale {
            remove_if_dead(dir)?;
        }
        plan.vanished.iter().try_for_each(|record| remove_file(record))?;
        Ok(report)
    }

    /// Removes entries of one place that others cover, unless somebody uses the place just now.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn discard(&self, place: &str, keys: &[Key]) -> Result<GcReport, StoreError> {
        let delete = keys.iter().map(|key| self.listed(place, key.clone())).collect::<Result<_, _>>()?;
        self.gc_apply(&GcPlan { delete, ..GcPlan::default() })
    }

    /// Whether a per-part entry holds a file of a reached entry.
    fn feeds(&self, entry: &Listed, reached: &Reached) -> bool {
        entry.place.contains('/')
            && Manifest::read(&entry.path).is_ok_and(|m| m.all_files().any(|(_, _, hash)| reached.files.contains(hash)))
    }

    /// Staging directories whose maker's lock is free.
    fn stale_staging(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut stale = Vec::new();
        for path in files(&self.root().join(TMP))? {
            let dir = if path.extension().is_some_and(|e| e == "lock") { path.with_extension("") } else { path };
            if !stale.contains(&dir) && is_dead(&dir)? {
                stale.push(dir);
            }
        }
        Ok(stale)
    }
}

/// Whether `--keep what` names this unfinished work, by path or by the beginning of its key.
fn is_meant(partial: &Partial, what: &str) -> bool {
    Path::new(what) == partial.path || (!what.is_empty() && partial.key.as_str().starts_with(what))
}

fn is_dead(dir: &Path) -> Result<bool, StoreError> {
    let lock = dir.with_added_extension("lock");
    // The lock is taken before the directory is made, so a directory without one is a grave of ours.
    Ok(!lock.exists() || FileLock::try_acquire(&lock)?.is_some())
}

fn remove_if_dead(dir: &Path) -> Result<(), StoreError> {
    let lock = dir.with_added_extension("lock");
    match FileLock::try_acquire(&lock)? {
        None => Ok(()),
        Some(lock) => {
            remove_tree(dir)?;
            Ok(lock.remove()?)
        }
    }
}

/// Everything a set of roots was made of.
#[derive(Debug, Default)]
struct Reached {
    entries: BTreeSet<(String, String)>,
    files: BTreeSet<String>,
    caches: BTreeSet<String>,
}

impl Reached {
    fn visit(&mut self, manifest: &Manifest, index: &Index) {
        if !self.entries.insert((manifest.stage.clone(), manifest.key.clone())) {
            return;
        }
        self.files.extend(manifest.all_files().map(|(_, _, hash)| hash.to_owned()));
        self.caches.extend(manifest.summary[CACHE_FIELD].as_str().map(str::to_owned));
        for input in manifest.inputs.values() {
            if let Some((_, manifest)) = index.get(&input.hash) {
                self.visit(manifest, index);
            }
        }
    }

    fn has(&self, place: &str, key: &Key) -> bool {
        self.entries.contains(&(place.to_owned(), key.to_string()))
    }
}

/// Paths in a directory, sorted.
fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let on = || FsError::on("list", dir);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(on())? {
        paths.push(entry.map_err(on())?.path());
    }
    paths.sort();
    Ok(paths)
}

//! Checkpoints of a run that is not finished: weights, moments, place in the mixture and metrics so far.
//!
//! They lie in the store's area for unfinished work, one directory each, that appears by one rename with every file synced;
//! so a kill at any instant, or a full disk, leaves the last one whole. There is no generator to save: every random
//! choice follows from the seed and the place in the run. Whoever holds the key's lock is alone here.

use crate::policy::verify_files;
use crate::{Error, ErrorClass};
use rasft_data::{DataError, DataSet, FileInfo, Manifest};
use rasft_fs::{FsError, create_dir_all, publish_dir, remove_tree, temp_sibling};
use rasft_learn::{TrainerState, read_place};
use rasft_types::StepMetrics;
use std::path::{Path, PathBuf};

const METRICS: &str = super::METRICS_FILE;

fn store(error: FsError) -> Error {
    rasft_store::StoreError::from(error).into()
}

/// Where a run keeps its checkpoints.
pub(super) struct Kept {
    dir: PathBuf,
    key: String,
    keep: usize,
}

/// The checkpoint a run goes on from.
pub(super) struct Left {
    /// A checkpoint directory as `save_checkpoint` writes it, with the weights as the passes read them.
    pub dir: PathBuf,
    /// One row per step done.
    pub metrics: Vec<StepMetrics>,
    /// Step and place in the mixture.
    pub place: TrainerState,
}

impl Kept {
    /// Checkpoints in `dir`, of which the newest `keep` stay.
    pub fn new(dir: PathBuf, key: &str, keep: usize) -> Self {
        Self { dir, key: key.to_owned(), keep }
    }

    /// The newest checkpoint that is whole. Those whose bytes are proven damaged are named, removed and passed over; one
    /// that merely cannot be read now is an error, and stays.
    pub fn latest(&self) -> Result<Option<Left>, Error> {
        for dir in self.all()?.into_iter().rev() {
            match read(&dir) {
                Ok(left) => return Ok(Some(left)),
                Err(e) if is_damage(&e) => {
                    tracing::warn!("checkpoint {} cannot be used and is removed: {e}", dir.display());
                    remove_tree(&dir).map_err(store)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Removes all checkpoints: the run begins again.
    pub fn clear(&self) -> Result<(), Error> {
        bury(&self.all()?)
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a checkpoint of the state after `metrics`: `write` puts model, moments and place into a directory.
    pub fn save(&self, metrics: &[StepMetrics], write: &dyn Fn(&Path) -> Result<(), Error>) -> Result<(), Error> {
        create_dir_all(&self.dir).map_err(store)?;
        let saved = self.save_in_dir(metrics, write);
        if saved.is_err() {
            // An empty directory would be listed as an unfinished run.
            let _not_empty = std::fs::remove_dir(&self.dir);
        }
        saved
    }

    fn save_in_dir(&self, metrics: &[StepMetrics], write: &dyn Fn(&Path) -> Result<(), Error>) -> Result<(), Error> {
        let dest = self.dir.join(format!("step-{:010}", metrics.len()));
        let staging = Staging(temp_sibling(&dest));
        create_dir_all(&staging.0).map_err(store)?;
        write(&staging.0)?;
        super::write_metrics(&staging.0, &self.key, metrics)?;
        let names = super::file_names(&staging.0)?;
        let manifest = Manifest {
            schema: super::SCHEMA.to_owned(),
            version: 1,
            stage: super::STAGE.to_owned(),
            key: self.key.clone(),
            files: names.iter().map(|name| FileInfo::of(&staging.0, name)).collect::<Result<_, _>>()?,
            ..Manifest::default()
        };
        manifest.write(&staging.0)?;
        publish_dir(&staging.0, &dest).map_err(store)?;
        let all = self.all()?;
        bury(&all[..all.len().saturating_sub(self.keep)])
    }

    /// Checkpoint directories, oldest first. What killed processes were writing or removing goes.
    fn all(&self) -> Result<Vec<PathBuf>, Error> {
        let on = |e| store(FsError::on("list", &self.dir)(e));
        let entries = match std::fs::read_dir(&self.dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(on)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(on)?;
            if entry.file_name().to_string_lossy().starts_with("step-") {
                found.push(entry.path());
            } else {
                remove_tree(&entry.path()).map_err(store)?;
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Removes checkpoints, each under another name first, so that no half-removed one is ever taken for a whole one.
fn bury(checkpoints: &[PathBuf]) -> Result<(), Error> {
    for old in checkpoints {
        let grave = temp_sibling(old);
        std::fs::rename(old, &grave).map_err(FsError::on("remove", old)).map_err(store)?;
        remove_tree(&grave).map_err(store)?;
    }
    Ok(())
}

/// A directory that goes unless it was renamed.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: what stays is removed by the next run.
        let _ = remove_tree(&self.0);
    }
}

fn read(dir: &Path) -> Result<Left, Error> {
    Manifest::read(dir)?; // `verify_files` passes over a directory without one
    verify_files(dir, &|_| true)?;
    let metrics = DataSet::open(dir.join(METRICS))?.read_all::<StepMetrics>()?;
    Ok(Left { dir: dir.to_owned(), metrics, place: read_place(dir)? })
}

/// Whether a checkpoint is not what was written: a file is gone, or its bytes are others. Anything else (a disk that does
/// not answer, permissions, too many open files) may pass, and says nothing about the checkpoint.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Data(DataError::Fs(e)) => e.kind() == std::io::ErrorKind::NotFound,
        other => other.class() == ErrorClass::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasft_data::{MANIFEST_FILE, ShardWriter};

    const PLACE: &str = r#"{"step": 1, "consumed": 4, "params": null}"#;

    fn put(kept: &Kept, step: &str) -> PathBuf {
        let path = kept.dir.join(step);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("trainer.json"), PLACE).unwrap();
        let mut table = ShardWriter::<StepMetrics>::create(&path.join(METRICS), "ab").unwrap();
        table.write(&[StepMetrics { step: 1, ..StepMetrics::default() }]).unwrap();
        table.finish().unwrap();
        let files = super::super::file_names(&path).unwrap();
        let files = files.iter().map(|name| FileInfo::of(&path, name).unwrap()).collect();
        Manifest { files, ..Manifest::default() }.write(&path).unwrap();
        path
    }

    #[test]
    fn a_checkpoint_that_cannot_be_read_now_stays() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("k"), "ab", 2);
        put(&kept, "step-0000000001");
        let newest = put(&kept, "step-0000000002");
        // Reading a directory fails as a disk does, for every user.
        let (file, aside) = (newest.join("trainer.json"), dir.path().join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(kept.latest().is_err());
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        assert_eq!(kept.latest().unwrap().unwrap().dir, newest);
    }

    #[test]
    fn a_run_that_begins_again_finds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("k"), "ab", 2);
        kept.clear().unwrap();
        put(&kept, "step-0000000001");
        put(&kept, ".step-0000000002.tmp-1-0");
        kept.clear().unwrap();
        assert!(kept.latest().unwrap().is_none());
        assert_eq!(std::fs::read_dir(&kept.dir).unwrap().count(), 0);
    }

    #[test]
    fn damaged_checkpoints_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("k"), "ab", 2);
        assert!(kept.latest().unwrap().is_none());
        put(&kept, "step-0000000001");
        let newest = put(&kept, "step-0000000002");
        put(&kept, ".step-0000000003.tmp-1-0");
        std::fs::write(newest.join("trainer.json"), PLACE.replace('4', "5")).unwrap();
        let left = kept.latest().unwrap().unwrap();
        assert!(left.dir.ends_with("step-0000000001"));
        assert_eq!((left.place.consumed, left.metrics.len()), (4, 1));
        assert_eq!(kept.all().unwrap().len(), 1, "the damaged one and the half-written one are gone");
        std::fs::remove_file(left.dir.join(MANIFEST_FILE)).unwrap();
        assert!(kept.latest().unwrap().is_none());
    }
}

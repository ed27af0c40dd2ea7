//! Damaged files are reported, never consumed.

use super::sample;
use crate::*;
use rasft_types::Problem;
use std::path::{Path, PathBuf};

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..50).map(sample::problem).collect();
    sample::data_set(dir.path(), &rows, 2);
    let part = dir.path().join(part_name(1));
    (dir, part)
}

fn read(path: &Path) -> Result<Vec<Problem>, DataError> {
    DataSet::open(path)?.read_all()
}

fn corrupt(path: &Path, part: &Path) {
    let error = read(path).expect_err("must be reported");
    assert_eq!(error.class(), Class::Corrupt, "{error}");
    assert!(error.to_string().contains(&part.display().to_string()), "{error}");
}

#[test]
fn a_flipped_bit_anywhere_in_a_listed_shard() {
    let (dir, part) = fresh();
    let good = std::fs::read(&part).unwrap();
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&part, bad).unwrap();
        corrupt(dir.path(), &part);
        // A lone file beside its manifest is held to it too.
        let error = read(&part).expect_err("must be reported");
        let lone = error.class();
        assert!(lone == Class::Corrupt || at < 4, "{error}");
    }
    std::fs::write(&part, good).unwrap();
    assert_eq!(read(dir.path()).unwrap().len(), 50);
    assert_eq!(read(&part).unwrap().len(), 25);
}

#[test]
fn a_truncated_longer_or_missing_shard_is_noticed_on_opening() {
    let (dir, part) = fresh();
    let good = std::fs::read(&part).unwrap();
    for bad in [&good[..0], &good[..good.len() - 1], &good[..100], &[good.as_slice(), b"x"].concat()] {
        std::fs::write(&part, bad).unwrap();
        assert_eq!(DataSet::open(dir.path()).unwrap_err().class(), Class::Corrupt);
        corrupt(dir.path(), &part);
    }
    std::fs::remove_file(&part).unwrap();
    let error = DataSet::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
}

#[test]
fn a_flipped_bit_in_the_manifest_is_reported_or_stands_in_the_run_section() {
    let (dir, _) = fresh();
    let path = dir.path().join(MANIFEST_FILE);
    let good = std::fs::read(&path).unwrap();
    let original = Manifest::read(dir.path()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        if let Ok(read) = Manifest::read(dir.path()) {
            let same = Manifest { run: serde_json::Value::Null, ..read }
                == Manifest { run: serde_json::Value::Null, ..original.clone() };
            assert!(same, "byte {at}: {}", String::from_utf8_lossy(&bad));
        }
    }
}

#[test]
fn a_foreign_file_cut_short() {
    let (dir, part) = fresh();
    std::fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    let good = std::fs::read(&part).unwrap();
    for len in [5, 100, good.len() - 9, good.len() - 1] {
        std::fs::write(&part, &good[..len]).unwrap();
        corrupt(&part, &part);
        corrupt(dir.path(), &part);
    }
}

/// Without a hash a flip may go unseen, but it never ends the process.
#[test]
fn a_flipped_bit_in_a_foreign_file_is_no_panic() {
    let (dir, part) = fresh();
    std::fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    let good = std::fs::read(&part).unwrap();
    let mut reported = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&part, bad).unwrap();
        reported += usize::from(read(&part).is_err());
    }
    assert!(reported * 3 > good.len(), "{reported} of {}", good.len());
}

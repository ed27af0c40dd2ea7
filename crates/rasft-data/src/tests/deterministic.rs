//! The same rows are the same bytes, however they arrive.

use super::sample;
use crate::*;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rasft_types::*;
use std::fs::File;
use std::path::Path;

fn bytes_of<T: Table>(dir: &Path, rows: &[T], pieces: usize) -> Vec<u8> {
    let path = dir.join("part-00000.parquet");
    let mut writer = ShardWriter::<T>::create(&path, "key").unwrap();
    for piece in rows.chunks(pieces) {
        writer.write(piece).unwrap();
    }
    let info = writer.finish().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(info.blake3, blake3::hash(&bytes).to_hex().to_string());
    assert_eq!((info.bytes, info.rows), (bytes.len() as u64, rows.len() as u64));
    bytes
}

fn check<T: Table>(make: fn(usize) -> T) {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<T> = (0..2500).map(make).collect();
    let whole = bytes_of(dir.path(), &rows, rows.len());
    for pieces in [rows.len(), 1, 7, 1023, 1024, 1025] {
        assert!(bytes_of(dir.path(), &rows, pieces) == whole, "{} in pieces of {pieces}", T::NAME);
    }
}

#[test]
fn every_table_whatever_the_pieces() {
    check(sample::problem);
    check(sample::difficulty);
    check(sample::expert_loss);
    check(sample::rollout);
    check(sample::verdict);
    check(sample::solvability);
    check(sample::mixture);
    check(sample::metrics);
    check(sample::eval_sample);
    check(sample::eval_summary);
    check(sample::reject);
}

/// If this fails after an upgrade of `parquet`, every cached hash changes: raise the stage versions.
#[test]
fn bytes_are_those_of_the_first_release() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..5).map(sample::rollout).collect();
    let bytes = bytes_of(dir.path(), &rows, 5);
    assert_eq!(
        blake3::hash(&bytes).to_hex().to_string(),
        "89009cb71e3179d0e349c49c8aab30263ee56ad49e16e6c5ddc05a1cdd39bb91"
    );
}

/// Text that zstd cannot shrink.
fn noise(seed: usize, len: usize) -> String {
    let mut x = seed as u64 + 0x9e37_79b9_7f4a_7c15;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        char::from(b' ' + (x % 90) as u8)
    };
    (0..len).map(step).collect()
}

#[test]
fn row_groups_are_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let row = |i: usize| Rollout { completion: noise(i, 1 << 20), ..sample::rollout(i) };
    let rows: Vec<_> = (0..130).map(row).collect();
    let whole = bytes_of(dir.path(), &rows, rows.len());
    assert!(bytes_of(dir.path(), &rows, 3) == whole);
    let file = File::open(dir.path().join("part-00000.parquet")).unwrap();
    let metadata = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().clone();
    let sizes: Vec<i64> = metadata.row_groups().iter().map(|g| g.total_byte_size()).collect();
    assert!(sizes.len() >= 3 && sizes.len() <= 4, "{sizes:?}");
    assert!(sizes.iter().all(|&size| size <= 64 << 20), "{sizes:?}");
}

#[test]
fn footers_say_what_the_file_is_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    bytes_of(dir.path(), &[sample::problem(1)], 1);
    let file = File::open(dir.path().join("part-00000.parquet")).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let meta = builder.metadata().file_metadata();
    assert_eq!(meta.created_by(), Some("rasft"));
    let pairs: Vec<_> =
        meta.key_value_metadata().unwrap().iter().map(|kv| (kv.key.as_str(), kv.value.as_deref())).collect();
    assert_eq!(pairs, [("rasft.schema", Some("problems/1")), ("rasft.key", Some("key"))]);
    assert_eq!(builder.schema().fields(), Problem::schema().fields(), "Parquet's own types carry the Arrow schema");
}

//! One Parquet file opened for reading: verified, identified, projected.

use crate::column::Site;
use crate::dataset::Shard;
use crate::error::DataError;
use crate::hash::hash_open_file;
use crate::manifest::check_size;
use crate::table::Table;
use crate::writer::SCHEMA_KEY;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rasft_fs::FsError;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Rows decoded at once.
const BATCH_ROWS: usize = 1024;
/// First and last bytes of every Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";

/// A shard ready to give batches.
pub(crate) struct OpenShard {
    pub batches: ParquetRecordBatchReader,
    pub site: Site,
    /// Columns of the table that the file does not have.
    pub absent: BTreeSet<&'static str>,
}

/// Opens a shard for rows of `T`. Its bytes are hashed first when their hash is known.
pub(crate) fn open<T: Table>(shard: &Shard, wanted: Option<&[&'static str]>) -> Result<OpenShard, DataError> {
    let mut file = File::open(&shard.path).map_err(FsError::on("open", &shard.path))?;
    if let Some(expected) = &shard.blake3 {
        check_size(&shard.path, shard.bytes, expected)?;
        let actual = hash_open_file(&mut file, &shard.path)?;
        if actual != *expected {
            let expected = format!("blake3 {expected}");
            return Err(DataError::Corrupt { file: shard.path.clone(), expected, actual: format!("blake3 {actual}") });
        }
    }
    let builder = parquet(file, &shard.path)?;
    let native = check_schema::<T>(&builder, &shard.path)?;
    let present: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let is_wanted = |name: &str| wanted.is_none_or(|w| w.contains(&name));
    let columns: Vec<&'static str> = T::columns().iter().map(|c| c.name).collect();
    let read = (0..present.len()).filter(|&i| columns.contains(&present[i].as_str()) && is_wanted(&present[i]));
    let mask = ProjectionMask::roots(builder.parquet_schema(), read);
    let absent = columns.iter().filter(|c| !present.iter().any(|p| p == *c)).copied().collect();
    let batches = guarded(&shard.path, || builder.with_projection(mask).with_batch_size(BATCH_ROWS).build())?;
    let site = Site { file: shard.path.clone(), first_row: 0, native, wanted: wanted.map(<[_]>::to_vec) };
    Ok(OpenShard { batches, site, absent })
}

/// Rows of a Parquet file, from its footer.
pub(crate) fn n_rows(path: &Path) -> Result<u64, DataError> {
    let file = File::open(path).map_err(FsError::on("open", path))?;
    let rows = parquet(file, path)?.metadata().file_metadata().num_rows();
    Ok(u64::try_from(rows).unwrap_or(0))
}

fn parquet(mut file: File, path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, DataError> {
    check_magic(&mut file, path)?;
    guarded(path, || ParquetRecordBatchReaderBuilder::try_new(file))
}

/// Runs a part of the Parquet library on bytes nobody has vouched for: on some damaged pages it divides by zero or
/// indexes out of bounds, and that is a damaged file, not the end of the process.
pub(crate) fn guarded<V, E: std::fmt::Display>(
    path: &Path,
    decode: impl FnOnce() -> Result<V, E>,
) -> Result<V, DataError> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(damaged(path, e)),
        Err(_) => Err(damaged(path, "a page that cannot be decoded")),
    }
}

/// Tells another format from a damaged Parquet file.
fn check_magic(file: &mut File, path: &Path) -> Result<(), DataError> {
    let on = || FsError::on("read", path);
    let len = file.seek(SeekFrom::End(0)).map_err(on())?;
    let mut ends = [[0u8; 4]; 2];
    if len >= 4 {
        file.rewind().map_err(on())?;
        file.read_exact(&mut ends[0]).map_err(on())?;
        file.seek(SeekFrom::End(-4)).map_err(on())?;
        file.read_exact(&mut ends[1]).map_err(on())?;
    }
    file.rewind().map_err(on())?;
    if ends[0] != *MAGIC {
        let detail = if len == 0 { "it is empty".to_owned() } else { "it does not begin with PAR1".to_owned() };
        return Err(DataError::NotParquet { file: path.to_owned(), detail });
    }
    if ends[1] != *MAGIC {
        let expected = "a Parquet footer that ends in PAR1".to_owned();
        let actual =
            format!("{len} bytes that end in {:?}: the file was cut short", ends[1].escape_ascii().to_string());
        return Err(DataError::Corrupt { file: path.to_owned(), expected, actual });
    }
    Ok(())
}

/// Whether one of our programs wrote the file with every column of today; refuses other tables and unknown versions.
fn check_schema<T: Table>(builder: &ParquetRecordBatchReaderBuilder<File>, path: &Path) -> Result<bool, DataError> {
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let schema = pairs.into_iter().flatten().find(|kv| kv.key == SCHEMA_KEY).and_then(|kv| kv.value.as_deref());
    let Some(schema) = schema else { return Ok(false) };
    let (table, version) = schema.rsplit_once('/').unwrap_or((schema, ""));
    Ok(check_version::<T>(path, table, version)? == T::VERSION)
}

/// Compares a table's name and version, as found, with those of `T`, and gives the version.
pub(crate) fn check_version<T: Table>(file: &Path, table: &str, version: &str) -> Result<u32, DataError> {
    if table != T::NAME {
        let (expected, found) = (T::NAME.to_owned(), table.to_owned());
        return Err(DataError::WrongTable { file: file.to_owned(), expected, found });
    }
    match version.parse::<u32>() {
        Ok(v) if (T::OLDEST..=T::VERSION).contains(&v) => Ok(v),
        parsed => Err(DataError::UnknownVersion {
            file: file.to_owned(),
            table: table.to_owned(),
            found: format!("{table}/{version}"),
            known: T::VERSION,
            hint: match parsed {
                Ok(v) if v > T::VERSION => {
                    "a newer toolkit wrote it: upgrade this one, or make the data set again with this one"
                }
                _ => "make the data set again with this toolkit",
            },
        }),
    }
}

/// Parquet that begins and ends well and cannot be decoded in between.
fn damaged(path: &Path, error: impl std::fmt::Display) -> DataError {
    DataError::Corrupt { file: path.to_owned(), expected: "readable Parquet".to_owned(), actual: error.to_string() }
}

//! Shards whose bytes depend on the rows and the key alone.
//!
//! Rows are regrouped into batches of a fixed number before they reach the Parquet writer, and every writer property
//! that could follow the library's version or defaults is pinned, so neither the way rows arrive nor an upgrade shows.

use crate::error::DataError;
use crate::manifest::{FileInfo, ShardInfo};
use crate::table::Table;
use crate::tables::RejectRow;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use rasft_fs::{AtomicFile, FsError};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Key-value metadata: table name and version.
pub(crate) const SCHEMA_KEY: &str = "rasft.schema";
/// Key-value metadata: the key the shard was made under.
const KEY_KEY: &str = "rasft.key";
/// Name of the skipped rows beside a data set.
pub const REJECTS_FILE: &str = "rejects.parquet";

/// Rows handed to Parquet at once.
const BATCH_ROWS: usize = 1024;
/// A batch with more bytes than this is handed over in halves, so that row groups can end inside it.
const PIECE_BYTES: usize = 4 << 20;
/// A row group ends before it exceeds this. The contract allows 64 MiB; levels and dictionaries come on top.
const GROUP_BYTES: usize = 48 << 20;

/// Name of the `index`-th shard of a data set.
pub fn part_name(index: usize) -> String {
    format!("part-{index:05}.parquet")
}

/// Writes the rows that were skipped to `dir/rejects.parquet`.
///
/// # Errors
/// As [`ShardWriter::finish`].
pub fn write_rejects(dir: &Path, key: &str, rows: &[RejectRow]) -> Result<FileInfo, DataError> {
    let mut writer = ShardWriter::create(&dir.join(REJECTS_FILE), key)?;
    writer.write(rows)?;
    let ShardInfo { file, bytes, blake3, .. } = writer.finish()?;
    Ok(FileInfo { file, bytes, blake3 })
}

/// Writes one shard; it appears under its name when [`ShardWriter::finish`] returns.
pub struct ShardWriter<T: Table> {
    path: PathBuf,
    parquet: ArrowWriter<Hashing>,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    group_bytes: usize,
    rows: u64,
    row_type: PhantomData<fn(T)>,
}

impl<T: Table> ShardWriter<T> {
    /// Starts the shard `path`, made under `key`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path, key: &str) -> Result<Self, DataError> {
        let sink = Hashing { file: AtomicFile::create(path)?, hasher: blake3::Hasher::new(), bytes: 0 };
        // The embedded Arrow schema would be one more thing that changes with the library; Parquet's types say it all.
        let options = ArrowWriterOptions::new()
            .with_properties(properties::<T>(key, path)?)
            .with_skip_arrow_metadata(true)
            .with_schema_root("schema".to_owned());
        let parquet = ArrowWriter::try_new_with_options(sink, T::schema(), options).map_err(|e| failed(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            parquet,
            pending: Vec::new(),
            pending_rows: 0,
            group_bytes: 0,
            rows: 0,
            row_type: PhantomData,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When the disk or Parquet refuses them.
    pub fn write(&mut self, rows: &[T]) -> Result<(), DataError> {
        for rows in rows.chunks(BATCH_ROWS) {
            self.pending.push(T::encode(rows)?);
            self.pending_rows += rows.len();
            self.rows += rows.len() as u64;
            if self.pending_rows >= BATCH_ROWS {
                let all = self.take_pending()?;
                self.emit(&all.slice(0, BATCH_ROWS))?;
                let rest = all.slice(BATCH_ROWS, all.num_rows() - BATCH_ROWS);
                self.pending_rows = rest.num_rows();
                self.pending.push(rest);
            }
        }
        Ok(())
    }

    /// Writes the footer, syncs, and gives the file its name.
    ///
    /// # Errors
    /// When any of it fails; no file is left then.
    pub fn finish(mut self) -> Result<ShardInfo, DataError> {
        let rest = self.take_pending()?;
        self.emit(&rest)?;
        let sink = self.parquet.into_inner().map_err(|e| failed(&self.path, e))?;
        sink.file.commit()?;
        let file = self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(ShardInfo { file, rows: self.rows, bytes: sink.bytes, blake3: sink.hasher.finalize().to_hex().to_string() })
    }

    fn take_pending(&mut self) -> Result<RecordBatch, DataError> {
        self.pending_rows = 0;
        let pending = std::mem::take(&mut self.pending);
        concat_batches(&T::schema(), &pending)
            .map_err(|e| DataError::Write { file: self.path.clone(), detail: e.to_string() })
    }

    fn emit(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        let (n, bytes) = (batch.num_rows(), batch.columns().iter().map(value_bytes).sum::<usize>());
        if n > 1 && bytes > PIECE_BYTES {
            self.emit(&batch.slice(0, n / 2))?;
            return self.emit(&batch.slice(n / 2, n - n / 2));
        }
        if self.group_bytes > 0 && self.group_bytes + bytes > GROUP_BYTES {
            self.parquet.flush().map_err(|e| failed(&self.path, e))?;
            self.group_bytes = 0;
        }
        self.group_bytes += bytes;
        self.parquet.write(batch).map_err(|e| failed(&self.path, e))
    }
}

/// Bytes of the values alone, the same for a slice and for a copy of it.
fn value_bytes(array: &ArrayRef) -> usize {
    let n = array.len();
    match array.data_type() {
        DataType::Utf8 => {
            let offsets = array.as_string::<i32>().value_offsets();
            4 * n + (offsets[n] - offsets[0]) as usize
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.value_offsets()[0] as usize, list.value_offsets()[n] as usize);
            4 * n + value_bytes(&list.values().slice(first, last - first))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(value_bytes).sum(),
        other => n * other.primitive_width().unwrap_or(1),
    }
}

fn properties<T: Table>(key: &str, path: &Path) -> Result<WriterProperties, DataError> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).map_err(|e| failed(path, e))?);
    let pairs = vec![
        KeyValue::new(SCHEMA_KEY.to_owned(), format!("{}/{}", T::NAME, T::VERSION)),
        KeyValue::new(KEY_KEY.to_owned(), key.to_owned()),
    ];
    let mut properties = WriterProperties::builder()
        .set_created_by("rasft".to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_offset_index_disabled(false)
        .set_bloom_filter_enabled(false)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(1 << 20)
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_write_batch_size(BATCH_ROWS)
        // `emit` ends the row groups.
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .set_key_value_metadata(Some(pairs));
    for column in T::columns() {
        if let Some(leaf) = float_leaf(column.name, &column.data_type) {
            // Floats hardly ever repeat: a dictionary is built for nothing.
            properties = properties.set_column_dictionary_enabled(leaf, false);
        }
    }
    Ok(properties.build())
}

fn float_leaf(name: &str, data_type: &DataType) -> Option<ColumnPath> {
    match data_type {
        DataType::Float32 | DataType::Float64 => Some(ColumnPath::from(name)),
        DataType::List(e) if e.data_type().is_floating() => {
            Some(ColumnPath::new(["list", "element"].iter().fold(vec![name.to_owned()], |mut path, part| {
                path.push((*part).to_owned());
                path
            })))
        }
        _ => None,
    }
}

/// Parquet hides the operating system's error; the user needs it (disk full).
fn failed(path: &Path, error: ParquetError) -> DataError {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => FsError::on("write", path)(*source).into(),
            Err(other) => DataError::Write { file: path.to_owned(), detail: other.to_string() },
        },
        other => DataError::Write { file: path.to_owned(), detail: other.to_string() },
    }
}

/// Hashes and counts what passes through.
struct Hashing {
    file: AtomicFile,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

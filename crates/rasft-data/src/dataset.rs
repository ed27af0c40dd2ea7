//! A data set as a stage gets it: our directory with a manifest, somebody's Parquet files, or one Parquet file.

use crate::error::DataError;
use crate::hash::{frame, hash_file};
use crate::manifest::{MANIFEST_FILE, Manifest, check_size};
use crate::reader::Rows;
use crate::shard;
use crate::table::Table;
use crate::writer::REJECTS_FILE;
use rasft_fs::FsError;
use std::path::{Path, PathBuf};

/// One Parquet file of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The file.
    pub path: PathBuf,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Its hash by the manifest; none in foreign data sets.
    pub blake3: Option<String>,
}

/// Shards in order, with their manifest if there is one.
#[derive(Debug, Clone)]
pub struct DataSet {
    path: PathBuf,
    manifest: Option<Manifest>,
    shards: Vec<Shard>,
}

impl DataSet {
    /// Opens a data set; no shard is read, but every shard must be there with the size its manifest gives.
    ///
    /// # Errors
    /// Nothing there, no Parquet files, or a manifest or footer that is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let meta = match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(DataError::NotFound { path: path.to_owned() });
            }
            other => other.map_err(FsError::on("read", path))?,
        };
        let (manifest, shards) = if !meta.is_dir() {
            (None, vec![lone_file(path)?])
        } else if path.join(MANIFEST_FILE).exists() {
            let manifest = Manifest::read(path)?;
            let shards = listed(path, &manifest)?;
            (Some(manifest), shards)
        } else {
            (None, parquet_files(path)?.iter().map(|file| foreign(file)).collect::<Result<_, _>>()?)
        };
        Ok(Self { path: path.to_owned(), manifest, shards })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its manifest; none in foreign data sets.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Its shards in order.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Rows of all shards.
    pub fn n_rows(&self) -> u64 {
        self.shards.iter().map(|s| s.rows).sum()
    }

    /// The data set itself, if it has rows.
    ///
    /// # Errors
    /// [`DataError::Empty`].
    pub fn non_empty(self) -> Result<Self, DataError> {
        if self.n_rows() == 0 { Err(DataError::Empty { path: self.path }) } else { Ok(self) }
    }

    /// The manifest's content hash; without a manifest, a hash over the files, which are read for it.
    ///
    /// # Errors
    /// When a foreign file cannot be read.
    pub fn content_hash(&self) -> Result<String, DataError> {
        self.content_hash_with(&mut |path| hash_file(path))
    }

    /// [`DataSet::content_hash`] with a caller's way to hash a file, such as one that remembers.
    ///
    /// # Errors
    /// Those of `hash`.
    pub fn content_hash_with<E: From<DataError>>(
        &self,
        hash: &mut dyn FnMut(&Path) -> Result<String, E>,
    ) -> Result<String, E> {
        if let Some(manifest) = &self.manifest {
            return Ok(manifest.content_hash()?);
        }
        // Order counts and names do not: rows are read in the order of names.
        let mut hasher = blake3::Hasher::new();
        frame(&mut hasher, b"parquet files");
        for shard in &self.shards {
            let blake3 = match &shard.blake3 {
                Some(known) => known.clone(),
                None => hash(&shard.path)?,
            };
            frame(&mut hasher, blake3.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// All rows, batch by batch.
    ///
    /// # Errors
    /// When the manifest names another table or version; what is wrong with a shard comes out of the iterator.
    pub fn read<T: Table>(&self) -> Result<Rows<T>, DataError> {
        self.rows(self.shards.clone(), None)
    }

    /// All rows with only `columns` filled in; the others are blank and cost nothing.
    ///
    /// # Errors
    /// As [`DataSet::read`], and [`DataError::NoSuchColumn`].
    pub fn read_columns<T: Table>(&self, columns: &[&'static str]) -> Result<Rows<T>, DataError> {
        self.rows(self.shards.clone(), Some(columns.to_vec()))
    }

    /// The rows of one shard.
    ///
    /// # Errors
    /// As [`DataSet::read`]. An `index` beyond the shards gives no rows.
    pub fn read_shard<T: Table>(&self, index: usize) -> Result<Rows<T>, DataError> {
        self.rows(self.shards.get(index).cloned().into_iter().collect(), None)
    }

    /// All rows at once.
    ///
    /// # Errors
    /// As [`DataSet::read`], and whatever is wrong with a shard.
    pub fn read_all<T: Table>(&self) -> Result<Vec<T>, DataError> {
        self.read()?.all()
    }

    /// The `rejects.parquet` beside the data set, if it has one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn rejects(&self) -> Result<Option<DataSet>, DataError> {
        let path = self.path.join(REJECTS_FILE);
        path.exists().then(|| DataSet::open(&path)).transpose()
    }

    fn rows<T: Table>(&self, shards: Vec<Shard>, columns: Option<Vec<&'static str>>) -> Result<Rows<T>, DataError> {
        if let Some(manifest) = &self.manifest {
            let file = self.path.join(MANIFEST_FILE);
            shard::check_version::<T>(&file, &manifest.schema, &manifest.version.to_string())?;
        }
        let known = T::columns();
        if let Some(column) = columns.iter().flatten().find(|c| known.iter().all(|k| k.name != **c)) {
            return Err(DataError::NoSuchColumn { table: T::NAME, column: (*column).to_owned() });
        }
        Ok(Rows::new(shards, columns))
    }
}

/// The shards a manifest lists, checked for presence and size.
fn listed(dir: &Path, manifest: &Manifest) -> Result<Vec<Shard>, DataError> {
    let shard = |info: &crate::ShardInfo| {
        let path = dir.join(&info.file);
        check_size(&path, info.bytes, &info.blake3)?;
        Ok(Shard { path, rows: info.rows, bytes: info.bytes, blake3: Some(info.blake3.clone()) })
    };
    manifest.shards.iter().map(shard).collect()
}

/// A file on its own; when a manifest beside it answers for it, its size and hash are known.
fn lone_file(path: &Path) -> Result<Shard, DataError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    if dir.join(MANIFEST_FILE).exists() {
        let manifest = Manifest::read(dir)?;
        let name = path.file_name().unwrap_or_default();
        if let Some((_, bytes, blake3)) = manifest.all_files().find(|(file, ..)| Path::new(file) == Path::new(name)) {
            check_size(path, bytes, blake3)?;
            return Ok(Shard { blake3: Some(blake3.to_owned()), ..foreign(path)? });
        }
    }
    foreign(path)
}

fn foreign(path: &Path) -> Result<Shard, DataError> {
    let rows = shard::n_rows(path)?;
    let bytes = std::fs::metadata(path).map_err(FsError::on("read", path))?.len();
    Ok(Shard { path: path.to_owned(), rows, bytes, blake3: None })
}

/// The `*.parquet` files of a directory by name; hidden ones and rejects are not data.
fn parquet_files(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let on = || FsError::on("list", dir);
    let mut files = Vec::new();
    let mut convertible = false;
    for entry in std::fs::read_dir(dir).map_err(on())? {
        let path = entry.map_err(on())?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        convertible |= [".jsonl", ".json", ".jsonl.gz", ".jsonl.zst", ".csv"].iter().any(|end| name.ends_with(end));
        if name.ends_with(".parquet") && !name.starts_with(['.', '_']) && name != REJECTS_FILE && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let hint = if convertible {
            "turn its files into a data set with `rasft-import` first"
        } else {
            "give the directory that holds part-00000.parquet, or one Parquet file"
        };
        return Err(DataError::NoShards { path: dir.to_owned(), hint });
    }
    Ok(files)
}

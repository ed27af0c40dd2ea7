//! Tables on disk: one file per schema, data sets of Parquet shards, manifests, streaming readers and writers.
//!
//! Invariants: the bytes of a shard depend on its rows and key alone; a shard listed in a manifest is hashed before
//! it is read; a message names file, row and column. Deliberately absent: caching and keys (`rasft-store`), and any
//! knowledge of how rows come about.

mod canonical;
mod cell;
mod column;
mod contract;
mod dataset;
mod error;
mod hash;
mod manifest;
mod reader;
mod shard;
mod table;
pub mod tables;
mod widen;
mod writer;

#[cfg(test)]
mod tests;

pub use canonical::{hash_value, sorted};
pub use column::{Column, Foreign, Site};
pub use contract::{SchemaFile, schema_json};
pub use dataset::{DataSet, Shard};
pub use error::{Class, DataError};
pub use hash::{hash_file, hash128};
pub use manifest::{Counts, FileInfo, InputRef, MANIFEST_FILE, Manifest, ShardInfo};
pub use reader::Rows;
pub use table::Table;
pub use tables::{PairRow, RejectRow};
pub use writer::{REJECTS_FILE, ShardWriter, part_name, write_rejects};

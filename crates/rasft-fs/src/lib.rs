//! Files that are either whole or absent: atomic writes, directory publication, links, locks, removal.
//!
//! Invariant: whatever carries its final name is complete and on disk (temporary name, fsync, rename, fsync of the
//! directory). Every error names the path and says what to do. Deliberately absent: any knowledge of formats.

mod atomic;
mod dir;
mod error;
mod link;
mod lock;

pub use atomic::{AtomicFile, sync_dir, temp_sibling, write_atomic};
pub use dir::{
    Published, create_dir_all, publish_dir, remove_file, remove_tree, replace_dir, set_read_only, sync_tree,
};
pub use error::FsError;
pub use link::{Linked, link_or_copy, same_file};
pub use lock::FileLock;

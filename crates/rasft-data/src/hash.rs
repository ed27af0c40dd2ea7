//! blake3 of files and of framed fields.

use crate::error::DataError;
use rasft_fs::FsError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// blake3 of a file's bytes, 64 hex digits.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn hash_file(path: &Path) -> Result<String, DataError> {
    let mut file = File::open(path).map_err(FsError::on("open", path))?;
    hash_open_file(&mut file, path)
}

/// blake3 of what is left to read of an open file.
pub(crate) fn hash_open_file(file: &mut File, path: &Path) -> Result<String, DataError> {
    // Plain reads, not a memory map: a file that shrinks meanwhile must be an error, not a signal.
    let mut buffer = vec![0u8; 1 << 20];
    let mut hasher = blake3::Hasher::new();
    loop {
        let n = file.read(&mut buffer).map_err(FsError::on("read", path))?;
        if n == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..n]);
    }
}

/// blake3-128 over length-framed fields, 32 hex digits: the form of every id in the tables.
pub fn hash128(fields: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        frame(&mut hasher, field);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Feeds one field with its length before it, so that no two lists of fields feed the same bytes.
pub(crate) fn frame(hasher: &mut blake3::Hasher, field: &[u8]) {
    hasher.update(&(field.len() as u64).to_le_bytes());
    hasher.update(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_keeps_neighbours_apart() {
        assert_ne!(hash128(&[b"ab", b"c"]), hash128(&[b"a", b"bc"]));
        assert_ne!(hash128(&[b"a"]), hash128(&[b"a", b""]));
        assert_eq!(hash128(&[b"a"]).len(), 32);
    }

    #[test]
    fn a_file_hashes_as_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes = vec![7u8; (1 << 20) + 13];
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(hash_file(&path).unwrap(), blake3::hash(&bytes).to_hex().to_string());
    }
}

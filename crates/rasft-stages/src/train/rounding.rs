//! Whether bf16 changes the values of weights: what an adapter that learns over rounded ones has to know of its base, and
//! whether a reference lies in memory as bf16.
//!
//! Files are only looked through until the first value that changes. What cannot be read is passed over: loading refuses it.

use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Values looked at together.
const BUFFER: usize = 1 << 16;
/// Bits of an f32 that bf16 does not have.
const BELOW_BF16_OF_F32: u32 = 0xffff;
/// Bits of a normal f16's fraction that bf16 does not have.
const BELOW_BF16_OF_F16: u16 = 0x7;

/// The first tensor of at least `dims` dimensions, in the order of its file, with a value that bf16 does not hold.
pub(super) fn first_rounded(files: &[PathBuf], dims: usize) -> Option<String> {
    files.iter().find_map(|file| in_file(file, dims).ok().flatten())
}

fn in_file(path: &Path, dims: usize) -> std::io::Result<Option<String>> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut len = [0; 8];
    file.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > file.get_ref().metadata()?.len() {
        return Ok(None);
    }
    let mut head = vec![0; len as usize];
    file.read_exact(&mut head)?;
    let head: serde_json::Map<String, Value> = serde_json::from_slice(&head)?;
    for (name, tensor) in head.iter().filter(|(_, tensor)| tensor["shape"].as_array().map_or(0, Vec::len) >= dims) {
        let (begin, end) = (tensor["data_offsets"][0].as_u64(), tensor["data_offsets"][1].as_u64());
        let (Some(begin), Some(end)) = (begin, end) else { continue };
        file.seek(SeekFrom::Start(8 + len + begin))?;
        let mut values = file.by_ref().take(end.saturating_sub(begin));
        let changes = match tensor["dtype"].as_str() {
            Some("F32") => any(&mut values, |b: [u8; 4]| u32::from_le_bytes(b) & BELOW_BF16_OF_F32 != 0)?,
            Some("F16") => any(&mut values, |b: [u8; 2]| u16::from_le_bytes(b) & BELOW_BF16_OF_F16 != 0)?,
            _ => false,
        };
        if changes {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

fn any<const N: usize>(values: &mut impl Read, changes: impl Fn([u8; N]) -> bool) -> std::io::Result<bool> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match values.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if buffer[..filled].as_chunks::<N>().0.iter().any(|bytes| changes(*bytes)) {
            return Ok(true);
        }
        if filled < buffer.len() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bf16_lacks_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, dtype: &str, data: Vec<u8>| {
            let head =
                serde_json::json!({ "w": { "dtype": dtype, "shape": [data.len()], "data_offsets": [0, data.len()] } });
            let head = head.to_string();
            let path = dir.path().join(name);
            std::fs::write(&path, [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &data].concat()).unwrap();
            path
        };
        let f32s = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let mut long = vec![0.5; 3 * BUFFER];
        let held = file("held", "F32", f32s(&long));
        *long.last_mut().unwrap() = 0.1;
        let rounded = file("rounded", "F32", f32s(&long));
        // 1 + 2⁻¹⁰ and 1 + 2⁻⁷ in f16.
        let half = file("half", "F16", vec![0x01, 0x3c]);
        let half_held = file("half_held", "F16", vec![0x08, 0x3c]);
        let already = file("already", "BF16", vec![0xff, 0x3f]);
        assert_eq!(first_rounded(&[held.clone(), half_held, already, dir.path().join("none")], 1), None);
        assert_eq!(first_rounded(&[held, rounded.clone()], 1).as_deref(), Some("w"));
        assert_eq!(first_rounded(&[half], 1).as_deref(), Some("w"));
        assert_eq!(first_rounded(&[rounded], 2), None);
    }
}

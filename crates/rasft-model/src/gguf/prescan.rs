//! A look at the header before the reader proper: an alignment of 0 would end it with a division by zero.
//!
//! Only keys and the widths of values are read. What is not understood ends the scan without a word: the reader proper
//! says what is wrong with it.

use std::io::{self, BufRead as _, BufReader, Read, Seek};

const KEY: &[u8] = b"general.alignment";
const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// Arrays within arrays.
const DEEPEST: usize = 64;

/// Whether some `general.alignment` of the header is 0.
pub(super) fn has_zero_alignment<R: Read + Seek>(reader: &mut BufReader<R>) -> bool {
    // What ends in an error before such a key ends so for the reader proper, too.
    Header { reader, wide: true }.zero_alignment().unwrap_or(false)
}

struct Header<'a, R> {
    reader: &'a mut BufReader<R>,
    /// Lengths have eight bytes; in version 1 four.
    wide: bool,
}

impl<R: Read + Seek> Header<'_, R> {
    fn zero_alignment(&mut self) -> io::Result<bool> {
        self.skip(4)?;
        self.wide = self.u32()? != 1;
        let (_tensors, entries) = (self.length()?, self.length()?);
        for _ in 0..entries {
            let is_alignment = self.key()?;
            let kind = self.u32()?;
            match width(kind) {
                Some(width) if is_alignment => {
                    let mut value = [0; 8];
                    let value = &mut value[..width];
                    self.reader.read_exact(value)?;
                    if value.iter().all(|b| *b == 0) {
                        return Ok(true);
                    }
                }
                _ => self.value(kind, 0)?,
            }
        }
        Ok(false)
    }

    fn key(&mut self) -> io::Result<bool> {
        let length = self.length()?;
        if length != KEY.len() as u64 {
            self.skip(length)?;
            return Ok(false);
        }
        let mut key = [0; KEY.len()];
        self.reader.read_exact(&mut key)?;
        Ok(key == KEY)
    }

    fn value(&mut self, kind: u32, depth: usize) -> io::Result<()> {
        if let Some(width) = width(kind) {
            return self.skip(width as u64);
        }
        match kind {
            STRING => {
                let length = self.length()?;
                self.skip(length)
            }
            ARRAY if depth < DEEPEST => {
                let (kind, length) = (self.u32()?, self.length()?);
                if let Some(width) = width(kind) {
                    return self.skip(length.saturating_mul(width as u64));
                }
                (0..length).try_for_each(|_| self.value(kind, depth + 1))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn length(&mut self) -> io::Result<u64> {
        if !self.wide {
            return self.u32().map(u64::from);
        }
        let mut bytes = [0; 8];
        self.reader.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Goes on, or fails at the end of the file.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.reader.seek_relative(bytes)?;
        if self.reader.fill_buf()?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Bytes of a scalar.
const fn width(kind: u32) -> Option<usize> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

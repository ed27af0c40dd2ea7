//! Files as sequences of JSON records: JSON Lines or one JSON array, plain, gzip or zstd, told apart by their first bytes.
//!
//! Lines stream; an array is held in memory, since its elements have no other boundaries. Whether a record is good JSON
//! is told per line, so that one bad line can be skipped; in an array a syntax error spoils the rest of the file.

use crate::error::ProblemsError;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// One record as it stands in its file.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRecord {
    /// 1-based line of the uncompressed text on which it begins.
    pub line: u64,
    /// Its text, as its author wrote it.
    pub raw: String,
    /// The object, or why the text is none.
    pub parsed: Result<Map<String, Value>, NotAnObject>,
}

/// A record that is no JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnObject {
    /// What is there instead.
    pub found: String,
}

/// Iterator over the records of one file.
pub struct Records {
    path: PathBuf,
    packing: Packing,
    state: State,
}

enum State {
    Lines { reader: Box<dyn BufRead>, line: u64 },
    Elements(std::vec::IntoIter<RawRecord>),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

const BUFFER_BYTES: usize = 1 << 16;

/// Opens a file of records.
///
/// # Errors
/// `Io` when it cannot be opened, `Corrupt` when its compression is damaged, `NotRecords` when it is empty, another kind of
/// file, or a malformed array.
pub fn open(path: &Path) -> Result<Records, ProblemsError> {
    let (packing, mut reader) = unpack(path)?;
    let fault = |source| read_fault(path, packing, source);
    let (first, line) = first_byte(&mut reader).map_err(fault)?;
    let not_records = |detail: &str, hint| ProblemsError::NotRecords { path: path.into(), detail: detail.into(), hint };
    let state = match first {
        None => {
            return Err(not_records("holds no record", "expected one JSON object a line, or an array of objects"));
        }
        Some(b'[') => {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map_err(fault)?;
            let text = String::from_utf8(text).map_err(|e| not_records(&format!("not UTF-8: {e}"), SAVE_AS_UTF8))?;
            State::Elements(elements(path, &text, line)?.into_iter())
        }
        Some(_) => State::Lines { reader, line },
    };
    Ok(Records { path: path.to_owned(), packing, state })
}

const SAVE_AS_UTF8: &str = "save the file as UTF-8";

fn unpack(path: &Path) -> Result<(Packing, Box<dyn BufRead>), ProblemsError> {
    let io_fault = |source| ProblemsError::Io { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(io_fault)?);
    let head = file.fill_buf().map_err(io_fault)?;
    let foreign = |what: &str, hint| {
        Err(ProblemsError::NotRecords { path: path.to_owned(), detail: format!("is a {what} file"), hint })
    };
    match head {
        // RFC 1952 §2.3.1 and RFC 8878 §3.1.1: the magic numbers.
        [0x1f, 0x8b, ..] => {
            let inner = flate2::bufread::MultiGzDecoder::new(file);
            Ok((Packing::Gzip, Box::new(BufReader::with_capacity(BUFFER_BYTES, inner))))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let inner = zstd::stream::read::Decoder::with_buffer(file).map_err(io_fault)?;
            Ok((Packing::Zstd, Box::new(BufReader::with_capacity(BUFFER_BYTES, inner))))
        }
        [b'P', b'A', b'R', b'1', ..] => foreign("Parquet", "import it with the format `parquet`"),
        [b'P', b'K', 3, 4, ..] => foreign("zip", "unpack it first; gzip and zstd are read as they are"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => foreign("xz", "unpack it first; gzip and zstd are read as they are"),
        [b'B', b'Z', b'h', ..] => foreign("bzip2", "unpack it first; gzip and zstd are read as they are"),
        _ => Ok((Packing::Plain, Box::new(file))),
    }
}

/// Skips a byte order mark and white space; returns the first other byte, unread, and the line it is on.
fn first_byte(reader: &mut Box<dyn BufRead>) -> io::Result<(Option<u8>, u64)> {
    let mut line = 1;
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((None, line));
        }
        let blank = buffer.iter().take_while(|b| b.is_ascii_whitespace()).count();
        line += buffer[..blank].iter().filter(|&&b| b == b'\n').count() as u64;
        let found = buffer.get(blank).copied();
        reader.consume(blank);
        if found.is_some() {
            return Ok((found, line));
        }
    }
}

fn elements(path: &Path, text: &str, first_line: u64) -> Result<Vec<RawRecord>, ProblemsError> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| ProblemsError::NotRecords {
        path: path.to_owned(),
        detail: format!("is no JSON array: {e} (lines counted from its opening bracket)"),
        hint: "mend the syntax, or store one JSON object a line, where single bad lines can be skipped",
    })?;
    let mut line = first_line;
    let mut seen = 0;
    Ok(items
        .into_iter()
        .map(|item| {
            // A raw value borrows from the text, so its place is the difference of the addresses.
            let start = item.get().as_ptr() as usize - text.as_ptr() as usize;
            line += text.as_bytes()[seen..start].iter().filter(|&&b| b == b'\n').count() as u64;
            seen = start;
            RawRecord { line, raw: item.get().to_owned(), parsed: object(item.get()) }
        })
        .collect())
}

fn object(text: &str) -> Result<Map<String, Value>, NotAnObject> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(NotAnObject { found: crate::record::kind_of(&other).to_owned() }),
        Err(e) => Err(NotAnObject { found: format!("no JSON: {e}") }),
    }
}

fn read_fault(path: &Path, packing: Packing, source: io::Error) -> ProblemsError {
    use io::ErrorKind as K;
    let kind = match packing {
        Packing::Plain => return ProblemsError::Io { path: path.to_owned(), source },
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
    };
    match source.kind() {
        // What the two decoders say of bad bytes; anything else is the file system's.
        K::UnexpectedEof | K::InvalidData | K::InvalidInput | K::Other => {
            ProblemsError::Corrupt { path: path.to_owned(), kind, detail: source.to_string() }
        }
        _ => ProblemsError::Io { path: path.to_owned(), source },
    }
}

impl Records {
    /// Counts what is left without looking into it, for a caller who stops early. A compressed file is read to its
    /// checksum so: damage that shows only there, or that made an earlier record look wrong, is still reported as damage.
    ///
    /// # Errors
    /// As reading on would.
    pub fn count_rest(&mut self) -> Result<u64, ProblemsError> {
        let mut n = 0;
        let mut line = Vec::new();
        let (path, packing) = (&self.path, self.packing);
        match &mut self.state {
            State::Lines { reader, .. } => {
                while reader.read_until(b'\n', &mut line).map_err(|source| read_fault(path, packing, source))? > 0 {
                    n += u64::from(!line.trim_ascii().is_empty());
                    line.clear();
                }
            }
            State::Elements(records) => n += records.len() as u64,
            State::Done => {}
        }
        self.state = State::Done;
        Ok(n)
    }
}

impl Iterator for Records {
    type Item = Result<RawRecord, ProblemsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (reader, line) = match &mut self.state {
            State::Done => return None,
            State::Elements(records) => return records.next().map(Ok),
            State::Lines { reader, line } => (reader, line),
        };
        loop {
            let mut bytes = Vec::new();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) => {
                    self.state = State::Done;
                    return None;
                }
                Ok(_) => {}
                Err(source) => {
                    self.state = State::Done;
                    return Some(Err(read_fault(&self.path, self.packing, source)));
                }
            }
            let here = *line;
            *line += 1;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            return Some(Ok(record(here, bytes.trim_ascii())));
        }
    }
}

fn record(line: u64, bytes: &[u8]) -> RawRecord {
    match std::str::from_utf8(bytes) {
        Ok(text) => RawRecord { line, raw: text.to_owned(), parsed: object(text) },
        Err(e) => RawRecord {
            line,
            raw: String::from_utf8_lossy(bytes).into_owned(),
            parsed: Err(NotAnObject { found: format!("bytes that are not UTF-8: {e}") }),
        },
    }
}

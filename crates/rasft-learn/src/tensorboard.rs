//! TensorBoard event files: scalars only.
//!
//! A file is a sequence of records; each is a length, its checksum, a protobuf `Event`, and that one's checksum. The few
//! fields that scalars need are encoded here by hand. Records are flushed one by one, so TensorBoard can follow a run, and a
//! killed run leaves at most one record that readers drop. Absent on purpose: histograms, images, reading.
//!
//! Source: TensorFlow's `lib/io/record_writer.h` (framing, masked CRC-32C) and TensorBoard's `event.proto`, `summary.proto`.

use crate::LearnError;
use rasft_fs::FsError;
use rasft_types::StepMetrics;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Added to a rotated checksum, so that a checksum of checksums stays meaningful (record_writer.h).
const MASK_DELTA: u32 = 0xa282_ead8;
/// `SessionLog.START`: what an earlier, killed process wrote from this step on is void.
const SESSION_START: u64 = 1;

/// An event file being written.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// A new file in `dir`, which is made if it is absent; `first_step` is the first step that will be written.
    ///
    /// # Errors
    /// The directory or the file cannot be made or written.
    pub fn create(dir: &Path, first_step: u64) -> Result<Self, LearnError> {
        rasft_fs::create_dir_all(dir)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Readers take files in the order of their names.
        let name =
            format!("events.out.tfevents.{:010}.{:09}.{}", now.as_secs(), now.subsec_nanos(), std::process::id());
        let path = dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(FsError::on("create", &path))?;
        let mut events = Self { path, file };
        events.record(&event(seconds(), None, &bytes_field(3, b"brain.Event:2")))?;
        let started = varint_field(1, SESSION_START);
        events.record(&event(seconds(), Some(first_step), &bytes_field(7, &started)))?;
        Ok(events)
    }

    /// Writes one step's metrics.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn step(&mut self, m: &StepMetrics, tokens_per_second: f64) -> Result<(), LearnError> {
        let scalars = [
            ("train/loss", m.loss),
            ("train/grad_norm", m.grad_norm),
            ("train/learning_rate", m.learning_rate),
            ("train/mean_ratio", m.mean_ratio),
            ("train/clip_low_fraction", m.clip_low_fraction),
            ("train/clip_high_fraction", m.clip_high_fraction),
            ("train/mean_token_prob", m.mean_token_prob),
            ("train/tokens", m.tokens as f64),
            ("train/tokens_per_second", tokens_per_second),
        ];
        let values: Vec<u8> = scalars.iter().flat_map(|(tag, value)| bytes_field(1, &scalar(tag, *value))).collect();
        self.record(&event(seconds(), Some(m.step), &bytes_field(5, &values)))
    }

    fn record(&mut self, event: &[u8]) -> Result<(), LearnError> {
        let framed = framed(event);
        Ok(self.file.write_all(&framed).map_err(FsError::on("write", &self.path))?)
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `u64 length, u32 masked crc of it, data, u32 masked crc of it`, little-endian.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA).to_le_bytes()
}

/// `Event`: 1 wall_time double, 2 step int64, and one field of its `what`.
fn event(wall_time: f64, step: Option<u64>, what: &[u8]) -> Vec<u8> {
    let time = [&[key(1, FIXED64)][..], &wall_time.to_le_bytes()].concat();
    let step = step.map(|step| varint_field(2, step)).unwrap_or_default();
    [time, step, what.to_vec()].concat()
}

/// `Summary.Value`: 1 tag string, 2 simple_value float.
fn scalar(tag: &str, value: f64) -> Vec<u8> {
    [bytes_field(1, tag.as_bytes()), vec![key(2, FIXED32)], (value as f32).to_le_bytes().to_vec()].concat()
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// Field numbers here are below 16, so a key is one byte.
fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn varint_field(field: u8, value: u64) -> Vec<u8> {
    [vec![key(field, VARINT)], varint(value)].concat()
}

fn bytes_field(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![key(field, BYTES)], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4 gives CRC-32C of 32 zero bytes; the mask is record_writer.h's.
    #[test]
    fn checksums_are_masked() {
        let crc: u32 = 0x8a91_36aa;
        let masked = crc.rotate_right(15).wrapping_add(MASK_DELTA);
        assert_eq!(masked_crc(&[0; 32]), masked.to_le_bytes());
    }

    #[test]
    fn records_and_fields_lie_as_protobuf_has_them() {
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(varint_field(2, 1), [0x10, 1]);
        assert_eq!(scalar("a", 1.0), [0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(event(1.0, Some(5), &[]), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 5]);
        let record = framed(b"xyz");
        assert_eq!((record.len(), &record[..8], &record[12..15]), (19, &3u64.to_le_bytes()[..], &b"xyz"[..]));
    }
}

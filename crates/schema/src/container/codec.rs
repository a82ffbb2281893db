//! The compressions of a container file's blocks, each bounded in what it may grow to.

use std::io::Read;

use super::ContainerError;
use crate::limits::BLOCK_BYTES_MAX;

/// How the blocks of a container file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// They are not.
    Null,
    /// Raw deflate, without zlib's frame.
    Deflate,
    /// Snappy, with a CRC-32 of what is in it.
    Snappy,
    /// Zstandard.
    Zstandard,
}

impl Codec {
    /// Returns the codec's name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Null => "null",
            Codec::Deflate => "deflate",
            Codec::Snappy => "snappy",
            Codec::Zstandard => "zstandard",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, ContainerError> {
        match name {
            "null" => Ok(Codec::Null),
            "deflate" => Ok(Codec::Deflate),
            "snappy" => Ok(Codec::Snappy),
            "zstandard" => Ok(Codec::Zstandard),
            other => Err(ContainerError::Codec { codec: other.escape_debug().to_string() }),
        }
    }

    /// Returns the block's bytes, in `buffer` unless they were not compressed.
    pub(super) fn decompress<'a>(self, bytes: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], String> {
        buffer.clear();
        match self {
            Codec::Null => return Ok(bytes),
            Codec::Deflate => bounded(flate2::bufread::DeflateDecoder::new(bytes), buffer)?,
            Codec::Zstandard => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|source| source.to_string())?;
                bounded(decoder, buffer)?;
            }
            Codec::Snappy => snappy(bytes, buffer)?,
        }
        Ok(buffer)
    }
}

fn bounded(decoder: impl Read, buffer: &mut Vec<u8>) -> Result<(), String> {
    let read = decoder.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(buffer);
    read.map_err(|source| format!("its compression is damaged ({source})"))?;
    if buffer.len() > BLOCK_BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> String {
    format!("it decompresses to more than the {BLOCK_BYTES_MAX} bytes that are allowed: write smaller blocks")
}

/// Snappy's raw form, and behind it the CRC-32 of what it decompresses to, big-endian.
fn snappy(bytes: &[u8], buffer: &mut Vec<u8>) -> Result<(), String> {
    let (compressed, sum) = bytes.split_last_chunk::<4>().ok_or("it is too short for snappy")?;
    let length = snap::raw::decompress_len(compressed).map_err(|source| source.to_string())?;
    if length > BLOCK_BYTES_MAX {
        return Err(too_large());
    }
    buffer.resize(length, 0);
    let written = snap::raw::Decoder::new().decompress(compressed, buffer);
    let written = written.map_err(|source| format!("its compression is damaged ({source})"))?;
    buffer.truncate(written);
    let mut crc = flate2::Crc::new();
    crc.update(buffer);
    if crc.sum() == u32::from_be_bytes(*sum) { Ok(()) } else { Err("its checksum is wrong".to_owned()) }
}

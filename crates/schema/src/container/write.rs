//! Container files, written block by block.
//!
//! The caller has the records as binary of the schema already: nothing is encoded here. The header may be made last, when
//! what it says of the whole file is known, and is put in front then.

use std::io::{self, Write};

use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use super::codec::Codec;
use crate::binary::{write_bytes, write_long};

const MAGIC: &[u8; 4] = b"Obj\x01";
/// As fast as zstd gets without giving up on its ratio: an archive is written once per record.
const ZSTD_LEVEL: i32 = 1;
const DEFLATE_LEVEL: u32 = 1;

/// Writes the parts of container files of one codec and one sync marker.
pub struct ContainerWriter {
    codec: Codec,
    sync: [u8; 16],
    zstd: Option<Compressor<'static>>,
    compressed: Vec<u8>,
}

impl std::fmt::Debug for ContainerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContainerWriter({})", self.codec.name())
    }
}

impl ContainerWriter {
    /// A writer whose blocks end in `sync`, which the header announces.
    ///
    /// # Errors
    /// If the compressor can't be made, for want of memory.
    pub fn new(codec: Codec, sync: [u8; 16]) -> io::Result<Self> {
        let zstd = match codec {
            Codec::Zstandard => {
                let mut zstd = Compressor::new(ZSTD_LEVEL)?;
                // A flipped bit is found by whoever reads the block, before a record is taken from it.
                zstd.include_checksum(true)?;
                Some(zstd)
            }
            Codec::Null | Codec::Deflate | Codec::Snappy => None,
        };
        Ok(Self { codec, sync, zstd, compressed: Vec::new() })
    }

    /// Returns a file's header: the schema as JSON, and entries of the writer's own, whose keys must not begin with `avro.`.
    pub fn header(&self, schema: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        write_long(metadata.len() as i64 + 2, &mut out);
        let own = [("avro.schema", schema), ("avro.codec", self.codec.name())];
        for (key, value) in own.iter().chain(metadata) {
            write_bytes(key.as_bytes(), &mut out);
            write_bytes(value.as_bytes(), &mut out);
        }
        write_long(0, &mut out);
        out.extend_from_slice(&self.sync);
        out
    }

    /// Returns a block of `count` records, whose binary forms stand one behind the other in `records`.
    ///
    /// # Errors
    /// If the compressor fails, for want of memory.
    pub fn block(&mut self, count: u64, records: &[u8]) -> io::Result<Vec<u8>> {
        let bytes = match self.codec {
            Codec::Null => records,
            Codec::Zstandard => {
                self.compressed.clear();
                self.compressed.reserve(compress_bound(records.len()));
                if let Some(zstd) = &mut self.zstd {
                    zstd.compress_to_buffer(records, &mut self.compressed)?;
                }
                &self.compressed[..]
            }
            Codec::Deflate => {
                self.compressed.clear();
                let level = flate2::Compression::new(DEFLATE_LEVEL);
                let mut encoder = flate2::write::DeflateEncoder::new(&mut self.compressed, level);
                encoder.write_all(records)?;
                encoder.finish()?;
                &self.compressed[..]
            }
            Codec::Snappy => {
                self.compressed.resize(snap::raw::max_compress_len(records.len()), 0);
                let length = snap::raw::Encoder::new().compress(records, &mut self.compressed);
                self.compressed.truncate(length.map_err(io::Error::other)?);
                let mut crc = flate2::Crc::new();
                crc.update(records);
                self.compressed.extend_from_slice(&crc.sum().to_be_bytes());
                &self.compressed[..]
            }
        };
        let mut out = Vec::with_capacity(bytes.len() + 36);
        write_long(i64::try_from(count).map_err(io::Error::other)?, &mut out);
        write_bytes(bytes, &mut out);
        out.extend_from_slice(&self.sync);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::container::{ContainerHeader, ContainerReader};
    use crate::{JsonEncoder, Schema};

    const CODECS: [Codec; 4] = [Codec::Null, Codec::Deflate, Codec::Snappy, Codec::Zstandard];

    fn schema() -> Schema {
        Schema::parse(r#"{"type": "record", "name": "R", "fields": [{"name": "t", "type": "string"}]}"#).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_so_does_apache_avro(
            texts in prop::collection::vec("[a-z]{0,40}", 0..200),
            codec in prop::sample::select(&CODECS[..]),
            cut in 1usize..50,
        ) {
            let schema = schema();
            let mut encoder = JsonEncoder::new(&schema);
            let mut writer = ContainerWriter::new(codec, [7; 16]).unwrap();
            let mut file = writer.header(schema.to_json(), &[("weir.stream", "flights")]);
            let mut sent = Vec::new();
            for texts in texts.chunks(cut) {
                let mut block = Vec::new();
                for text in texts {
                    let mut record = Vec::new();
                    encoder.encode(format!("{{\"t\": \"{text}\"}}").as_bytes(), &mut record).unwrap();
                    block.extend_from_slice(&record);
                    sent.push(record);
                }
                file.extend(writer.block(texts.len() as u64, &block).unwrap());
            }
            let header = ContainerHeader::read(&file).unwrap().unwrap();
            prop_assert_eq!(header.get("weir.stream"), Some("flights"));
            prop_assert_eq!(header.schema.fingerprint(), schema.fingerprint());
            let mut reader = ContainerReader::new(&header.schema);
            let mut read = Vec::new();
            reader.feed(&file, |_, record| read.push(record.unwrap().to_vec())).unwrap();
            reader.finish().unwrap();
            prop_assert_eq!(read, sent);
            if codec == Codec::Null {
                let oracle = apache_avro::Reader::new(&file[..]).unwrap();
                let read: Vec<_> = oracle.map(|value| value.unwrap()).collect();
                prop_assert_eq!(read.len(), texts.len());
            }
        }

        #[test]
        fn a_header_that_is_cut_off_is_asked_for_more(cut in 0usize..60) {
            let writer = ContainerWriter::new(Codec::Null, [7; 16]).unwrap();
            let file = writer.header(schema().to_json(), &[]);
            prop_assert!(cut < file.len());
            prop_assert!(ContainerHeader::read(&file[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn a_flipped_bit_of_a_zstandard_block_is_an_error() {
        let mut writer = ContainerWriter::new(Codec::Zstandard, [7; 16]).unwrap();
        let header = writer.header("\"long\"", &[]);
        let records: Vec<u8> = (0..4000u32).map(|index| (index * 37 % 64) as u8).collect();
        let block = writer.block(4000, &records).unwrap();
        for at in (header.len() + 8..header.len() + block.len() - 16).step_by(7) {
            let mut file = [&header[..], &block].concat();
            file[at] ^= 4;
            let mut reader = ContainerReader::new(&Schema::parse("\"long\"").unwrap());
            let mut read = 0;
            let outcome = reader.feed(&file, |_, record| read += usize::from(record.is_ok()));
            assert!(outcome.is_err() && read == 0, "byte {at}: {outcome:?}, {read} records");
        }
    }
}

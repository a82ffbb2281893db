//! A file of records: its form, its compression, and how far it was read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

use super::Format;

/// A file that is open for sending.
pub struct Source {
    /// As the user named it.
    pub name: String,
    pub format: Format,
    /// Its size as it lies there, compressed or not; unknown for stdin.
    pub bytes: Option<u64>,
    /// Bytes of it that were read.
    pub position: Arc<AtomicU64>,
    /// Its content, decompressed.
    pub content: Box<dyn BufRead>,
}

struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Source {
    pub fn open(path: &Path, format: Option<Format>) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let (raw, bytes): (Box<dyn Read>, _) = if name == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).with_context(|| format!("open `{name}`"))?;
            let bytes = file.metadata().ok().map(|metadata| metadata.len());
            (Box::new(file), bytes)
        };
        let format = format.or_else(|| by_name(&name)).with_context(|| {
            format!("the form of `{name}` can't be told from its name: say --format ndjson, json, csv or avro")
        })?;
        let position = Arc::new(AtomicU64::new(0));
        let mut raw = BufReader::with_capacity(256 * 1024, Counted { inner: raw, position: position.clone() });
        let start = raw.fill_buf().with_context(|| format!("read `{name}`"))?;
        let content: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(256 * 1024, flate2::bufread::MultiGzDecoder::new(raw)))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw).with_context(|| format!("read `{name}`"))?;
            Box::new(BufReader::with_capacity(256 * 1024, decoder))
        } else {
            Box::new(raw)
        };
        Ok(Self { name, format, bytes, position, content })
    }
}

pub(crate) fn by_name(name: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "json" => Some(Format::Json),
        "csv" => Some(Format::Csv),
        "avro" => Some(Format::Avro),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_name() {
        assert_eq!(by_name("a/b.CSV.gz"), Some(Format::Csv));
        assert_eq!(by_name("x.jsonl.zst"), Some(Format::Ndjson));
        assert_eq!(by_name("x.avro"), Some(Format::Avro));
        assert_eq!(by_name("x.gz"), None);
        assert_eq!(by_name("-"), None);
    }
}

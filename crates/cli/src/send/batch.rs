//! Cuts a file into batches, each a body of its own: whole records, always at the same places.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use weir_schema::ValueSplitter;

use super::Format;
use super::source::Source;

/// A batch is closed when it has this many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// The longest line, row or block that is sent.
const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Some records, ready to be sent.
#[derive(Debug)]
pub struct Batch {
    pub content_type: &'static str,
    pub body: Bytes,
    place: Place,
}

/// How a line of the body is found in the file.
#[derive(Debug)]
enum Place {
    /// By adding this.
    Shift(u64),
    /// Here: some rows before it were left out.
    Rows(Vec<u64>),
}

impl Batch {
    /// A batch of Avro messages (single objects), each with the number of its row in the file.
    pub fn of_rows(body: Vec<u8>, rows: Vec<u64>) -> Self {
        let content_type = "application/avro; form=single-object";
        Self { content_type, body: body.into(), place: Place::Rows(rows) }
    }

    /// Returns the line in the file (for JSON and Avro the record's number) of a line in the body.
    pub fn line_in_file(&self, line: u64) -> u64 {
        match &self.place {
            Place::Shift(shift) => line + shift,
            Place::Rows(rows) => line.checked_sub(1).and_then(|line| rows.get(line as usize)).copied().unwrap_or(line),
        }
    }
}

/// The batches of a file.
pub struct Batches {
    content: Box<dyn BufRead>,
    form: Form,
    done: bool,
}

enum Form {
    /// Lines read so far.
    Ndjson {
        lines: u64,
    },
    Csv {
        header: Option<Vec<u8>>,
        lines: u64,
    },
    Json {
        splitter: Option<ValueSplitter>,
        waiting: Vec<u8>,
        records: u64,
    },
    Avro {
        header: Option<Header>,
        records: u64,
    },
}

struct Header {
    bytes: Vec<u8>,
    sync: [u8; 16],
}

impl Batches {
    pub fn of(source: Source) -> Self {
        let form = match source.format {
            Format::Ndjson => Form::Ndjson { lines: 0 },
            Format::Csv => Form::Csv { header: None, lines: 0 },
            Format::Json => Form::Json { splitter: Some(ValueSplitter::new()), waiting: Vec::new(), records: 0 },
            Format::Avro => Form::Avro { header: None, records: 0 },
        };
        Self { content: source.content, form, done: false }
    }

    fn read(&mut self) -> io::Result<Option<Batch>> {
        match &mut self.form {
            Form::Ndjson { lines } => read_ndjson(&mut self.content, lines),
            Form::Csv { header, lines } => read_csv(&mut self.content, header, lines),
            Form::Json { splitter, waiting, records } => read_json(&mut self.content, splitter, waiting, records),
            Form::Avro { header, records } => read_avro(&mut self.content, header, records),
        }
    }
}

impl Iterator for Batches {
    type Item = io::Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.read().transpose();
        self.done = !matches!(batch, Some(Ok(_)));
        batch
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Appends one line with its end; says how many bytes that were.
fn read_line(content: &mut dyn BufRead, out: &mut Vec<u8>, line: u64) -> io::Result<usize> {
    let read = content.take(PIECE_BYTES_MAX as u64).read_until(b'\n', out)?;
    if read == PIECE_BYTES_MAX {
        return Err(invalid(format!("line {line} has more than {PIECE_BYTES_MAX} bytes")));
    }
    Ok(read)
}

fn read_ndjson(content: &mut dyn BufRead, lines: &mut u64) -> io::Result<Option<Batch>> {
    let shift = *lines;
    let mut body = Vec::with_capacity(BATCH_BYTES + 64 * 1024);
    while body.len() < BATCH_BYTES && read_line(content, &mut body, *lines + 1)? > 0 {
        *lines += 1;
    }
    let batch = Batch { content_type: "application/x-ndjson", body: body.into(), place: Place::Shift(shift) };
    Ok((!batch.body.is_empty()).then_some(batch))
}

/// Appends one row: lines until all quotes are closed.
fn read_row(content: &mut dyn BufRead, out: &mut Vec<u8>, lines: &mut u64) -> io::Result<bool> {
    let start = out.len();
    let mut quotes = 0;
    loop {
        let from = out.len();
        if read_line(content, out, *lines + 1)? == 0 {
            return Ok(out.len() > start);
        }
        *lines += 1;
        quotes += out[from..].iter().filter(|byte| **byte == b'"').count();
        if quotes % 2 == 0 {
            return Ok(true);
        }
        if out.len() - start > PIECE_BYTES_MAX {
            return Err(invalid(format!(
                "a quote that is open at line {lines} is not closed within {PIECE_BYTES_MAX} bytes"
            )));
        }
    }
}

fn read_csv(content: &mut dyn BufRead, header: &mut Option<Vec<u8>>, lines: &mut u64) -> io::Result<Option<Batch>> {
    let header = match header {
        Some(header) => header,
        None => {
            let mut row = Vec::new();
            if !read_row(content, &mut row, lines)? {
                return Ok(None);
            }
            if !row.ends_with(b"\n") {
                row.push(b'\n');
            }
            header.insert(row)
        }
    };
    let header_lines = header.iter().filter(|byte| **byte == b'\n').count() as u64;
    let shift = *lines - header_lines;
    let mut body = Vec::with_capacity(BATCH_BYTES + 64 * 1024);
    body.extend_from_slice(header);
    let mut rows = 0;
    while body.len() < BATCH_BYTES && read_row(content, &mut body, lines)? {
        rows += 1;
    }
    // A file of a header alone is sent once, so that a wrong header is told.
    let only_header = rows == 0 && shift == 0;
    Ok((rows > 0 || only_header).then(|| Batch {
        content_type: "text/csv",
        body: body.into(),
        place: Place::Shift(shift),
    }))
}

fn read_json(
    content: &mut dyn BufRead,
    splitter: &mut Option<ValueSplitter>,
    waiting: &mut Vec<u8>,
    records: &mut u64,
) -> io::Result<Option<Batch>> {
    let shift = *records;
    let mut failed = None;
    while waiting.len() < BATCH_BYTES
        && let Some(values) = splitter
    {
        let mut each = |record: u64, text: Result<&[u8], weir_schema::RecordError>| match text {
            Ok(text) => {
                // A value may span lines; as a line of NDJSON it must not. Line ends in JSON are white space.
                waiting.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
                waiting.push(b'\n');
                *records = record;
            }
            Err(error) => failed = failed.take().or(Some(invalid(format!("record {record}: {error}")))),
        };
        let chunk = content.fill_buf()?;
        let length = chunk.len();
        let result = if length == 0 {
            match splitter.take() {
                Some(values) => values.finish(&mut each),
                None => Ok(()),
            }
        } else {
            values.feed(chunk, &mut each)
        };
        result.map_err(|error| invalid(error.to_string()))?;
        if let Some(error) = failed {
            return Err(error);
        }
        content.consume(length);
    }
    let body: Bytes = std::mem::take(waiting).into();
    Ok((!body.is_empty()).then_some(Batch { content_type: "application/x-ndjson", body, place: Place::Shift(shift) }))
}

/// Reads an Avro long (specification 1.11, "Binary Encoding"), and keeps its bytes.
fn read_long(content: &mut dyn BufRead, out: &mut Vec<u8>) -> io::Result<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        content.read_exact(&mut byte)?;
        out.push(byte[0]);
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(invalid("a number in the Avro container is too long".into()))
}

fn read_bytes(content: &mut dyn BufRead, out: &mut Vec<u8>, length: i64) -> io::Result<()> {
    let length = usize::try_from(length).ok().filter(|length| *length <= PIECE_BYTES_MAX).ok_or_else(|| {
        invalid(format!("the Avro container has a part of {length} bytes; {PIECE_BYTES_MAX} are possible"))
    })?;
    let read = content.take(length as u64).read_to_end(out)?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Reads a container's head: magic, metadata, sync marker (specification 1.11, "Object Container Files").
fn read_header(content: &mut dyn BufRead) -> io::Result<Header> {
    let mut bytes = Vec::new();
    read_bytes(content, &mut bytes, 4)?;
    if bytes != b"Obj\x01" {
        return Err(invalid("it is not an Avro container file".into()));
    }
    loop {
        let count = read_long(content, &mut bytes)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            read_long(content, &mut bytes)?;
        }
        for _ in 0..count.unsigned_abs().saturating_mul(2) {
            let length = read_long(content, &mut bytes)?;
            read_bytes(content, &mut bytes, length)?;
            if bytes.len() > PIECE_BYTES_MAX {
                return Err(invalid("the Avro container's head is too long".into()));
            }
        }
    }
    let mut sync = [0; 16];
    content.read_exact(&mut sync)?;
    bytes.extend_from_slice(&sync);
    Ok(Header { bytes, sync })
}

fn read_avro(content: &mut dyn BufRead, header: &mut Option<Header>, records: &mut u64) -> io::Result<Option<Batch>> {
    let first = header.is_none();
    let header = match header {
        Some(header) => header,
        None => header.insert(read_header(content)?),
    };
    let shift = *records;
    let mut body = header.bytes.clone();
    let mut blocks = 0;
    while body.len() < BATCH_BYTES && !content.fill_buf()?.is_empty() {
        let count = read_long(content, &mut body)?;
        let length = read_long(content, &mut body)?;
        read_bytes(content, &mut body, length)?;
        read_bytes(content, &mut body, 16)?;
        if !body.ends_with(&header.sync) {
            return Err(invalid(format!("the Avro container is damaged behind record {}", *records)));
        }
        *records += u64::try_from(count).unwrap_or_default();
        blocks += 1;
    }
    Ok((blocks > 0 || first).then(|| Batch {
        content_type: "application/avro",
        body: body.into(),
        place: Place::Shift(shift),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn batches(format: Format, content: Vec<u8>) -> Vec<Batch> {
        let content = Box::new(io::Cursor::new(content));
        let source = Source { name: "x".into(), format, bytes: None, position: Arc::new(AtomicU64::new(0)), content };
        Batches::of(source).collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn csv_is_cut_between_rows_and_each_batch_has_the_header() {
        let mut content = b"a,b\n".to_vec();
        for row in 0..60_000 {
            content.extend_from_slice(format!("{row},\"line one\nline \"\"two\"\"\"\n").as_bytes());
        }
        let batches = batches(Format::Csv, content);
        assert!(batches.len() > 1);
        let mut rows = 0;
        for batch in &batches {
            assert!(batch.body.starts_with(b"a,b\n"));
            let lines = batch.body.iter().filter(|byte| **byte == b'\n').count() as u64;
            // Two lines a row, behind a header of one.
            assert_eq!((lines - 1) % 2, 0);
            assert_eq!(batch.line_in_file(2), 2 + rows * 2);
            rows += (lines - 1) / 2;
        }
        assert_eq!(rows, 60_000);
    }

    #[test]
    fn lines_are_never_cut_and_empty_files_give_nothing() {
        let content: Vec<u8> = (0..200_000).flat_map(|row| format!("{{\"a\":{row}}}\n").into_bytes()).collect();
        let whole = content.clone();
        let batches = batches(Format::Ndjson, content);
        assert!(batches.len() > 1);
        assert!(batches.iter().all(|batch| batch.body.ends_with(b"}\n")));
        assert_eq!(batches.iter().flat_map(|batch| batch.body.to_vec()).collect::<Vec<_>>(), whole);
        assert!(super::tests::batches(Format::Ndjson, Vec::new()).is_empty());
        assert!(super::tests::batches(Format::Csv, Vec::new()).is_empty());
    }

    #[test]
    fn json_arrays_become_lines() {
        let batches = batches(Format::Json, b"[ {\"a\": \n1}, {\"a\":2} ]".to_vec());
        assert_eq!(batches.len(), 1);
        assert_eq!(&batches[0].body[..], b"{\"a\":  1}\n{\"a\":2}\n");
    }

    #[test]
    fn a_cut_avro_file_is_an_error() {
        let source = Source {
            name: "x".into(),
            format: Format::Avro,
            bytes: None,
            position: Arc::new(AtomicU64::new(0)),
            content: Box::new(io::Cursor::new(b"Obj\x01\x02\x04ab".to_vec())),
        };
        let error = Batches::of(source).next().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

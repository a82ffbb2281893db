//! From bytes of any form to checked Avro records in a stream's writer.

use std::sync::Arc;

use weir_env::Env;
use weir_schema::{
    ContainerReader, CsvOptions, CsvReader, Extractor, Form, JsonEncoder, LineSplitter, Lookup, RecordError, Schema,
    ValueSplitter, WireError, wire,
};
use weir_stream::{Receipt, Route, Writer};
use weir_types::limits::RECORD_BYTES_MAX;

use super::held::Held;
use super::report::{REFUSALS_LISTED_MAX, Report};
use super::{BodyError, DeliverError};
use crate::dead::{Cause, DeadLetters, FORM, Letter};
use crate::streams::OpenStream;

/// Where checked records go, and where the others are noted.
pub(crate) struct Sink<'r> {
    env: &'r Env,
    stream: Arc<OpenStream>,
    writer: Writer,
    report: &'r mut Report,
    letters: Vec<Letter>,
    keys: Vec<(weir_types::Fingerprint, Option<Extractor>)>,
    ranges: Vec<std::ops::Range<usize>>,
    flush_due: bool,
    /// What the refusals that the report lists looked like, where that is wanted.
    kept: Option<Kept>,
    /// Where records go instead of the writer, if they are to be looked at first.
    held: Option<Held>,
}

/// The payloads of refused records, as long as they are few.
#[derive(Default)]
struct Kept {
    payloads: Vec<Vec<u8>>,
    bytes: usize,
}

/// Payloads of refused records that are kept for one report.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

impl<'r> Sink<'r> {
    pub fn new(env: &'r Env, stream: Arc<OpenStream>, writer: Writer, report: &'r mut Report) -> Self {
        Self {
            env,
            stream,
            writer,
            report,
            letters: Vec::new(),
            keys: Vec::new(),
            ranges: Vec::new(),
            flush_due: false,
            kept: None,
            held: None,
        }
    }

    /// Keeps the payloads of refused records that the report lists, in the same order; empty where there is none or no
    /// room.
    pub fn keeping_refused(self) -> Self {
        Self { kept: Some(Kept::default()), ..self }
    }

    /// Gives the writer nothing: records are held, as long as they are few.
    pub fn holding(self) -> Self {
        Self { held: Some(Held::default()), ..self }
    }

    /// Takes a checked record of the given schema.
    pub fn take(&mut self, line: u64, schema: &Schema, record: &[u8]) {
        if record.len() > RECORD_BYTES_MAX {
            let reason = format!("the record has {} bytes, and may have {RECORD_BYTES_MAX}", record.len());
            return self.note(line, "", &reason, b"");
        }
        if let Some(held) = &mut self.held {
            self.report.received += 1;
            return held.push(line, schema, record);
        }
        let fingerprint = schema.fingerprint();
        let known = self.keys.iter().position(|(known, _)| *known == fingerprint).unwrap_or_else(|| {
            self.keys.push((fingerprint, self.stream.key_of(schema)));
            self.keys.len() - 1
        });
        let route = match &self.keys[known].1 {
            Some(extractor) => {
                self.ranges.clear();
                if let Err(error) = extractor.ranges(record, &mut self.ranges) {
                    return self.note(line, &error.field, &error.reason, b"");
                }
                match self.ranges.first() {
                    Some(range) => Route::Key(&record[range.clone()]),
                    None => Route::Spread,
                }
            }
            None => Route::Spread,
        };
        self.report.received += 1;
        self.flush_due |= self.writer.push(route, fingerprint, record);
    }

    /// Notes a record that is refused, as it stood if that is known.
    pub fn refuse(&mut self, line: u64, error: &RecordError, payload: &[u8]) {
        self.note(line, &error.field, &error.reason, payload);
    }

    /// Tells whether the next refusal is listed, and so its payload of use.
    pub fn lists_refusals(&self) -> bool {
        self.report.refusals.len() < REFUSALS_LISTED_MAX
    }

    fn note(&mut self, line: u64, field: &str, reason: &str, payload: &[u8]) {
        let listed = self.lists_refusals();
        self.report.refuse(line, field, reason);
        if let (true, Some(kept)) = (listed, &mut self.kept) {
            let payload = if kept.bytes + payload.len() > KEPT_BYTES_MAX { b"" } else { payload };
            kept.bytes += payload.len();
            kept.payloads.push(payload.to_vec());
        }
    }

    /// Keeps a record whose schema nobody knows.
    fn keep(&mut self, line: u64, form: Form, payload: &[u8], key: &str) {
        self.report.received += 1;
        self.report.dead_lettered += 1;
        let stream = self.stream.stream.name();
        let error = format!("record {line}: no schema is registered for {key} ({form:?})");
        let letter = Letter::of_delivery(
            self.env,
            format!("door/{stream}"),
            format!("stream/{stream}"),
            Cause::UnknownSchema,
            error,
            payload.to_vec(),
        );
        // With it the messages can be taken apart once their schema is known.
        let headers = vec![(FORM.to_owned(), form.name().to_owned())];
        self.letters.push(Letter { headers, ..letter });
    }

    /// Stores what is due.
    pub async fn flush(&mut self, dead_letters: &DeadLetters) -> Result<(), DeliverError> {
        if std::mem::take(&mut self.flush_due) {
            self.writer.flush().await?;
        }
        if !self.letters.is_empty() {
            dead_letters.park(std::mem::take(&mut self.letters)).await?;
        }
        Ok(())
    }

    /// Returns the writer, for the records of another source, the payloads of refused records, and what was held.
    pub fn into_parts(self) -> (Writer, Vec<Vec<u8>>, Option<Held>) {
        (self.writer, self.kept.unwrap_or_default().payloads, self.held)
    }

    /// Takes what another sink has held.
    pub async fn take_held(&mut self, held: &Held, dead_letters: &DeadLetters) -> Result<(), DeliverError> {
        for (line, schema, record) in held.records() {
            self.take(line, schema, record);
            if self.flush_due {
                self.flush(dead_letters).await?;
            }
        }
        self.flush(dead_letters).await
    }

    pub async fn finish(self) -> Result<Receipt, (DeliverError, Receipt)> {
        let before = self.writer.receipt().clone();
        self.writer.finish().await.map_err(|error| {
            let receipt = match &error {
                weir_stream::WriteError::Append { stored, .. } => Receipt { stored: *stored, ..before },
                weir_stream::WriteError::Producer(_) => before,
            };
            (DeliverError::Write(error), receipt)
        })
    }

    /// Ends a delivery that failed. If its sender can't do any better with this body, the producer may go on.
    pub async fn fail(self, error: DeliverError) -> (DeliverError, Receipt) {
        let receipt = self.writer.receipt().clone();
        if !matches!(error, DeliverError::Malformed { .. } | DeliverError::Body(BodyError::Encoding { .. })) {
            return (error, receipt);
        }
        match self.writer.abandon().await {
            Ok(receipt) => (error, receipt),
            Err(worse) => (DeliverError::Write(worse), receipt),
        }
    }
}

/// Reads one form.
pub(crate) enum Parser {
    Ndjson { lines: LineSplitter, encoder: Box<JsonEncoder>, schema: Schema, record: Vec<u8> },
    Json { values: ValueSplitter, encoder: Box<JsonEncoder>, schema: Schema, record: Vec<u8> },
    Csv { rows: Box<CsvReader>, schema: Schema },
    Container { blocks: Box<ContainerReader>, schema: Schema },
    Messages(Messages),
}

impl Parser {
    pub fn new(stream: &OpenStream, format: super::Format, registry: Arc<dyn Lookup + Send + Sync>) -> Self {
        let schema = stream.schema.clone();
        let encoder = || Box::new(JsonEncoder::new(&schema));
        match format {
            super::Format::Ndjson => {
                Self::Ndjson { lines: LineSplitter::new(), encoder: encoder(), schema, record: Vec::new() }
            }
            super::Format::Json => {
                Self::Json { values: ValueSplitter::new(), encoder: encoder(), schema, record: Vec::new() }
            }
            super::Format::Csv => {
                let options = CsvOptions { null: stream.null_text.clone(), ..CsvOptions::default() };
                Self::Csv { rows: Box::new(CsvReader::new(&schema, options)), schema }
            }
            super::Format::AvroContainer => Self::Container { blocks: Box::new(ContainerReader::new(&schema)), schema },
            super::Format::AvroMessages(form) => {
                Self::Messages(Messages { form, registry, buffer: Vec::new(), number: 0, state: State::Reading })
            }
        }
    }

    pub fn feed(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), DeliverError> {
        match self {
            Self::Ndjson { lines, encoder, schema, record } => {
                lines.feed(bytes, |line, text| encode(sink, encoder, schema, record, line, text));
                Ok(())
            }
            Self::Json { values, encoder, schema, record } => values
                .feed(bytes, |line, text| encode(sink, encoder, schema, record, line, text))
                .map_err(|error| malformed("JSON", &error)),
            Self::Csv { rows, schema } => rows
                .feed(bytes, |line, record| take(sink, schema, line, record))
                .map_err(|error| malformed("CSV", &error)),
            Self::Container { blocks, schema } => blocks
                .feed(bytes, |line, record| take(sink, schema, line, record))
                .map_err(|error| malformed("Avro container", &error)),
            Self::Messages(messages) => {
                messages.feed(bytes, sink);
                Ok(())
            }
        }
    }

    pub fn finish(self, sink: &mut Sink<'_>) -> Result<(), DeliverError> {
        match self {
            Self::Ndjson { lines, mut encoder, schema, mut record } => {
                lines.finish(|line, text| encode(sink, &mut encoder, &schema, &mut record, line, text));
                Ok(())
            }
            Self::Json { values, mut encoder, schema, mut record } => values
                .finish(|line, text| encode(sink, &mut encoder, &schema, &mut record, line, text))
                .map_err(|error| malformed("JSON", &error)),
            Self::Csv { rows, schema } => {
                rows.finish(|line, record| take(sink, &schema, line, record)).map_err(|error| malformed("CSV", &error))
            }
            Self::Container { blocks, .. } => blocks.finish().map_err(|error| malformed("Avro container", &error)),
            Self::Messages(mut messages) => {
                messages.finish(sink);
                Ok(())
            }
        }
    }
}

fn malformed(form: &str, error: &dyn std::fmt::Display) -> DeliverError {
    DeliverError::Malformed { reason: format!("the body is not valid {form}: {error}") }
}

fn encode(
    sink: &mut Sink<'_>,
    encoder: &mut JsonEncoder,
    schema: &Schema,
    record: &mut Vec<u8>,
    line: u64,
    text: Result<&[u8], RecordError>,
) {
    record.clear();
    let payload = text.as_ref().copied().unwrap_or_default();
    match text.and_then(|text| encoder.encode(text, record)) {
        Ok(()) => sink.take(line, schema, record),
        Err(error) => sink.refuse(line, &error, payload),
    }
}

fn take(sink: &mut Sink<'_>, schema: &Schema, line: u64, record: Result<&[u8], RecordError>) {
    match record {
        Ok(record) => sink.take(line, schema, record),
        Err(error) => sink.refuse(line, &error, b""),
    }
}

/// Messages behind each other. Where one ends its schema tells; behind one whose schema is unknown nothing can be told
/// apart any more, so that the rest is kept with it.
pub(crate) struct Messages {
    form: Form,
    registry: Arc<dyn Lookup + Send + Sync>,
    buffer: Vec<u8>,
    number: u64,
    state: State,
}

/// What is done with the bytes that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// They follow a message of an unknown schema, and are kept with it.
    Keeping,
    /// They follow a message that is none: where the next begins can't be told, and the report says so.
    Ended,
}

impl Messages {
    fn feed(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        if self.state == State::Ended {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        // A message that does not parse may just not be there in full: it is judged when enough bytes are.
        if self.buffer.len() >= 2 * RECORD_BYTES_MAX {
            self.drain(RECORD_BYTES_MAX, sink);
        }
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        self.drain(0, sink);
    }

    /// Reads messages while more than `keep` bytes are left.
    fn drain(&mut self, keep: usize, sink: &mut Sink<'_>) {
        let mut at = 0;
        while self.buffer.len() - at > keep {
            let rest = &self.buffer[at..];
            let part = &rest[..rest.len().min(RECORD_BYTES_MAX)];
            self.number += 1;
            if self.state == State::Keeping {
                sink.keep(self.number, self.form, part, "what came before it");
                at += part.len();
                continue;
            }
            match wire::decode(self.form, rest, &*self.registry) {
                Ok(message) => {
                    at += message.used;
                    let schema = message.schema.clone();
                    if sink.stream.reads(&schema) {
                        sink.take(self.number, &schema, message.payload);
                    } else {
                        let error = RecordError::whole(format!(
                            "its schema {} can't be read as the stream's schema",
                            schema.fingerprint()
                        ));
                        sink.refuse(self.number, &error, b"");
                    }
                }
                Err(WireError::UnknownSchema { key }) => {
                    sink.keep(self.number, self.form, part, &key);
                    at += part.len();
                    self.state = State::Keeping;
                }
                Err(error) => {
                    // Nothing behind it can be found.
                    let error = RecordError::whole(format!("{error}; the rest of the body is not read"));
                    sink.refuse(self.number, &error, b"");
                    at = self.buffer.len();
                    self.state = State::Ended;
                }
            }
        }
        self.buffer.drain(..at);
    }
}

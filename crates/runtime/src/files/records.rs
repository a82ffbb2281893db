//! Files whose records are read: into the stream of the block, each once.
//!
//! ```text
//! claim --> for each file: read, decompress, split, check and encode --> one stamped batch of the stream --> letters --> done
//! ```
//!
//! The batch has the claim's number, and is cut by its accepted records alone (decision 0007): a claim that is handed on
//! again stores what is missing of it. Small files share a claim, so that they share an fsync. Nothing is in memory as a
//! whole but a chunk of records and, of Parquet, a row group.
//!
//! A file with a row that is refused is a dead letter, and none of its rows goes on: they are looked at before they are
//! stored. Where bad rows are to be skipped, they are the dead letters, and the rest goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use weir_config::{BadRows, FilesFormat};
use weir_env::Env;
use weir_stream::{WriteError, Writer};
use weir_types::{FilesName, ProducerId};

use super::letters;
use super::machine::{Claim, Fate};
use super::object::Object;
use super::parquet;
use super::place::{Place, PlaceError};
use super::reference::producer;
use crate::dead::{DeadLetterError, DeadLetters, Letter};
use crate::door::{Body, BodyError, DeliverError, Encoding, Format, Parser, Report, Sink};
use crate::schemas::Catalog;
use crate::streams::OpenStream;

/// Letters that are kept back until they are parked together.
const LETTERS_MAX: usize = 1000;

/// Why a claim was not handed on as a whole; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOnError {
    /// An object can't be read now.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The stream did not take the records.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The dead letters could not be stored.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
}

/// Why a file's records end.
pub(super) enum ReadError {
    /// It is gone, or another one.
    Gone,
    /// It is not what it should be, and won't be.
    Unreadable(String),
    /// Something else is at fault, and it may be read later.
    Now(HandOnError),
}

impl<E: Into<HandOnError>> From<E> for ReadError {
    fn from(error: E) -> Self {
        Self::Now(error.into())
    }
}

impl From<DeliverError> for ReadError {
    fn from(error: DeliverError) -> Self {
        match error {
            DeliverError::Write(error) => Self::Now(error.into()),
            DeliverError::DeadLetter(error) => Self::Now(error.into()),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

/// What is known of a claim beside its objects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tries {
    /// It may have been handed on in part by an earlier try.
    pub again: bool,
    /// An object that can't be read is given up.
    pub give_up: bool,
}

/// The way into one block's stream.
pub(crate) struct Records {
    pub env: Env,
    pub files: FilesName,
    pub format: FilesFormat,
    pub bad_rows: BadRows,
    pub stream: Arc<OpenStream>,
    pub catalog: Catalog,
    pub dead_letters: DeadLetters,
}

/// What the files of one claim have come to so far.
struct Batch {
    writer: Writer,
    letters: Vec<Letter>,
    fates: Vec<Fate>,
}

impl Records {
    /// Stores the records of a claim's files, and returns what became of each file.
    ///
    /// # Errors
    /// See [`HandOnError`]. It may be called again with the same claim.
    pub async fn hand_on(&self, place: &Place, claim: &Claim, tries: Tries) -> Result<Vec<Fate>, HandOnError> {
        let producer: ProducerId = producer_id(&self.files);
        let writer = self.stream.stream.write(Some((producer, claim.number))).await?;
        let mut batch = Batch { writer, letters: Vec::new(), fates: Vec::with_capacity(claim.objects.len()) };
        for object in &claim.objects {
            batch = self.take(place, object, tries, batch).await?;
        }
        let Batch { writer, mut letters, fates } = batch;
        let receipt = writer.finish().await?;
        let counters = &self.stream.counters;
        counters.stored.fetch_add(receipt.stored, Ordering::Relaxed);
        counters.repeated.fetch_add(receipt.repeated, Ordering::Relaxed);
        if tries.again && fates.contains(&Fate::Gone) {
            letters.push(letters::of_torn_claim(&self.env, &self.files, claim, &fates));
        }
        self.dead_letters.park(letters).await?;
        Ok(fates)
    }

    /// Adds one file to the batch.
    async fn take(&self, place: &Place, object: &Object, tries: Tries, mut batch: Batch) -> Result<Batch, HandOnError> {
        let mut report = Report::default();
        let whole = self.bad_rows == BadRows::RefuseFile;
        let mut sink = Sink::new(&self.env, self.stream.clone(), batch.writer, &mut report).keeping_refused();
        if whole {
            sink = sink.holding();
        }
        let mut outcome = self.read(place, object, &mut sink).await;
        let (writer, mut payloads, held) = sink.into_parts();
        batch.writer = writer;
        let refused = whole && outcome.is_ok() && report.refused > 0;
        if let (Some(held), Ok(()), false) = (held, &outcome, refused) {
            // All of it is good: what was too much to hold is read again.
            report = Report::default();
            let mut sink = Sink::new(&self.env, self.stream.clone(), batch.writer, &mut report).keeping_refused();
            outcome = match held.is_whole() {
                true => sink.take_held(&held, &self.dead_letters).await.map_err(ReadError::from),
                false => self.read(place, object, &mut sink).await,
            };
            (batch.writer, payloads, _) = sink.into_parts();
        }
        if matches!(outcome, Err(ReadError::Unreadable(_))) && !place.has(object, &self.env).await? {
            // What is there now is found by the next look.
            outcome = Err(ReadError::Gone);
        }
        if let (true, Err(ReadError::Now(HandOnError::Place(error)))) = (tries.give_up, &outcome) {
            outcome = Err(ReadError::Unreadable(crate::pipeline::chain(error)));
        }
        let fate = match outcome {
            Ok(()) if refused => {
                batch.letters.push(letters::of_refused(&self.env, &self.files, object, &report, &payloads));
                Fate::Failed
            }
            Ok(()) => Fate::Taken,
            Err(ReadError::Gone) => Fate::Gone,
            Err(ReadError::Unreadable(reason)) => {
                let went_on = if whole { 0 } else { report.received - report.refused };
                batch.letters.push(letters::of_file(&self.env, &self.files, object, went_on, &reason));
                Fate::Failed
            }
            Err(ReadError::Now(error)) => return Err(error),
        };
        let counters = &self.stream.counters;
        counters.received.fetch_add(report.received, Ordering::Relaxed);
        if whole && fate != Fate::Taken {
            counters.refused.fetch_add(report.received, Ordering::Relaxed);
        } else {
            batch.letters.extend(letters::of_rows(&self.env, &self.files, object, &report, payloads));
            counters.refused.fetch_add(report.refused, Ordering::Relaxed);
        }
        batch.fates.push(fate);
        if batch.letters.len() >= LETTERS_MAX {
            self.dead_letters.park(std::mem::take(&mut batch.letters)).await?;
        }
        Ok(batch)
    }

    async fn read(&self, place: &Place, object: &Object, sink: &mut Sink<'_>) -> Result<(), ReadError> {
        let format = match self.format {
            // Nothing is no records, whatever it is called; folders of object stores are such files.
            _ if object.bytes == 0 => return Ok(()),
            FilesFormat::Parquet => {
                return parquet::read(&self.env, place, object, &self.stream, &self.dead_letters, sink).await;
            }
            FilesFormat::Csv => Format::Csv,
            FilesFormat::Ndjson => Format::Ndjson,
            FilesFormat::Avro => Format::AvroContainer,
        };
        let Some(found) = place.get(object, &self.env).await? else { return Err(ReadError::Gone) };
        let chunks = found.into_stream().map(|chunk| chunk.map_err(io::Error::other));
        let mut body = Body::new(self.env.clone(), encoding_of(&object.path), chunks);
        let mut parser = Parser::new(&self.stream, format, Arc::new(self.catalog.clone()));
        loop {
            match body.next().await {
                Ok(Some(bytes)) => parser.feed(&bytes, sink)?,
                Ok(None) => break,
                Err(error @ BodyError::Encoding { .. }) => return Err(ReadError::Unreadable(error.to_string())),
                Err(error) => {
                    return Err(PlaceError::Broken { path: place.key(&object.path), reason: error.to_string() }.into());
                }
            }
            sink.flush(&self.dead_letters).await?;
        }
        parser.finish(sink)?;
        Ok(sink.flush(&self.dead_letters).await?)
    }
}

/// Who a block is to the stream that it writes.
pub(super) fn producer_id(files: &FilesName) -> ProducerId {
    // A name of the longest kind is too long with what stands before it.
    let long = || format!("files/{:032x}", xxhash_rust::xxh3::xxh3_128(files.as_str().as_bytes()));
    let id = producer(files).parse();
    id.unwrap_or_else(|_| long().parse().expect("38 letters and digits are an id"))
}

/// How a file is compressed, by the end of its name.
pub(super) fn encoding_of(path: &str) -> Encoding {
    let end = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "gz" | "gzip" => Encoding::Gzip,
        "zst" | "zstd" => Encoding::Zstd,
        _ => Encoding::Identity,
    }
}

//! Rows of pages: decoded, and made by the function, with a count of what became of each record.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;
use weir_function::{Lookups, RunError, isolate};
use weir_ledger::Counts;
use weir_log::ReadError;
use weir_schema::{ColumnDecoder, Lookup, Schema};
use weir_stream::{Page, Record, digest};
use weir_types::{Fingerprint, SequenceNumber};

use super::{Parts, SourceShard, chain};
use crate::dead::{Cause, Letter};

/// Why a page could not be prepared, by no fault of a record.
#[derive(Debug)]
pub(crate) enum Halt {
    Read(ReadError),
    Run(RunError),
    Columns(String),
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => f.write_str(&chain(error)),
            Self::Run(error) => f.write_str(&chain(error)),
            Self::Columns(error) => f.write_str(error),
        }
    }
}

/// What a page gave.
pub(crate) struct Made {
    /// None if it gave no rows.
    pub rows: Option<RecordBatch>,
    pub letters: Vec<Letter>,
    pub counts: Counts,
}

/// Makes rows of pages of a table's sources.
pub(crate) struct Preparer {
    parts: Arc<Parts>,
    /// The replay that the records are read for, if it is one.
    replay: Option<String>,
    decoder: ColumnDecoder,
    writers: HashMap<Fingerprint, Option<Schema>>,
    /// Whether records are counted by their digests.
    digests: bool,
}

impl Preparer {
    /// Prepares decoding.
    ///
    /// # Errors
    /// If the stream's schema has no columns, which the plan's check refuses.
    pub fn new(parts: Arc<Parts>) -> Result<Self, impl std::fmt::Display + use<>> {
        let decoder = ColumnDecoder::new(&parts.stream.schema);
        let digests = parts.books.are_kept();
        decoder.map(|decoder| Self { parts, replay: None, decoder, writers: HashMap::new(), digests })
    }

    /// Says that the records are read for a replay: what fails is a letter of its own.
    #[must_use]
    pub fn for_replay(self, id: &str) -> Self {
        Self { replay: Some(id.to_owned()), ..self }
    }

    /// Makes the rows of a page, whose records arrived in one hour.
    pub async fn prepare(&mut self, source: &SourceShard, page: &Page) -> Result<Made, Halt> {
        self.prepare_some(source, page, |batch, places| Ok((batch, places))).await
    }

    /// Makes the rows of those records of a page that `choose` leaves; the others are counted as others.
    pub async fn prepare_some(
        &mut self,
        source: &SourceShard,
        page: &Page,
        choose: impl FnOnce(RecordBatch, Vec<SequenceNumber>) -> Result<(RecordBatch, Vec<SequenceNumber>), ArrowError>,
    ) -> Result<Made, Halt> {
        let (mut letters, mut counts) = (Vec::new(), Counts::default());
        let (batch, mut places) = self.decode(source, page, &mut letters, &mut counts)?;
        let batch = match batch {
            None => None,
            Some(batch) => {
                let all = batch.num_rows() as u64;
                let chosen = choose(batch, places).map_err(|error| Halt::Columns(error.to_string()))?;
                let (batch, left) = chosen;
                places = left;
                counts.others += all - batch.num_rows() as u64;
                Some(batch)
            }
        };
        let rows = match batch {
            Some(batch) => self.transform(source, batch, &places, page, &mut letters).await?,
            None => None,
        };
        for letter in &letters {
            counts.letters.entry(letter.cause.as_str().to_owned()).or_default().add(letter.digest());
        }
        counts.rows = rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
        Ok(Made { rows, letters, counts })
    }

    /// Returns the rows that the function makes of some decoded records; what fails makes none.
    pub async fn run(&self, batch: RecordBatch) -> Result<Option<RecordBatch>, Halt> {
        let Some(function) = &self.parts.function else { return Ok(Some(batch)) };
        let lookups: Arc<Lookups> = self.parts.lookups.current();
        let mut output = Vec::new();
        let mut settled = 0;
        while settled < batch.num_rows() {
            let rest = batch.slice(settled, batch.num_rows() - settled);
            let isolated = isolate(&**function, &rest, &lookups).await.map_err(Halt::Run)?;
            output.extend(isolated.output.into_iter().filter(|rows| rows.num_rows() > 0));
            settled += isolated.settled.max(1);
        }
        one_batch(output).map_err(|error| Halt::Columns(error.to_string()))
    }

    /// Decodes a page; the places say which record each row came from.
    pub fn decode(
        &mut self,
        source: &SourceShard,
        page: &Page,
        letters: &mut Vec<Letter>,
        counts: &mut Counts,
    ) -> Result<(Option<RecordBatch>, Vec<SequenceNumber>), Halt> {
        let mut places = Vec::new();
        for record in page.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    // The page is read again: what is decoded of it must not be there twice then.
                    if !places.is_empty() {
                        self.decoder.flush().map_err(|error| Halt::Columns(error.to_string()))?;
                    }
                    return Err(Halt::Columns(format!("shard {}: {error}", source.id)));
                }
            };
            if self.digests {
                counts.read.add(digest(record.body));
            }
            if source.only.is_some() && source.only.as_deref() != record.key {
                counts.others += 1;
                continue;
            }
            let catalog = &self.parts.catalog;
            let writer =
                self.writers.entry(record.fingerprint).or_insert_with(|| catalog.by_fingerprint(record.fingerprint));
            let Some(writer) = writer else {
                // It may be registered by the time that the next one comes.
                self.writers.remove(&record.fingerprint);
                let error = format!("no schema is registered for fingerprint {}", record.fingerprint);
                letters.push(self.letter(source, &record, Cause::UnknownSchema, error));
                continue;
            };
            match self.decoder.push(writer, record.body) {
                Ok(()) => places.push(record.sequence),
                Err(error) => letters.push(self.letter(source, &record, Cause::Malformed, error.to_string())),
            }
        }
        if places.is_empty() {
            return Ok((None, places));
        }
        let batch = self.decoder.flush().map_err(|error| Halt::Columns(error.to_string()))?;
        Ok((Some(batch), places))
    }

    /// Runs the function over decoded records.
    async fn transform(
        &self,
        source: &SourceShard,
        batch: RecordBatch,
        places: &[SequenceNumber],
        page: &Page,
        letters: &mut Vec<Letter>,
    ) -> Result<Option<RecordBatch>, Halt> {
        let Some(function) = &self.parts.function else { return Ok(Some(batch)) };
        let lookups: Arc<Lookups> = self.parts.lookups.current();
        let mut output = Vec::new();
        let mut settled = 0;
        while settled < batch.num_rows() {
            let rest = batch.slice(settled, batch.num_rows() - settled);
            let isolated = isolate(&**function, &rest, &lookups).await.map_err(Halt::Run)?;
            for failed in &isolated.failed {
                let place = places[settled + failed.row];
                let record = page.records().filter_map(Result::ok).find(|record| record.sequence == place);
                if let Some(record) = record {
                    letters.push(self.letter(source, &record, Cause::FunctionFailed, chain(&failed.error)));
                }
            }
            output.extend(isolated.output.into_iter().filter(|rows| rows.num_rows() > 0));
            // At least one row is settled by every call; a function that breaks this must not hang the flow.
            settled += isolated.settled.max(1);
        }
        one_batch(output).map_err(|error| Halt::Columns(error.to_string()))
    }

    fn letter(&self, source: &SourceShard, record: &Record<'_>, cause: Cause, error: String) -> Letter {
        let log = source.shard().log().name().to_string();
        let target = format!("table/{}", self.parts.name);
        let place = (record.sequence, record.arrived_at);
        let letter = Letter::of_record(&self.parts.env, log, place, target, cause, error, record.body.to_vec());
        let letter = Letter { fingerprint: Some(record.fingerprint), ..letter }.redriven(record.key);
        match &self.replay {
            Some(replay) => letter.replayed(replay),
            None => letter,
        }
    }
}

/// Joins batches to one, since rows and place must enter the table together.
fn one_batch(mut batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>, arrow::error::ArrowError> {
    if batches.len() <= 1 {
        return Ok(batches.pop());
    }
    let schema: SchemaRef = batches[0].schema();
    concat_batches(&schema, &batches).map(Some)
}

//! SQL as a step: records decoded to columns, the query of each output, and its rows in the target's form.
//!
//! For outputs that are streams and queues. A table behind SQL commits its stream's own places, and needs no outbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::BoxFuture;
use weir_function::{Lookups, SqlFunction, isolate};
use weir_schema::{ColumnDecoder, Lookup, encode_batch};
use weir_types::Fingerprint;

use super::outbox::{MADE_BYTES_MAX, Made};
use super::output::{Form, Output};
use super::step::{Item, RecordStep, StepError, Worked};
use crate::dead::Cause;
use crate::lookups::LookupSet;
use crate::pipeline::chain;
use crate::schemas::Catalog;

/// A query per output, over the records of a stream.
pub(crate) struct SqlStep {
    pub catalog: Catalog,
    /// Batches of one runner are decoded one after the other.
    pub decoder: Mutex<ColumnDecoder>,
    pub lookups: Arc<LookupSet>,
    pub outputs: Vec<(Output, SqlFunction)>,
}

impl SqlStep {
    /// Decodes the items that can be; returns which each row came from.
    fn decode(&self, items: &[Item], worked: &mut Worked) -> Result<Option<(RecordBatch, Vec<usize>)>, StepError> {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(writer) = self.catalog.by_fingerprint(item.fingerprint) else {
                let error = format!("no schema is registered for fingerprint {}", item.fingerprint);
                worked.poisoned.push((index, Cause::UnknownSchema, error));
                continue;
            };
            match decoder.push(&writer, &item.body) {
                Ok(()) => places.push(index),
                Err(error) => worked.poisoned.push((index, Cause::Malformed, error.to_string())),
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batch = decoder.flush().map_err(|error| StepError::Halt(error.to_string()))?;
        Ok(Some((batch, places)))
    }

    async fn work(&self, items: &[Item]) -> Result<Worked, StepError> {
        let mut worked = Worked::default();
        let Some((batch, places)) = self.decode(items, &mut worked)? else { return Ok(worked) };
        let lookups = self.lookups.current();
        let mut failed: BTreeMap<usize, String> = BTreeMap::new();
        let mut bytes = 0;
        for (output, function) in &self.outputs {
            for rows in run(function, &batch, &lookups, &places, &mut failed).await? {
                let made = encode(output, &rows)?;
                bytes += made.iter().map(|made| made.body.len() + 32).sum::<usize>();
                worked.made.extend(made);
            }
        }
        if bytes > MADE_BYTES_MAX {
            let error = format!("the function made {bytes} bytes of records, and may make {MADE_BYTES_MAX} at once");
            return Err(StepError::TooLarge(error));
        }
        let failed = failed.into_iter().map(|(index, error)| (index, Cause::FunctionFailed, error));
        worked.poisoned.extend(failed);
        Ok(worked)
    }
}

/// Runs one query over a batch, and notes the items on which it fails: SQL fails on a record always, or never.
async fn run(
    function: &SqlFunction,
    batch: &RecordBatch,
    lookups: &Lookups,
    places: &[usize],
    failed: &mut BTreeMap<usize, String>,
) -> Result<Vec<RecordBatch>, StepError> {
    let mut output = Vec::new();
    let mut settled = 0;
    while settled < batch.num_rows() {
        let rest = batch.slice(settled, batch.num_rows() - settled);
        let isolated = isolate(function, &rest, lookups).await.map_err(|error| StepError::Halt(chain(&error)))?;
        for row in &isolated.failed {
            failed.entry(places[settled + row.row]).or_insert_with(|| chain(&row.error));
        }
        output.extend(isolated.output.into_iter().filter(|rows| rows.num_rows() > 0));
        // At least one row is settled by every call; a function that breaks this must not hang the flow.
        settled += isolated.settled.max(1);
    }
    Ok(output)
}

fn encode(output: &Output, rows: &RecordBatch) -> Result<Vec<Made>, StepError> {
    let refused = |error: String| StepError::Items(format!("for output `{}`: {error}", output.name));
    let (fingerprint, bodies): (Fingerprint, Vec<Vec<u8>>) = match &output.form {
        Form::Avro(schema) => {
            let records = encode_batch(schema, rows).map_err(|error| refused(error.to_string()))?;
            (schema.fingerprint(), records.iter().map(<[u8]>::to_vec).collect())
        }
        Form::Message(_) => {
            let mut lines = Vec::new();
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::LineDelimited>(&mut lines);
            let written = writer.write(rows).and_then(|()| writer.finish());
            written.map_err(|error| refused(error.to_string()))?;
            drop(writer);
            let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            (Fingerprint(0), lines.map(<[u8]>::to_vec).collect())
        }
    };
    bodies
        .into_iter()
        .map(|body| {
            output.check_size(body.len()).map_err(refused)?;
            Ok(Made { key: output.key(), fingerprint, body })
        })
        .collect()
}

impl RecordStep for SqlStep {
    fn run<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Worked, StepError>> {
        self.work(items).boxed()
    }
}

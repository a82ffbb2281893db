//! Letters as queries give them.

use arrow::array::{
    Array, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde::Serialize;
use serde_json::value::RawValue;
use weir_types::{SequenceNumber, Timestamp};

use super::find::{FindError, Taken};

/// A letter without its payload.
#[derive(Debug, Clone, Serialize)]
pub struct LetterRow {
    /// Its id.
    pub id: String,
    /// Where the record came from, such as `stream/flights/0`.
    pub source: String,
    /// Its sequence number there.
    pub sequence: Option<SequenceNumber>,
    /// What gave up on it, such as `table/flights`.
    pub target: String,
    /// Why, as one word.
    pub cause: String,
    /// Why, in words.
    pub error: String,
    /// The fingerprint of the schema that it was written with.
    pub schema: Option<String>,
    /// When it arrived.
    #[serde(serialize_with = "optional_time")]
    pub arrived_at: Option<Timestamp>,
    /// When it failed for the first time.
    #[serde(serialize_with = "optional_time")]
    pub first_failed_at: Option<Timestamp>,
    /// When it failed for the last time.
    #[serde(serialize_with = "time")]
    pub failed_at: Timestamp,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// What came with it: a message's id, group and attributes; the letter that it was redriven as.
    #[serde(serialize_with = "raw")]
    pub headers: Option<String>,
    /// What was decided about it; none: it is open.
    pub taken: Option<Taken>,
}

fn time<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn optional_time<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

fn raw<S: serde::Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().and_then(|text| serde_json::from_str::<&RawValue>(text).ok()).serialize(serializer)
}

impl LetterRow {
    /// The columns that [`read`] wants, of a letter `m` and what was decided about it `a`.
    pub(super) const COLUMNS: &str = "m.id, m.source, m.sequence, m.target, m.cause, m.error, m.fingerprint, \
         m.arrived_at, m.first_failed_at, m.failed_at, m.attempts, m.headers, \
         a.action, a.decided_at, a.run, a.target as sent_to";

    /// Returns a header's value.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let headers: serde_json::Value = serde_json::from_str(self.headers.as_deref()?).ok()?;
        headers.get(name)?.as_str().map(str::to_owned)
    }
}

/// A batch's columns by name.
pub(crate) struct Columns<'a>(pub &'a RecordBatch);

impl<'a> Columns<'a> {
    fn column<T: Array + 'static>(&self, name: &'static str) -> Result<&'a T, FindError> {
        let column = self.0.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<T>());
        column.ok_or(FindError::Column { name })
    }

    pub fn text(&self, name: &'static str, row: usize) -> Result<Option<String>, FindError> {
        let column: &StringArray = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    }

    pub fn bytes(&self, name: &'static str, row: usize) -> Result<Option<&'a [u8]>, FindError> {
        let column: &BinaryArray = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub fn long(&self, name: &'static str, row: usize) -> Result<Option<i64>, FindError> {
        let column: &Int64Array = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub fn int(&self, name: &'static str, row: usize) -> Result<Option<i32>, FindError> {
        let column: &Int32Array = self.column(name)?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    pub fn time(&self, name: &'static str, row: usize) -> Result<Option<Timestamp>, FindError> {
        let column: &TimestampMicrosecondArray = self
            .0
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt())
            .ok_or(FindError::Column { name })?;
        // Letters have milliseconds; the table has microseconds.
        Ok(column.is_valid(row).then(|| Timestamp(column.value(row).div_euclid(1000))))
    }
}

/// Reads the letters of a batch with [`LetterRow::COLUMNS`].
pub(super) fn read(batch: &RecordBatch) -> Result<Vec<LetterRow>, FindError> {
    let columns = Columns(batch);
    let mut letters = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let text = |name| columns.text(name, row);
        let must = |name| text(name).map(Option::unwrap_or_default);
        let taken = match text("action")? {
            Some(action) => Some(Taken {
                action,
                at: columns.time("decided_at", row)?.unwrap_or_default(),
                run: must("run")?,
                target: text("sent_to")?,
            }),
            None => None,
        };
        letters.push(LetterRow {
            id: must("id")?,
            source: must("source")?,
            sequence: columns.long("sequence", row)?.map(|sequence| SequenceNumber(sequence as u64)),
            target: must("target")?,
            cause: must("cause")?,
            error: must("error")?,
            schema: text("fingerprint")?,
            arrived_at: columns.time("arrived_at", row)?,
            first_failed_at: columns.time("first_failed_at", row)?,
            failed_at: columns.time("failed_at", row)?.unwrap_or_default(),
            attempts: columns.int("attempts", row)?.map(|attempts| attempts.unsigned_abs()),
            headers: text("headers")?,
            taken,
        });
    }
    Ok(letters)
}

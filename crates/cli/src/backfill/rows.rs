//! Parquet files as batches of Avro messages: their rows, checked and encoded here by the stream's schema.
//!
//! Batches are cut by the rows alone, so that the same file and schema give the same batches. A row that does not fit is found
//! by halving, and left out.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use weir_schema::{RecordError, Schema, encode_batch};

use crate::send::batch::Batch;

/// Rows of one batch at most. A batch's bytes follow from them: rows are decoded by the average that the file states.
const ROWS_MAX: i64 = 8192;
/// What the rows of one batch should have, in bytes.
const BATCH_BYTES: i64 = 1024 * 1024;

/// A row that does not fit the schema.
#[derive(Debug)]
pub struct RefusedRow {
    /// Its number in the file, from 1.
    pub row: u64,
    pub error: RecordError,
}

/// The batches of a file.
pub struct Rows {
    reader: ParquetRecordBatchReader,
    schema: Schema,
    /// The number of the next row.
    next: u64,
    rows: u64,
    bytes: u64,
    position: Arc<AtomicU64>,
}

impl Rows {
    /// Opens a file, and compares its columns with the schema.
    pub fn open(path: &Path, schema: Schema, position: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let file = File::open(path).context("open")?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).context("it is no Parquet file")?;
        if let Err(error) = encode_batch(&schema, &RecordBatch::new_empty(builder.schema().clone())) {
            bail!("column `{}`: {}", error.field, error.reason);
        }
        let metadata = builder.metadata();
        let rows = metadata.file_metadata().num_rows();
        let stored: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size()).sum();
        let batch_rows = (BATCH_BYTES / (stored / rows.max(1)).max(1)).clamp(1, ROWS_MAX);
        let reader = builder.with_batch_size(batch_rows as usize).build().context("it is no Parquet file")?;
        Ok(Self { reader, schema, next: 1, rows: rows.unsigned_abs(), bytes, position })
    }

    /// Returns the next batch, and what was left out of it.
    pub fn next(&mut self) -> anyhow::Result<Option<(Batch, Vec<RefusedRow>)>> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.with_context(|| format!("it does not read behind row {}", self.next - 1))?;
        let (mut body, mut rows, mut refused) = (Vec::new(), Vec::with_capacity(batch.num_rows()), Vec::new());
        encode(&self.schema, &batch, self.next, &mut body, &mut rows, &mut refused);
        self.next += batch.num_rows() as u64;
        let share = (self.next - 1) as f64 / self.rows.max(1) as f64;
        self.position.store((self.bytes as f64 * share) as u64, Ordering::Relaxed);
        Ok(Some((Batch::of_rows(body, rows), refused)))
    }
}

/// Writes rows as single objects (Avro 1.11, "Single-object encoding"); `first` is the number of the first one.
fn encode(
    schema: &Schema,
    batch: &RecordBatch,
    first: u64,
    body: &mut Vec<u8>,
    rows: &mut Vec<u64>,
    refused: &mut Vec<RefusedRow>,
) {
    let count = batch.num_rows();
    match encode_batch(schema, batch) {
        Ok(records) => {
            let fingerprint = schema.fingerprint().0.to_le_bytes();
            for (row, record) in (first..).zip(records.iter()) {
                body.extend_from_slice(&[0xc3, 0x01]);
                body.extend_from_slice(&fingerprint);
                body.extend_from_slice(record);
                rows.push(row);
            }
        }
        Err(error) if count <= 1 => {
            let reason = error.reason.strip_prefix("row 1: ").unwrap_or(&error.reason).to_owned();
            refused.push(RefusedRow { row: first, error: RecordError { field: error.field, reason } });
        }
        Err(_) => {
            let half = count / 2;
            encode(schema, &batch.slice(0, half), first, body, rows, refused);
            encode(schema, &batch.slice(half, count - half), first + half as u64, body, rows, refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn rows_become_messages_and_those_that_do_not_fit_are_named() {
        let schema = Schema::parse(
            r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]}"#,
        )
        .unwrap();
        let names = (0..3000).map(|row| (row % 1000 != 17).then(|| format!("name {row}")));
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(0..3000)) as _),
            ("name", Arc::new(StringArray::from_iter(names)) as _),
        ])
        .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let position = Arc::new(AtomicU64::new(0));
        let mut rows = Rows::open(file.path(), schema.clone(), position.clone()).unwrap();
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        while let Some((batch, bad)) = rows.next().unwrap() {
            let mut rest = &batch.body[..];
            let mut line = 1;
            while !rest.is_empty() {
                assert_eq!(rest[..2], [0xc3, 0x01]);
                assert_eq!(rest[2..10], schema.fingerprint().0.to_le_bytes());
                rest = &rest[10 + weir_schema::validate(&schema, &rest[10..]).unwrap()..];
                good.push(batch.line_in_file(line));
                line += 1;
            }
            refused.extend(bad.into_iter().map(|bad| (bad.row, bad.error.field)));
        }
        assert_eq!(refused, [(18, "name".to_owned()), (1018, "name".to_owned()), (2018, "name".to_owned())]);
        let wanted: Vec<u64> = (1..=3000).filter(|row| row % 1000 != 18).collect();
        assert_eq!(good, wanted);
        assert_eq!(position.load(Ordering::Relaxed), std::fs::metadata(file.path()).unwrap().len());

        let other = Schema::parse(r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]}"#);
        let error = Rows::open(file.path(), other.unwrap(), position).err().unwrap().to_string();
        assert!(error.contains("column `name`"), "{error}");
    }
}

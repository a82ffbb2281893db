//! Rows of an answer in the form that the client wants.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// One JSON object per line; nulls are written.
    #[default]
    Ndjson,
    /// A header line and rows (RFC 4180); null is the empty field.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
}

impl RowFormat {
    /// Returns the content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// Reads an `Accept` header: the first form in it that is known.
    pub fn from_accept(text: &str) -> Option<Self> {
        text.split(',').find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
            "application/x-ndjson" | "application/jsonl" | "application/json" | "*/*" => Some(Self::Ndjson),
            "text/csv" => Some(Self::Csv),
            "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
            _ => None,
        })
    }
}

/// Writes batches one after the other.
pub(crate) enum RowWriter {
    Ndjson,
    Csv { header: bool, schema: SchemaRef },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl RowWriter {
    pub fn new(format: RowFormat, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(match format {
            RowFormat::Ndjson => Self::Ndjson,
            RowFormat::Csv => Self::Csv { header: true, schema: flat_schema(schema) },
            RowFormat::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        match self {
            Self::Ndjson => {
                let mut out = Vec::new();
                let mut writer = arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::LineDelimited>(&mut out);
                writer.write(batch)?;
                writer.finish()?;
                drop(writer);
                Ok(out.into())
            }
            Self::Csv { header, schema } => {
                let mut out = Vec::new();
                let mut writer = arrow::csv::WriterBuilder::new().with_header(std::mem::take(header)).build(&mut out);
                writer.write(&flat(batch, schema)?)?;
                drop(writer);
                Ok(out.into())
            }
            Self::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    /// Returns what comes behind the last batch.
    pub fn finish(self) -> Result<Bytes, ArrowError> {
        match self {
            Self::Ndjson | Self::Csv { header: false, .. } => Ok(Bytes::new()),
            Self::Csv { header: true, schema } => {
                let mut out = Vec::new();
                arrow::csv::WriterBuilder::new().build(&mut out).write(&RecordBatch::new_empty(schema))?;
                Ok(out.into())
            }
            Self::Arrow(mut writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }
}

/// CSV has no nested values: they are written as text.
fn flat_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        if field.data_type().is_nested() {
            Arc::new(Field::new(field.name(), DataType::Utf8, true))
        } else {
            field.clone()
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn flat(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| {
            if !column.data_type().is_nested() {
                return Ok(column.clone());
            }
            let formatter = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?;
            let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
            Ok(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

//! Records into a batch.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::build::column;
use super::column::Column;
use super::{ColumnError, arrow_schema};
use crate::binary::Cursor;
use crate::json::Plan;
use crate::{Fault, Incompatibility, RecordError, Resolver, Schema};

/// Writers' schemas that a decoder remembers at most; beyond, it forgets the oldest and compiles again.
const WRITERS_MAX: usize = 256;

/// Turns records into Arrow batches of one schema; records of older schemas are resolved on the way.
#[derive(Debug)]
pub struct ColumnDecoder {
    plan: Plan,
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    writers: Vec<Writer>,
    resolved: Vec<u8>,
}

#[derive(Debug)]
struct Writer {
    schema: Schema,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Same,
    Resolve(Resolver),
    Never(Vec<Incompatibility>),
}

impl ColumnDecoder {
    /// Makes the columns of a schema.
    ///
    /// # Errors
    /// If the schema has none.
    pub fn new(reader: &Schema) -> Result<Self, ColumnError> {
        let schema = arrow_schema(reader)?;
        let fields = reader.fields().iter().zip(schema.fields());
        Ok(Self {
            columns: fields.map(|(field, of)| column(reader, field.node, of)).collect(),
            schema,
            plan: Plan::new(reader),
            rows: 0,
            writers: Vec::new(),
            resolved: Vec::new(),
        })
    }

    /// Returns the batches' schema.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Returns the rows since the last flush.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a record that was written with `writer`.
    ///
    /// # Errors
    /// If the bytes are no record of it, or the reader can't read it; the batch is then as it was.
    pub fn push(&mut self, writer: &Schema, record: &[u8]) -> Result<(), RecordError> {
        let result = if writer.same(&self.plan.schema) {
            read(&mut self.columns, &self.plan, record)
        } else {
            let place = self.writer(writer);
            match &self.writers[place].way {
                Way::Same => read(&mut self.columns, &self.plan, record),
                Way::Resolve(resolver) => {
                    self.resolved.clear();
                    resolver.resolve(record, &mut self.resolved)?;
                    read(&mut self.columns, &self.plan, &self.resolved)
                }
                Way::Never(reasons) => return Err(misfit(writer, reasons)),
            }
        };
        match result {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(fault) => {
                self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
                Err(*fault)
            }
        }
    }

    /// Returns the rows as a batch, and begins an empty one.
    ///
    /// # Errors
    /// If Arrow refuses the columns: only if this crate has built them wrongly.
    pub fn flush(&mut self) -> Result<RecordBatch, ColumnError> {
        let error = |field: &str, source: arrow::error::ArrowError| ColumnError {
            field: field.to_owned(),
            reason: format!("the column can't be built: {source}"),
        };
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            arrays.push(column.finish(field.data_type()).map_err(|source| error(field.name(), source))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(|source| error("", source))
    }

    /// The place of a writer's schema among those that are known, the last one used first.
    fn writer(&mut self, schema: &Schema) -> usize {
        if let Some(place) = self.writers.iter().position(|writer| writer.schema.same(schema)) {
            return place;
        }
        let reader = &self.plan.schema;
        let way = match Resolver::new(schema, reader) {
            Err(reasons) => Way::Never(reasons),
            Ok(_) if schema.canonical_form() == reader.canonical_form() => Way::Same,
            Ok(resolver) => Way::Resolve(resolver),
        };
        if self.writers.len() >= WRITERS_MAX {
            self.writers.remove(0);
        }
        self.writers.push(Writer { schema: schema.clone(), way });
        self.writers.len() - 1
    }
}

fn read(columns: &mut [Column], plan: &Plan, record: &[u8]) -> Result<(), Fault> {
    let mut cursor = Cursor::new(record);
    for column in columns {
        if let Err(fault) = column.read(&mut cursor, plan, 1) {
            return Err(fault.within_field(&column.name));
        }
    }
    match cursor.rest() {
        0 => Ok(()),
        rest => Err(format!("{rest} bytes are left behind the record").into()),
    }
}

fn misfit(writer: &Schema, reasons: &[Incompatibility]) -> RecordError {
    let (field, reason) = reasons.first().map_or(("", ""), |first| (first.path.as_str(), first.reason.as_str()));
    RecordError::at(
        field,
        format!("written with the schema {}, which can't be read here: {reason}", writer.fingerprint()),
    )
}

//! CSV with a header row into Avro binary.
//!
//! RFC 4180: quoted cells may hold line ends. The header names the fields, in any order; a column that the schema doesn't
//! know ends the file before its first record, and so does a field without a column that has neither a default nor null
//! in its type. Cells have the forms that JSON texts have; an array, a map or a record is JSON inside its cell. A cell is
//! null if its field allows null and it is the null text of the options, or empty and the field is no text.

mod cell;
#[cfg(test)]
mod tests;

use weir_types::limits::RECORD_BYTES_MAX;

use crate::json::{Plan, Shape, State};
use crate::limits::CSV_COLUMNS_MAX;
use crate::{RecordError, Schema};

/// How a CSV body is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// What stands for null in fields that allow it, texts included, such as `NA`. Default: nothing does, but that an empty
    /// cell is null in a field that is no text.
    pub null: Option<String>,
    /// What stands between cells. Default: a comma.
    pub delimiter: u8,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { null: None, delimiter: b',' }
    }
}

/// A CSV body none of whose records can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The header row is too long, or not UTF-8.
    #[error("the header row can't be read: {reason}")]
    Header {
        /// Why.
        reason: String,
    },
    /// A column that is no field.
    #[error("the schema has no field for the column `{column}`")]
    UnknownColumn {
        /// Its name.
        column: String,
        /// The field that was probably meant.
        hint: Option<String>,
    },
    /// Two columns of one name.
    #[error("the header has the column `{column}` twice")]
    TwiceColumn {
        /// The name.
        column: String,
    },
    /// A field that must have a value has no column.
    #[error("the header has no column for the field `{field}`, which has neither a default nor null in its type")]
    MissingColumn {
        /// The field's name.
        field: String,
    },
    /// Cells need fields to go to.
    #[error("CSV needs a schema of a record")]
    NoRecord,
    /// There is no header row.
    #[error("the body is empty: a header row is wanted")]
    Empty,
}

/// Reads one CSV body into records of a schema.
#[derive(Debug)]
pub struct CsvReader {
    plan: Plan,
    state: State,
    options: CsvOptions,
    core: csv_core::Reader,
    row: Row,
    /// For each field, the number of its column.
    columns: Option<Columns>,
    /// Line feeds that have been read.
    lines: u64,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Columns {
    of_field: Vec<Option<usize>>,
    count: usize,
}

/// The row that is being read.
#[derive(Debug)]
struct Row {
    bytes: Vec<u8>,
    length: usize,
    ends: Vec<usize>,
    cells: usize,
    /// The line on which it begins, once it has begun.
    line: Option<u64>,
    /// More than a record may have; the rest is read and forgotten.
    overlong: bool,
}

impl CsvReader {
    /// Begins with the header row.
    pub fn new(schema: &Schema, options: CsvOptions) -> Self {
        let plan = Plan::new(schema);
        Self {
            state: State::new(&plan),
            plan,
            core: csv_core::ReaderBuilder::new().delimiter(options.delimiter).build(),
            options,
            row: Row { bytes: vec![0; 1024], length: 0, ends: vec![0; 64], cells: 0, line: None, overlong: false },
            columns: None,
            lines: 0,
            out: Vec::new(),
        }
    }

    /// Takes the next chunk, and hands over each record that ends in it, as Avro binary, with the line on which it
    /// begins, from 1.
    ///
    /// # Errors
    /// If the header does not fit; no record has been handed over then.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<(), CsvError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.row.line.is_none() {
                // Ends of lines between rows: the reader would skip them too, and tell no line.
                let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                self.count(&rest[..blank]);
                rest = &rest[blank..];
                if rest.is_empty() {
                    return Ok(());
                }
                self.row.line = Some(self.lines + 1);
            }
            rest = self.step(rest, &mut each)?;
        }
        Ok(())
    }

    /// Hands over the last record, if the body does not end with a line's end.
    ///
    /// # Errors
    /// If there was no header, or it does not fit.
    pub fn finish(mut self, mut each: impl FnMut(u64, Result<&[u8], RecordError>)) -> Result<(), CsvError> {
        // Each step either ends the row or makes room for the rest of it.
        while self.row.line.is_some() {
            self.step(&[], &mut each)?;
        }
        if self.columns.is_some() { Ok(()) } else { Err(CsvError::Empty) }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
    }

    /// Reads until a row or the input ends.
    fn step<'a>(
        &mut self,
        input: &'a [u8],
        each: &mut impl FnMut(u64, Result<&[u8], RecordError>),
    ) -> Result<&'a [u8], CsvError> {
        use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
        let row = &mut self.row;
        let (result, read, written, ended) =
            self.core.read_record(input, &mut row.bytes[row.length..], &mut row.ends[row.cells..]);
        row.length += written;
        row.cells += ended;
        self.count(&input[..read]);
        match result {
            InputEmpty => {}
            OutputFull => self.row.grow_bytes(),
            OutputEndsFull => self.row.grow_ends(),
            Record => self.end(each)?,
            End => self.row.line = None,
        }
        Ok(&input[read..])
    }

    fn end(&mut self, each: &mut impl FnMut(u64, Result<&[u8], RecordError>)) -> Result<(), CsvError> {
        let line = self.row.line.take().unwrap_or(self.lines);
        if let Some(columns) = &self.columns {
            self.out.clear();
            let mut writer =
                cell::Writer { plan: &self.plan, state: &mut self.state, null: self.options.null.as_deref() };
            match writer.record(&self.row, columns, &mut self.out) {
                Ok(()) => each(line, Ok(&self.out)),
                Err(fault) => each(line, Err(*fault)),
            }
        } else {
            self.columns = Some(self.header()?);
        }
        self.row.length = 0;
        self.row.cells = 0;
        self.row.overlong = false;
        Ok(())
    }

    fn header(&self) -> Result<Columns, CsvError> {
        let Shape::Record(shape) = self.plan.shape(self.plan.schema.root_id()) else { return Err(CsvError::NoRecord) };
        if self.row.overlong {
            let reason = format!("it has more than {RECORD_BYTES_MAX} bytes or {CSV_COLUMNS_MAX} columns");
            return Err(CsvError::Header { reason });
        }
        let mut of_field = vec![None; shape.fields.len()];
        for index in 0..self.row.cells {
            let column = std::str::from_utf8(self.row.cell(index))
                .map_err(|_| CsvError::Header { reason: format!("column {} is not valid UTF-8", index + 1) })?;
            // Some programs put a byte-order mark before the first name.
            let column = if index == 0 { column.trim_start_matches('\u{feff}') } else { column };
            let Some(field) = shape.by_name.get(column) else {
                let near = weir_types::nearest(column, shape.fields.iter().map(|field| &*field.name));
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                return Err(CsvError::UnknownColumn { column: column.chars().take(128).collect(), hint });
            };
            if of_field[*field as usize].replace(index).is_some() {
                return Err(CsvError::TwiceColumn { column: column.to_owned() });
            }
        }
        for (field, column) in shape.fields.iter().zip(&of_field) {
            if column.is_none() && field.absent.is_none() {
                return Err(CsvError::MissingColumn { field: field.name.to_string() });
            }
        }
        Ok(Columns { of_field, count: self.row.cells })
    }
}

impl Row {
    fn cell(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    fn grow_bytes(&mut self) {
        if self.bytes.len() < RECORD_BYTES_MAX {
            self.bytes.resize((self.bytes.len() * 2).min(RECORD_BYTES_MAX), 0);
        } else {
            self.forget();
        }
    }

    fn grow_ends(&mut self) {
        if self.ends.len() < CSV_COLUMNS_MAX {
            self.ends.resize((self.ends.len() * 2).min(CSV_COLUMNS_MAX), 0);
        } else {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.overlong = true;
        self.length = 0;
        self.cells = 0;
    }
}

//! Reference tables in CSV: a header, then rows; types are told by the values.
//!
//! A column gets the first of these types that all of its values have: boolean (`true`, `false`), bigint, double, date
//! (`2013-01-31`), timestamp in UTC (`2013-01-31T12:00:00Z`, any offset), timestamp without zone, text. Invariant:
//! nothing is lost by the choice: numbers with leading zeros, such as postal codes, and integers beyond 64 bits stay
//! text. Every column may be null.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::rows::type_name;
use crate::source::COLUMNS_MAX;

/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

/// CSV that is not a table.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// There is no header.
    #[error("there is no header: the first line must name the columns")]
    NoHeader,
    /// A column without a name.
    #[error("column {column} has no name in the header")]
    Unnamed {
        /// Its place, from 1.
        column: usize,
    },
    /// Two columns of one name.
    #[error("the header names column `{name}` twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// More columns than a lookup may have.
    #[error("there are {columns} columns, and a lookup may have {COLUMNS_MAX}")]
    TooWide {
        /// How many the header names.
        columns: usize,
    },
    /// A row of another length than the header.
    #[error("line {line} has {found} values, and the header names {expected} columns")]
    Length {
        /// The line, from 1.
        line: u64,
        /// Values in the row.
        found: u64,
        /// Columns in the header.
        expected: u64,
    },
    /// A row that is not UTF-8.
    #[error("line {line} is not UTF-8")]
    Encoding {
        /// The line, from 1.
        line: u64,
    },
    /// A file with another header than the files before it.
    #[error("the header names the columns {found}, and the files before it have {expected}")]
    OtherHeader {
        /// Of the files before.
        expected: String,
        /// Of this one.
        found: String,
    },
    /// More rows than the lookup may have.
    #[error("there are more than {rows_max} rows, the lookup's `rows_max`")]
    TooManyRows {
        /// The most.
        rows_max: u64,
    },
    /// A value that does not fit the type that its column has.
    #[error("column `{name}` is {wanted}, and {value} is not")]
    Misfit {
        /// The column.
        name: String,
        /// Its type.
        wanted: String,
        /// The first value that does not fit.
        value: String,
    },
    /// Text beyond what one column can hold.
    #[error("column `{name}` has more than 2 GiB of text")]
    TooLong {
        /// The column.
        name: String,
    },
}

/// Reads a table from CSV (RFC 4180; line ends may be LF or CRLF; a byte-order mark is skipped).
///
/// An empty value is null, and so is one that equals `null`.
///
/// # Errors
/// See [`CsvError`].
pub fn read_csv(bytes: &[u8], null: Option<&str>) -> Result<RecordBatch, CsvError> {
    let mut texts = Texts::default();
    texts.add(bytes, null, u64::MAX)?;
    texts.finish(None)
}

/// The rows of one or several files, as texts.
#[derive(Default)]
pub(crate) struct Texts {
    names: Vec<String>,
    columns: Vec<StringBuilder>,
    pub(crate) rows: u64,
}

impl Texts {
    /// Adds a file's rows. All files have the same header.
    pub(crate) fn add(&mut self, bytes: &[u8], null: Option<&str>, rows_max: u64) -> Result<(), CsvError> {
        let mut reader = ::csv::ReaderBuilder::new().from_reader(bytes);
        let names = header(reader.headers().map_err(|error| refused(&error))?)?;
        if self.columns.is_empty() {
            self.columns = names.iter().map(|_| StringBuilder::new()).collect();
            self.names = names;
        } else if self.names != names {
            return Err(CsvError::OtherHeader { expected: self.names.join(", "), found: names.join(", ") });
        }
        let mut row = ::csv::StringRecord::new();
        while reader.read_record(&mut row).map_err(|error| refused(&error))? {
            self.rows += 1;
            if self.rows > rows_max {
                return Err(CsvError::TooManyRows { rows_max });
            }
            for ((value, column), name) in row.iter().zip(&mut self.columns).zip(&self.names) {
                if value.is_empty() || Some(value) == null {
                    column.append_null();
                } else if column.values_slice().len() + value.len() > i32::MAX as usize {
                    return Err(CsvError::TooLong { name: name.clone() });
                } else {
                    column.append_value(value);
                }
            }
        }
        Ok(())
    }

    /// Returns the rows in types: those of `wanted` where it has the column, and else the first that fits.
    pub(crate) fn finish(self, wanted: Option<&Schema>) -> Result<RecordBatch, CsvError> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (name, mut texts) in self.names.into_iter().zip(self.columns) {
            let column = match wanted.and_then(|wanted| wanted.field_with_name(&name).ok()) {
                Some(field) => typed_as(texts.finish(), field.data_type()).map_err(|value| CsvError::Misfit {
                    wanted: type_name(field.data_type()),
                    value,
                    name: name.clone(),
                })?,
                None => typed(texts.finish()),
            };
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .expect("the fields were made from the columns, which got a value for each row"))
    }
}

/// Gives texts a type that was told from other rows, or said. The error is the first value that does not fit.
fn typed_as(texts: StringArray, wanted: &DataType) -> Result<ArrayRef, String> {
    if *wanted == DataType::Utf8 {
        return Ok(Arc::new(texts));
    }
    let fits: Fits = match wanted {
        DataType::Boolean => |text| text == "true" || text == "false",
        DataType::Int32 | DataType::Int64 => is_integer,
        DataType::Float64 => is_decimal,
        DataType::Date32 => is_date,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => |text| is_time(text) && has_offset(text),
        DataType::Timestamp(TimeUnit::Microsecond, None) => |text| is_time(text) && !has_offset(text),
        _ => |_| true,
    };
    let misfit = || texts.iter().flatten().find(|text| !fits(text)).map(shortened);
    if let Some(value) = misfit() {
        return Err(value);
    }
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    cast_exact(&(Arc::new(texts) as ArrayRef), wanted, &exact)
}

/// Casts texts, and names the first that can't be.
fn cast_exact(texts: &ArrayRef, wanted: &DataType, exact: &CastOptions<'_>) -> Result<ArrayRef, String> {
    cast_with_options(texts, wanted, exact).map_err(|error| {
        let lenient = CastOptions { safe: true, ..exact.clone() };
        let values = texts.as_string::<i32>();
        let culprit = cast_with_options(texts, wanted, &lenient).ok().and_then(|cast| {
            (0..values.len()).find(|row| values.is_valid(*row) && cast.is_null(*row)).map(|row| values.value(row))
        });
        culprit.map_or_else(|| error.to_string(), shortened)
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

fn header(record: &::csv::StringRecord) -> Result<Vec<String>, CsvError> {
    if record.is_empty() {
        return Err(CsvError::NoHeader);
    }
    if record.len() > COLUMNS_MAX {
        return Err(CsvError::TooWide { columns: record.len() });
    }
    let mut seen = HashSet::new();
    for (index, name) in record.iter().enumerate() {
        if name.is_empty() {
            return Err(CsvError::Unnamed { column: index + 1 });
        }
        if !seen.insert(name) {
            return Err(CsvError::Twice { name: name.to_owned() });
        }
    }
    Ok(record.iter().map(str::to_owned).collect())
}

fn refused(error: &::csv::Error) -> CsvError {
    let line = error.position().map_or(1, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            CsvError::Length { line, found: *len, expected: *expected_len }
        }
        // Reading from memory has no I/O errors, and nothing is deserialised or sought.
        _ => CsvError::Encoding { line },
    }
}

/// Tells whether a text is of a type.
type Fits = fn(&str) -> bool;

fn typed(texts: StringArray) -> ArrayRef {
    let utc = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let candidates: [(Fits, DataType); 6] = [
        (|text| text == "true" || text == "false", DataType::Boolean),
        (is_integer, DataType::Int64),
        (is_decimal, DataType::Float64),
        (is_date, DataType::Date32),
        (|text| is_time(text) && has_offset(text), utc()),
        (|text| is_time(text) && !has_offset(text), DataType::Timestamp(TimeUnit::Microsecond, None)),
    ];
    if texts.null_count() < texts.len() {
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        for (fits, data_type) in candidates {
            if texts.iter().flatten().all(fits)
                && let Ok(values) = cast_with_options(&texts, &data_type, &exact)
            {
                return values;
            }
        }
    }
    Arc::new(texts)
}

/// Tells whether the text is an integer as a program would print it, so that printing it again gives the same text.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && (digits == "0" && text == "0" || !digits.starts_with('0')) && text.parse::<i64>().is_ok()
}

fn is_decimal(text: &str) -> bool {
    if is_integer(text) {
        return true;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    let fraction = digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let starts = digits.as_bytes().first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.');
    starts && fraction && !padded && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn matches_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text
            .iter()
            .zip(shape)
            .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape })
}

fn is_date(text: &str) -> bool {
    matches_shape(text.as_bytes(), b"0000-00-00")
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19 && is_date(text.get(..10).unwrap_or_default())
        && matches!(bytes[10], b'T' | b' ')
        && matches_shape(&bytes[11..19], b"00:00:00")
        // Beyond microseconds something would be lost.
        && bytes[19..].iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count() <= 6
}

fn has_offset(text: &str) -> bool {
    text[19..].bytes().any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-'))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    fn types(batch: &RecordBatch) -> Vec<String> {
        batch.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    }

    #[test]
    fn types_are_told_by_all_values() {
        let text = "b,i,f,d,u,t,s,zip,big,none,mixed\n\
            true,-1,1,2013-01-31,2013-01-31T12:00:00Z,2013-01-31 12:00:00,a,00501,18446744073709551616,NA,1\n\
            false,20,2.5,NA,2013-01-31T12:00:00.5+02:00,,\"b, c\",10001,1,,x\n";
        let batch = read_csv(text.as_bytes(), Some("NA")).unwrap();
        assert_eq!(
            types(&batch),
            [
                "b Boolean",
                "i Int64",
                "f Float64",
                "d Date32",
                "u Timestamp(µs, \"UTC\")",
                "t Timestamp(µs)",
                "s Utf8",
                "zip Utf8",
                "big Utf8",
                "none Utf8",
                "mixed Utf8"
            ]
        );
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[-1, 20]);
        assert_eq!(batch.column(6).as_string::<i32>().value(1), "b, c");
        assert_eq!(batch.column(3).null_count(), 1);
        assert_eq!(batch.column(9).null_count(), 2);
    }

    #[test]
    fn impossible_dates_stay_text() {
        let batch = read_csv(b"d\n2013-02-30\n", None).unwrap();
        assert_eq!(types(&batch), ["d Utf8"]);
    }

    #[test]
    fn errors_name_the_line() {
        let error = |bytes: &[u8]| read_csv(bytes, None).unwrap_err().to_string();
        assert_eq!(error(b""), "there is no header: the first line must name the columns");
        assert_eq!(error(b"a,\n1,2\n"), "column 2 has no name in the header");
        assert_eq!(error(b"a,a\n1,2\n"), "the header names column `a` twice");
        assert_eq!(error(b"a,b\n1,\"2\n3\"\n4\n"), "line 4 has 1 values, and the header names 2 columns");
        assert_eq!(error(b"a,b\n1,2\n3,\xff\n"), "line 3 is not UTF-8");
    }

    #[test]
    fn columns_keep_the_types_that_they_had() {
        let read = |text: &str, wanted: &Schema| {
            let mut texts = Texts::default();
            texts.add(text.as_bytes(), None, 10).unwrap();
            texts.finish(Some(wanted))
        };
        let known = read_csv(b"id,rate,note\n1,1.5,a\n", None).unwrap().schema();
        let later = read("id,rate,note\n2,3,7\n", &known).unwrap();
        assert_eq!(later.schema(), known);
        let error = read("id,rate,note\n007,3,7\n", &known).unwrap_err().to_string();
        assert_eq!(error, "column `id` is long, and `007` is not");
        let decimal = Schema::new(vec![Field::new("rate", DataType::Decimal128(4, 2), true)]);
        assert_eq!(read("id,rate\n1,1.25\n", &decimal).unwrap().column(1).data_type(), &DataType::Decimal128(4, 2));
        let error = read("id,rate\n1,x\n", &decimal).unwrap_err().to_string();
        assert_eq!(error, "column `rate` is decimal(4, 2), and `x` is not");
    }

    #[test]
    fn several_files_are_one_table() {
        let mut texts = Texts::default();
        texts.add(b"a,b\n1,x\n", None, 3).unwrap();
        texts.add(b"a,b\nz,y\n", None, 3).unwrap();
        assert!(matches!(texts.add(b"b,a\n1,2\n", None, 3), Err(CsvError::OtherHeader { .. })));
        assert!(matches!(texts.add(b"a,b\n1,x\n1,x\n", None, 3), Err(CsvError::TooManyRows { rows_max: 3 })));
        let mut texts = Texts::default();
        texts.add(b"a\n1\n", None, 3).unwrap();
        texts.add(b"a\nz\n", None, 3).unwrap();
        assert_eq!(types(&texts.finish(None).unwrap()), ["a Utf8"]);
    }

    #[test]
    fn a_header_alone_is_an_empty_table() {
        let batch = read_csv(b"\xef\xbb\xbfa,b\r\n", None).unwrap();
        assert_eq!((batch.num_rows(), types(&batch)), (0, vec!["a Utf8".to_owned(), "b Utf8".to_owned()]));
    }
}

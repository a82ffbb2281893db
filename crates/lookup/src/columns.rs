//! The types that a lookup's columns can have, and their names in a configuration.
//!
//! Invariant: each is a type that functions, queries and tables know: no unsigned integers, one unit of time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

/// The most digits of a decimal.
pub(crate) const DIGITS_MAX: u8 = 38;

/// The type of a database's column, before it is one of Arrow's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Text,
    Binary,
    Date,
    /// An instant.
    Timestamp,
    /// A date and time without zone.
    LocalTimestamp,
    List(Box<Kind>),
}

impl Kind {
    /// Returns what stands for it in Arrow.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, scale.cast_signed()),
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
        }
    }
}

/// A text that names no type of a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no type of a column")]
pub struct ColumnTypeError {
    /// The text.
    pub text: String,
}

impl ColumnTypeError {
    /// Says what there is.
    pub const HINT: &str = "types: boolean, int, long, float, double, decimal(P,S), string, binary, date, timestamp (an instant), \
                            local_timestamp, and each with [] behind it for a list";
}

/// Reads the type of a column: `long`, `decimal(10, 2)`, `string[]`.
///
/// # Errors
/// If it is none.
pub fn column_type(text: &str) -> Result<DataType, ColumnTypeError> {
    kind(text.trim()).map(|kind| kind.data_type()).ok_or_else(|| ColumnTypeError { text: text.to_owned() })
}

fn kind(text: &str) -> Option<Kind> {
    if let Some(item) = text.strip_suffix("[]") {
        return match kind(item.trim_end())? {
            Kind::List(_) => None,
            item => Some(Kind::List(Box::new(item))),
        };
    }
    if let Some(inside) = text.strip_prefix("decimal(").and_then(|text| text.strip_suffix(')')) {
        let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
        let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        let fits = (1..=DIGITS_MAX).contains(&precision) && scale <= precision;
        return fits.then_some(Kind::Decimal { precision, scale });
    }
    Some(match text {
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "string" => Kind::Text,
        "binary" => Kind::Binary,
        "date" => Kind::Date,
        "timestamp" => Kind::Timestamp,
        "local_timestamp" => Kind::LocalTimestamp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_their_digits_and_lists() {
        assert_eq!(column_type("long"), Ok(DataType::Int64));
        assert_eq!(column_type(" decimal(10, 2)"), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(column_type("decimal(5)"), Ok(DataType::Decimal128(5, 0)));
        assert!(matches!(column_type("string[]"), Ok(DataType::List(_))));
        for wrong in ["", "text", "decimal", "decimal(39, 2)", "decimal(3, 4)", "decimal(0)", "long[][]", "Long"] {
            assert!(column_type(wrong).is_err(), "{wrong}");
        }
    }
}

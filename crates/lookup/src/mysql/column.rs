//! What the server says of a column, and the type that stands for it.

use super::packet::Reader;
use crate::columns::{DIGITS_MAX, Kind};
use crate::database::DatabaseError;

const UNSIGNED: u16 = 1 << 5;
/// The number of the character set that says: these are bytes.
const BINARY: u16 = 63;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) form: Form,
}

/// A binary form. Several types share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `tinyint(1)`, which MySQL calls `boolean`.
    Boolean,
    Tiny {
        unsigned: bool,
    },
    Short {
        unsigned: bool,
    },
    /// Four bytes.
    Int {
        unsigned: bool,
    },
    Long,
    UnsignedLong,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Text,
    Bytes,
    /// `bit(1)`.
    Bit,
    /// Up to 63 bits.
    Bits,
    Date,
    Time,
    Timestamp,
    /// The type of `null`.
    Nothing,
}

impl Column {
    /// Reads a column's definition.
    pub(super) fn read(payload: &[u8]) -> Result<Self, DatabaseError> {
        let mut reader = Reader(payload);
        for _ in 0..4 {
            reader.sized()?;
        }
        let name = reader.text()?;
        reader.sized()?;
        reader.length()?;
        let charset = u16::from_le_bytes(reader.array()?);
        let length = u32::from_le_bytes(reader.array()?);
        let code = reader.byte()?;
        let flags = u16::from_le_bytes(reader.array()?);
        let decimals = reader.byte()?;
        match known(code, flags & UNSIGNED != 0, length, decimals, charset == BINARY) {
            Ok((kind, form)) => Ok(Self { name, kind, form }),
            Err((found, hint)) => {
                let hint = hint.replace("{}", &name);
                Err(DatabaseError::NoType { column: name, found, hint })
            }
        }
    }
}

/// Returns how a type is read; the error is its name and what to write instead, with `{}` for the column.
pub(super) fn known(
    code: u8,
    unsigned: bool,
    length: u32,
    decimals: u8,
    binary: bool,
) -> Result<(Kind, Form), (String, String)> {
    let cast = |to: &str| format!("write `{to} as {{}}`, or leave it out");
    Ok(match code {
        0x01 if length == 1 && !unsigned => (Kind::Boolean, Form::Boolean),
        0x01 => (Kind::Int, Form::Tiny { unsigned }),
        // A year is a short.
        0x02 | 0x0d => (Kind::Int, Form::Short { unsigned: unsigned || code == 0x0d }),
        0x03 | 0x09 if unsigned => (Kind::Long, Form::Int { unsigned }),
        0x03 | 0x09 => (Kind::Int, Form::Int { unsigned }),
        0x08 if unsigned => (Kind::Decimal { precision: 20, scale: 0 }, Form::UnsignedLong),
        0x08 => (Kind::Long, Form::Long),
        0x04 => (Kind::Float, Form::Float),
        0x05 => (Kind::Double, Form::Double),
        0x06 => (Kind::Text, Form::Nothing),
        0x00 | 0xf6 => {
            // The length counts the sign and the point.
            let precision = length.saturating_sub(u32::from(!unsigned) + u32::from(decimals > 0));
            match u8::try_from(precision) {
                Ok(precision) if precision <= DIGITS_MAX && decimals <= precision => {
                    let (precision, scale) = (precision.max(1), decimals);
                    (Kind::Decimal { precision, scale }, Form::Decimal { precision, scale })
                }
                _ => {
                    let found = format!("decimal({precision}, {decimals})");
                    let hint = format!("decimals have {DIGITS_MAX} digits; {}", cast("cast({} as decimal(38, 10))"));
                    return Err((found, hint));
                }
            }
        }
        0x07 => (Kind::Timestamp, Form::Timestamp),
        0x0c => (Kind::LocalTimestamp, Form::Timestamp),
        0x0a => (Kind::Date, Form::Date),
        0x0b => (Kind::Text, Form::Time),
        0x10 if length == 1 => (Kind::Boolean, Form::Bit),
        0x10 if length < 64 => (Kind::Long, Form::Bits),
        0x10 => return Err(("bit(64)".to_owned(), cast("cast({} as unsigned)"))),
        // JSON says that it is bytes, and is text.
        0xf5 | 0xf7 | 0xf8 => (Kind::Text, Form::Text),
        0x0f | 0xf9..=0xfe if binary => (Kind::Binary, Form::Bytes),
        0x0f | 0xf9..=0xfe => (Kind::Text, Form::Text),
        0xff => return Err(("geometry".to_owned(), cast("st_astext({})"))),
        _ => return Err((format!("number {code}"), cast("cast({} as char)"))),
    })
}

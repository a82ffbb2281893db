//! PostgreSQL's types and their binary forms.
//!
//! Invariant: a value is decoded without loss, or is an error that says what to write instead. Formats: the `*send` and
//! `*recv` functions in PostgreSQL's `src/backend/utils/adt`.

use std::borrow::Cow;

use tokio_postgres::Column;
use tokio_postgres::types::{Kind as TypeKind, Type};

use crate::columns::{DIGITS_MAX, Kind};
use crate::database::DatabaseError;
use crate::rows::{Builder, Cell};

/// Days and microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Digits of a `numeric` that says none, and those behind the point among them.
const NUMERIC_DEFAULT: (u8, u8) = (DIGITS_MAX, 18);

type Reason = Cow<'static, str>;

/// How a column's values are read.
pub(super) struct Value {
    pub(super) column: String,
    pub(super) kind: Kind,
    form: Form,
}

/// A binary form. Several types share one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric { precision: u8, scale: u8 },
    Text,
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    Array(Box<Form>),
}

impl Value {
    /// Tells how a column is read.
    pub(super) fn of(column: &Column) -> Result<Self, DatabaseError> {
        let refused = |hint: String| DatabaseError::NoType {
            column: column.name().to_owned(),
            found: column.type_().name().to_owned(),
            hint: hint.replace("{}", column.name()),
        };
        let (kind, form) = known(column.type_(), column.type_modifier()).map_err(refused)?;
        Ok(Self { column: column.name().to_owned(), kind, form })
    }

    /// Decodes a value, and adds it to its column.
    pub(super) fn decode(&self, raw: Option<&[u8]>, builder: &mut Builder) -> Result<(), Reason> {
        match (&self.form, raw) {
            (_, None) => builder.push(Cell::Null).map_err(Reason::from),
            (Form::Array(item), Some(raw)) => array(item, raw, builder),
            (form, Some(raw)) => scalar(form, raw, builder),
        }
    }
}

/// Returns how a type is read; the error is what to write instead, with `{}` for the column.
fn known(found: &Type, modifier: i32) -> Result<(Kind, Form), String> {
    let cast = |to: &str| format!("cast it, `({{}})::{to} as {{}}`, or leave it out");
    Ok(match *found {
        Type::BOOL => (Kind::Boolean, Form::Boolean),
        Type::INT2 => (Kind::Int, Form::Int2),
        Type::INT4 => (Kind::Int, Form::Int4),
        Type::INT8 => (Kind::Long, Form::Int8),
        Type::OID => (Kind::Long, Form::Oid),
        Type::FLOAT4 => (Kind::Float, Form::Float4),
        Type::FLOAT8 => (Kind::Double, Form::Float8),
        Type::NUMERIC => {
            let (precision, scale) = numeric_digits(modifier)
                .ok_or_else(|| format!("a lookup's decimals have {DIGITS_MAX} digits; {}", cast("numeric(38, 10)")))?;
            (Kind::Decimal { precision, scale }, Form::Numeric { precision, scale })
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => (Kind::Text, Form::Text),
        Type::XML | Type::JSON => (Kind::Text, Form::Text),
        Type::JSONB => (Kind::Text, Form::Jsonb),
        Type::UUID => (Kind::Text, Form::Uuid),
        Type::BYTEA => (Kind::Binary, Form::Bytea),
        Type::DATE => (Kind::Date, Form::Date),
        Type::TIME => (Kind::Text, Form::Time),
        Type::TIMESTAMP => (Kind::LocalTimestamp, Form::Timestamp),
        Type::TIMESTAMPTZ => (Kind::Timestamp, Form::Timestamp),
        Type::MONEY => return Err(cast("numeric(20, 2)")),
        _ => match found.kind() {
            TypeKind::Array(item) => {
                let (kind, form) = known(item, modifier)?;
                (Kind::List(Box::new(kind)), Form::Array(Box::new(form)))
            }
            TypeKind::Enum(_) => (Kind::Text, Form::Text),
            // The modifier stands with the domain, where it is not seen.
            TypeKind::Domain(inner) => known(inner, -1)?,
            // Of extensions, by what they are sent as.
            TypeKind::Simple if found.name() == "citext" => (Kind::Text, Form::Text),
            _ => return Err(cast("text")),
        },
    })
}

/// Reads precision and scale out of a type's modifier; `None`: they are beyond what a decimal here can hold.
fn numeric_digits(modifier: i32) -> Option<(u8, u8)> {
    if modifier < 4 {
        return Some(NUMERIC_DEFAULT);
    }
    let packed = modifier - 4;
    let precision = (packed >> 16) & 0xffff;
    // Eleven bits, and signed: numeric(3, -2) and numeric(2, 4) are possible.
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let (precision, scale) = match scale {
        ..0 => (precision - scale, 0),
        _ => (precision.max(scale), scale),
    };
    let precision = u8::try_from(precision).ok().filter(|digits| *digits <= DIGITS_MAX)?;
    Some((precision, u8::try_from(scale).ok()?))
}

fn scalar(form: &Form, raw: &[u8], builder: &mut Builder) -> Result<(), Reason> {
    let text;
    let cell = match form {
        Form::Boolean => Cell::Boolean(fixed::<1>(raw)? != [0]),
        Form::Int2 => Cell::Int(i16::from_be_bytes(fixed(raw)?).into()),
        Form::Int4 => Cell::Int(i32::from_be_bytes(fixed(raw)?)),
        Form::Int8 => Cell::Long(i64::from_be_bytes(fixed(raw)?)),
        Form::Oid => Cell::Long(u32::from_be_bytes(fixed(raw)?).into()),
        Form::Float4 => Cell::Float(f32::from_be_bytes(fixed(raw)?)),
        Form::Float8 => Cell::Double(f64::from_be_bytes(fixed(raw)?)),
        Form::Numeric { precision, scale } => Cell::Decimal(numeric(raw, *precision, *scale)?),
        Form::Text => Cell::Text(utf8(raw)?),
        Form::Jsonb => match raw {
            [1, json @ ..] => Cell::Text(utf8(json)?),
            _ => return Err("the form of its jsonb is not known; cast it to text".into()),
        },
        Form::Uuid => {
            text = uuid(fixed(raw)?);
            Cell::Text(&text)
        }
        Form::Bytea => Cell::Binary(raw),
        Form::Date => match i32::from_be_bytes(fixed(raw)?) {
            i32::MIN | i32::MAX => return Err("the date is infinite; `nullif` it, or cast it to text".into()),
            days => Cell::Date(days.checked_add(EPOCH_DAYS).ok_or("the date is beyond all calendars")?),
        },
        Form::Time => {
            text = time(i64::from_be_bytes(fixed(raw)?));
            Cell::Text(&text)
        }
        Form::Timestamp => match i64::from_be_bytes(fixed(raw)?) {
            i64::MIN | i64::MAX => return Err("the timestamp is infinite; `nullif` it, or cast it to text".into()),
            micros => Cell::Timestamp(micros.checked_add(EPOCH_MICROS).ok_or("the timestamp is beyond all calendars")?),
        },
        Form::Array(_) => return Err("an array holds an array".into()),
    };
    builder.push(cell).map_err(Reason::from)
}

/// Header: dimensions, whether there are nulls, the items' type; per dimension its length and first index; then items, each
/// behind its length.
fn array(item: &Form, mut raw: &[u8], builder: &mut Builder) -> Result<(), Reason> {
    let Builder::List(list) = builder else { return Err("the value is of another type than its column".into()) };
    let mut word = || -> Result<i32, Reason> {
        let (head, rest) = raw.split_first_chunk::<4>().ok_or("the array is cut off")?;
        raw = rest;
        Ok(i32::from_be_bytes(*head))
    };
    let dimensions = word()?;
    word()?;
    word()?;
    let items = match dimensions {
        0 => 0,
        1 => {
            let items = word()?;
            word()?;
            items
        }
        _ => return Err(format!("the array has {dimensions} dimensions, and a list one; cast it to text").into()),
    };
    for _ in 0..items {
        let (head, rest) = raw.split_first_chunk::<4>().ok_or("the array is cut off")?;
        let length = i32::from_be_bytes(*head);
        match usize::try_from(length) {
            Err(_) => {
                raw = rest;
                list.items.push(Cell::Null)?;
            }
            Ok(length) => {
                let (value, rest) = rest.split_at_checked(length).ok_or("the array is cut off")?;
                raw = rest;
                scalar(item, value, &mut list.items)?;
            }
        }
    }
    list.close().map_err(Reason::from)
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], &'static str> {
    raw.try_into().map_err(|_| "the value has another length than its type")
}

fn utf8(raw: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(raw).map_err(|_| "the text is not UTF-8; cast it to bytea")
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn time(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match micros {
        0 => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}"),
    }
}

/// Header: digits, weight of the first, sign, digits shown behind the point; then digits to the base 10,000.
fn numeric(raw: &[u8], precision: u8, scale: u8) -> Result<i128, Reason> {
    let words: Vec<u16> = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let [count, weight, sign, _, digits @ ..] = words.as_slice() else { return Err("the number is cut off".into()) };
    if digits.len() != usize::from(*count) {
        return Err("the number is cut off".into());
    }
    let too_long = || -> Reason {
        format!("the number does not fit decimal({precision}, {scale}); cast it: `::numeric(p, s)`, or `::text`").into()
    };
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xC000 => return Err("it is NaN, which no decimal can hold; cast it to double precision".into()),
        _ => return Err("it is infinite, which no decimal can hold; cast it to double precision".into()),
    };
    let mut value: i128 = 0;
    for (index, digit) in digits.iter().enumerate() {
        // The power of ten that the last of the four digits stands for, after the point has gone.
        let power = (i32::from(weight.cast_signed()) - index as i32) * 4 + i32::from(scale);
        let part = match u32::try_from(power) {
            Ok(power) => 10_i128.checked_pow(power).and_then(|unit| unit.checked_mul((*digit).into())),
            Err(_) if *digit == 0 => Some(0),
            // What is behind the last digit of the scale must be zeros.
            Err(_) => {
                let unit = 10_i128.checked_pow(power.unsigned_abs());
                let exact = unit.filter(|unit| i128::from(*digit) % unit == 0);
                exact.map(|unit| i128::from(*digit) / unit)
            }
        };
        value = part.and_then(|part| value.checked_add(part)).ok_or_else(too_long)?;
    }
    let limit = 10_i128.checked_pow(precision.into()).ok_or_else(too_long)?;
    if value >= limit {
        return Err(too_long());
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight.cast_unsigned(), sign, 0];
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_keep_every_digit_or_are_refused() {
        // 12345.678 = 1 * 10000 + 2345 + 6780 / 10000
        let found = number(1, 0, &[1, 2345, 6780]);
        assert_eq!(numeric(&found, 10, 3), Ok(12_345_678));
        assert_eq!(numeric(&found, 10, 4), Ok(123_456_780));
        assert!(numeric(&found, 10, 2).is_err());
        assert!(numeric(&found, 7, 3).is_err());
        assert_eq!(numeric(&number(0, 0x4000, &[42]), 5, 0), Ok(-42));
        assert_eq!(numeric(&number(-1, 0, &[5000]), 3, 1), Ok(5));
        assert_eq!(numeric(&number(-2, 0, &[1]), 38, 18), Ok(10_i128.pow(10)));
        assert_eq!(numeric(&number(0, 0, &[]), 38, 18), Ok(0));
        assert!(numeric(&number(9, 0, &[1]), 38, 18).is_err());
        assert!(numeric(&number(-10, 0, &[1]), 38, 18).is_err());
        for sign in [0xC000, 0xD000, 0xF000] {
            assert!(numeric(&number(0, sign, &[]), 5, 2).is_err());
        }
        assert!(numeric(&[0, 1, 0, 0, 0, 0], 5, 2).is_err());
    }

    #[test]
    fn modifiers_say_digits() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(numeric_digits(-1), Some((38, 18)));
        assert_eq!(numeric_digits(modifier(10, 2)), Some((10, 2)));
        assert_eq!(numeric_digits(modifier(3, -2)), Some((5, 0)));
        assert_eq!(numeric_digits(modifier(2, 4)), Some((4, 4)));
        assert_eq!(numeric_digits(modifier(39, 2)), None);
        assert_eq!(numeric_digits(modifier(1000, 2)), None);
    }

    #[test]
    fn texts_of_times_and_ids_are_postgres_own() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(86_399_999_999), "23:59:59.999999");
        assert_eq!(uuid([0xa0; 16]), "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0");
    }

    #[test]
    fn types_without_a_counterpart_say_what_to_write() {
        for found in [Type::INTERVAL, Type::INET, Type::INT4_RANGE, Type::MONEY, Type::TIMETZ, Type::POINT] {
            let hint = known(&found, -1).unwrap_err();
            assert!(hint.contains("cast it, `({})::"), "{found}: {hint}");
        }
        assert!(matches!(known(&Type::INT4_ARRAY, -1), Ok((Kind::List(_), Form::Array(_)))));
    }
}

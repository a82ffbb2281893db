//! JSON to Avro binary and back, in one pass over the bytes.
//!
//! JSON is strict (RFC 8259): UTF-8, no key twice in an object, nothing behind the value, at most
//! [`NESTING_MAX`](weir_types::limits::NESTING_MAX) levels. How values meet types:
//!
//! | type | JSON |
//! | --- | --- |
//! | int, long | a number that is whole and in range (`3`, `3.0`, `3e2`) |
//! | float, double | a number that does not overflow; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | string, enum | text |
//! | bytes, fixed | text whose code points 0 to 255 are the bytes (Avro's JSON form), not base64 |
//! | date | `"2013-01-31"`, or days since 1970 |
//! | time-millis, time-micros | `"05:15:00.25"`, or the number |
//! | timestamp-millis, -micros | RFC 3339 with an offset, or the number |
//! | local-timestamp-millis, -micros | the same without an offset, or the number |
//! | decimal | a number or text with no more digits behind the point than the scale; Avro's bytes form is not read |
//! | uuid | text of 36 letters |
//! | union | the bare value: the first branch that takes it; or Avro's form, `{"string": "x"}` |
//!
//! A text with more precision than its type holds is refused, not rounded. A field that is missing gets its default; without one it is null if its type allows; else the record is refused. A
//! field that the schema doesn't know is refused, with the nearest name as a hint: nothing is dropped silently.

mod encode;
mod number;
mod plan;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod union;
mod write;

pub use encode::JsonEncoder;
pub(crate) use encode::{State, encode_value, unknown_symbol, write_decimal};
pub(crate) use number::double;
pub(crate) use plan::{Plan, Shape};
pub use split::{LineSplitter, ValueSplitter};
pub use write::write;
pub(crate) use write::write_value;

//! Avro schemas: fingerprints, compatibility, the registry, and records in and out of every wire form.
//!
//! A record inside weir is a [`Fingerprint`](weir_types::Fingerprint) and Avro binary, never its schema. This crate owns
//! the schemas, the way from every wire form to that binary, and the way from it to columns and to JSON. Knows no HTTP
//! and no I/O: bodies arrive as chunks, and every buffer has a bound that [`limits`] names.
//!
//! ```
//! use weir_schema::{JsonEncoder, Schema, json};
//!
//! let schema = Schema::parse(r#"{"type": "record", "name": "Ride", "fields": [
//!     {"name": "city", "type": "string"}, {"name": "km", "type": ["null", "double"], "default": null}]}"#)?;
//! let mut encoder = JsonEncoder::new(&schema);
//! let mut record = Vec::new();
//! encoder.encode(br#"{"km": 2.5, "city": "Bern"}"#, &mut record)?;
//!
//! let mut text = Vec::new();
//! json::write(&schema, &record, &mut text)?;
//! assert_eq!(text, br#"{"city":"Bern","km":2.5}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod binary;
pub mod columns;
pub mod compatibility;
pub mod container;
pub mod csv;
mod error;
pub mod extract;
pub mod json;
pub mod limits;
pub mod registry;
pub mod resolve;
pub mod schema;
#[cfg(test)]
mod testing;
mod text;
pub mod wire;

pub use columns::{ColumnDecoder, EncodedRecords, arrow_schema, encode_batch, misfits};
pub use compatibility::{Compatibility, Incompatibility};
pub use container::{Codec, ContainerError, ContainerHeader, ContainerReader, ContainerWriter};
pub use csv::{CsvError, CsvOptions, CsvReader};
pub(crate) use error::Fault;
pub use error::RecordError;
pub use extract::{Extractor, UnknownField};
pub use json::{JsonEncoder, LineSplitter, ValueSplitter};
pub use registry::{Registry, SchemaId};
pub use resolve::{Resolver, validate};
pub use schema::{ParseError, Schema};
pub use wire::{Form, Lookup, Message, WireError};

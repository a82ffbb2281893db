//! Schemas of items: inferred from a sample, pinned in a file, and items made to fit the pin.
//!
//! ```text
//! items --Sample::add--> counts per field --Sample::schema--> Avro text, for review --Pin::parse--> Pin --fit--> items that encode
//! ```
//!
//! A sample keeps counts, never values. A field whose JSON name is no Avro name has it in the attribute [`NAME`], which Avro's
//! readers ignore. A text takes any value: texts as they are, and others as JSON. Invariant: an item of the sample, once it fits
//! the pin that came of the sample, is a JSON object that the schema's encoder takes.
//!
//! ```
//! use serde_json::json;
//! use weir_crawl::infer::{Pin, Sample};
//!
//! let mut sample = Sample::default();
//! sample.add(&json!({"id": 1, "first-seen": "2026-01-31T05:15:00Z"}));
//! let pin = Pin::parse(&sample.schema("device", &["id".to_owned()]))?;
//!
//! let fitted = pin.fit(json!({"id": 2, "first-seen": null, "colour": "red"}));
//! assert_eq!(fitted.item, json!({"id": 2, "first_seen": null}));
//! assert_eq!(fitted.new, ["colour"]);
//! # Ok::<(), weir_crawl::infer::PinError>(())
//! ```

mod name;
mod pin;
mod sample;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod time;

pub use pin::{Fitted, Pin, PinError, compare};
pub use sample::{Sample, Seen};

/// The attribute of a field that holds its name in JSON.
pub const NAME: &str = "weir_name";

/// Fields of the item itself; those that come later are left out, and named by [`Sample::left_out`].
pub const COLUMNS_MAX: usize = 1000;
/// Fields of an object inside an item; one with more becomes a text: its keys are data.
pub const FIELDS_MAX: usize = 200;
/// Objects and lists inside of each other; what is deeper becomes a text.
pub const DEPTH_MAX: usize = 8;
/// Fields at all depths; from there on, objects with new fields become texts.
pub const NODES_MAX: usize = 5000;
/// Items of a sample, or objects in it, from which on a field that all of them have is required. What fewer show is no
/// promise.
pub const REQUIRED_FROM: u64 = 20;
/// New fields that are named, per item or sample; those beyond are counted.
pub const NAMED_MAX: usize = 20;

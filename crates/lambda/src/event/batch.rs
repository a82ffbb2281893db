//! What a function answers to a batch: which items failed, and records for its outputs.
//!
//! `batchItemFailures` follow AWS's rules
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>):
//!
//! | answer | meaning |
//! | --- | --- |
//! | nothing, `null`, `{}`, no list, a `null` list, an empty list | all succeeded |
//! | items of the batch | these failed; of a stream, all from the first of them on are tried again |
//! | an identifier that is empty, `null`, not a string, missing (a bad key), or of no item | the whole batch failed |
//!
//! Records for outputs have one of three forms, and stay the handler's own bytes:
//!
//! ```text
//! [record, ...]                                          of the only output
//! {"records": [record, ...], "batchItemFailures": ...}   of the only output
//! {"outputs": {"name": [record, ...]}, ...}              by name
//! ```
//!
//! Invariant: where outputs are wanted, an answer that is none of these is an error. Where none is wanted, what a
//! handler returns beside `batchItemFailures` does not count, as with AWS.

mod shape;

use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;
use weir_types::nearest;

use super::RESPONSE_BYTES_MAX;
use super::not_json::{NotJson, text};
use shape::{Answer, Item};

/// Records that one answer may carry, over all outputs.
pub const OUTPUT_RECORDS_MAX: usize = 100_000;

/// What a batch came to.
#[derive(Debug)]
pub struct BatchOutcome<'a> {
    /// The items that failed.
    pub failures: Failures,
    /// Records by output, in the order in which the outputs were given. Empty where the whole batch failed.
    pub outputs: Vec<Vec<&'a RawValue>>,
}

/// The items of a batch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failures {
    /// None did.
    None,
    /// Those at these places of the batch, ascending, each once.
    Items(Vec<usize>),
    /// All did, since the answer can't be trusted.
    Batch(WholeBatch),
}

impl Failures {
    /// Returns the first item that failed. Of a stream, it and all after it are tried again.
    pub fn first(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Items(places) => places.first().copied(),
            Self::Batch(_) => Some(0),
        }
    }

    /// Returns whether the item at `place` failed. Of a queue, the others are deleted.
    pub fn contains(&self, place: usize) -> bool {
        match self {
            Self::None => false,
            Self::Items(places) => places.binary_search(&place).is_ok(),
            Self::Batch(_) => true,
        }
    }
}

/// Why a whole batch counts as failed although the function returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WholeBatch {
    /// `batchItemFailures` is no list.
    NotAList,
    /// An item that has no `itemIdentifier`.
    NoIdentifier {
        /// Its place in `batchItemFailures`.
        place: usize,
    },
    /// An `itemIdentifier` that is null, empty or no string.
    BadIdentifier {
        /// Its place in `batchItemFailures`.
        place: usize,
    },
    /// An `itemIdentifier` that no item of the batch has.
    UnknownIdentifier {
        /// Its place in `batchItemFailures`.
        place: usize,
        /// The identifier, cut.
        found: String,
    },
}

impl fmt::Display for WholeBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = "an item is {\"itemIdentifier\": \"...\"} with the id of a record or message of the batch";
        match self {
            Self::NotAList => write!(f, "`batchItemFailures` is not a list: {form}"),
            Self::NoIdentifier { place } => write!(f, "`batchItemFailures[{place}]` has no `itemIdentifier`: {form}"),
            Self::BadIdentifier { place } => {
                write!(f, "the `itemIdentifier` of `batchItemFailures[{place}]` is not a text, or empty: {form}")
            }
            Self::UnknownIdentifier { place, found } => {
                write!(f, "`batchItemFailures[{place}]` names `{found}`, which is not in the batch: {form}")
            }
        }
    }
}

/// An answer that can't be understood. The batch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchResponseError {
    /// Over the limit.
    #[error("the response has {bytes} bytes, and may have {RESPONSE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON at all.
    #[error("the response is not JSON")]
    NotJson(#[from] NotJson),
    /// Nothing that could be records, though the function has outputs.
    #[error(
        "the response is {found}, and no records for {}: return a list of records, or {{\"records\": [...]}}, or {{\"outputs\": {{\"name\": [...]}}}}; null for none",
        list(outputs)
    )]
    NotRecords {
        /// What was found.
        found: &'static str,
        /// The function's outputs.
        outputs: Vec<String>,
    },
    /// Records of no output, though the function has several.
    #[error(
        "the response does not say for which of {} its records are: return {{\"outputs\": {{\"name\": [...]}}}}",
        list(outputs)
    )]
    ManyOutputs {
        /// The function's outputs.
        outputs: Vec<String>,
    },
    /// A value in the place of a list of records.
    #[error("`{key}` is {found}: write a list of records")]
    NotAList {
        /// The key, with its path.
        key: String,
        /// What was found.
        found: &'static str,
    },
    /// An output that the function does not have.
    #[error(
        "the response has records for `{name}`, and the function's outputs are {}{}",
        list(outputs),
        meant(name, outputs)
    )]
    UnknownOutput {
        /// The output as named.
        name: String,
        /// The function's outputs.
        outputs: Vec<String>,
    },
    /// Two forms at once.
    #[error("the response has both `records` and `outputs`: write one of them")]
    Both,
    /// Too many records.
    #[error("the response has more than {OUTPUT_RECORDS_MAX} records: make the batch smaller")]
    TooManyRecords,
}

fn list(outputs: &[String]) -> String {
    outputs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn meant(name: &str, outputs: &[String]) -> String {
    nearest(name, outputs.iter().map(String::as_str))
        .map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

/// Reads a function's answer to a batch.
///
/// `ids` are the identifiers of the batch's items in their order: sequence numbers in decimal, or message ids.
/// `outputs` are the names of the function's outputs; none means that no records are wanted.
///
/// # Errors
/// If it is too large or not JSON; and, where outputs are wanted, if it has none of the three forms.
pub fn batch_response<'a>(
    payload: &'a [u8],
    ids: &[&str],
    outputs: &[&str],
) -> Result<BatchOutcome<'a>, BatchResponseError> {
    if payload.len() > RESPONSE_BYTES_MAX {
        return Err(BatchResponseError::TooLarge { bytes: payload.len() });
    }
    let answer = shape::answer(text(payload)?)?;
    let failures = match &answer {
        Answer::Object(fields) => failures(fields.failures, ids)?,
        _ => Failures::None,
    };
    let none = || outputs.iter().map(|_| Vec::new()).collect();
    let outputs =
        if outputs.is_empty() || matches!(failures, Failures::Batch(_)) { none() } else { records(&answer, outputs)? };
    Ok(BatchOutcome { failures, outputs })
}

fn failures(raw: Option<&RawValue>, ids: &[&str]) -> Result<Failures, BatchResponseError> {
    let Some(raw) = raw else { return Ok(Failures::None) };
    if shape::kind(raw.get()) == shape::NULL {
        return Ok(Failures::None);
    }
    let Some(items) = shape::items(raw)? else { return Ok(Failures::Batch(WholeBatch::NotAList)) };
    if items.is_empty() {
        return Ok(Failures::None);
    }
    let known: HashMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let mut places = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let whole = match item {
            Item::Named(id) => match known.get(id.as_ref()) {
                Some(found) => {
                    places.push(*found);
                    continue;
                }
                None => WholeBatch::UnknownIdentifier { place, found: id.chars().take(80).collect() },
            },
            Item::Bad => WholeBatch::BadIdentifier { place },
            Item::Missing => WholeBatch::NoIdentifier { place },
        };
        return Ok(Failures::Batch(whole));
    }
    places.sort_unstable();
    places.dedup();
    Ok(Failures::Items(places))
}

fn records<'a>(answer: &Answer<'a>, outputs: &[&str]) -> Result<Vec<Vec<&'a RawValue>>, BatchResponseError> {
    let names = || outputs.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let only = |key: &str, raw: &'a RawValue| {
        if outputs.len() > 1 {
            return Err(BatchResponseError::ManyOutputs { outputs: names() });
        }
        Ok(vec![shape::records(key, raw, OUTPUT_RECORDS_MAX)?])
    };
    let none = || outputs.iter().map(|_| Vec::new()).collect();
    match answer {
        Answer::Nothing => Ok(none()),
        Answer::List(raw) => only("response", raw),
        Answer::Object(fields) => match (fields.records, fields.outputs) {
            (Some(_), Some(_)) => Err(BatchResponseError::Both),
            (Some(raw), None) => only("records", raw),
            (None, Some(raw)) => by_name(raw, outputs),
            (None, None) if fields.is_known() => Ok(none()),
            (None, None) => Err(BatchResponseError::NotRecords { found: "another object", outputs: names() }),
        },
        Answer::Other(found) => Err(BatchResponseError::NotRecords { found, outputs: names() }),
    }
}

fn by_name<'a>(raw: &'a RawValue, outputs: &[&str]) -> Result<Vec<Vec<&'a RawValue>>, BatchResponseError> {
    let mut out: Vec<Vec<&RawValue>> = outputs.iter().map(|_| Vec::new()).collect();
    let mut room = OUTPUT_RECORDS_MAX;
    for (name, raw) in shape::named(raw)? {
        let Some(place) = outputs.iter().position(|known| *known == name) else {
            let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
            return Err(BatchResponseError::UnknownOutput { name: name.chars().take(128).collect(), outputs });
        };
        let records = shape::records(&format!("outputs.{name}"), raw, room)?;
        room -= records.len();
        out[place].extend(records);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;

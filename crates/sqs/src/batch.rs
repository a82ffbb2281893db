//! Batches: what holds for the entries of all of them, and how their failures are told.

use std::collections::HashSet;

use serde::Serialize;

use crate::error::{ErrorCode, Failure};
use crate::limits::{BATCH_ENTRIES_MAX, ENTRY_ID_BYTES_MAX};
use crate::wire::{Reply, Xml};

/// An entry of a batch request.
pub trait Entry {
    /// What the query protocol calls it, which SQS's messages name.
    const NAME: &'static str;
    /// Its id, by which the answer refers to it.
    fn id(&self) -> Option<&str>;
}

/// Checks the number of entries and their ids. What is wrong here fails the batch as a whole.
///
/// # Errors
/// `EmptyBatchRequest`, `TooManyEntriesInBatchRequest`, `InvalidBatchEntryId`, `BatchEntryIdsNotDistinct`.
pub fn check<E: Entry>(entries: Option<Vec<E>>) -> Result<Vec<E>, Failure> {
    let entries = entries.unwrap_or_default();
    if entries.is_empty() {
        return Err(Failure::new(
            ErrorCode::EmptyBatchRequest,
            format!("There should be at least one {} in the request.", E::NAME),
        ));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        return Err(Failure::new(
            ErrorCode::TooManyEntriesInBatchRequest,
            format!("Maximum number of entries per request are {BATCH_ENTRIES_MAX}. You have sent {}.", entries.len()),
        ));
    }
    let mut seen = HashSet::new();
    for entry in &entries {
        let id = entry.id().unwrap_or_default();
        let fits = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if id.is_empty() || id.len() > ENTRY_ID_BYTES_MAX || !fits {
            return Err(Failure::new(
                ErrorCode::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
                 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(Failure::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(entries)
}

/// A successful entry of a batch.
pub trait Success: Serialize {
    /// What the query protocol calls it.
    const NAME: &'static str;
    /// Writes what stands inside.
    fn xml(&self, xml: &mut Xml);
}

/// The reply of a batch: which entries went through, and which didn't. Either list is left out when it is empty, as SQS
/// does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outcome<S> {
    /// The entries that went through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub successful: Vec<S>,
    /// The entries that failed, each for itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedEntry>,
}

/// An entry that failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedEntry {
    id: String,
    sender_fault: bool,
    code: &'static str,
    message: String,
}

impl FailedEntry {
    /// Tells why the entry `id` failed.
    pub fn new(id: &str, failure: Failure) -> Self {
        Self {
            id: id.to_owned(),
            sender_fault: failure.code.is_senders(),
            code: failure.code.query(),
            message: failure.message,
        }
    }
}

impl<S: Success> Outcome<S> {
    /// Sorts what became of each entry, in the order of the request.
    pub fn of<'a>(results: impl IntoIterator<Item = (&'a str, Result<S, Failure>)>) -> Self {
        let mut outcome = Self { successful: Vec::new(), failed: Vec::new() };
        for (id, result) in results {
            match result {
                Ok(success) => outcome.successful.push(success),
                Err(failure) => outcome.failed.push(FailedEntry::new(id, failure)),
            }
        }
        outcome
    }
}

/// Acts on all entries that can be read, at once, and tells what became of each.
///
/// `read` turns an entry into what `act` takes; `act` gives one result for each, in order; `finish` puts it into words.
///
/// # Errors
/// What `act` failed with as a whole.
pub async fn act<E: Entry, T, D, S: Success>(
    entries: &[E],
    read: impl Fn(&E) -> Result<T, Failure>,
    act: impl AsyncFnOnce(Vec<T>) -> Result<Vec<D>, Failure>,
    finish: impl Fn(&E, D) -> Result<S, Failure>,
) -> Result<Outcome<S>, Failure> {
    let mut readable = Vec::new();
    let read: Vec<Result<(), Failure>> =
        entries.iter().map(|entry| read(entry).map(|value| readable.push(value))).collect();
    let done = if readable.is_empty() { Vec::new() } else { act(readable).await? };
    let mut done = done.into_iter();
    Ok(Outcome::of(entries.iter().zip(read).map(|(entry, read)| {
        let result = read.and_then(|()| match done.next() {
            Some(done) => finish(entry, done),
            None => Err(Failure::new(ErrorCode::InternalError, "The queue gave no result for this entry. Try again.")),
        });
        (entry.id().unwrap_or_default(), result)
    })))
}

impl<S: Success> Reply for Outcome<S> {
    fn xml(&self, xml: &mut Xml) {
        for success in &self.successful {
            xml.element(S::NAME, |xml| success.xml(xml));
        }
        for failed in &self.failed {
            xml.element("BatchResultErrorEntry", |xml| {
                xml.text("Id", &failed.id);
                xml.plain("SenderFault", failed.sender_fault);
                xml.text("Code", failed.code);
                xml.text("Message", &failed.message);
            });
        }
    }
}

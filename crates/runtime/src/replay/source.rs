//! Where a run's records are read: the stream's shards, or its archive. Both know records by shard and sequence number, so
//! that a run's place means the same in either.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_archive::{Archive, ArchivedRecord, OnDamage, Reader, Selection};
use weir_log::ReadError;
use weir_schema::{Compatibility, Lookup};
use weir_stream::{Page, Record, Stream};
use weir_types::{SequenceNumber, ShardId, Timestamp};

use super::machine::{ShardRange, Window};
use crate::archive::OpenArchive;
use crate::schemas::Catalog;

/// What is asked of an archive to find one record, in bytes.
const FIND_BYTES: usize = 64 * 1024;

/// Where a run reads.
#[derive(Clone)]
pub(super) enum Source {
    Stream(Arc<Stream>),
    Archive(Arc<Archived>),
}

/// Some of a run's records, and how many of those before their end are lost for good.
pub(super) struct Read {
    pub page: Page,
    pub lost: u64,
}

/// Why a page can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// They are gone for good: the run can't be whole.
    #[error("records {from} to {to} of shard {shard} were trimmed from the stream")]
    Trimmed { shard: ShardId, from: SequenceNumber, to: SequenceNumber },
    /// Files are missing or damaged: the run can't be whole before they are put back.
    #[error("{0}; put it back from a copy of the archive, and replay again")]
    Damaged(weir_archive::Damage),
    /// It may read later.
    #[error(transparent)]
    Log(ReadError),
    #[error(transparent)]
    Archive(weir_archive::ReadError),
    #[error("the archive is not open{}", trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default())]
    NotOpen { trouble: Option<String> },
    #[error("register the schema of archived records")]
    Register(#[from] weir_machine::SubmitError),
}

impl PageError {
    /// Tells whether trying again is of no use.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Trimmed { .. } | Self::Damaged(_))
    }
}

impl From<weir_archive::ReadError> for PageError {
    fn from(error: weir_archive::ReadError) -> Self {
        match error {
            weir_archive::ReadError::Damaged(damage) => Self::Damaged(damage),
            error => Self::Archive(error),
        }
    }
}

impl Source {
    /// Reads the next records of a range: at most about `bytes_max` bytes, and `records_max` records.
    pub async fn read(
        &self,
        range: &ShardRange,
        from: SequenceNumber,
        bytes_max: usize,
        records_max: u64,
    ) -> Result<Read, PageError> {
        let page = match self {
            Self::Stream(stream) => {
                let shard = &stream.shards()[range.shard.0 as usize];
                match shard.read(from, bytes_max).await {
                    Ok(page) => page,
                    Err(ReadError::Trimmed { head, .. }) if head > from => {
                        return Err(PageError::Trimmed { shard: range.shard, from, to: head.min(range.to) });
                    }
                    // A repair has noted that they are lost: there is nothing to wait for.
                    Err(ReadError::Lost { to, .. }) if to > from => {
                        let page = Page::of(from, to.min(range.to), []);
                        let lost = page.end().since(from);
                        return Ok(Read { page, lost });
                    }
                    Err(error) => return Err(PageError::Log(error)),
                }
            }
            Self::Archive(archive) => return archive.read(range, from, bytes_max, records_max).await,
        };
        // Letters and counts are of one hour, as everywhere.
        Ok(Read { page: page.of_one_hour().cut(records_max, range.to), lost: 0 })
    }
}

/// An archive, read by one run.
pub(super) struct Archived {
    archive: Arc<OpenArchive>,
    catalog: Catalog,
    /// Times of arrival that are meant.
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    open: tokio::sync::Mutex<BTreeMap<ShardId, Open>>,
}

/// A shard that is being read.
struct Open {
    reader: Reader,
    /// Where the reader ends: it can't go on into a range that ends elsewhere.
    to: SequenceNumber,
    /// What was read last: it may be handed on in parts.
    page: Page,
}

impl Archived {
    pub fn new(archive: Arc<OpenArchive>, catalog: Catalog, window: &Window) -> Self {
        let (since, until) = if window.event_time { (None, None) } else { (window.since, window.until) };
        Self { archive, catalog, since, until, open: tokio::sync::Mutex::default() }
    }

    fn opened(&self) -> Result<Arc<Archive>, PageError> {
        self.archive.get().ok_or_else(|| PageError::NotOpen { trouble: self.archive.trouble() })
    }

    /// Returns, per shard, the archived records that arrived within the window.
    pub async fn ranges(&self) -> Result<Vec<ShardRange>, PageError> {
        let mut ranges = Vec::new();
        let shards = self.opened()?.stats().written_to;
        for (shard, end) in (0..).map(ShardId).zip(shards) {
            let Some(end) = end else { continue };
            let to = match self.until {
                None => end,
                Some(until) => self.first_since(shard, Some(until)).await?.unwrap_or(end),
            };
            let from = self.first_since(shard, self.since).await?.unwrap_or(to).min(to);
            ranges.push(ShardRange { shard, from, to });
        }
        Ok(ranges)
    }

    /// Finds the first archived record of a shard that arrived at a time or later.
    async fn first_since(&self, shard: ShardId, since: Option<Timestamp>) -> Result<Option<SequenceNumber>, PageError> {
        let selection = Selection { since, shards: Some(vec![shard]), ..Selection::default() };
        let mut reader = self.opened()?.read(selection, OnDamage::Stop).await?;
        while let Some(page) = reader.next(FIND_BYTES).await? {
            if let Some(record) = page.records().next() {
                return Ok(Some(record.sequence));
            }
        }
        Ok(None)
    }

    async fn read(
        &self,
        range: &ShardRange,
        from: SequenceNumber,
        bytes_max: usize,
        records_max: u64,
    ) -> Result<Read, PageError> {
        let mut open = self.open.lock().await;
        let known = open.remove(&range.shard).filter(|open| open.to == range.to);
        let (mut reader, left) = match known {
            Some(Open { reader, page, .. }) if page.start() <= from && from < page.end() => (reader, Some(page)),
            Some(Open { reader, page, .. }) if page.end() == from => (reader, None),
            _ => (self.opened()?.read(self.selection(range, from), OnDamage::Stop).await?, None),
        };
        let (page, lost) = match left {
            Some(page) => (page.starting_at(from), 0),
            None => match reader.next(bytes_max).await? {
                // Nothing more arrived in the window.
                None => return Ok(Read { page: Page::of(from, range.to, []), lost: 0 }),
                Some(page) => {
                    self.learn(page.records()).await?;
                    let lost = page.missing().iter().map(|(from, to)| to.since(*from)).sum();
                    let end = page.end().unwrap_or(from);
                    (Page::of(from, end.min(range.to), page.records().map(|record| of_stream(&record))), lost)
                }
            },
        };
        let handed = page.clone().of_one_hour().cut(records_max, range.to);
        open.insert(range.shard, Open { reader, to: range.to, page });
        Ok(Read { page: handed, lost })
    }

    fn selection(&self, range: &ShardRange, from: SequenceNumber) -> Selection {
        Selection {
            since: self.since,
            until: self.until,
            shards: Some(vec![range.shard]),
            from: BTreeMap::from([(range.shard, from)]),
            to: BTreeMap::from([(range.shard, range.to)]),
        }
    }

    /// Registers schemas that an archive has, and this node does not know: it may be younger than its archive.
    async fn learn(&self, records: impl Iterator<Item = ArchivedRecord<'_>>) -> Result<(), PageError> {
        let stream = self.opened()?.spec().stream.clone();
        let mut known = None;
        for record in records {
            if known == Some(record.fingerprint) {
                continue;
            }
            known = Some(record.fingerprint);
            let Some(schema) = record.schema else { continue };
            if self.catalog.by_fingerprint(record.fingerprint).is_some() {
                continue;
            }
            let subject = format!("archive.{stream}-value");
            let subject: weir_types::SubjectName = subject.parse().expect("a stream's name and more are a subject");
            // They were written: whether they would be taken today is not the question.
            self.catalog.set_compatibility(Some(subject.clone()), Compatibility::None).await?;
            self.catalog.register(subject, schema.to_json().to_owned()).await?;
        }
        Ok(())
    }
}

fn of_stream<'a>(record: &ArchivedRecord<'a>) -> Record<'a> {
    let ArchivedRecord { sequence, arrived_at, key, fingerprint, body, .. } = *record;
    Record { sequence, arrived_at, fingerprint, key, body }
}

//! What a node says of an archive.

use std::sync::Arc;

use serde::Serialize;
use weir_archive::Archive;
use weir_types::{StreamName, Timestamp};

use super::{ArchiveError, OpenArchive};
use crate::node::Node;

/// How far beyond its limit a stream's log may be before its archive is said to be why.
const PRESSURE_PERCENT: u64 = 110;

/// The state of a stream's archive.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArchiveStatus {
    /// Records of the stream that are not in it.
    pub behind: u64,
    /// When the newest record arrived that is in it.
    pub archived_to: Option<Timestamp>,
    /// The newest hour that is closed, such as `2026-11-26T10`.
    pub closed: Option<String>,
    /// Records that it holds.
    pub records: u64,
    /// Files that hold them.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Records that were gone from the log before they could be archived.
    pub missing: u64,
    /// Why it stands still, or what it holds up, if anything.
    pub trouble: Option<String>,
}

impl OpenArchive {
    /// Returns the archive's state at this moment.
    pub(crate) fn status(&self) -> ArchiveStatus {
        let shards = self.stream.shards();
        let behind = shards.iter().map(|shard| {
            let bounds = shard.bounds();
            bounds.tail.since(self.needs_from(shard.id()).max(bounds.head))
        });
        let mut status = ArchiveStatus {
            behind: behind.sum(),
            trouble: self.trouble().or_else(|| self.pressure()),
            ..ArchiveStatus::default()
        };
        if let Some(archive) = self.get() {
            let stats = archive.stats();
            status.archived_to = stats.archived_to;
            status.closed = stats.closed.map(|hour| hour.to_string());
            status.records = stats.held.records.count;
            status.files = stats.held.files;
            status.bytes = stats.held.bytes;
            status.missing = stats.held.missing;
            if let (None, [back, ..]) = (&status.trouble, &stats.went_back[..]) {
                status.trouble = Some(format!(
                    "it ended earlier at the start than it had (shard {}: {}, and had been {}): see `weir archive verify {}`",
                    back.shard,
                    back.found.unwrap_or_default(),
                    back.known,
                    self.spec.stream
                ));
            }
        }
        status
    }

    /// Says so if the log has outgrown its limit because the archive is behind.
    fn pressure(&self) -> Option<String> {
        let limit = self.stream.settings().retention_bytes?.0;
        let shards = self.stream.shards();
        let bytes: u64 = shards.iter().map(|shard| shard.log().bytes()).sum();
        let held_up = shards.iter().any(|shard| self.needs_from(shard.id()) <= shard.bounds().head);
        (held_up && bytes > limit / 100 * PRESSURE_PERCENT).then(|| {
            format!(
                "the log holds {bytes} bytes, more than its retention_bytes of {limit}: records wait to be archived"
            )
        })
    }
}

impl Node {
    /// Returns a stream's archive.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn archive(&self, stream: &StreamName) -> Result<Arc<Archive>, ArchiveError> {
        if self.stream(stream).is_none() {
            return Err(ArchiveError::NoStream { stream: stream.clone() });
        }
        let Some(archive) = self.archives().get(stream) else {
            return Err(ArchiveError::NotArchived { stream: stream.clone() });
        };
        archive.get().ok_or_else(|| ArchiveError::NotOpen {
            stream: stream.clone(),
            trouble: archive.trouble().unwrap_or_else(|| "the node has just started; try again".to_owned()),
        })
    }
}

//! Looking through an archive: what is missing, cut short, changed, or not of the archive.
//!
//! Names and sizes are compared with the chunks' manifests, those with the hours', and each hour with the one before; the last ones
//! with what the node knows. With [`Depth::Records`], every record is read and summed. What is being written or deleted at the
//! same time is no finding.

use std::collections::{BTreeMap, BTreeSet};

use object_store::ObjectMeta;
use serde::Serialize;
use weir_types::{Hour, SequenceNumber, ShardId, Tally};

use crate::archive::{Archive, WentBack};
use crate::error::{ReadError, VerifyError};
use crate::limits::FINDINGS_MAX;
use crate::manifest::{HourManifest, Link, ShardHour, Totals, digest_of, digest_of_all};
use crate::open;
use crate::place::{self, Kind};
use crate::read::{Damage, OnDamage, Selection};

/// What one page of records has, in bytes, when all are read.
const PAGE_BYTES: usize = 1024 * 1024;

/// How closely is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names, sizes, manifests.
    Names,
    /// And every record.
    Records,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// An object is gone.
    #[error("`{path}` is missing")]
    Missing {
        /// The object.
        path: String,
    },
    /// A file has another size.
    #[error("`{path}` has {found} bytes, and was written with {expected}")]
    Size {
        /// The file.
        path: String,
        /// Its bytes now.
        found: u64,
        /// Its bytes when it was written.
        expected: u64,
    },
    /// An object was changed, or does not read.
    #[error("`{path}`: {reason}")]
    Changed {
        /// The object.
        path: String,
        /// What differs, in words.
        reason: String,
    },
    /// An object that no manifest names.
    #[error("`{path}` is not of the archive")]
    Extra {
        /// The object.
        path: String,
    },
    /// No chunk has these records of a shard.
    #[error("shard {shard} lacks the records {from} to {to}")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The first place.
        from: SequenceNumber,
        /// The place behind the last.
        to: SequenceNumber,
    },
    /// Two chunks have the same records of a shard.
    #[error("shard {shard} has the records {from} to {to} twice")]
    Twice {
        /// The shard.
        shard: ShardId,
        /// The first place.
        from: SequenceNumber,
        /// The place behind the last.
        to: SequenceNumber,
    },
    /// A closed hour is gone, with all it had.
    #[error("hour {hour} was closed, and is gone")]
    HourGone {
        /// The hour.
        hour: String,
    },
    /// When it was opened, the archive ended earlier than it had: an older copy was put back, or its end deleted.
    #[error("shard {} had been archived up to {}, and was found up to {}", .0.shard, .0.known, .0.found.unwrap_or_default())]
    WentBack(WentBack),
}

/// What was looked through, and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Hours.
    pub hours: u64,
    /// What the manifests say that there is.
    pub totals: Totals,
    /// What was read, where records were.
    pub read: Option<Tally>,
    /// What is not as it was written; none: all is well.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are named.
    pub more: u64,
}

impl Verdict {
    /// Says whether all is as it was written.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// What was known before anything was looked at.
struct Before {
    written_to: Vec<Option<SequenceNumber>>,
    closed: Option<Link>,
}

impl Archive {
    /// Looks through the hours from `from` up to and with `to`.
    ///
    /// # Errors
    /// If the object store fails. What is wrong with the archive is a finding.
    pub async fn verify(&self, from: Hour, to: Hour, depth: Depth) -> Result<Verdict, VerifyError> {
        if to < from {
            return Err(VerifyError::Order { from, to });
        }
        let before = {
            let state = self.state();
            Before { written_to: state.shards.iter().map(|shard| shard.next).collect(), closed: state.closed }
        };
        let mut verdict = Verdict::default();
        self.state().went_back.iter().for_each(|back| verdict.find(Finding::WentBack(*back)));
        let hours: Vec<Hour> =
            self.store.hours().await?.into_iter().filter(|hour| *hour <= to && self.keeps(*hour)).collect();
        let (before_these, hours) = hours.split_at(hours.partition_point(|hour| *hour < from));
        let (mut last, mut ends) = self.verify_from(before_these.last().copied()).await?;
        for hour in hours {
            let found = verdict.findings.len();
            let link = self.verify_hour(*hour, last, &before, &mut ends, &mut verdict).await?;
            last = link.or(last);
            verdict.hours += 1;
            // Retention has come to it in between.
            if !self.keeps(*hour) {
                verdict.findings.truncate(found);
            }
        }
        self.verify_end(to, last, &before, &ends, &mut verdict);
        if depth == Depth::Records {
            verdict.read = Some(self.verify_records(from, to, &mut verdict).await?);
        }
        Ok(verdict)
    }

    /// Says whether retention has left an hour.
    fn keeps(&self, hour: Hour) -> bool {
        self.state().retained.is_none_or(|retained| hour >= retained.from)
    }

    /// Returns what the hour before the first that is looked at says: its link, and where its shards end.
    async fn verify_from(
        &self,
        hour: Option<Hour>,
    ) -> Result<(Option<Link>, BTreeMap<ShardId, SequenceNumber>), VerifyError> {
        let Some(hour) = hour else { return Ok(Default::default()) };
        let Some(bytes) = self.store.get(&place::hour_manifest(&self.store.root, hour)).await? else {
            return Ok(Default::default());
        };
        let manifest = open::parse_hour(&bytes, &self.spec.stream, hour);
        // One that does not read is a finding of its own hour.
        let shards = manifest.into_iter().flat_map(|manifest| manifest.shards);
        let ends = shards.map(|shard| (shard.shard, shard.end)).collect();
        Ok((Some(Link { hour, digest: digest_of(&bytes) }), ends))
    }

    async fn verify_hour(
        &self,
        hour: Hour,
        last: Option<Link>,
        before: &Before,
        ends: &mut BTreeMap<ShardId, SequenceNumber>,
        verdict: &mut Verdict,
    ) -> Result<Option<Link>, VerifyError> {
        let path = place::hour_manifest(&self.store.root, hour);
        let is_closed = before.closed.is_some_and(|closed| hour <= closed.hour);
        let bytes = self.store.get(&path).await?;
        let manifest = bytes.as_ref().and_then(|bytes| match open::parse_hour(bytes, &self.spec.stream, hour) {
            Ok(manifest) => Some(manifest),
            Err(reason) => {
                verdict.find(Finding::Changed { path: path.to_string(), reason });
                None
            }
        });
        let objects = self.store.list(hour).await?;
        let chunks = self.verify_chunks(hour, &objects, before, ends, verdict).await?;
        let link = bytes.map(|bytes| Link { hour, digest: digest_of(&bytes) });
        match manifest {
            Some(manifest) => {
                self.verify_chain(&manifest, link, last, before, verdict);
                for shard in &manifest.shards {
                    verify_shard(shard, hour, chunks.get(&shard.shard), ends, verdict);
                }
            }
            // A folder may have nothing but files of a chunk that is being written.
            None if is_closed && link.is_none() => verdict.find(Finding::Missing { path: path.to_string() }),
            None => {}
        }
        Ok(link)
    }

    /// Compares an hour with the one before it, and with what the node knows.
    fn verify_chain(
        &self,
        manifest: &HourManifest,
        link: Option<Link>,
        last: Option<Link>,
        before: &Before,
        verdict: &mut Verdict,
    ) {
        let path_of = |hour| place::hour_manifest(&self.store.root, hour).to_string();
        match (manifest.previous, last) {
            (Some(previous), Some(last)) if previous.hour == last.hour => {
                if previous.digest != last.digest {
                    let reason = "its digest is not the one that the next hour has of it".to_owned();
                    verdict.find(Finding::Changed { path: path_of(last.hour), reason });
                }
            }
            (Some(previous), Some(last)) if previous.hour > last.hour => {
                // Retention may have come to it in between.
                if self.keeps(previous.hour) {
                    verdict.find(Finding::HourGone { hour: previous.hour.to_string() });
                }
            }
            (previous, Some(last)) => {
                let named = previous.map_or("none".to_owned(), |previous| previous.hour.to_string());
                let reason = format!("it names {named} as the hour before it, and {} is there", last.hour);
                verdict.find(Finding::Changed { path: path_of(manifest.hour), reason });
            }
            // The hours before are not looked at, or retention has deleted them.
            (_, None) => {}
        }
        if let (Some(link), Some(closed)) = (link, before.closed)
            && link.hour == closed.hour
            && link.digest != closed.digest
        {
            let reason = "it is not what this node knows of it".to_owned();
            verdict.find(Finding::Changed { path: path_of(link.hour), reason });
        }
    }

    /// Compares an hour's chunks with its files; returns per shard what its chunks are together.
    async fn verify_chunks(
        &self,
        hour: Hour,
        objects: &[ObjectMeta],
        before: &Before,
        ends: &mut BTreeMap<ShardId, SequenceNumber>,
        verdict: &mut Verdict,
    ) -> Result<BTreeMap<ShardId, ShardHour>, VerifyError> {
        let folder = place::hour(&self.store.root, hour);
        let mut files: BTreeMap<String, (u64, Option<(ShardId, SequenceNumber)>)> = BTreeMap::new();
        let mut manifests = Vec::new();
        for object in objects {
            let path = object.location.to_string();
            match place::kind(&folder, &object.location) {
                Some(Kind::Data { shard, first, .. }) => {
                    files.insert(path, (object.size, Some((shard, first))));
                }
                Some(Kind::Chunk { .. }) => manifests.push(object.location.clone()),
                Some(Kind::Hour) => {}
                None => {
                    files.insert(path, (object.size, None));
                }
            }
        }
        let mut shards: BTreeMap<ShardId, (ShardHour, Vec<u128>)> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for (path, bytes) in Archive::state_of_chunks(&self.store, manifests).await? {
            let Some(bytes) = bytes else { continue };
            let chunk = match open::parse_chunk(&bytes, &self.spec.stream) {
                Ok(chunk) => chunk,
                Err(reason) => {
                    verdict.find(Finding::Changed { path: path.to_string(), reason });
                    continue;
                }
            };
            let shard = chunk.shard;
            verify_place(shard, chunk.first, chunk.end, ends, verdict);
            for part in &chunk.parts {
                let path = place::file(&self.store.root, hour, shard, &part.file);
                let file = path.to_string();
                let size = match files.get(&file) {
                    Some((size, _)) => Some(*size),
                    // A listing of many pages may have passed its place before it was put.
                    None => self.store.size(&path).await?,
                };
                match size {
                    Some(found) if found != part.bytes => {
                        verdict.find(Finding::Size { path: file.clone(), found, expected: part.bytes });
                    }
                    Some(_) => {}
                    None => verdict.find(Finding::Missing { path: file.clone() }),
                }
                known.insert(file);
            }
            verdict.totals.add(chunk.totals());
            let begun = || {
                let (first, end) = (chunk.first, chunk.end);
                (ShardHour { shard, first, end, totals: Totals::default(), digest: 0 }, Vec::new())
            };
            let (of, digests) = shards.entry(shard).or_insert_with(begun);
            of.end = chunk.end;
            of.totals.add(chunk.totals());
            digests.push(digest_of(&bytes));
        }
        for (path, (_, place)) in files {
            // Files of a chunk that is being written, or that a crash has left for the next try.
            let pending = place.is_some_and(|(shard, first)| {
                let next = before.written_to.get(shard.0 as usize).copied().flatten();
                next.is_none_or(|next| first >= next)
            });
            if !pending && !known.contains(&path) {
                verdict.find(Finding::Extra { path });
            }
        }
        Ok(shards
            .into_iter()
            .map(|(shard, (mut of, digests))| {
                of.digest = digest_of_all(digests);
                (shard, of)
            })
            .collect())
    }

    /// Compares the end of what is there with what the node knows, if the end was looked at.
    fn verify_end(
        &self,
        to: Hour,
        last: Option<Link>,
        before: &Before,
        ends: &BTreeMap<ShardId, SequenceNumber>,
        verdict: &mut Verdict,
    ) {
        if let Some(closed) = before.closed.filter(|closed| closed.hour <= to)
            && last.is_none_or(|last| last.hour < closed.hour)
            && self.keeps(closed.hour)
        {
            verdict.find(Finding::HourGone { hour: closed.hour.to_string() });
        }
        if self.state().open.keys().any(|open| *open > to) || before.closed.is_some_and(|closed| closed.hour > to) {
            return;
        }
        for (index, next) in before.written_to.iter().enumerate() {
            let shard = ShardId(index as u32);
            if let (Some(next), Some(end)) = (next, ends.get(&shard))
                && end < next
            {
                verdict.find(Finding::Gap { shard, from: *end, to: *next });
            }
        }
    }

    async fn verify_records(&self, from: Hour, to: Hour, verdict: &mut Verdict) -> Result<Tally, VerifyError> {
        let store = |error| match error {
            ReadError::Store(error) => VerifyError::Store(error),
            // Not asked for: damage is in the pages.
            ReadError::Damaged(damage) => VerifyError::Store(crate::error::StoreError {
                action: "read",
                path: self.store.root.clone(),
                source: object_store::Error::Generic { store: "archive", source: damage.to_string().into() },
            }),
        };
        let reading = self.read_hours(Selection::default(), OnDamage::Skip, from..=to);
        let mut reader = reading.await.map_err(store)?;
        let mut read = Tally::default();
        while let Some(page) = reader.next(PAGE_BYTES).await.map_err(store)? {
            page.records().for_each(|record| read.add(weir_stream::digest(record.body)));
            for damage in page.damage() {
                let finding = match damage.clone() {
                    // Names and places were compared before.
                    Damage::Missing { .. } | Damage::Size { .. } | Damage::Gap { .. } => continue,
                    Damage::File { path, reason, from, .. } => {
                        Finding::Changed { path, reason: format!("damaged from record {from} on: {reason}") }
                    }
                    Damage::Differs { path, reason } | Damage::Manifest { path, reason } => {
                        Finding::Changed { path, reason }
                    }
                };
                if !verdict.findings.contains(&finding) {
                    verdict.find(finding);
                }
            }
        }
        Ok(read)
    }
}

/// Compares a chunk's place with where its shard was.
fn verify_place(
    shard: ShardId,
    first: SequenceNumber,
    end: SequenceNumber,
    ends: &mut BTreeMap<ShardId, SequenceNumber>,
    verdict: &mut Verdict,
) {
    match ends.get(&shard).copied() {
        Some(at) if at < first => verdict.find(Finding::Gap { shard, from: at, to: first }),
        Some(at) if at > first => verdict.find(Finding::Twice { shard, from: first, to: at.min(end) }),
        _ => {}
    }
    let at = ends.entry(shard).or_insert(end);
    *at = end.max(*at);
}

/// Compares what an hour's manifest says of a shard with its chunks.
fn verify_shard(
    expected: &ShardHour,
    hour: Hour,
    found: Option<&ShardHour>,
    ends: &mut BTreeMap<ShardId, SequenceNumber>,
    verdict: &mut Verdict,
) {
    let shard = expected.shard;
    match found {
        None if expected.totals.chunks > 0 => verify_place(shard, expected.end, expected.end, ends, verdict),
        None => {}
        Some(found) => {
            if expected.first < found.first {
                verdict.find(Finding::Gap { shard, from: expected.first, to: found.first });
            }
            if found.end < expected.end {
                verify_place(shard, expected.end, expected.end, ends, verdict);
            }
            if found.totals.chunks >= expected.totals.chunks && found != expected {
                let reason = "its manifests are not those that the hour's has the digest of".to_owned();
                verdict.find(Finding::Changed { path: format!("hour={hour}/shard={shard}"), reason });
            }
        }
    }
}

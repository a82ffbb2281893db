//! An archive that is open: what it knows of its shards and hours, and what may be asked of it at any time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use object_store::path::Path;
use serde::Serialize;
use weir_env::Env;
use weir_types::{Hour, SequenceNumber, ShardId, Timestamp};

use crate::error::{OpenError, ReadError, StoreError};
use crate::limits::{CLOCK_BACK_HOURS, REQUESTS};
use crate::manifest::{Chunk, FORMAT, HourManifest, HourSummary, Link, Retained, ShardHour, Totals, digest_of_all};
use crate::open;
use crate::place::{self, Kind};
use crate::read::{Damage, OnDamage, Reader, Selection};
use crate::spec::Spec;
use crate::store::Store;

/// The archive of a stream. Nobody else writes it: see [`Archive::open`].
pub struct Archive {
    pub(crate) spec: Spec,
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) state: Mutex<State>,
    /// One writer at a time for each shard.
    pub(crate) turns: Vec<tokio::sync::Mutex<()>>,
    /// One closing or deleting at a time.
    pub(crate) housekeeping: tokio::sync::Mutex<()>,
}

/// What is known of the archive's objects. A chunk is in it once its manifest is durable.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub shards: Vec<ShardState>,
    /// The newest closed hour.
    pub closed: Option<Link>,
    /// What the archive had since its beginning, up to and with that hour.
    pub all: Totals,
    /// Chunks of hours that are not closed.
    pub open: BTreeMap<Hour, BTreeMap<ShardId, Vec<Noted>>>,
    pub retained: Option<Retained>,
    /// The newest record's arrival that is known.
    pub archived_to: Option<Timestamp>,
    pub went_back: Vec<WentBack>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShardState {
    /// Where the next chunk begins; none before the first.
    pub next: Option<SequenceNumber>,
    /// Hours before this one get no more records of the shard. In memory alone: a restart finds it again.
    pub settled: Option<Hour>,
    /// The oldest record that is not archived, and when it arrived.
    pub pending: Option<(SequenceNumber, Timestamp)>,
    /// The hour of a chunk that has files and no manifest: a crash came between.
    pub resume: Option<Hour>,
}

/// A chunk of an hour that is not closed, as the hour's manifest needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    pub first: SequenceNumber,
    pub end: SequenceNumber,
    pub totals: Totals,
    pub digest: u128,
}

/// A shard whose archive ended earlier, when it was opened, than the node had noted: files were deleted, or an older copy was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WentBack {
    /// The shard.
    pub shard: ShardId,
    /// Where the archive had ended.
    pub known: SequenceNumber,
    /// Where it ends by its objects; none: it has nothing of the shard.
    pub found: Option<SequenceNumber>,
}

/// The state of an archive.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Per shard the first record that is not archived; none: no record of the shard ever was.
    pub written_to: Vec<Option<SequenceNumber>>,
    /// When the newest archived record arrived; none since the start, as long as nothing is archived.
    pub archived_to: Option<Timestamp>,
    /// The newest closed hour.
    #[serde(serialize_with = "hour_text")]
    pub closed: Option<Hour>,
    /// The first hour that retention has left; none: it has deleted nothing.
    #[serde(serialize_with = "hour_text")]
    pub retained_from: Option<Hour>,
    /// What the archive holds now.
    pub held: Totals,
    /// Shards that had gone back when the archive was opened.
    pub went_back: Vec<WentBack>,
}

fn hour_text<S: serde::Serializer>(hour: &Option<Hour>, serializer: S) -> Result<S::Ok, S::Error> {
    match hour {
        Some(hour) => serializer.collect_str(hour),
        None => serializer.serialize_none(),
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive({} in {})", self.spec.stream, self.store.root)
    }
}

impl State {
    /// Returns the first hour that may take a record of a shard.
    pub fn floor(&self, shard: ShardId) -> Option<Hour> {
        let state = &self.shards[shard.0 as usize];
        let behind_closed = self.closed.map(|closed| Hour(closed.hour.0 + 1));
        behind_closed.max(state.settled).max(state.resume)
    }

    /// Returns what each shard has in an hour that is not closed, those without records in it too.
    pub fn shard_hours(&self, hour: Hour) -> Vec<ShardHour> {
        let noted = self.open.get(&hour);
        let shards = self.shards.iter().enumerate();
        shards
            .filter_map(|(index, state)| {
                let shard = ShardId(index as u32);
                match noted.and_then(|noted| noted.get(&shard)).map(Vec::as_slice) {
                    Some([first, .., last] | [first @ last]) => {
                        let chunks = noted.and_then(|noted| noted.get(&shard)).into_iter().flatten();
                        let mut totals = Totals::default();
                        chunks.clone().for_each(|chunk| totals.add(chunk.totals));
                        let digest = digest_of_all(chunks.map(|chunk| chunk.digest));
                        Some(ShardHour { shard, first: first.first, end: last.end, totals, digest })
                    }
                    _ => {
                        let at = self.place_before(hour, shard).or(state.next)?;
                        let digest = digest_of_all([]);
                        Some(ShardHour { shard, first: at, end: at, totals: Totals::default(), digest })
                    }
                }
            })
            .collect()
    }

    /// Returns what an hour that is not closed has; none if it has no chunk.
    fn open_hour(&self, hour: Hour) -> Option<HourSummary> {
        self.open.get(&hour)?;
        let mut shards = self.shard_hours(hour);
        shards.retain(|shard| shard.totals.chunks > 0);
        let mut totals = Totals::default();
        shards.iter().for_each(|shard| totals.add(shard.totals));
        Some(HourSummary { hour, closed: false, shards, totals })
    }

    /// Returns where a shard's first chunk of a later hour begins, if it has one.
    fn place_before(&self, hour: Hour, shard: ShardId) -> Option<SequenceNumber> {
        let mut later = self.open.range(Hour(hour.0 + 1)..);
        later.find_map(|(_, noted)| noted.get(&shard)?.first().map(|chunk| chunk.first))
    }
}

impl Archive {
    /// Opens the archive below `root`, and makes it if there is none: finds the newest closed hour and the chunks behind it.
    ///
    /// `known` is how far the archive was when that was last noted elsewhere, per shard; where it ends earlier now,
    /// [`Stats::went_back`] says so. Two archives that are open at the same root and write different records do no harm to what
    /// is there: the second finds that its chunk's name is taken, and its [`Archive::advance`] fails.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        spec: Spec,
        store: Arc<dyn ObjectStore>,
        root: Path,
        env: Env,
        known: &BTreeMap<ShardId, SequenceNumber>,
    ) -> Result<Self, OpenError> {
        let store = Store::new(store, root, env.clone());
        open::claim(&store, &spec.stream).await?;
        let state = open::recover(&store, &spec, known).await?;
        let turns = (0..spec.shards).map(|_| tokio::sync::Mutex::default()).collect();
        Ok(Self { spec, store, env, state: Mutex::new(state), turns, housekeeping: tokio::sync::Mutex::default() })
    }

    /// Returns what the archive is of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the first record of a shard that is not archived: what is before it is durable here, and may be trimmed. None
    /// if no record of the shard ever was archived: nothing may be trimmed.
    pub fn written_to(&self, shard: ShardId) -> Option<SequenceNumber> {
        self.state().shards.get(shard.0 as usize)?.next
    }

    /// Returns the newest closed hour: it and those before it have all their records.
    pub fn closed(&self) -> Option<Hour> {
        self.state().closed.map(|closed| closed.hour)
    }

    /// Returns the archive's state.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        let mut held = state.all;
        for chunk in state.open.values().flat_map(BTreeMap::values).flatten() {
            held.add(chunk.totals);
        }
        if let Some(retained) = state.retained {
            held = held.without(retained.deleted);
        }
        Stats {
            written_to: state.shards.iter().map(|shard| shard.next).collect(),
            archived_to: state.archived_to,
            closed: state.closed.map(|closed| closed.hour),
            retained_from: state.retained.map(|retained| retained.from),
            held,
            went_back: state.went_back.clone(),
        }
    }

    /// Returns what each hour from `from` up to and with `to` has, in order; hours without records are left out, and so are
    /// those that retention has deleted.
    ///
    /// # Errors
    /// If the store fails, or a closed hour's manifest does not read.
    pub async fn manifests(&self, from: Hour, to: Hour) -> Result<Vec<HourSummary>, ReadError> {
        let mut summaries = Vec::new();
        for hour in self.hours(from, to).await? {
            // The state first: an hour that is closed in between has its manifest then.
            if let Some(open) = self.state().open_hour(hour) {
                summaries.push(open);
            } else if let Some(manifest) = self.hour_manifest(hour).await? {
                let HourManifest { hour, shards, totals, .. } = manifest;
                summaries.push(HourSummary { hour, closed: true, shards, totals });
            }
            // A folder may have files of a chunk that is not whole, and no more.
        }
        Ok(summaries)
    }

    /// Returns the manifest of an hour; none if it is not closed.
    ///
    /// # Errors
    /// If the store fails, or it does not read.
    pub async fn hour_manifest(&self, hour: Hour) -> Result<Option<HourManifest>, ReadError> {
        let path = place::hour_manifest(&self.store.root, hour);
        let Some(bytes) = self.store.get(&path).await? else { return Ok(None) };
        match open::parse_hour(&bytes, &self.spec.stream, hour) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(reason) => Err(ReadError::Damaged(Damage::Manifest { path: path.to_string(), reason })),
        }
    }

    /// Returns the chunks of a shard in an hour, in order.
    ///
    /// # Errors
    /// If the store fails, or a manifest does not read.
    pub async fn chunks(&self, hour: Hour, shard: ShardId) -> Result<Vec<Chunk>, ReadError> {
        let folder = place::hour(&self.store.root, hour);
        let listed = self.store.list(hour).await?;
        let mut chunks = Vec::new();
        for object in listed {
            let Some(Kind::Chunk { shard: of, .. }) = place::kind(&folder, &object.location) else { continue };
            if of != shard {
                continue;
            }
            let Some(bytes) = self.store.get(&object.location).await? else { continue };
            let chunk = open::parse_chunk(&bytes, &self.spec.stream);
            let damaged = |reason| Damage::Manifest { path: object.location.to_string(), reason };
            chunks.push(chunk.map_err(damaged).map_err(ReadError::Damaged)?);
        }
        Ok(chunks)
    }

    /// Begins to read what the selection says.
    ///
    /// # Errors
    /// If the hours can't be listed.
    pub async fn read(&self, selection: Selection, on_damage: OnDamage) -> Result<Reader, ReadError> {
        let first = selection.since.map_or(Hour(i64::MIN), Hour::of);
        // A clock that went back has put records into later hours than that of their arrival.
        let last = selection.until.map_or(i64::MAX, |until| Hour::of(until).0.saturating_add(CLOCK_BACK_HOURS));
        self.read_hours(selection, on_damage, first..=Hour(last)).await
    }

    /// Begins to read what the selection says of these hours' folders.
    pub(crate) async fn read_hours(
        &self,
        selection: Selection,
        on_damage: OnDamage,
        hours: RangeInclusive<Hour>,
    ) -> Result<Reader, ReadError> {
        let (first, last) = hours.into_inner();
        let first = self.state().retained.map_or(first, |retained| retained.from.max(first));
        Reader::begin(self.store.clone(), self.spec.stream.clone(), selection, on_damage, first..=last).await
    }

    /// Returns the hours from `from` up to and with `to` that have a folder and are not deleted, in order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn hours(&self, from: Hour, to: Hour) -> Result<Vec<Hour>, StoreError> {
        let first = self.state().retained.map_or(from, |retained| retained.from.max(from));
        Ok(self.store.hours().await?.into_iter().filter(|hour| (first..=to).contains(hour)).collect())
    }

    /// Reads many manifests of chunks at once, each with the digest of its bytes.
    pub(crate) async fn state_of_chunks(
        store: &Store,
        paths: Vec<Path>,
    ) -> Result<Vec<(Path, Option<bytes::Bytes>)>, StoreError> {
        use futures::{StreamExt, TryStreamExt};
        let gets = paths.into_iter().map(|path| async move {
            let bytes = store.get(&path).await?;
            Ok((path, bytes))
        });
        futures::stream::iter(gets).buffered(REQUESTS).try_collect().await
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is a single assignment of what is durable: a panic leaves none half made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    pub(crate) fn noted(&self, digest: u128) -> Noted {
        Noted { first: self.first, end: self.end, totals: self.totals(), digest }
    }

    pub(crate) fn is_known_form(&self) -> bool {
        self.format == FORMAT
    }
}

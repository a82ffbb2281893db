//! Writing a chunk.
//!
//! ```text
//! log --gather--> FIRST.avro --> FIRST-1.avro ... --> FIRST.json --> the shard's place moves
//!                    |  taken, and ends elsewhere
//!                    +--> gathered again up to there
//! ```
//!
//! Whoever puts the first file decides where the chunk ends. A crash, an error or a lost reply at any arrow leaves what the
//! next call finds taken, compares, and goes on from. Nothing is ever overwritten or deleted here.

use object_store::path::Path;
use weir_log::ReadError as LogError;
use weir_schema::{ContainerHeader, Lookup};
use weir_stream::Shard;
use weir_types::{Hour, SequenceNumber, ShardId};

use crate::archive::Archive;
use crate::chunk::{Builder, Built, Identity, Limit};
use crate::error::{StoreError, WriteError};
use crate::limits::{FETCH_BYTES, PAGE_BYTES};
use crate::manifest::{Chunk, Totals, digest_of, to_json};
use crate::open;
use crate::place;
use crate::store::Put;

/// A chunk that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The shard.
    pub shard: ShardId,
    /// The hour of arrival.
    pub hour: Hour,
    /// Where the chunk begins.
    pub first: SequenceNumber,
    /// Where the next one will.
    pub end: SequenceNumber,
    /// What it has.
    pub totals: Totals,
}

/// What was gathered from the log.
struct Gathered {
    built: Built,
    /// The hour of the record that ended the chunk, if it was another.
    next_hour: Option<Hour>,
}

impl Archive {
    /// Writes the next chunk of a shard: the records that are in the log and not archived, up to the bounds of a chunk or the
    /// end of the hour of the first. Returns none if there is none to write. When it returns, the chunk is durable.
    ///
    /// Dropping the future, or an error, leaves what the next call takes up.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn advance(&self, shard: &Shard, schemas: &(dyn Lookup + Sync)) -> Result<Option<Written>, WriteError> {
        let id = shard.id();
        let _turn = self.turns[id.0 as usize].lock().await;
        let bounds = shard.bounds();
        let from = self.written_to(id).unwrap_or(bounds.head);
        if from > bounds.tail {
            let stream = self.spec.stream.clone();
            return Err(WriteError::AheadOfLog { stream, shard: id, archived: from, tail: bounds.tail });
        }
        let limit = Limit::Bytes(self.spec.chunk_bytes);
        let Some(mut gathered) = self.gather(shard, from, bounds.tail, limit, schemas).await? else { return Ok(None) };
        if let Some(decided) = self.put_first(&mut gathered.built).await? {
            if decided > bounds.tail {
                let stream = self.spec.stream.clone();
                return Err(WriteError::AheadOfLog { stream, shard: id, archived: decided, tail: bounds.tail });
            }
            let again = self.gather(shard, from, decided, Limit::Decided, schemas).await?;
            let Some(again) = again else { return Ok(None) };
            gathered = again;
            self.adopt(&mut gathered.built.chunk, 0).await?;
        }
        let chunk = self.put_rest(gathered.built).await?;
        let (chunk, digest) = self.put_manifest(chunk).await?;
        let written =
            Written { shard: id, hour: chunk.hour, first: chunk.first, end: chunk.end, totals: chunk.totals() };
        let mut state = self.state();
        let known = &mut state.shards[id.0 as usize];
        known.next = Some(chunk.end);
        known.pending = None;
        known.resume = None;
        known.settled = known.settled.max(Some(gathered.next_hour.unwrap_or(chunk.hour)));
        state.archived_to = state.archived_to.max(Some(chunk.arrived_last));
        state.open.entry(chunk.hour).or_default().entry(id).or_default().push(chunk.noted(digest));
        Ok(Some(written))
    }

    /// Reads records of one hour from the log, from `from` up to `until` at most.
    async fn gather(
        &self,
        shard: &Shard,
        from: SequenceNumber,
        until: SequenceNumber,
        limit: Limit,
        schemas: &(dyn Lookup + Sync),
    ) -> Result<Option<Gathered>, WriteError> {
        let floor = self.state().floor(shard.id());
        let failed = |source| WriteError::Compress { stream: self.spec.stream.clone(), source };
        let mut builder: Option<Builder<'_>> = None;
        let mut next = from;
        let mut next_hour = None;
        'pages: while next < until {
            let page = match shard.read(next, PAGE_BYTES).await {
                Ok(page) => page,
                // What can't come back is noted in the chunk that goes on behind it.
                Err(LogError::Trimmed { head: to, .. } | LogError::Lost { to, .. }) if to > next => {
                    tracing::error!(stream = %self.spec.stream, shard = %shard.id(), from = %next, %to, "records are gone before they could be archived");
                    next = to;
                    continue;
                }
                // What came before the damage is archived first.
                Err(_) if builder.is_some() && limit != Limit::Decided => break,
                Err(error) => return Err(error.into()),
            };
            if page.is_empty() {
                break;
            }
            for record in page.records() {
                let record = match record {
                    Ok(record) => record,
                    Err(_) if builder.is_some() && limit != Limit::Decided => break 'pages,
                    Err(error) => return Err(error.into()),
                };
                if record.sequence >= until {
                    break 'pages;
                }
                // Never earlier than the shard has been: the clock may have gone back over a restart.
                let hour = Some(Hour::of(record.arrived_at)).max(floor).unwrap_or_default();
                let builder = match &mut builder {
                    Some(builder) => {
                        if hour > builder.hour() {
                            next_hour = Some(hour);
                            break 'pages;
                        }
                        if builder.is_full_for(record.fingerprint) {
                            break 'pages;
                        }
                        builder
                    }
                    empty => {
                        let (stream, codec) = (&self.spec.stream, self.spec.codec);
                        let begun = Builder::new(stream, shard.id(), (hour, from), (codec, limit), schemas);
                        empty.insert(begun.map_err(failed)?)
                    }
                };
                builder.push(&record).map_err(failed)?;
            }
            next = page.end().min(until);
            // A page takes milliseconds to compress: others may go first.
            tokio::task::yield_now().await;
        }
        let Some(builder) = builder else { return Ok(None) };
        let built = builder.finish(&self.spec.stream).map_err(failed)?;
        Ok(built.map(|built| Gathered { built, next_hour }))
    }

    /// Puts the chunk's first file. Returns where the chunk ends if another try has decided otherwise.
    async fn put_first(&self, built: &mut Built) -> Result<Option<SequenceNumber>, WriteError> {
        let path = self.path_of(&built.chunk, 0);
        if self.store.put_once(&path, built.files[0].clone()).await? == Put::Done {
            return Ok(None);
        }
        let (found, _) = self.identity(&path).await?;
        let expected = Identity::expected(&built.chunk, 0);
        let same_place = (&found.stream, found.shard, found.hour, found.first)
            == (&expected.stream, expected.shard, expected.hour, expected.first);
        if same_place && found.end != expected.end && found.end > found.first {
            return Ok(Some(found.end));
        }
        self.adopt(&mut built.chunk, 0).await.map(|()| None)
    }

    /// Puts the chunk's other files.
    async fn put_rest(&self, built: Built) -> Result<Chunk, WriteError> {
        let Built { mut chunk, files } = built;
        for (part, payload) in files.into_iter().enumerate().skip(1) {
            let path = self.path_of(&chunk, part);
            if self.store.put_once(&path, payload).await? == Put::Taken {
                self.adopt(&mut chunk, part).await?;
            }
        }
        Ok(chunk)
    }

    /// Puts the manifest, which makes the chunk whole; returns what is there, and its digest.
    async fn put_manifest(&self, chunk: Chunk) -> Result<(Chunk, u128), WriteError> {
        let path = place::chunk(&self.store.root, chunk.hour, chunk.shard, chunk.first);
        let bytes = to_json(&chunk);
        if self.store.put_once(&path, bytes.clone().into()).await? == Put::Done {
            return Ok((chunk, digest_of(&bytes)));
        }
        let gone = || foreign(&path, "it was there, and is gone");
        let found = self.store.get(&path).await?.ok_or_else(gone)?;
        match open::parse_chunk(&found, &self.spec.stream) {
            Ok(there) if there == chunk => Ok((there, digest_of(&found))),
            Ok(_) => Err(foreign(&path, "its counts or sums are others")),
            Err(reason) => Err(foreign(&path, &reason)),
        }
    }

    /// Takes a file that is there for the chunk's, if it has the same records. Another weir may have compressed them into another
    /// number of bytes, or not have known their schema.
    async fn adopt(&self, chunk: &mut Chunk, part: usize) -> Result<(), WriteError> {
        let path = self.path_of(chunk, part);
        let (found, bytes) = self.identity(&path).await?;
        let expected = Identity { opaque: found.opaque, ..Identity::expected(chunk, part) };
        if found != expected {
            return Err(differs(path, &found, &expected));
        }
        chunk.parts[part].bytes = bytes;
        chunk.parts[part].opaque = found.opaque;
        Ok(())
    }

    /// Reads what the header of a file says of it, and how many bytes it has.
    async fn identity(&self, path: &Path) -> Result<(Identity, u64), WriteError> {
        let size = self.store.size(path).await?.ok_or_else(|| WriteError::Store(vanished(path)))?;
        let mut fetch = FETCH_BYTES;
        loop {
            let bytes = self.store.get_range(path, 0..fetch.min(size)).await?;
            match ContainerHeader::read(&bytes) {
                Ok(Some(header)) => {
                    let identity = Identity::of(&header);
                    let identity = identity.ok_or_else(|| foreign(path, "its header lacks weir's entries"))?;
                    return Ok((identity, size));
                }
                Ok(None) if fetch < size => fetch *= 2,
                Ok(None) => return Err(foreign(path, "it ends inside its header")),
                Err(error) => return Err(foreign(path, &error.to_string())),
            }
        }
    }

    fn path_of(&self, chunk: &Chunk, part: usize) -> Path {
        place::file(&self.store.root, chunk.hour, chunk.shard, &chunk.parts[part].file)
    }
}

/// A name that was taken, and then was not: another's put was refused by the store, and so was ours.
fn vanished(path: &Path) -> StoreError {
    let source = "another put of this name was under way; it is tried again".into();
    let source = object_store::Error::NotFound { path: path.to_string(), source };
    StoreError { action: "write", path: path.clone(), source }
}

fn foreign(path: &Path, reason: &str) -> WriteError {
    WriteError::Foreign { path: path.clone(), reason: reason.to_owned() }
}

fn differs(path: Path, found: &Identity, expected: &Identity) -> WriteError {
    let reason = format!(
        "{} records of schema {} up to {} with sum {:032x}, where the log has {} of {} up to {} with {:032x}",
        found.records.count,
        found.fingerprint,
        found.end,
        found.records.sum,
        expected.records.count,
        expected.fingerprint,
        expected.end,
        expected.records.sum
    );
    WriteError::Foreign { path, reason }
}

//! Opening an archive: whose it is, and how far it got.

use std::collections::BTreeMap;

use weir_types::{Hour, SequenceNumber, ShardId, StreamName};

use crate::archive::{Archive, ShardState, State, WentBack};
use crate::error::OpenError;
use crate::manifest::{Chunk, FORMAT, HourManifest, Link, Marker, Retained, digest_of, to_json};
use crate::place::{self, Kind};
use crate::spec::Spec;
use crate::store::{Put, Store};

/// Writes down whose archive it is, or finds that it is another's.
pub(crate) async fn claim(store: &Store, stream: &StreamName) -> Result<(), OpenError> {
    let path = store.root.clone().join(place::MARKER);
    let mut found = store.get(&path).await?;
    if found.is_none() {
        let marker = to_json(&Marker { format: FORMAT, stream: stream.clone() });
        match store.put_once(&path, marker.into()).await? {
            Put::Done => return Ok(()),
            Put::Taken => found = store.get(&path).await?,
        }
    }
    let damaged = |reason: String| OpenError::Manifest { path: path.clone(), reason };
    let bytes = found.ok_or_else(|| damaged("it was there, and is gone".to_owned()))?;
    let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if marker.format != FORMAT {
        return Err(damaged(format!("it has format {}, and this weir knows {FORMAT}", marker.format)));
    }
    if marker.stream != *stream {
        return Err(OpenError::Other { root: store.root.clone(), stream: stream.clone(), found: marker.stream });
    }
    Ok(())
}

/// Finds the newest closed hour, and the chunks of the hours behind it.
pub(crate) async fn recover(
    store: &Store,
    spec: &Spec,
    known: &BTreeMap<ShardId, SequenceNumber>,
) -> Result<State, OpenError> {
    let mut state = State { shards: vec![ShardState::default(); spec.shards as usize], ..State::default() };
    state.retained = retained(store).await?;
    let hours = store.hours().await?;
    let mut open = Vec::new();
    for hour in hours.into_iter().rev() {
        let path = place::hour_manifest(&store.root, hour);
        let Some(bytes) = store.get(&path).await? else {
            open.push(hour);
            continue;
        };
        let manifest = parse_hour(&bytes, &spec.stream, hour);
        let manifest = manifest.map_err(|reason| OpenError::Manifest { path, reason })?;
        state.closed = Some(Link { hour, digest: digest_of(&bytes) });
        state.all = manifest.all;
        for shard in manifest.shards {
            if let Some(known) = state.shards.get_mut(shard.shard.0 as usize) {
                known.next = Some(shard.end);
            }
        }
        break;
    }
    for hour in open.into_iter().rev() {
        recover_open(store, spec, hour, &mut state).await?;
    }
    for (shard, known) in known {
        let found = state.shards.get(shard.0 as usize).and_then(|shard| shard.next);
        if found.is_none_or(|found| found < *known) {
            state.went_back.push(WentBack { shard: *shard, known: *known, found });
        }
    }
    Ok(state)
}

/// Takes in the chunks of an hour that is not closed.
async fn recover_open(store: &Store, spec: &Spec, hour: Hour, state: &mut State) -> Result<(), OpenError> {
    let folder = place::hour(&store.root, hour);
    let (mut data, mut chunks) = (Vec::new(), Vec::new());
    for object in store.list(hour).await? {
        match place::kind(&folder, &object.location) {
            Some(Kind::Data { shard, first, .. }) => data.push((shard, first)),
            Some(Kind::Chunk { .. }) => chunks.push(object.location),
            Some(Kind::Hour) | None => {}
        }
    }
    // In the order of names, which is that of shards as texts, and within a shard that of places.
    for (path, bytes) in Archive::state_of_chunks(store, chunks).await? {
        let Some(bytes) = bytes else { continue };
        let chunk = parse_chunk(&bytes, &spec.stream);
        let chunk = chunk.map_err(|reason| OpenError::Manifest { path, reason })?;
        let Some(shard) = state.shards.get_mut(chunk.shard.0 as usize) else { continue };
        // What is missing between two chunks, or twice, is `verify`'s to say; going on behind it repeats nothing.
        shard.next = shard.next.max(Some(chunk.end));
        state.archived_to = state.archived_to.max(Some(chunk.arrived_last));
        let noted = chunk.noted(digest_of(&bytes));
        state.open.entry(hour).or_default().entry(chunk.shard).or_default().push(noted);
    }
    for (shard, first) in data {
        if let Some(shard) = state.shards.get_mut(shard.0 as usize)
            && shard.next.is_none_or(|next| next == first)
        {
            shard.resume = Some(hour);
        }
    }
    Ok(())
}

async fn retained(store: &Store) -> Result<Option<Retained>, OpenError> {
    let path = store.root.clone().join(place::RETAINED);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    match serde_json::from_slice::<Retained>(&bytes) {
        Ok(retained) if retained.format == FORMAT => Ok(Some(retained)),
        Ok(retained) => {
            let reason = format!("it has format {}, and this weir knows {FORMAT}", retained.format);
            Err(OpenError::Manifest { path, reason })
        }
        Err(error) => Err(OpenError::Manifest { path, reason: error.to_string() }),
    }
}

/// Reads a chunk's manifest.
pub(crate) fn parse_chunk(bytes: &[u8], stream: &StreamName) -> Result<Chunk, String> {
    let chunk: Chunk = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !chunk.is_known_form() {
        return Err(format!("it has format {}, and this weir knows {FORMAT}", chunk.format));
    }
    if chunk.stream != *stream {
        return Err(format!("it is of stream `{}`", chunk.stream));
    }
    if chunk.end <= chunk.first || chunk.parts.is_empty() {
        return Err("it has no records".to_owned());
    }
    Ok(chunk)
}

/// Reads an hour's manifest.
pub(crate) fn parse_hour(bytes: &[u8], stream: &StreamName, hour: Hour) -> Result<HourManifest, String> {
    let manifest: HourManifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if manifest.format != FORMAT {
        return Err(format!("it has format {}, and this weir knows {FORMAT}", manifest.format));
    }
    if manifest.stream != *stream || manifest.hour != hour {
        return Err(format!("it is of stream `{}`, hour {}", manifest.stream, manifest.hour));
    }
    Ok(manifest)
}

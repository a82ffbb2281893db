//! Rebuilding a queue's state: from the newest snapshot that reads and the log behind it, or from the whole log.

use weir_log::{Log, ReadError, ReadLimit};
use weir_machine::SnapshotError;
use weir_types::{QueueName, SequenceNumber};

use crate::codec::Malformed;
use crate::command::read_block;
use crate::error::OpenError;
use crate::snapshot::{Globals, Store, load_part};
use crate::state::{At, Kind, State};

/// What one read of the replay asks for, in bytes.
const READ_BYTES: usize = 4 << 20;

/// A state as of the log's end.
pub(crate) struct Replayed {
    pub state: State,
    pub next: SequenceNumber,
    /// The newest snapshot, and the place from which the log must be kept for the older one.
    pub snapshots: Option<(SequenceNumber, SequenceNumber)>,
    /// The size of the snapshot.
    pub snapshot_bytes: u64,
    /// Bytes of the log that were replayed.
    pub bytes: u64,
}

/// Why a snapshot is not used.
enum Unusable {
    /// It does not read.
    Damaged(String),
    /// The store does not answer: as good as none, but not to be called damaged.
    Store(SnapshotError),
}

impl From<Malformed> for Unusable {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.0.to_owned())
    }
}

impl From<SnapshotError> for Unusable {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Store { source: object_store::Error::NotFound { .. }, .. } => {
                Self::Damaged("a part of it is missing".to_owned())
            }
            error => Self::Store(error),
        }
    }
}

async fn load(store: &Store, at: SequenceNumber, mut state: State) -> Result<(State, u64), Unusable> {
    let index = store.index(at).await?;
    let (globals, parts) = Globals::decode(&index)?;
    let mut bytes = index.len() as u64;
    if globals.at != at {
        return Err(Malformed("its name and its content disagree").into());
    }
    globals.load(&mut state);
    for part in 0..parts {
        let part = store.part(at, part).await?;
        bytes += part.len() as u64;
        load_part(&part, &mut state)?;
    }
    state.end_parts();
    Ok((state, bytes))
}

/// Rebuilds a state. It is not settled yet.
pub(crate) async fn replay(
    log: &dyn Log,
    store: &Store,
    queue: &QueueName,
    kind: Kind,
    identity: u64,
) -> Result<Replayed, OpenError> {
    let failed = |source| OpenError::Snapshot { queue: queue.clone(), source };
    let head = log.bounds().head;
    let places = store.places().await.map_err(failed)?;
    let mut found = None;
    for at in places.iter().filter(|at| **at >= head && **at <= log.bounds().tail) {
        match load(store, *at, State::new(kind, identity)).await {
            Ok((state, bytes)) => {
                found = Some((state, *at, bytes));
                break;
            }
            Err(Unusable::Damaged(reason)) => {
                tracing::error!(%queue, %at, reason, "a snapshot is damaged; replaying more of the log instead");
            }
            Err(Unusable::Store(error)) => return Err(failed(error)),
        }
    }
    let snapshots = found.as_ref().map(|(_, at, _)| (*at, places.iter().take(2).copied().min().unwrap_or(*at)));
    let (mut state, mut next, snapshot_bytes) = found.unwrap_or_else(|| (State::new(kind, identity), head, 0));
    let mut bytes = 0;
    loop {
        let blocks = match log.read(next, ReadLimit { bytes_max: READ_BYTES }).await {
            Ok(blocks) => blocks,
            Err(ReadError::Lost { from, to, .. }) if to > next => {
                // Somebody has looked at the damage and repaired the log; what is gone can't be applied, and is told.
                tracing::error!(%queue, %from, %to, "messages may be lost here: a repair could not read them");
                next = to;
                continue;
            }
            Err(source) => return Err(OpenError::Read { queue: queue.clone(), source }),
        };
        if blocks.is_empty() {
            return Ok(Replayed { state, next, snapshots, snapshot_bytes, bytes });
        }
        for block in blocks {
            read_block(block.first.0, &block.payload, |time, place, command| {
                state.apply(At { time, block: block.first.0, place }, &command)
            })
            .map_err(|error| OpenError::Format {
                queue: queue.clone(),
                at: block.first,
                reason: error.0.to_owned(),
            })?;
            next = block.end();
            bytes += block.payload.len() as u64;
        }
    }
}

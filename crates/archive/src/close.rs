//! Closing hours: the statement that an hour has all its records, chained to the hour before.
//!
//! An hour is closed when every shard has passed it: its next record arrived later, or it has no record left and the hour has been
//! over for a while. From then on a shard's records go to later hours, whatever the clock says. The manifest is put if
//! absent; what it says follows from the chunks' manifests alone, so that a second try says the same.

use weir_stream::Shard;
use weir_types::Hour;

use crate::archive::{Archive, State};
use crate::error::CloseError;
use crate::limits::GRACE;
use crate::manifest::{FORMAT, HourManifest, HourSummary, Link, ShardHour, Totals, digest_of, to_json};
use crate::open;
use crate::place;
use crate::store::Put;

impl State {
    /// Returns the oldest hour with chunks that every shard has passed.
    fn closable(&self) -> Option<Hour> {
        let hour = *self.open.keys().next()?;
        self.shards.iter().all(|shard| shard.settled.is_some_and(|settled| settled > hour)).then_some(hour)
    }
}

impl Archive {
    /// Closes the hours that are over and have all their records; `shards` are those of the stream, all of them.
    ///
    /// # Errors
    /// See [`CloseError`]; hours that were closed before the error stay so.
    pub async fn close_hours(&self, shards: &[Shard]) -> Result<Vec<HourSummary>, CloseError> {
        let _one = self.housekeeping.lock().await;
        self.settle(shards);
        let mut closed = Vec::new();
        loop {
            let Some(hour) = self.state().closable() else { return Ok(closed) };
            closed.push(self.close(hour).await?);
        }
    }

    /// Takes note of shards that have nothing left to archive: what they get from now on is of this hour or later.
    fn settle(&self, shards: &[Shard]) {
        let hour = Hour::of(self.env.now().before(GRACE));
        for shard in shards {
            // The end first: what comes in between makes the two differ.
            let bounds = shard.bounds();
            let mut state = self.state();
            let Some(known) = state.shards.get_mut(shard.id().0 as usize) else { continue };
            if known.next.unwrap_or(bounds.head) >= bounds.tail {
                known.settled = known.settled.max(Some(hour));
            }
        }
    }

    async fn close(&self, hour: Hour) -> Result<HourSummary, CloseError> {
        let manifest = {
            let state = self.state();
            let shards = state.shard_hours(hour);
            let mut totals = Totals::default();
            shards.iter().for_each(|shard| totals.add(shard.totals));
            let mut all = state.all;
            all.add(totals);
            let (stream, previous) = (self.spec.stream.clone(), state.closed);
            HourManifest { format: FORMAT, stream, hour, previous, shards, totals, all }
        };
        let path = place::hour_manifest(&self.store.root, hour);
        let bytes = to_json(&manifest);
        let (manifest, digest) = match self.store.put_once(&path, bytes.clone().into()).await? {
            Put::Done => (manifest, digest_of(&bytes)),
            Put::Taken => {
                let foreign = || CloseError::Foreign { path: path.clone() };
                let found = self.store.get(&path).await?.ok_or_else(foreign)?;
                let there = open::parse_hour(&found, &self.spec.stream, hour).map_err(|_| foreign())?;
                if !agree(&there, &manifest) {
                    return Err(foreign());
                }
                (there, digest_of(&found))
            }
        };
        let mut state = self.state();
        state.closed = Some(Link { hour, digest });
        state.all = manifest.all;
        state.open.remove(&hour);
        let HourManifest { shards, totals, .. } = manifest;
        Ok(HourSummary { hour, closed: true, shards, totals })
    }
}

/// Says whether two manifests of an hour tell of the same chunks. A shard without any in the hour may have become known in between.
fn agree(a: &HourManifest, b: &HourManifest) -> bool {
    let with_chunks = |manifest: &HourManifest| -> Vec<ShardHour> {
        manifest.shards.iter().filter(|shard| shard.totals.chunks > 0).cloned().collect()
    };
    a.previous == b.previous && a.all == b.all && with_chunks(a) == with_chunks(b)
}

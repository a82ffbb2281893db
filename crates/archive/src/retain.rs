//! Forgetting old hours.
//!
//! ```text
//! retained.json says from where --> files of records --> chunks' manifests --> the hour's manifest
//! ```
//!
//! Readers leave out what is before `retained.json`, so that an hour is there whole or not at all; a crash between any two
//! deletions is made good by the next call. The newest closed hour's manifest stays, whatever its age: it is the archive's place in
//! the log.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use weir_types::Hour;

use crate::archive::Archive;
use crate::error::{RetainError, StoreError};
use crate::limits::{EXPIRED_HOURS_MAX, REQUESTS};
use crate::manifest::{FORMAT, Retained, Totals, to_json};
use crate::open;
use crate::place::{self, Kind};

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Hours of which something was deleted.
    pub hours: u64,
    /// Objects.
    pub objects: u64,
}

impl Archive {
    /// Deletes closed hours that ended longer ago than the retention, a bounded number of them, oldest first.
    ///
    /// # Errors
    /// See [`RetainError`].
    pub async fn retain(&self) -> Result<Expired, RetainError> {
        let _one = self.housekeeping.lock().await;
        let Some(closed) = self.closed() else { return Ok(Expired::default()) };
        let kept = Hour::of(self.env.now().before(self.spec.retention)).min(Hour(closed.0 + 1));
        let hours: Vec<Hour> = self.store.hours().await?.into_iter().filter(|hour| *hour < kept).collect();
        let Some(hours) = hours.get(..hours.len().min(EXPIRED_HOURS_MAX)).filter(|hours| !hours.is_empty()) else {
            return Ok(Expired::default());
        };
        self.announce(hours).await?;
        let mut expired = Expired::default();
        for hour in hours {
            let objects = self.delete_hour(*hour, closed).await?;
            expired.hours += u64::from(objects > 0);
            expired.objects += objects;
        }
        Ok(expired)
    }

    /// Says in the archive that these hours, which are the oldest, are gone.
    async fn announce(&self, hours: &[Hour]) -> Result<(), RetainError> {
        let before = self.state().retained;
        let from = hours.last().map_or(Hour::default(), |last| Hour(last.0 + 1));
        if before.is_some_and(|before| before.from >= from) {
            return Ok(());
        }
        let deleted = self.totals_up_to(hours).await?;
        let deleted = deleted.or(before.map(|before| before.deleted)).unwrap_or_default();
        let retained = Retained { format: FORMAT, from, deleted };
        let path = self.store.root.clone().join(place::RETAINED);
        self.store.overwrite(&path, to_json(&retained).into()).await?;
        self.state().retained = Some(retained);
        Ok(())
    }

    /// Returns what the archive had up to the newest of the hours that has a manifest.
    async fn totals_up_to(&self, hours: &[Hour]) -> Result<Option<Totals>, StoreError> {
        for hour in hours.iter().rev() {
            let path = place::hour_manifest(&self.store.root, *hour);
            let Some(bytes) = self.store.get(&path).await? else { continue };
            // One that does not read is no reason to keep what is too old; the sums shown are wrong until the next.
            if let Ok(manifest) = open::parse_hour(&bytes, &self.spec.stream, *hour) {
                return Ok(Some(manifest.all));
            }
        }
        Ok(None)
    }

    async fn delete_hour(&self, hour: Hour, closed: Hour) -> Result<u64, StoreError> {
        let folder = place::hour(&self.store.root, hour);
        let (mut data, mut chunks, mut manifest) = (Vec::new(), Vec::new(), Vec::new());
        for object in self.store.list(hour).await? {
            match place::kind(&folder, &object.location) {
                Some(Kind::Hour) if hour == closed => {}
                Some(Kind::Hour) => manifest.push(object.location),
                Some(Kind::Chunk { .. }) => chunks.push(object.location),
                Some(Kind::Data { .. }) => data.push(object.location),
                // Not weir's, and not weir's to delete.
                None => {}
            }
        }
        let mut deleted = 0;
        for paths in [data, chunks, manifest] {
            deleted += paths.len() as u64;
            self.delete_all(paths).await?;
        }
        Ok(deleted)
    }

    async fn delete_all(&self, paths: Vec<Path>) -> Result<(), StoreError> {
        let deletes = paths.into_iter().map(|path| async move { self.store.delete(&path).await });
        futures::stream::iter(deletes).buffer_unordered(REQUESTS).try_collect().await
    }
}

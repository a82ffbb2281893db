//! One reading more.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use weir_lookup::{LoadError, Loaded, Version, load, unchanged};
use weir_types::LookupName;

use super::{Lookup, LookupSet, Turn};
use crate::pipeline::chain;

/// How often it is noted, durably, that a source still has the same rows.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// Why a lookup's rows were not replaced by newer ones.
#[derive(Debug, thiserror::Error)]
pub enum RefreshFailed {
    /// The plan has no such lookup.
    #[error("there is no lookup `{name}`")]
    Unknown {
        /// The name.
        name: LookupName,
    },
    /// Its source can't be read, or its rows are not what they must be. The rows before stay.
    #[error("lookup `{name}` could not be refreshed; its last good rows stay")]
    Load {
        /// The lookup.
        name: LookupName,
        /// Why.
        #[source]
        source: Box<LoadError>,
    },
    /// The rows are read, and functions see them; a restart would not.
    #[error("lookup `{name}` is refreshed, and its snapshot could not be kept: {reason}")]
    Keep {
        /// The lookup.
        name: LookupName,
        /// Why.
        reason: String,
    },
}

impl LookupSet {
    /// Reads a lookup again, now. Others that ask for the same wait for their turn.
    ///
    /// # Errors
    /// See [`RefreshFailed`].
    pub async fn refresh(&self, name: &LookupName) -> Result<(), RefreshFailed> {
        let lookup = self.lookups.get(name).ok_or_else(|| RefreshFailed::Unknown { name: name.clone() })?;
        let mut turn = lookup.turn.lock().await;
        let permit = self.readings.acquire().await;
        let outcome = self.read(lookup, &mut turn).await;
        drop(permit);
        match &outcome {
            Ok(()) => lookup.update(|fresh| fresh.failing = None),
            Err(error) => {
                let reason = match error {
                    RefreshFailed::Load { source, .. } => chain(source),
                    other => other.to_string(),
                };
                tracing::warn!(lookup = %name, error = reason, "a lookup could not be refreshed");
                lookup.update(|fresh| {
                    fresh.failures += 1;
                    fresh.failing = Some(reason);
                });
            }
        }
        outcome
    }

    async fn read(&self, lookup: &Lookup, turn: &mut Turn) -> Result<(), RefreshFailed> {
        let (name, spec) = (&lookup.plan.name, &lookup.plan.spec);
        let failed = |source| RefreshFailed::Load { name: name.clone(), source: Box::new(source) };
        let seen = lookup.freshness().version;
        if let (Some(stamp), false) = (turn.stamp, turn.unkept)
            && unchanged(spec, stamp, &self.env).await.map_err(failed)?
        {
            self.confirm(lookup, turn, seen).await;
            return Ok(());
        }
        let loaded = load(spec, Some(&lookup.plan.columns), &self.env).await.map_err(failed)?;
        turn.stamp = loaded.stamp;
        let is_new = loaded.digest != seen.digest;
        if !is_new && !turn.unkept {
            lookup.update(|fresh| fresh.new_columns.clone_from(&loaded.left_out));
            self.confirm(lookup, turn, seen).await;
            return Ok(());
        }
        let kept = self.snapshots.keep(spec, &loaded, self.env.now()).await;
        turn.unkept = kept.is_err();
        let version = match &kept {
            Ok(version) => *version,
            Err(_) => Version { number: seen.number + u64::from(is_new), digest: loaded.digest },
        };
        self.show(lookup, turn, loaded, version);
        kept.map(|_| ()).map_err(|error| RefreshFailed::Keep { name: name.clone(), reason: chain(&error) })
    }

    /// Lets functions and queries see the rows.
    fn show(&self, lookup: &Lookup, turn: &mut Turn, loaded: Loaded, version: Version) {
        let name = &lookup.plan.name;
        let now = self.env.now();
        turn.noted_at = now;
        lookup.update(|fresh| {
            let first_seen = if fresh.version.digest == version.digest { fresh.loaded_at } else { now };
            (fresh.rows, fresh.bytes, fresh.version) = (loaded.rows, loaded.bytes, version);
            (fresh.loaded_at, fresh.confirmed_at) = (first_seen, now);
            fresh.new_columns = loaded.left_out;
        });
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut lookups = (*current.lookups).clone();
        lookups.insert(name.clone(), loaded.batches);
        let mut versions = (*current.versions).clone();
        versions.insert(name.clone(), version);
        (current.lookups, current.versions) = (Arc::new(lookups), Arc::new(versions));
    }

    /// Notes that the source still has the rows that are seen.
    async fn confirm(&self, lookup: &Lookup, turn: &mut Turn, version: Version) {
        let now = self.env.now();
        lookup.update(|fresh| fresh.confirmed_at = now);
        if now.since(turn.noted_at) < NOTE_EVERY {
            return;
        }
        match self.snapshots.confirm(&lookup.plan.name, version, now).await {
            Ok(()) => turn.noted_at = now,
            // After a restart with the source down the rows would be told to be older than they are.
            Err(error) => {
                tracing::warn!(lookup = %lookup.plan.name, error = chain(&error), "a lookup's age could not be noted");
            }
        }
    }
}

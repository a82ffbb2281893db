//! The first reading of each lookup, or else its last snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Mutex as Turns, Semaphore};
use weir_config::LookupPlan;
use weir_env::Env;
use weir_function::Lookups;
use weir_lookup::{Loaded, Snapshots, Version, load};
use weir_types::LookupName;

use super::{Current, Freshness, Lookup, LookupError, LookupSet, Turn};
use crate::pipeline::chain;

/// Lookups that are read at a time.
const READINGS: usize = 2;

type Rows = Arc<Vec<RecordBatch>>;

impl LookupSet {
    /// Reads all lookups.
    ///
    /// # Errors
    /// If one can't be read, and was never read before.
    pub async fn open(
        env: &Env,
        snapshots: Snapshots,
        plans: BTreeMap<LookupName, LookupPlan>,
    ) -> Result<Self, LookupError> {
        let opened: Vec<(Lookup, Rows)> = futures::stream::iter(plans.into_values())
            .map(|plan| open(env, &snapshots, plan))
            .buffer_unordered(READINGS)
            .try_collect()
            .await?;
        let mut rows = Lookups::default();
        let (mut lookups, mut columns, mut versions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (lookup, batches) in opened {
            let name = lookup.plan.name.clone();
            rows.insert(name.clone(), batches);
            columns.insert(name.clone(), lookup.plan.columns.clone());
            versions.insert(name.clone(), lookup.freshness().version);
            lookups.insert(name, lookup);
        }
        let current = Current { lookups: Arc::new(rows), versions: Arc::new(versions) };
        let readings = Semaphore::new(READINGS);
        Ok(Self { env: env.clone(), snapshots, lookups, columns, current: RwLock::new(current), readings })
    }
}

async fn open(env: &Env, snapshots: &Snapshots, plan: LookupPlan) -> Result<(Lookup, Rows), LookupError> {
    let loaded = load(&plan.spec, Some(&plan.columns), env).await;
    let last = snapshots.last(&plan.spec).await.unwrap_or_else(|error| {
        tracing::warn!(lookup = %plan.name, error = chain(&error), "the snapshots of a lookup can't be read");
        None
    });
    let last = last.filter(|last| last.columns.fields() == plan.columns.fields());
    let now = env.now();
    let (freshness, turn, rows) = match (loaded, last) {
        (Ok(loaded), last) => {
            let known = last.filter(|last| last.version.digest == loaded.digest);
            let mut turn = Turn { stamp: loaded.stamp, unkept: false, noted_at: now };
            let mut failing = None;
            let (version, loaded_at) = match known {
                Some(last) => {
                    turn.noted_at = last.confirmed_at;
                    (last.version, last.loaded_at)
                }
                None => (first(snapshots, &plan, &loaded, &mut turn, &mut failing, env).await, now),
            };
            let freshness = Freshness {
                rows: loaded.rows,
                bytes: loaded.bytes,
                version,
                loaded_at,
                confirmed_at: now,
                next_at: None,
                failures: u64::from(failing.is_some()),
                failing,
                new_columns: loaded.left_out.clone(),
            };
            (freshness, turn, loaded.batches)
        }
        (Err(error), Some(last)) => {
            let failing = chain(&error);
            tracing::warn!(lookup = %plan.name, error = failing, of = %last.confirmed_at,
                "a lookup can't be read; it starts from its last snapshot");
            let freshness = Freshness {
                rows: last.rows,
                bytes: last.bytes,
                version: last.version,
                loaded_at: last.loaded_at,
                confirmed_at: last.confirmed_at,
                next_at: None,
                failures: 1,
                failing: Some(failing),
                new_columns: Vec::new(),
            };
            (freshness, Turn { noted_at: last.confirmed_at, ..Turn::default() }, last.batches)
        }
        (Err(source), None) => return Err(LookupError::Load { name: plan.name, source }),
    };
    Ok((Lookup { plan, turn: Turns::new(turn), freshness: Mutex::new(freshness) }, rows))
}

/// Keeps rows that no snapshot has. Where that fails they are used all the same: the next reading tries again.
async fn first(
    snapshots: &Snapshots,
    plan: &LookupPlan,
    loaded: &Loaded,
    turn: &mut Turn,
    failing: &mut Option<String>,
    env: &Env,
) -> Version {
    match snapshots.keep(&plan.spec, loaded, env.now()).await {
        Ok(version) => version,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(lookup = %plan.name, error, "the snapshot of a lookup could not be kept");
            *failing = Some(format!("its snapshot could not be kept: {error}"));
            turn.unkept = true;
            let before = snapshots.newest(&plan.name).await.unwrap_or_default();
            Version { number: before + 1, digest: loaded.digest }
        }
    }
}

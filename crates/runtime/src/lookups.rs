//! Lookups: read at start, and again on their schedule. A refresh that fails keeps the last good rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use weir_config::LookupPlan;
use weir_env::Env;
use weir_function::{LookupError, Lookups, read_lookup};
use weir_types::{LookupName, Timestamp};

/// The longest wait between two tries of a refresh that fails.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How fresh a lookup is.
#[derive(Debug, Clone)]
pub(crate) struct Freshness {
    pub rows: u64,
    pub loaded_at: Timestamp,
    /// Why the last refresh failed, if it did.
    pub failing: Option<String>,
}

/// All lookups of a plan, each as of its last good refresh.
pub(crate) struct LookupSet {
    current: RwLock<Arc<Lookups>>,
    columns: BTreeMap<LookupName, SchemaRef>,
    freshness: Mutex<BTreeMap<LookupName, Freshness>>,
}

impl LookupSet {
    /// Reads all lookups.
    pub fn load(env: &Env, plans: &BTreeMap<LookupName, LookupPlan>) -> Result<Self, LookupError> {
        let mut lookups = Lookups::default();
        let mut freshness = BTreeMap::new();
        let mut columns = BTreeMap::new();
        for (name, plan) in plans {
            let rows = read_lookup(&plan.path, plan.null_text.as_deref())?;
            let loaded = Freshness { rows: rows.num_rows() as u64, loaded_at: env.now(), failing: None };
            freshness.insert(name.clone(), loaded);
            columns.insert(name.clone(), rows.schema());
            lookups.insert(name.clone(), Arc::new(vec![rows]));
        }
        Ok(Self { current: RwLock::new(Arc::new(lookups)), columns, freshness: Mutex::new(freshness) })
    }

    /// Returns the rows as they are now.
    pub fn current(&self) -> Arc<Lookups> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns each lookup's columns, which stay as they were at start.
    pub fn columns(&self) -> &BTreeMap<LookupName, SchemaRef> {
        &self.columns
    }

    pub fn freshness(&self) -> BTreeMap<LookupName, Freshness> {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a lookup again; says whether that worked.
    async fn refresh(self: &Arc<Self>, env: &Env, plan: &LookupPlan) -> bool {
        let (path, null) = (plan.path.clone(), plan.null_text.clone());
        let read = tokio::task::spawn_blocking(move || read_lookup(&path, null.as_deref())).await;
        let outcome = match read {
            Ok(Ok(rows)) if Some(&rows.schema()) == self.columns.get(&plan.name) => Ok(rows),
            Ok(Ok(_)) => Err("its columns or their types changed; restart weir to use them".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut freshness = self.freshness.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(rows) => {
                let loaded = Freshness { rows: rows.num_rows() as u64, loaded_at: env.now(), failing: None };
                freshness.insert(plan.name.clone(), loaded);
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                let mut next = (**current).clone();
                next.insert(plan.name.clone(), Arc::new(vec![rows]));
                *current = Arc::new(next);
                true
            }
            Err(error) => {
                tracing::warn!(lookup = %plan.name, error, "a lookup could not be refreshed; its last good rows stay");
                if let Some(entry) = freshness.get_mut(&plan.name) {
                    entry.failing = Some(error);
                }
                false
            }
        }
    }

    /// Refreshes a lookup on its schedule, for ever.
    pub async fn keep_fresh(self: Arc<Self>, env: Env, plan: LookupPlan) {
        let Some(every) = plan.refresh else { return };
        let mut wait = every;
        loop {
            env.sleep(wait).await;
            wait = if self.refresh(&env, &plan).await { every } else { env.jitter(every.min(RETRY_MAX)) };
        }
    }
}

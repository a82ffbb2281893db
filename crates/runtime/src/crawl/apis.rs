//! Vendors' accounts: each with its budget and what carries its calls, shared by all who call it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_budget::{Budget, BudgetCommand, Budgets};
use weir_config::ApiPlan;
use weir_crawl::Transport;
use weir_crawl::http::{Http, HttpError, Limits};
use weir_env::Env;
use weir_machine::Owner;
use weir_types::ApiName;

use super::open::OpenApi;
use crate::node::StartError;
use crate::pipeline::chain;

/// All accounts of a node, by name.
pub(crate) type Apis = BTreeMap<ApiName, OpenApi>;

/// Makes what carries an account's calls.
pub type MakeTransport = Arc<dyn Fn(&ApiPlan, &Env) -> Result<Arc<dyn Transport>, HttpError> + Send + Sync>;

/// What carries calls where a test or a recording takes the vendor's place.
#[derive(Clone, Default)]
pub struct Transports(Option<MakeTransport>);

impl Transports {
    /// Calls go to vendors over HTTP.
    pub fn http() -> Self {
        Self(None)
    }

    /// Calls go to what `make` returns for their account.
    pub fn of(make: impl Fn(&ApiPlan, &Env) -> Result<Arc<dyn Transport>, HttpError> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    pub(super) fn open(&self, plan: &ApiPlan, env: &Env) -> Result<Arc<dyn Transport>, HttpError> {
        match &self.0 {
            Some(make) => make(plan, env),
            None => {
                let idle = plan.budget.concurrency.map_or(Limits::default().idle_connections_max, |most| most as usize);
                let limits = Limits { idle_connections_max: idle, ..Limits::default() };
                Ok(Arc::new(Http::new(&plan.client, env.clone(), limits)?))
            }
        }
    }
}

impl std::fmt::Debug for Transports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Transports(own)" } else { "Transports(HTTP)" })
    }
}

/// Opens the plan's accounts, and forgets what is known of others.
pub(crate) async fn open(
    plans: BTreeMap<ApiName, ApiPlan>,
    facts: Owner<Budgets>,
    transports: &Transports,
    env: &Env,
) -> Result<Apis, StartError> {
    let gone: Vec<ApiName> =
        facts.read(|facts| facts.names().filter(|name| !plans.contains_key(*name)).cloned().collect());
    for api in gone {
        if let Err(error) = facts.submit(BudgetCommand::Forget { api: api.clone() }).await {
            tracing::warn!(%api, %error, "what is known of an account that is gone could not be forgotten");
        }
    }
    let mut apis = Apis::new();
    for (name, plan) in plans {
        let transport = transports.open(&plan, env).map_err(|source| StartError::Api { api: name.clone(), source })?;
        let budget = Budget::open(name.clone(), plan.budget, facts.clone(), env.clone());
        apis.insert(name, OpenApi { client: plan.client, budget, transport });
    }
    Ok(apis)
}

/// Stores what was learned of the accounts, and gives back what was reserved of quotas and not used. When no more calls are made.
pub(crate) async fn close(apis: &Apis) {
    for (name, api) in apis {
        if let Err(error) = api.budget.close().await {
            tracing::warn!(api = %name, error = chain(&error), "the next start knows less of the account, and may lack a hundredth of its quotas");
        }
    }
}

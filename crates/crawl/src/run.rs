//! What one run gives to templates, and where its incremental resources begin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_types::Timestamp;

/// What differs from run to run. Stored with the run, so that a restart fills in the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunValues {
    /// The run's number.
    pub run: u64,
    /// When it was asked for: the end of what incremental resources ask for.
    pub started: Timestamp,
    /// Values for `{params.NAME}` instead of the crawl's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The tenants that are called for; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// By resource and tenant (the empty name without tenants): the largest cursor that the last complete run saw, before
    /// its lag is taken off. None: the resource's initial value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, BTreeMap<String, Value>>,
}

impl RunValues {
    /// A run without values of its own.
    pub fn new(run: u64, started: Timestamp) -> Self {
        Self { run, started, ..Self::default() }
    }

    /// Returns the largest cursor of the last complete run, if there was one.
    pub fn start(&self, resource: &str, tenant: &str) -> Option<&Value> {
        self.starts.get(resource)?.get(tenant)
    }

    /// Returns whether a tenant is called for.
    pub fn includes(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|name| name == tenant)
    }
}

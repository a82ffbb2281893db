//! Where a run begins.

use std::collections::BTreeMap;

use weir_types::nearest;

use super::fill::keep_start;
use super::{Plan, RunError};
use crate::{RunValues, Task};

impl Plan {
    /// Checks what a run was asked for with.
    ///
    /// # Errors
    /// Parameters and tenants that the crawl doesn't know.
    pub fn check(&self, run: &RunValues) -> Result<(), Vec<RunError>> {
        let params = run.params.keys().filter(|name| !self.params.contains_key(*name)).map(|name| {
            let like = nearest(name, self.params.keys().map(String::as_str)).map(str::to_owned);
            RunError::UnknownParam { name: name.clone(), like }
        });
        // Tenants that items name can't be known before.
        let known = |name: &String| self.tenant_rule.is_some() || self.tenants.iter().any(|(tenant, _)| tenant == name);
        let tenants = run.tenants.iter().filter(|name| !known(name)).map(|name| {
            let like = nearest(name, self.tenants.iter().map(|(tenant, _)| tenant.as_str())).map(str::to_owned);
            RunError::UnknownTenant { name: name.clone(), like }
        });
        let wrong: Vec<RunError> = params.chain(tenants).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Returns a run's first tasks: one for each resource that hangs below none, and each tenant. Where items name the
    /// tenant, what stands above has none.
    pub fn roots(&self, run: &RunValues) -> Vec<Task> {
        let tenants: Vec<&str> = match (&self.tenant_rule, self.tenants.as_slice()) {
            (Some(_), _) | (None, []) => vec![""],
            (None, tenants) => {
                tenants.iter().map(|(name, _)| name.as_str()).filter(|name| run.includes(name)).collect()
            }
        };
        let roots = self.steps.iter().filter(|step| step.parent.is_none());
        roots
            .flat_map(|step| {
                tenants.iter().map(|tenant| {
                    let mut task = Task {
                        run: run.run,
                        resource: step.resource.clone(),
                        tenant: (*tenant).to_owned(),
                        values: BTreeMap::new(),
                        page: None,
                        pages: 0,
                        attempt: 0,
                    };
                    if let Some(resource) = self.resource(&step.resource) {
                        keep_start(resource, &mut task, run);
                    }
                    task
                })
            })
            .collect()
    }
}

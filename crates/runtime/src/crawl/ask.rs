//! What a run would come to, and where accounts are.

use url::Url;
use weir_crawl::RunValues;
use weir_crawl::eta::{Company, Plan, Supply, dry_run};
use weir_crawl::progress::Step;

use super::api::{CrawlError, Crawls, RunAsk};
use super::call::BACKOFF;

impl Crawls {
    /// Says how many calls a run would make and how long that would take under the present budget, from the runs before it.
    /// Makes none.
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub fn dry_run(&self, crawl: &str, ask: &RunAsk) -> Result<Plan, CrawlError> {
        let open = self.get(crawl)?;
        let values = RunValues {
            params: ask.params.clone(),
            tenants: ask.tenants.clone().unwrap_or_default(),
            ..RunValues::new(0, self.env.now())
        };
        let plan = &open.crew.plan;
        plan.check(&values).map_err(|problems| CrawlError::Asked { crawl: open.plan.name.clone(), problems })?;
        let steps = plan.shape().iter();
        let steps = steps.map(|step| Step { resource: step.resource.clone(), parent: step.parent.clone() }).collect();
        let history = self.runs.read(|runs| runs.crawl(crawl).map_or_else(Vec::new, |runs| runs.history().to_vec()));
        let status = open.budget.status();
        let company = if status.in_flight > 0 || status.waiting > 0 { Company::Shared } else { Company::Alone };
        let supply = Supply { allowance: &*open.budget, retry_delay: BACKOFF, in_flight: 0, company };
        Ok(dry_run(&history, ask.tenants.as_deref(), steps, &plan.roots(&values), supply, self.env.now()))
    }

    /// Returns where an account is.
    ///
    /// # Errors
    /// [`CrawlError::UnknownApi`].
    pub fn base_url(&self, api: &str) -> Result<&Url, CrawlError> {
        let found = self.apis.iter().find(|(name, _)| name.as_str() == api);
        found.map(|(_, api)| &api.client.base_url).ok_or_else(|| CrawlError::UnknownApi { api: api.to_owned() })
    }
}

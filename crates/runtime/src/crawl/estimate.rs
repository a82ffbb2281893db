//! When a run ends, and what one would come to: the estimator of `weir_crawl::eta`, with this crawl's budget and history.

use weir_budget::Wait;
use weir_crawl::eta::{self, Company, Estimate, Estimator, Eta, Prior, Supply, Vendor};
use weir_crawl::progress::{RunProgress, Step};
use weir_crawl::runs::{CrawlRuns, Run};
use weir_types::Timestamp;

use super::api::{CrawlError, Crawls, RunAsk};
use super::call::BACKOFF;
use super::keeper;
use super::open::OpenCrawl;

impl Crawls {
    /// Returns what a run would come to: calls by resource and the time under the present budget, as far as earlier runs show.
    ///
    /// # Errors
    /// [`CrawlError::Unknown`], and [`CrawlError::Asked`] for what the crawl does not have.
    pub fn dry_run(&self, crawl: &str, ask: &RunAsk) -> Result<eta::Plan, CrawlError> {
        let open = self.checked(crawl, ask)?;
        Ok(self.read_runs(|runs| open.dry_run(ask, runs.crawl(crawl))))
    }
}

impl OpenCrawl {
    fn dry_run(&self, ask: &RunAsk, known: Option<&CrawlRuns>) -> eta::Plan {
        let now = self.crew.env.now();
        let mut values = keeper::values_of(ask, now);
        values.starts = known.map(|runs| runs.cursors().clone()).unwrap_or_default();
        let roots = self.crew.plan.roots(&values);
        let history = known.map_or(&[][..], CrawlRuns::history);
        eta::dry_run(history, ask.tenants.as_deref(), self.steps(), &roots, self.supply(0), now)
    }

    /// Returns the resources, parents before children.
    pub(super) fn steps(&self) -> Vec<Step> {
        let steps = self.crew.plan.shape().iter();
        steps.map(|step| Step { resource: step.resource.clone(), parent: step.parent.clone() }).collect()
    }

    /// Returns what a run gets now.
    fn supply(&self, in_flight: u64) -> Supply<'_> {
        let status = self.budget.status();
        let name = format!("crawl/{}", self.crew.crawl);
        let own = |path: &[String]| path.first() == Some(&name);
        let alone = status.flows.iter().all(|flow| own(&flow.path));
        Supply {
            allowance: &*self.budget,
            retry_delay: BACKOFF,
            in_flight,
            company: if alone { Company::Alone } else { Company::Shared },
            vendor: if matches!(status.wait, Wait::Breaker { .. }) { Vendor::Down } else { Vendor::Up },
        }
    }

    /// Returns when a run that is under way ends, and when its tenants do, as named.
    pub(super) fn estimate(
        &self,
        run: &Run,
        history: &[Run],
        known: &RunProgress,
        asked: Asked<'_>,
    ) -> (Estimate, Vec<Eta>) {
        let prior = Prior::of(history, run.tenants.as_deref());
        let estimator = Estimator { prior: &prior, supply: self.supply(asked.in_flight), now: asked.now };
        let weight = |name: &str| {
            let tenant = self.plan.spec.tenants.iter().find(|tenant| tenant.name == name);
            tenant.map_or(1.0, |tenant| f64::from(tenant.weight))
        };
        (estimator.run(known), estimator.tenants(known, asked.tenants, weight))
    }
}

/// What is asked of an estimate.
pub(super) struct Asked<'a> {
    pub tenants: &'a [&'a str],
    pub in_flight: u64,
    pub now: Timestamp,
}

//! What a crawl shows of itself: put together from the machine, the fold, the budget, and what is under way.

use std::collections::BTreeMap;

use weir_budget::Wait;
use weir_crawl::progress::{Progress, RunProgress, Totals};
use weir_crawl::runs::{Run, Runs, State};
use weir_crawl::status::{CrawlStatus, RunStatus, StepStatus, TENANTS_SHOWN_MAX, TenantStatus, Waiting, Why};
use weir_types::Timestamp;

use super::estimate::Asked;
use super::open::OpenCrawl;

impl OpenCrawl {
    /// Returns what is under way, what is next, and what was.
    pub(super) fn status(&self, runs: &Runs) -> CrawlStatus {
        let name = self.plan.name.as_str();
        let known = runs.crawl(name);
        let history = known.map_or(&[][..], weir_crawl::runs::CrawlRuns::history);
        let current = known.and_then(|runs| runs.active()).map(|run| self.run_status(run, history));
        let now = self.crew.env.now();
        CrawlStatus {
            crawl: name.to_owned(),
            api: self.plan.api.to_string(),
            trouble: self.unpinned.clone().or_else(|| self.trouble.get()),
            current,
            queued: known.and_then(|runs| runs.waiting().cloned()),
            last: known.and_then(|runs| runs.history().last().cloned()),
            next_at: self.next_at(known.and_then(weir_crawl::runs::CrawlRuns::seen), now),
            skipped: known.map_or(0, weir_crawl::runs::CrawlRuns::skipped),
            new_fields: self.new_fields(),
        }
    }

    /// Returns, by resource, the fields that items had since the start and that the pinned schema lacks, and how many had them.
    fn new_fields(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let forms = self.crew.forms.iter();
        forms
            .map(|(resource, form)| (resource.clone(), form.unknown().items))
            .filter(|(_, items)| !items.is_empty())
            .collect()
    }

    fn next_at(&self, seen: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.plan.schedule.clone()?;
        schedule.anchored(seen.unwrap_or(now)).next_after(now)
    }

    fn run_status(&self, run: &Run, history: &[Run]) -> RunStatus {
        self.fold.read(|progress| {
            let mut status = self.run_status_of(run, progress);
            if let Some(known) = progress.run(run.number).filter(|_| run.state == State::Running) {
                self.add_estimate(&mut status, run, history, known);
            }
            status
        })
    }

    /// Adds when it ends, and how many tasks there will be.
    fn add_estimate(&self, status: &mut RunStatus, run: &Run, history: &[Run], known: &RunProgress) {
        let names: Vec<String> = status.tenants.iter().map(|tenant| tenant.tenant.clone()).collect();
        let tenants: Vec<&str> = names.iter().map(String::as_str).collect();
        let asked = Asked { tenants: &tenants, in_flight: status.in_flight, now: self.crew.env.now() };
        let (estimate, etas) = self.estimate(run, history, known, asked);
        for (tenant, eta) in status.tenants.iter_mut().zip(etas) {
            tenant.eta = Some(eta);
        }
        for (step, (_, expected)) in status.steps.iter_mut().zip(estimate.steps) {
            step.expected = Some(expected);
        }
        status.eta = Some(estimate.eta);
    }

    fn run_status_of(&self, run: &Run, progress: &Progress) -> RunStatus {
        let now = self.crew.env.now();
        let known = progress.run(run.number);
        let totals = known.map(RunProgress::totals).unwrap_or_default();
        let mut by_resource: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_tenant: BTreeMap<String, u64> = BTreeMap::new();
        for ((resource, tenant), calls) in self.crew.flying.all() {
            *by_resource.entry(resource.to_string()).or_default() += calls;
            *by_tenant.entry(tenant.to_string()).or_default() += calls;
        }
        let in_flight = by_resource.values().sum();
        let retrying = self.queue.stats().delayed;
        let waits = Waits { state: run.state, wait: self.budget.status().wait, retrying };
        let steps = known.map_or(&[][..], RunProgress::steps).iter().map(|step| {
            let totals = Totals::from(step.counts());
            let in_flight = by_resource.get(step.resource()).copied().unwrap_or(0);
            StepStatus {
                resource: step.resource().to_owned(),
                parent: step.parent().map(str::to_owned),
                totals,
                in_flight,
                expected: None,
                rate: step.recent().per_second(now),
                waiting: waits.of_part(totals.waiting.saturating_sub(in_flight)),
            }
        });
        let steps = steps.collect();
        let (tenants, other_tenants) = known.map_or((Vec::new(), None), |known| shown(known, &by_tenant, &waits, now));
        RunStatus {
            crawl: self.plan.name.to_string(),
            run: run.number,
            state: run.state,
            asked_at: run.asked_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            reason: run.reason.clone(),
            totals,
            in_flight,
            rate: known.map_or(0.0, |known| known.recent().per_second(now)),
            eta: None,
            steps,
            tenant_count: known.map_or(0, |known| known.tenants().len() as u64),
            tenants,
            other_tenants,
            waiting: waits.of(totals.waiting.saturating_sub(in_flight)),
        }
    }
}

/// Returns the tenants that wait the most, and the sum of all others.
fn shown(
    known: &RunProgress,
    flying: &BTreeMap<String, u64>,
    waits: &Waits,
    now: Timestamp,
) -> (Vec<TenantStatus>, Option<Totals>) {
    let mut all: Vec<_> = known.tenants().iter().map(|(name, tenant)| (name, tenant, tenant.totals())).collect();
    all.sort_by_key(|(_, _, totals)| std::cmp::Reverse(totals.waiting));
    let mut others = known.other_tenants();
    for (_, _, totals) in all.iter().skip(TENANTS_SHOWN_MAX) {
        add(others.get_or_insert_default(), totals);
    }
    let tenants = all.into_iter().take(TENANTS_SHOWN_MAX).map(|(name, tenant, totals)| {
        let in_flight = flying.get(name).copied().unwrap_or(0);
        TenantStatus {
            tenant: name.clone(),
            totals,
            in_flight,
            rate: tenant.recent().per_second(now),
            eta: None,
            waiting: waits.of_part(totals.waiting.saturating_sub(in_flight)),
        }
    });
    (tenants.collect(), others)
}

fn add(sum: &mut Totals, more: &Totals) {
    sum.tasks += more.tasks;
    sum.done += more.done;
    sum.waiting += more.waiting;
    sum.failed += more.failed;
    sum.dropped += more.dropped;
    sum.items += more.items;
    sum.calls += more.calls;
    sum.throttled += more.throttled;
    sum.retried += more.retried;
}

/// Why tasks of a run wait.
struct Waits {
    state: State,
    wait: Wait,
    /// Tasks between two attempts.
    retrying: u64,
}

impl Waits {
    /// Returns the reasons of all waiting tasks of the run, the one of the most first.
    fn of(&self, waiting: u64) -> Vec<Waiting> {
        let retrying = self.retrying.min(waiting);
        let mut reasons = self.of_part(waiting - retrying);
        if retrying > 0 {
            reasons.push(Waiting { why: Why::RetryDelay, tasks: retrying, until: None });
        }
        reasons.sort_by_key(|waiting| std::cmp::Reverse(waiting.tasks));
        reasons
    }

    /// Returns the reason of tasks that are not between two attempts.
    fn of_part(&self, tasks: u64) -> Vec<Waiting> {
        if tasks == 0 {
            return Vec::new();
        }
        let (why, until) = match (self.state, self.wait) {
            (State::Paused, _) => (Why::Paused, None),
            (State::Waiting, _) => (Why::Run, None),
            (_, Wait::Nothing) => (Why::Worker, None),
            (_, Wait::Budget { until }) => (Why::Budget, Some(until)),
            (_, Wait::VendorLimit { until }) => (Why::VendorLimit, Some(until)),
            (_, Wait::Breaker { probe_at }) => (Why::Breaker, Some(probe_at)),
            (_, Wait::Concurrency) => (Why::Concurrency, None),
            (_, Wait::Quota { until }) => (Why::Quota, Some(until)),
            (_, Wait::Window { opens_at }) => (Why::Window, Some(opens_at)),
        };
        vec![Waiting { why, tasks, until }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiting_task_has_one_reason() {
        let until = Timestamp(5);
        let waits = Waits { state: State::Running, wait: Wait::Budget { until }, retrying: 7 };
        let reasons = waits.of(10);
        assert_eq!(
            reasons.iter().map(|waiting| (waiting.why, waiting.tasks)).collect::<Vec<_>>(),
            [(Why::RetryDelay, 7), (Why::Budget, 3)]
        );
        assert_eq!(waits.of(5).iter().map(|waiting| waiting.tasks).sum::<u64>(), 5);
        assert!(waits.of(0).is_empty());
        let paused = Waits { state: State::Paused, ..waits };
        assert_eq!(paused.of_part(3)[0].why, Why::Paused);
    }
}

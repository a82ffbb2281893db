//! What others may ask of crawls and accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_budget::{Outcome as Called, Share, Signal, Status, read_headers};
use weir_crawl::progress::{Counts, RunProgress};
use weir_crawl::runs::{By, Change, Command, Outcome, Run, Runs, Start};
use weir_crawl::status::CrawlStatus;
use weir_crawl::{Answer, Request, RunError, TransportError};
use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_types::{ApiName, CrawlName, Timestamp, span};

use super::apis::Apis;
use super::keeper;
use super::open::{OpenCrawl, OpenCrawls};

/// Why a crawl did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CrawlError {
    /// There is no such crawl.
    #[error("there is no crawl `{crawl}`")]
    Unknown {
        /// As asked for.
        crawl: String,
    },
    /// There is no such account.
    #[error("there is no api `{api}`")]
    UnknownApi {
        /// As asked for.
        api: String,
    },
    /// It can't run, and why.
    #[error("crawl `{crawl}` can't run: {reason}")]
    CannotRun {
        /// The crawl.
        crawl: CrawlName,
        /// Why, with the next step.
        reason: String,
    },
    /// It was asked for with what it does not have.
    #[error("crawl `{crawl}`: {}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Asked {
        /// The crawl.
        crawl: CrawlName,
        /// What is wrong.
        problems: Vec<RunError>,
    },
    /// It was asked for with too much.
    #[error("crawl `{crawl}`: {what}")]
    TooLarge {
        /// The crawl.
        crawl: CrawlName,
        /// What, and how much may be.
        what: String,
    },
    /// Nothing is under way.
    #[error("crawl `{crawl}` has no run under way")]
    NoRun {
        /// The crawl.
        crawl: CrawlName,
    },
    /// The run is not in a state for that.
    #[error("run {run} of crawl `{crawl}` is {state}")]
    NotInState {
        /// The crawl.
        crawl: CrawlName,
        /// The run.
        run: u64,
        /// How it stands.
        state: &'static str,
    },
    /// It could not be stored.
    #[error("store what was asked of crawl `{crawl}`")]
    Submit {
        /// The crawl.
        crawl: CrawlName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
}

/// Why a function's call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such account.
    #[error("there is no api `{api}`")]
    UnknownApi {
        /// As asked for.
        api: String,
    },
    /// Its turn did not come in time, or the vendor refused for its pace until then.
    #[error("api `{api}`: not within {}: {waits}", span::display(*.within))]
    TooLate {
        /// The account.
        api: ApiName,
        /// How long it had.
        within: Duration,
        /// What it waited for.
        waits: String,
    },
    /// The call itself failed.
    #[error("api `{api}`")]
    Transport {
        /// The account.
        api: ApiName,
        /// The cause.
        #[source]
        source: TransportError,
    },
}

/// What a run is asked for with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAsk {
    /// Values for `{params.NAME}` that are not the plan's.
    pub params: BTreeMap<String, String>,
    /// The tenants that are meant; none: all.
    pub tenants: Option<Vec<String>>,
    /// Tells a call that is made again from a second one.
    pub request: Option<String>,
}

/// A node's crawls and the accounts that they call.
pub struct Crawls {
    pub(super) env: Env,
    pub(crate) open: OpenCrawls,
    pub(crate) apis: Apis,
    pub(super) runs: Owner<Runs>,
}

impl std::fmt::Debug for Crawls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.open.keys()).finish()
    }
}

impl Crawls {
    pub(crate) fn new(env: Env, open: OpenCrawls, apis: Apis, runs: Owner<Runs>) -> Self {
        Self { env, open, apis, runs }
    }

    /// Returns the crawls' names.
    pub fn names(&self) -> impl Iterator<Item = &CrawlName> {
        self.open.keys()
    }

    /// Returns the accounts' names.
    pub fn api_names(&self) -> impl Iterator<Item = &ApiName> {
        self.apis.keys()
    }

    pub(super) fn get(&self, crawl: &str) -> Result<&Arc<OpenCrawl>, CrawlError> {
        let found = self.open.iter().find(|(name, _)| name.as_str() == crawl);
        found.map(|(_, open)| open).ok_or_else(|| CrawlError::Unknown { crawl: crawl.to_owned() })
    }

    /// Returns how each crawl stands.
    pub fn list(&self) -> Vec<CrawlStatus> {
        self.runs.read(|runs| self.open.values().map(|open| open.status(runs)).collect())
    }

    /// Returns how a crawl stands.
    ///
    /// # Errors
    /// [`CrawlError::Unknown`].
    pub fn status(&self, crawl: &str) -> Result<CrawlStatus, CrawlError> {
        let open = self.get(crawl)?;
        Ok(self.runs.read(|runs| open.status(runs)))
    }

    /// Returns a crawl's runs that are known, the newest first: the one that waits, the one under way, and those that are over.
    ///
    /// # Errors
    /// [`CrawlError::Unknown`].
    pub fn runs(&self, crawl: &str) -> Result<Vec<Run>, CrawlError> {
        self.get(crawl)?;
        Ok(self.runs.read(|runs| {
            let Some(runs) = runs.crawl(crawl) else { return Vec::new() };
            let over = runs.history().iter().rev();
            runs.waiting().into_iter().chain(runs.active()).chain(over).cloned().collect()
        }))
    }

    /// Returns what was counted of a run so far, all resources together.
    pub(crate) fn counts(&self, crawl: &str, run: &Run) -> Counts {
        let mut all = Counts::default();
        if run.state.is_over() {
            run.counts.values().for_each(|counts| all.add(counts));
        } else if let Ok(open) = self.get(crawl) {
            let known = open.fold.read(|progress| progress.run(run.number).map(RunProgress::counts));
            known.unwrap_or_default().values().for_each(|counts| all.add(counts));
        }
        all
    }

    pub(super) fn read_runs<T>(&self, look: impl FnOnce(&Runs) -> T) -> T {
        self.runs.read(look)
    }

    /// Returns a crawl, if it has what a run is asked for with.
    pub(super) fn checked(&self, crawl: &str, ask: &RunAsk) -> Result<&Arc<OpenCrawl>, CrawlError> {
        let open = self.get(crawl)?;
        let problems = open.crew.plan.check(&keeper::values_of(ask, self.env.now()));
        problems.map(|()| open).map_err(|problems| CrawlError::Asked { crawl: open.plan.name.clone(), problems })
    }

    /// Asks for a run. What becomes of it while another one is under way is the plan's to say ([`Outcome`]).
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub async fn start(&self, crawl: &str, ask: RunAsk) -> Result<Outcome, CrawlError> {
        let open = self.checked(crawl, &ask)?;
        let name = open.plan.name.clone();
        if let Some(reason) = open.unpinned.clone() {
            return Err(CrawlError::CannotRun { crawl: name, reason });
        }
        let RunAsk { params, tenants, request } = ask;
        let overlap = open.plan.overlap;
        let start = Start { crawl: crawl.to_owned(), by: By::Hand, params, tenants, request, overlap };
        let outcome = self.submit(open, Command::Start(start)).await?;
        match outcome {
            Outcome::TooLarge(what) => Err(CrawlError::TooLarge { crawl: name, what }),
            outcome => Ok(outcome),
        }
    }

    /// Lets the run that is under way wait: calls under way end, and no others are made.
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub async fn pause(&self, crawl: &str) -> Result<Run, CrawlError> {
        self.change(crawl, Change::Pause).await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub async fn resume(&self, crawl: &str) -> Result<Run, CrawlError> {
        self.change(crawl, Change::Resume).await
    }

    /// Ends it: what waits is dropped, what is under way ends.
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub async fn cancel(&self, crawl: &str, reason: Option<String>) -> Result<Run, CrawlError> {
        self.change(crawl, Change::Cancel { reason }).await
    }

    /// Lets the next run of a resource, or of all, begin where the first one did.
    ///
    /// # Errors
    /// See [`CrawlError`].
    pub async fn rewind(&self, crawl: &str, resource: Option<String>) -> Result<(), CrawlError> {
        let open = self.get(crawl)?;
        self.submit(open, Command::Rewind { crawl: crawl.to_owned(), resource }).await.map(drop)
    }

    async fn change(&self, crawl: &str, change: Change) -> Result<Run, CrawlError> {
        let open = self.get(crawl)?;
        let name = || open.plan.name.clone();
        let active = self.runs.read(|runs| runs.crawl(crawl).and_then(|runs| Some(runs.active()?.number)));
        let run = active.ok_or_else(|| CrawlError::NoRun { crawl: name() })?;
        let command = Command::Change { crawl: crawl.to_owned(), run, change };
        match self.submit(open, command).await? {
            Outcome::Changed(run) | Outcome::Ended { run, .. } => Ok(*run),
            Outcome::NotInState(run) => {
                Err(CrawlError::NotInState { crawl: name(), run: run.number, state: run.state.as_str() })
            }
            _ => Err(CrawlError::NoRun { crawl: name() }),
        }
    }

    async fn submit(&self, open: &OpenCrawl, command: Command) -> Result<Outcome, CrawlError> {
        let outcome = self.runs.submit(command).await;
        let outcome = outcome.map_err(|source| CrawlError::Submit { crawl: open.plan.name.clone(), source })?;
        open.changed.notify_one();
        Ok(outcome)
    }

    /// Returns how each account's budget stands.
    pub fn apis(&self) -> Vec<(ApiName, Status)> {
        self.apis.iter().map(|(name, api)| (name.clone(), api.budget.status())).collect()
    }

    /// Returns where an account is.
    ///
    /// # Errors
    /// [`CrawlError::UnknownApi`].
    pub fn base_url(&self, api: &str) -> Result<&url::Url, CrawlError> {
        let found = self.apis.iter().find(|(name, _)| name.as_str() == api);
        found.map(|(_, api)| &api.client.base_url).ok_or_else(|| CrawlError::UnknownApi { api: api.to_owned() })
    }

    /// Returns how an account's budget stands.
    ///
    /// # Errors
    /// [`CrawlError::UnknownApi`].
    pub fn api(&self, api: &str) -> Result<Status, CrawlError> {
        let found = self.apis.iter().find(|(name, _)| name.as_str() == api);
        let found = found.ok_or_else(|| CrawlError::UnknownApi { api: api.to_owned() })?;
        Ok(found.1.budget.status())
    }

    /// Makes a function's call within an account's budget, with its credentials. An answer that says that the pace is too fast is
    /// not handed on but tried again, until `within` is over.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        api: &str,
        function: &str,
        request: Request,
        within: Duration,
    ) -> Result<Answer, CallError> {
        let found = self.apis.iter().find(|(name, _)| name.as_str() == api);
        let (name, api) = found.ok_or_else(|| CallError::UnknownApi { api: api.to_owned() })?;
        let path = format!("function/{function}");
        let flow = api.budget.flow(&[Share { name: &path, weight: 1 }]);
        let calling = async {
            loop {
                let permit = flow.permit().await;
                let answer = api.transport.call(request.clone()).await;
                let signal = signal(&answer, self.env.now());
                let outcome = signal.outcome;
                permit.end(signal);
                match answer {
                    Ok(_) if outcome == Called::Throttled => {}
                    answer => break answer,
                }
            }
        };
        match self.env.within(within, calling).await {
            Some(answer) => answer.map_err(|source| CallError::Transport { api: name.clone(), source }),
            None => {
                let waits = format!("{:?}", api.budget.status().wait);
                Err(CallError::TooLate { api: name.clone(), within, waits })
            }
        }
    }
}

/// Returns what a function's call says about the vendor's pace. What else an answer means is the function's to know.
fn signal(answer: &Result<Answer, TransportError>, now: Timestamp) -> Signal {
    match answer {
        Ok(answer) => {
            let headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let said = read_headers(headers, now);
            let outcome = match answer.status {
                429 => Called::Throttled,
                503 if said.retry_after.is_some() => Called::Throttled,
                500.. => Called::Failed,
                _ => Called::Answered,
            };
            Signal { outcome, latency: Some(answer.latency), retry_after: said.retry_after, limits: said.limits }
        }
        Err(TransportError::Connect { .. } | TransportError::Timeout { .. } | TransportError::CutOff { .. }) => {
            Signal::of(Called::Failed)
        }
        Err(TransportError::Token { passing: true, .. }) => Signal::of(Called::Failed),
        Err(TransportError::TooLarge { .. }) => Signal::of(Called::Answered),
        Err(TransportError::Token { .. } | TransportError::NotRecorded { .. }) => Signal::of(Called::Unknown),
    }
}

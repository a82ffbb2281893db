//! A deployed function: its turns, its pools, its versions, its log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_machine::{Owner, SubmitError};
use weir_types::FunctionName;

use crate::api::Work;
use crate::counts::Counts;
use crate::gate::{Gate, Pass};
use crate::limits::{CLIENT_CONTEXT_BYTES_MAX, PAYLOAD_BYTES_MAX, WAITING_MAX};
use crate::log::{Cursor, FunctionLog, LogLine, LogQuery};
use crate::pool::{Live, Pool};
use crate::running::Running;
use crate::shared::Shared;
use crate::staged::{PrepareError, Staged, prepare};
use crate::versions::Command;
use crate::{Answer, Invocation, InvokeError, Outcome, Stats, Version, VersionError, Versions};

/// A deployed function. Lives as long as somebody holds it; closed with its host.
#[derive(Debug)]
pub struct Handler {
    shared: Arc<Shared>,
    name: FunctionName,
    versions: Owner<Versions>,
    log: Arc<FunctionLog>,
    counts: Arc<Counts>,
    state: Mutex<State>,
    /// One version is prepared at a time: the second of the same finds it there.
    preparing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    reserved: Option<Arc<Gate>>,
    pools: BTreeMap<u64, Arc<Pool>>,
    live: Live,
    closed: bool,
}

/// Why versions could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It can't be so.
    #[error(transparent)]
    Refused(#[from] VersionError),
    /// It could not be stored.
    #[error("store the versions of function `{function}`")]
    Store {
        /// The function.
        function: FunctionName,
        /// The cause.
        #[source]
        source: SubmitError,
    },
    /// The version's files or dependencies are not there.
    #[error("version {version} of function `{function}` can't run: {what}")]
    Missing {
        /// The function.
        function: FunctionName,
        /// The version.
        version: u64,
        /// What is missing.
        what: String,
    },
}

/// A turn: a part of the concurrency, held until it is dropped or used up by [`Handler::invoke_in`].
#[derive(Debug)]
pub struct Slot(Pass);

impl Handler {
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: FunctionName,
        versions: Owner<Versions>,
        log: Arc<FunctionLog>,
        live: Live,
    ) -> Self {
        let state = State { reserved: None, pools: BTreeMap::new(), live, closed: false };
        Self {
            shared,
            name,
            versions,
            log,
            counts: Arc::default(),
            state: Mutex::new(state),
            preparing: tokio::sync::Mutex::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the function's name.
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// Calls the function and waits for its answer.
    ///
    /// Dropping the future while it waits for a turn or an environment takes the invocation back; once the event is handed
    /// over the invocation runs to its end, as on AWS.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        check(&invocation)?;
        let slot = self.turn().await?;
        self.invoke_in(slot, invocation).await
    }

    /// Waits for a turn, within the host's limit.
    async fn turn(&self) -> Result<Slot, InvokeError> {
        let gate = self.gate();
        if let Some(pass) = gate.try_pass() {
            return Ok(Slot(pass));
        }
        let throttled = |reason| {
            self.counts.throttled();
            InvokeError::Throttled { function: self.name.clone(), reason }
        };
        if gate.bound() == 0 {
            return Err(throttled("its reserved concurrency is zero"));
        }
        match self.shared.env.within(self.shared.options.wait, gate.pass(WAITING_MAX)).await {
            Some(Some(pass)) => Ok(Slot(pass)),
            Some(None) => Err(throttled("too many invocations wait for their turn")),
            None => Err(throttled("as many invocations run as may run at one time")),
        }
    }

    /// Takes a turn if one is free, so that a trigger receives no more than can run.
    pub fn try_concurrency(&self) -> Option<Slot> {
        self.gate().try_pass().map(Slot)
    }

    /// Calls the function within a turn that was taken before.
    ///
    /// # Errors
    /// See [`InvokeError`]; `Throttled` only if too many wait for an environment.
    pub async fn invoke_in(&self, slot: Slot, invocation: Invocation) -> Result<Answer, InvokeError> {
        check(&invocation)?;
        let pool = self.pool(invocation.qualifier.as_deref()).await?;
        let lease = pool.lease().await?;
        let work = self.work(&invocation);
        let counts = Arc::clone(&self.counts);
        let running = Running {
            function: self.name.clone(),
            pool,
            lease,
            work,
            tail: invocation.tail_logs,
            counts: Arc::clone(&counts),
            pass: slot.0,
        };
        counts.begun();
        let task = tokio::spawn(async move {
            let answer = running.run().await;
            counts.finished();
            answer
        });
        // It ends without a value only with the runtime, or by a defect.
        task.await.unwrap_or_else(|error| {
            tracing::error!(function = %self.name, %error, "an invocation was lost");
            Err(InvokeError::Closed { function: self.name.clone() })
        })
    }

    fn work(&self, invocation: &Invocation) -> Work {
        let (env, options) = (&self.shared.env, &self.shared.options);
        let mut arn = format!("arn:aws:lambda:{}:{}:function:{}", options.region, options.account, self.name);
        if let Some(qualifier) = &invocation.qualifier {
            arn.push(':');
            arn.push_str(qualifier);
        }
        let trace = invocation.trace.clone().unwrap_or_else(|| {
            let seconds = env.now().0.max(0) / 1000;
            let (high, low, parent) = (env.random() >> 32, env.random(), env.random());
            format!("Root=1-{seconds:08x}-{high:08x}{low:016x};Parent={parent:016x};Sampled=0")
        });
        Work {
            request_id: uuid(env.random(), env.random()),
            // Set when it is handed over.
            deadline_ms: 0,
            arn,
            trace,
            client_context: invocation.client_context.clone(),
            payload: invocation.payload.clone(),
        }
    }

    fn gate(&self) -> Arc<Gate> {
        self.state().reserved.clone().unwrap_or_else(|| Arc::clone(&self.shared.account))
    }

    /// Returns the environments of the version that a qualifier names, which is prepared if it was not yet.
    async fn pool(&self, qualifier: Option<&str>) -> Result<Arc<Pool>, InvokeError> {
        let closed = || InvokeError::Closed { function: self.name.clone() };
        let unknown = || InvokeError::NoSuchVersion {
            function: self.name.clone(),
            qualifier: qualifier.unwrap_or("live").to_owned(),
        };
        let number = |versions: &Versions| versions.resolve(&self.name, qualifier).map(|(number, _)| number);
        let number = self.versions.read(number).ok_or_else(unknown)?;
        {
            let state = self.state();
            if state.closed {
                return Err(closed());
            }
            if let Some(pool) = state.pools.get(&number) {
                return Ok(Arc::clone(pool));
            }
        }
        self.prepared(number).await.map_err(|error| match error {
            PrepareError::Install(source) => {
                InvokeError::Install { function: self.name.clone(), source: Arc::new(source) }
            }
            other => InvokeError::Start { function: self.name.clone(), what: said(&other) },
        })
    }

    /// Prepares a version from its files.
    async fn prepared(&self, number: u64) -> Result<Arc<Pool>, PrepareError> {
        let _one = self.preparing.lock().await;
        if let Some(pool) = self.state().pools.get(&number) {
            return Ok(Arc::clone(pool));
        }
        let text = number.to_string();
        let hash = self.versions.read(|versions| {
            versions.resolve(&self.name, Some(&text)).map(|(_, hash)| hash.to_owned()).unwrap_or_default()
        });
        let staged = prepare(&self.shared, &self.name, number, &hash).await?;
        Ok(self.insert(staged))
    }

    fn insert(&self, staged: Staged) -> Arc<Pool> {
        let mut state = self.state();
        let number = staged.number;
        let live = state.live.clone();
        let pool =
            Pool::new(Arc::clone(&self.shared), self.name.clone(), Arc::new(staged), Arc::clone(&self.log), live);
        if state.closed {
            pool.close();
        }
        Arc::clone(state.pools.entry(number).or_insert(pool))
    }

    /// Takes over what a deployment has brought: the version that was deployed, the function's settings, and which version
    /// is live. Environments of other versions end when they are done.
    pub(crate) fn adopt(&self, staged: Staged, live: Live, reserved: Option<usize>) {
        let number = staged.number;
        {
            let mut state = self.state();
            state.reserved = reserved.map(|bound| match state.reserved.take() {
                Some(gate) => {
                    gate.set_bound(bound);
                    gate
                }
                None => Gate::new(bound),
            });
            let changed = state.live.secrets != live.secrets;
            state.live = live.clone();
            for pool in state.pools.values() {
                if changed {
                    pool.renew(live.clone());
                } else {
                    pool.set_keep_warm(live.keep_warm);
                }
            }
        }
        let known = self.state().pools.contains_key(&number);
        if !known {
            self.insert(staged);
        }
        self.end_others();
    }

    /// Lets the environments end that are not the live version's.
    fn end_others(&self) {
        let number = self.versions.read(|versions| versions.live(&self.name));
        let state = self.state();
        for (_, pool) in state.pools.iter().filter(|(version, _)| Some(**version) != number) {
            pool.renew(state.live.clone());
        }
    }

    pub(crate) fn forget(&self, removed: &[String]) {
        let numbers: Vec<u64> = self.versions().iter().map(|version| version.number).collect();
        if !removed.is_empty() {
            self.state().pools.retain(|number, pool| {
                let kept = numbers.contains(number);
                if !kept {
                    pool.close();
                }
                kept
            });
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for pool in state.pools.values() {
            pool.close();
        }
    }

    /// Returns how many invocations may run at one time.
    pub fn concurrency_max(&self) -> usize {
        self.gate().bound()
    }

    /// Returns the reserved concurrency.
    pub fn concurrency_reserved(&self) -> Option<usize> {
        self.state().reserved.as_ref().map(|gate| gate.bound())
    }

    /// Returns the function's counts.
    pub fn stats(&self) -> Stats {
        let mut stats = self.counts.stats();
        for pool in self.state().pools.values() {
            let held = pool.held();
            stats.idle += held.idle;
            stats.starting += held.starting;
            stats.waiting += held.waiting;
            stats.cold_starts += held.cold_starts;
            stats.init_duration += held.init_duration;
        }
        stats
    }

    /// Returns the versions, oldest first.
    pub fn versions(&self) -> Vec<Version> {
        self.versions.read(|versions| versions.list(&self.name))
    }

    /// Makes an older version live, the one before the live one if `to` is `None`, until other code is deployed; returns
    /// its number. Running invocations end on the version that they began with.
    ///
    /// # Errors
    /// See [`ChangeError`]; the live version stays then.
    pub async fn rollback(&self, to: Option<u64>) -> Result<u64, ChangeError> {
        // First what it needs, so that no version becomes live that can't run.
        let number = self.versions.read(|versions| match to {
            Some(number) => Some(number),
            None => {
                let live = versions.live(&self.name)?;
                versions.list(&self.name).iter().map(|version| version.number).rfind(|number| *number < live)
            }
        });
        let known = |number: &u64| self.versions().iter().any(|version| version.number == *number);
        if let Some(version) = number.filter(known) {
            self.prepared(version).await.map_err(|error| ChangeError::Missing {
                function: self.name.clone(),
                version,
                what: said(&error),
            })?;
        }
        let function = self.name.clone();
        let outcome = self.submit(Command::Rollback { function, to: number.or(to) }).await?;
        self.end_others();
        Ok(outcome.live)
    }

    async fn submit(&self, command: Command) -> Result<Outcome, ChangeError> {
        let stored = self.versions.submit(command).await;
        Ok(stored.map_err(|source| ChangeError::Store { function: self.name.clone(), source })??)
    }

    /// Returns the aliases and the versions that they name.
    pub fn aliases(&self) -> BTreeMap<String, u64> {
        self.versions.read(|versions| versions.aliases(&self.name))
    }

    /// Lets an alias name a version.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn set_alias(&self, alias: &str, version: u64) -> Result<(), ChangeError> {
        let command = Command::SetAlias { function: self.name.clone(), alias: alias.to_owned(), version };
        self.submit(command).await.map(|_| ())
    }

    /// Forgets an alias.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove_alias(&self, alias: &str) -> Result<(), ChangeError> {
        let command = Command::RemoveAlias { function: self.name.clone(), alias: alias.to_owned() };
        self.submit(command).await.map(|_| ())
    }

    /// Returns lines of the function's log, oldest first.
    ///
    /// # Errors
    /// If its files don't read.
    pub async fn logs(&self, query: LogQuery) -> Result<Vec<LogLine>, std::io::Error> {
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.read(&query)).await.map_err(std::io::Error::other)?
    }

    /// Returns a watch of the log's end, which wakes those who follow it.
    pub fn follow(&self) -> watch::Receiver<Cursor> {
        self.log.follow()
    }

    /// Returns the log's end: where one begins who wants only what comes.
    pub fn log_end(&self) -> Cursor {
        self.log.end()
    }
}

/// Returns an error with its causes, for where it can't be kept as a source.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

fn check(invocation: &Invocation) -> Result<(), InvokeError> {
    let bytes = invocation.payload.len();
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(InvokeError::TooLarge { bytes });
    }
    let context = invocation.client_context.as_deref().unwrap_or_default();
    if context.len() > CLIENT_CONTEXT_BYTES_MAX {
        let what = format!("the client context has {} bytes, and may have {CLIENT_CONTEXT_BYTES_MAX}", context.len());
        return Err(InvokeError::BadRequest { what });
    }
    let trace = invocation.trace.as_deref().unwrap_or_default().as_bytes();
    if context.iter().chain(trace).any(|byte| byte.is_ascii_control()) {
        let what =
            "the client context and the trace header may have no control characters, line ends included".to_owned();
        return Err(InvokeError::BadRequest { what });
    }
    Ok(())
}

/// Writes 128 random bits as a UUID of version 4 (RFC 9562).
fn uuid(high: u64, low: u64) -> String {
    let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}

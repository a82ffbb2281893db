//! The environments of one version: started on demand, kept warm, given out last in, first out.
//!
//! ```text
//! lease --idle there?--> the one that was used last
//!       --none---------> wait; a start begins ------ready----> the first who waits, or idle
//!                        (released ones serve too)             idle for `keep_warm` -> ended
//! ```
//!
//! Invariants: for every invocation that waits a start is under way, so that nobody waits for nothing; a start that fails
//! fails one invocation; nothing runs and no timer is set while no environment is there. After a failed start the next
//! is held back, longer each time, and until then invocations fail at once with what failed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use weir_types::{FunctionName, Secret};

use crate::InvokeError;
use crate::environment::{Breach, Environment, Start, StartError};
use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX, INIT_LIMIT, WAITING_MAX};
use crate::log::FunctionLog;
use crate::shared::Shared;
use crate::staged::Staged;

/// What belongs to the function and may change while versions run.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub secrets: Arc<BTreeMap<String, Secret>>,
    pub keep_warm: Duration,
}

#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    function: FunctionName,
    staged: Arc<Staged>,
    log: Arc<FunctionLog>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    live: Live,
    /// Environments of an older generation are not used again.
    generation: u64,
    /// The one used last is the last.
    idle: Vec<(Arc<Environment>, Duration)>,
    /// Whether a task waits to end idle ones.
    expiring: bool,
    starting: usize,
    leased: usize,
    waiting: VecDeque<oneshot::Sender<Result<Lease, InvokeError>>>,
    failures: u32,
    failure: Option<InvokeError>,
    /// No start before this.
    held_until: Duration,
    closed: bool,
    cold_starts: u64,
    init_duration: Duration,
}

/// What a pool holds at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub idle: usize,
    pub starting: usize,
    pub waiting: usize,
    pub cold_starts: u64,
    pub init_duration: Duration,
}

/// An environment, for one invocation. Dropped without [`Lease::done`], the environment ends.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    environment: Option<Arc<Environment>>,
}

impl Pool {
    pub fn new(
        shared: Arc<Shared>,
        function: FunctionName,
        staged: Arc<Staged>,
        log: Arc<FunctionLog>,
        live: Live,
    ) -> Arc<Self> {
        let state = State {
            live,
            generation: 0,
            idle: Vec::new(),
            expiring: false,
            starting: 0,
            leased: 0,
            waiting: VecDeque::new(),
            failures: 0,
            failure: None,
            held_until: Duration::ZERO,
            closed: false,
            cold_starts: 0,
            init_duration: Duration::ZERO,
        };
        Arc::new(Self { shared, function, staged, log, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn staged(&self) -> &Arc<Staged> {
        &self.staged
    }

    pub fn held(&self) -> Held {
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.is_closed());
        Held {
            idle: state.idle.len(),
            starting: state.starting,
            waiting: state.waiting.len(),
            cold_starts: state.cold_starts,
            init_duration: state.init_duration,
        }
    }

    /// Takes an environment, or waits for one.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, InvokeError> {
        let receiver = {
            let mut state = self.state();
            if state.closed {
                return Err(self.closed());
            }
            while let Some((environment, _)) = state.idle.pop() {
                // One that has ended since is the keeper's to clear up.
                if !environment.has_ended() {
                    state.leased += 1;
                    return Ok(Lease { pool: Arc::clone(self), environment: Some(environment) });
                }
            }
            if let Some(failure) = self.held_back(&state) {
                return Err(failure);
            }
            state.waiting.retain(|waiting| !waiting.is_closed());
            if state.waiting.len() >= WAITING_MAX {
                let reason = "too many invocations wait for an environment";
                return Err(InvokeError::Throttled { function: self.function.clone(), reason });
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            self.start_for_waiting(&mut state);
            receiver
        };
        // A sender is dropped unanswered only when the runtime ends.
        receiver.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn closed(&self) -> InvokeError {
        InvokeError::Closed { function: self.function.clone() }
    }

    /// Returns the last failure again, while starts are held back.
    fn held_back(&self, state: &State) -> Option<InvokeError> {
        let left = state.held_until.checked_sub(self.shared.env.elapsed()).filter(|left| !left.is_zero())?;
        let mut failure = state.failure.clone()?;
        if let InvokeError::InitFailed { retry_after, .. } = &mut failure {
            *retry_after = left;
        }
        Some(failure)
    }

    /// Keeps a start under way for everybody who waits.
    fn start_for_waiting(self: &Arc<Self>, state: &mut State) {
        while state.starting < state.waiting.len() {
            state.starting += 1;
            tokio::spawn(Arc::clone(self).start());
        }
    }

    /// Starts one environment for whoever waits.
    async fn start(self: Arc<Self>) {
        let _pass = self.shared.starts.pass(usize::MAX).await;
        let (live, generation) = {
            let mut state = self.state();
            state.waiting.retain(|waiting| !waiting.is_closed());
            // Meanwhile released environments may have served them.
            if state.waiting.len() < state.starting || state.closed {
                state.starting -= 1;
                return;
            }
            (state.live.clone(), state.generation)
        };
        let mut started = self.start_once(&live, generation, INIT_LIMIT).await;
        if matches!(started, Err(StartError::TimedOut)) {
            // As on AWS: what is too slow for the init phase is begun again as a part of the invocation.
            started = self.start_once(&live, generation, self.staged.settings.timeout()).await;
        }
        match started {
            Ok(environment) => self.started(environment),
            Err(error) => self.failed(error),
        }
    }

    async fn start_once(&self, live: &Live, generation: u64, limit: Duration) -> Result<Arc<Environment>, StartError> {
        let start = Start {
            function: &self.function,
            staged: Arc::clone(&self.staged),
            secrets: &live.secrets,
            log: Arc::clone(&self.log),
            generation,
        };
        let began = self.shared.env.elapsed();
        let started = Environment::start(&self.shared, start, limit).await;
        if started.is_ok() {
            let mut state = self.state();
            state.cold_starts += 1;
            state.init_duration += self.shared.env.elapsed().saturating_sub(began);
        }
        started
    }

    fn started(self: &Arc<Self>, environment: Arc<Environment>) {
        let mut state = self.state();
        state.starting -= 1;
        state.failures = 0;
        state.failure = None;
        state.held_until = Duration::ZERO;
        self.put(state, environment);
    }

    fn failed(&self, error: StartError) {
        let mut error = self.explain(error);
        let waiting = {
            let mut state = self.state();
            state.starting -= 1;
            let delay = backoff(state.failures);
            state.failures = state.failures.saturating_add(1);
            if let InvokeError::InitFailed { retry_after, .. } = &mut error {
                *retry_after = delay;
                state.held_until = self.shared.env.elapsed() + delay;
                state.failure = Some(error.clone());
            }
            next_waiting(&mut state.waiting)
        };
        tracing::warn!(function = %self.function, version = self.staged.number, %error, "an environment did not come up");
        if let Some(waiting) = waiting {
            let _ = waiting.send(Err(error));
        }
    }

    fn explain(&self, error: StartError) -> InvokeError {
        let failed = |error_type: &str, message: String, trace, last_lines| InvokeError::InitFailed {
            error_type: error_type.to_owned(),
            message,
            trace,
            last_lines,
            retry_after: Duration::ZERO,
        };
        let settings = &self.staged.settings;
        match error {
            StartError::Refused(what) => InvokeError::Start { function: self.function.clone(), what },
            StartError::Init(error) => failed(&error.error_type, error.message, error.trace, vec![]),
            StartError::TimedOut => {
                let message = format!("Task timed out after {:.2} seconds", settings.timeout().as_secs_f64());
                failed("Sandbox.Timedout", format!("{message}, before its runtime asked for an event"), vec![], vec![])
            }
            StartError::Exited(status, lines) => {
                failed("Runtime.ExitError", format!("Runtime exited with error: {status}"), vec![], lines)
            }
            StartError::Over(Breach::Memory) => {
                let message = format!("more than {} bytes of memory while it came up", settings.memory_bytes);
                failed("Runtime.OutOfMemory", message, vec![], vec![])
            }
            StartError::Over(Breach::Temp) => {
                let message = format!("more than {} bytes in the temp folder while it came up", settings.temp_bytes);
                failed("Runtime.TempFull", message, vec![], vec![])
            }
        }
    }

    /// Gives an environment to the first who waits, or keeps it warm.
    fn put(self: &Arc<Self>, mut state: MutexGuard<'_, State>, environment: Arc<Environment>) {
        if environment.has_ended() || environment.generation != state.generation || state.closed {
            self.start_for_waiting(&mut state);
            drop(state);
            environment.kill();
            return;
        }
        if let Some(waiting) = next_waiting(&mut state.waiting) {
            state.leased += 1;
            drop(state);
            // If nobody takes it, the lease comes back, and its drop ends a good environment: rare, and safe.
            let _ = waiting.send(Ok(Lease { pool: Arc::clone(self), environment: Some(environment) }));
            return;
        }
        if state.live.keep_warm.is_zero() {
            drop(state);
            environment.kill();
            return;
        }
        state.idle.push((environment, self.shared.env.elapsed()));
        if !state.expiring {
            state.expiring = true;
            tokio::spawn(Arc::clone(self).expire());
        }
    }

    /// Ends environments that were idle for too long; runs only while there are idle ones.
    async fn expire(self: Arc<Self>) {
        loop {
            let (expired, wait) = {
                let mut state = self.state();
                let (now, keep) = (self.shared.env.elapsed(), state.live.keep_warm);
                state.idle.retain(|(environment, _)| !environment.has_ended());
                let old = state.idle.iter().take_while(|(_, since)| now.saturating_sub(*since) >= keep).count();
                let expired: Vec<_> = state.idle.drain(..old).collect();
                let wait = state.idle.first().map(|(_, since)| (*since + keep).saturating_sub(now));
                state.expiring = wait.is_some();
                (expired, wait)
            };
            for (environment, _) in expired {
                environment.kill();
            }
            let Some(wait) = wait else { return };
            self.shared.env.sleep(wait).await;
        }
    }

    /// Ends idle environments, and busy ones when they are done: code, secrets or their life have changed.
    pub fn renew(&self, live: Live) {
        let idle = {
            let mut state = self.state();
            state.live = live;
            state.generation += 1;
            // A changed secret or time may mend what failed.
            state.held_until = Duration::ZERO;
            std::mem::take(&mut state.idle)
        };
        for (environment, _) in idle {
            environment.kill();
        }
    }

    /// Changes how long environments stay, from the next time on that one is put back.
    pub fn set_keep_warm(&self, keep_warm: Duration) {
        self.state().live.keep_warm = keep_warm;
    }

    /// Takes no more invocations; idle environments end now, busy ones when they are done.
    pub fn close(&self) {
        let (idle, waiting) = {
            let mut state = self.state();
            state.closed = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiting))
        };
        for (environment, _) in idle {
            environment.kill();
        }
        for waiting in waiting {
            let _ = waiting.send(Err(self.closed()));
        }
    }
}

fn next_waiting<T>(waiting: &mut VecDeque<oneshot::Sender<T>>) -> Option<oneshot::Sender<T>> {
    std::iter::from_fn(|| waiting.pop_front()).find(|sender| !sender.is_closed())
}

/// Returns how long the next start is held back after so many failures before this one.
fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(BACKOFF_MAX)
}

impl Lease {
    pub fn environment(&self) -> &Arc<Environment> {
        // Taken by `done` alone, which takes the lease too.
        self.environment.as_ref().unwrap_or_else(|| unreachable!("a lease has an environment until it is done"))
    }

    /// Puts the environment back for the next invocation.
    pub fn done(mut self) {
        if let Some(environment) = self.environment.take() {
            let mut state = self.pool.state();
            state.leased -= 1;
            self.pool.put(state, environment);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(environment) = self.environment.take() {
            self.pool.state().leased -= 1;
            environment.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_holds_the_next_start_back_for_longer_up_to_a_limit() {
        assert_eq!(backoff(0), BACKOFF_FIRST);
        assert_eq!(backoff(2), BACKOFF_FIRST * 4);
        assert_eq!(backoff(31), BACKOFF_MAX);
        assert_eq!(backoff(400), BACKOFF_MAX);
    }
}

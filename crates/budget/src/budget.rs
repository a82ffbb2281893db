//! One account's budget: the pacer and the fair queue behind one lock, and a task while somebody waits for time to pass.
//!
//! A permit that may go at once is given without a task or a timer; the end of a call gives its place to who is next. Only while calls wait
//! for a moment is there a task that sleeps until then. Invariants: permits are given in the fair queue's order, and none that the
//! pacer did not allow at that moment; a waiting call that is dropped leaves the queue; nothing is awaited under the lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use weir_env::Env;
use weir_machine::{Owner, SubmitError};
use weir_types::ApiName;

use crate::fair::{Fair, LeafId};
use crate::{
    BudgetCommand, Budgets, Estimate, FLOWS_SHOWN_MAX, Facts, FlowStatus, Hold, Now, Outcome, Pacer, Reservation,
    Settings, Signal, Status, Ticket, Verdict, Wait,
};

/// The longest sleep of a task that waits for the wall clock, which may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long until a reservation that could not be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// One step of a flow's path: who, and its share among its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'a> {
    /// A crawl's or function's name, or a tenant's.
    pub name: &'a str,
    /// Its share; 0 counts as 1.
    pub weight: u32,
}

#[derive(Debug)]
struct State {
    pacer: Pacer,
    fair: Fair<oneshot::Sender<Permit>>,
    /// Until when the task sleeps; none: there is no task.
    task: Option<Duration>,
    storing: bool,
}

/// One vendor account's budget. Everybody who calls the vendor shares it.
#[derive(Debug)]
pub struct Budget {
    name: ApiName,
    env: Env,
    facts: Owner<Budgets>,
    runtime: Handle,
    state: Mutex<State>,
    earlier: Notify,
}

/// Permits to be handed over, and what has to be stored, after the lock is gone.
#[derive(Default)]
#[must_use]
struct After {
    permits: Vec<(oneshot::Sender<Permit>, Permit)>,
    task: bool,
    reserve: Vec<Reservation>,
    learn: Option<BudgetCommand>,
    earlier: bool,
}

impl Budget {
    /// A budget that begins now, with an empty bucket and with what `facts` know of the account.
    ///
    /// Must be called within a tokio runtime, which runs its tasks. There must be one budget per account and `facts`.
    pub fn open(name: ApiName, settings: Settings, facts: Owner<Budgets>, env: Env) -> Arc<Self> {
        let known: Facts = facts.read(|budgets| budgets.get(&name).cloned()).unwrap_or_default();
        let pacer = Pacer::new(settings, &known, Now { elapsed: env.elapsed(), wall: env.now() });
        let state = Mutex::new(State { pacer, fair: Fair::default(), task: None, storing: false });
        Arc::new(Self { name, env, facts, runtime: Handle::current(), state, earlier: Notify::new() })
    }

    /// The account's name.
    pub fn name(&self) -> &ApiName {
        &self.name
    }

    /// Returns the flow of a path: a crawl or function, then a tenant of it, if it has any. The same path is the same flow; the weights
    /// said last hold. Further steps are ignored.
    pub fn flow(self: &Arc<Self>, path: &[Share<'_>]) -> Flow {
        let group = path.first().map_or(("", 1), |share| (share.name, share.weight));
        let leaf = path.get(1).map_or(("", 1), |share| (share.name, share.weight));
        let leaf = self.lock().fair.hold(group, leaf);
        Flow { budget: Arc::clone(self), leaf }
    }

    /// Returns what the budget is doing now.
    pub fn status(&self) -> Status {
        let now = self.now();
        let mut state = self.lock();
        let mut status = state.pacer.status(now);
        status.wait = state.wait(now);
        status.waiting = state.fair.waiting() as u64;
        let mut flows: Vec<_> = state.fair.flows().collect();
        flows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
        flows.truncate(FLOWS_SHOWN_MAX);
        let flow = |(group, leaf, waiting): (&str, &str, usize)| {
            let path = [group, leaf].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect();
            FlowStatus { path, waiting: waiting as u64 }
        };
        status.flows = flows.into_iter().map(flow).collect();
        status
    }

    /// Returns how long so many calls would take from now, if nobody else called, with quotas and windows.
    pub fn time_for(&self, calls: u64) -> Estimate {
        self.lock().pacer.time_for(self.now(), calls)
    }

    /// Returns how many calls a second may go now; none: no limit is known.
    pub fn rate_now(&self) -> Option<f64> {
        self.lock().pacer.rate_now(self.now())
    }

    /// Stores what was learned, and gives back what was reserved of quotas and not used. To be called when no more calls are made: before a node
    /// stops, or before the budget is opened anew with other settings. Without it a restart knows a little less, and no more than a
    /// hundredth of a quota is lost.
    ///
    /// # Errors
    /// If it can't be stored.
    pub async fn close(&self) -> Result<(), SubmitError> {
        let now = self.now();
        let (unused, (learned, blocked_until)) = {
            let mut state = self.lock();
            (state.pacer.unused(), state.pacer.lesson_at_end(now))
        };
        for Reservation { quota, period, calls, .. } in unused {
            let command = BudgetCommand::Return { api: self.name.clone(), quota, period, calls };
            self.facts.submit(command).await?;
        }
        let known =
            self.facts.read(|budgets| budgets.get(&self.name).map(|facts| (facts.learned, facts.blocked_until)));
        if known.unwrap_or_default() != (learned, blocked_until) {
            self.facts.submit(BudgetCommand::Learn { api: self.name.clone(), learned, blocked_until }).await?;
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now { elapsed: self.env.elapsed(), wall: self.env.now() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(self: &Arc<Self>, leaf: LeafId, ticket: Ticket, signal: &Signal) -> Verdict {
        let now = self.now();
        let (verdict, after) = {
            let mut state = self.lock();
            let verdict = state.pacer.end(now, ticket, signal);
            let after = state.pump(self, now);
            state.fair.release(leaf);
            (verdict, after)
        };
        self.finish(after);
        verdict
    }

    fn finish(self: &Arc<Self>, after: After) {
        for (waiter, permit) in after.permits {
            // A waiter that is gone drops the permit, which ends it as unknown.
            let _ = waiter.send(permit);
        }
        if after.task {
            self.runtime.spawn(Arc::clone(self).wait_for_time());
        }
        if after.earlier {
            self.earlier.notify_one();
        }
        for reservation in after.reserve {
            self.runtime.spawn(Arc::clone(self).reserve(reservation));
        }
        if let Some(command) = after.learn {
            self.runtime.spawn(Arc::clone(self).learn(command));
        }
    }

    /// Runs while calls wait: hands out permits, and sleeps until the pacer allows the next.
    async fn wait_for_time(self: Arc<Self>) {
        loop {
            let (after, until) = {
                let now = self.now();
                let mut state = self.lock();
                let after = state.pump(&self, now);
                if state.fair.waiting() == 0 {
                    state.task = None;
                }
                (after, state.task.map(|until| until.saturating_sub(now.elapsed)))
            };
            self.finish(after);
            let Some(span) = until else { return };
            let _ = self.env.within(span.min(SLEEP_MAX), self.earlier.notified()).await;
        }
    }

    async fn reserve(self: Arc<Self>, reservation: Reservation) {
        let Reservation { quota, period, calls, limit } = reservation.clone();
        let command = BudgetCommand::Reserve { api: self.name.clone(), quota, period, calls, limit };
        let granted = match self.facts.submit(command).await {
            Ok(granted) => Some(granted),
            Err(error) => {
                tracing::warn!(api = %self.name, %error, "part of a quota could not be reserved; calls wait, and it is tried again");
                self.env.sleep(STORE_RETRY).await;
                None
            }
        };
        let now = self.now();
        let after = {
            let mut state = self.lock();
            state.pacer.reserved(&reservation, granted);
            state.pump(&self, now)
        };
        self.finish(after);
    }

    async fn learn(self: Arc<Self>, command: BudgetCommand) {
        if let Err(error) = self.facts.submit(command).await {
            tracing::warn!(api = %self.name, %error, "what was learned could not be stored; a restart would learn it again");
        }
        self.lock().storing = false;
    }
}

impl State {
    /// Gives permits to those whose turn it is, as long as the pacer allows, and arranges for the rest.
    fn pump(&mut self, budget: &Arc<Budget>, now: Now) -> After {
        let mut after = After::default();
        let mut hold = None;
        while self.fair.waiting() > 0 {
            hold = self.pacer.poll(now);
            if hold.is_some() {
                break;
            }
            let Some((leaf, waiter)) = self.fair.pop() else { break };
            after.permits.push((waiter, self.permit(budget, leaf, now)));
        }
        match hold {
            None if self.task.is_some() => after.earlier = true,
            None => {}
            Some(hold) => {
                let until = hold.wakes(now);
                match self.task {
                    None => after.task = until != Duration::MAX,
                    Some(asleep) => after.earlier = until < asleep,
                }
                if self.task.is_some() || after.task {
                    self.task = Some(until);
                }
            }
        }
        self.chores(budget, now, &mut after);
        after
    }

    fn permit(&mut self, budget: &Arc<Budget>, leaf: LeafId, now: Now) -> Permit {
        self.fair.hold_again(leaf);
        let ticket = self.pacer.grant(now);
        Permit { call: Some((Arc::clone(budget), leaf, ticket)) }
    }

    fn chores(&mut self, budget: &Budget, now: Now, after: &mut After) {
        while let Some(reservation) = self.pacer.reservation(now) {
            after.reserve.push(reservation);
        }
        if !self.storing
            && let Some((learned, blocked_until)) = self.pacer.lesson(now)
        {
            self.storing = true;
            after.learn = Some(BudgetCommand::Learn { api: budget.name.clone(), learned, blocked_until });
        }
    }

    fn wait(&mut self, now: Now) -> Wait {
        if self.fair.waiting() == 0 {
            return Wait::Nothing;
        }
        self.pacer.poll(now).map_or(Wait::Nothing, |hold| hold.told(now))
    }
}

impl Hold {
    /// When to look again; [`Duration::MAX`] if the end of a call or of a reservation has to come first.
    fn wakes(self, now: Now) -> Duration {
        match self {
            Self::Breaker(at) | Self::Vendor(at) if at <= now.elapsed => Duration::MAX,
            Self::Budget(at) | Self::Vendor(at) | Self::Breaker(at) => at,
            Self::Concurrency | Self::Reserving => Duration::MAX,
            Self::Quota(at) | Self::Window(at) => {
                now.elapsed + at.since(now.wall).clamp(Duration::from_millis(1), SLEEP_MAX)
            }
        }
    }
}

/// Who calls: a crawl or function, and a tenant of it. Clones are the same flow; when the last one is gone it is forgotten.
#[derive(Debug)]
pub struct Flow {
    budget: Arc<Budget>,
    leaf: LeafId,
}

impl Clone for Flow {
    fn clone(&self) -> Self {
        self.budget.lock().fair.hold_again(self.leaf);
        Self { budget: Arc::clone(&self.budget), leaf: self.leaf }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.budget.lock().fair.release(self.leaf);
    }
}

impl Flow {
    /// Waits for this flow's turn, and for the vendor's. The call should be written at once then.
    ///
    /// Dropping the future gives the place up; asking again begins at the flow's end.
    pub async fn permit(&self) -> Permit {
        loop {
            let mut place = match self.ask() {
                Ok(permit) => return permit,
                Err(place) => place,
            };
            if let Ok(permit) = (&mut place.turn).await {
                return permit;
            }
        }
    }

    /// Returns a permit if one can be had now without overtaking anybody.
    pub fn try_permit(&self) -> Option<Permit> {
        let now = self.budget.now();
        let mut after = After::default();
        let permit = {
            let mut state = self.budget.lock();
            let permit = state.try_permit(&self.budget, self.leaf, now);
            state.chores(&self.budget, now, &mut after);
            permit
        };
        self.budget.finish(after);
        permit
    }

    /// Calls of this flow that wait.
    pub fn waiting(&self) -> u64 {
        self.budget.lock().fair.waiting_in(self.leaf) as u64
    }

    /// Why the next call of this flow waits; [`Wait::Nothing`] if none does.
    pub fn wait(&self) -> Wait {
        let now = self.budget.now();
        let mut state = self.budget.lock();
        match state.fair.waiting_in(self.leaf) {
            0 => Wait::Nothing,
            _ => state.wait(now),
        }
    }

    /// The budget that it belongs to.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn ask(&self) -> Result<Permit, Place<'_>> {
        let now = self.budget.now();
        let mut state = self.budget.lock();
        let mut after = After::default();
        let asked = match state.try_permit(&self.budget, self.leaf, now) {
            Some(permit) => {
                state.chores(&self.budget, now, &mut after);
                Ok(permit)
            }
            None => {
                let (waiter, turn) = oneshot::channel();
                let number = state.fair.push(self.leaf, waiter);
                if state.fair.waiting() == 1 {
                    after = state.pump(&self.budget, now);
                }
                Err(Place { flow: self, number, turn })
            }
        };
        drop(state);
        self.budget.finish(after);
        asked
    }
}

impl State {
    fn try_permit(&mut self, budget: &Arc<Budget>, leaf: LeafId, now: Now) -> Option<Permit> {
        if self.fair.waiting() > 0 || self.pacer.poll(now).is_some() {
            return None;
        }
        self.fair.served(leaf);
        Some(self.permit(budget, leaf, now))
    }
}

/// A place in the queue, which is left when it is dropped.
struct Place<'a> {
    flow: &'a Flow,
    number: u64,
    turn: oneshot::Receiver<Permit>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let budget = &self.flow.budget;
        let mut state = budget.lock();
        let left = state.fair.cancel(self.flow.leaf, self.number);
        let idle = state.fair.waiting() == 0 && state.task.is_some();
        drop(state);
        if left.is_some() && idle {
            // The task has nobody to wait for, and ends.
            budget.earlier.notify_one();
        }
    }
}

/// Leave to make one call, now. Dropped without [`Permit::end`] it counts as a call of which nothing is known.
#[derive(Debug)]
#[must_use = "a permit that is dropped has used up a call"]
pub struct Permit {
    call: Option<(Arc<Budget>, LeafId, Ticket)>,
}

impl Permit {
    /// Tells how the call ended, and returns whose fault a failure was.
    pub fn end(mut self, signal: Signal) -> Verdict {
        match self.call.take() {
            Some((budget, leaf, ticket)) => budget.end(leaf, ticket, &signal),
            None => Verdict { vendor_down: false },
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((budget, leaf, ticket)) = self.call.take() {
            budget.end(leaf, ticket, &Signal::of(Outcome::Unknown));
        }
    }
}

#[cfg(test)]
mod tests;

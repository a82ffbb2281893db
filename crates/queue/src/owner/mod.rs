//! The one task that decides, appends and applies for a queue.
//!
//! ```text
//! calls, returned leases, time --> turn: decide and apply --> one append --> commit, answer
//!                                   ^                            | refused
//!                                   +---------- roll back -------+
//! ```
//!
//! All that waits is decided together and stored in one append, on the condition that the log still ends where this owner
//! left it; while that is under way the next turn gathers. Invariant: nothing is answered, and no lease handed over, before
//! it is durable. Receivers that wait are served in their order, in the turn that has something for them.

mod attempts;
mod call;
mod decide;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use weir_log::{AppendError, Condition};
use weir_types::SequenceNumber;

use self::attempts::Attempts;
pub(crate) use self::call::{Answer, Ask, Call, Found, GivenUp, Leases, Space};
use crate::command::Command;
use crate::error::QueueError;
use crate::shared::{Clock, Shared, lock};
use crate::state::State;
use crate::turn::{Tally, Turn};

/// Calls that may wait for the owner.
pub(crate) const CALLS_MAX: usize = 4096;
/// Calls of one turn.
const TURN_CALLS: usize = 1024;
/// A turn takes no more calls once its append has this many bytes; one call adds less than as much again as an append may have.
const TURN_BYTES: usize = 1 << 20;
/// What one send may take in the log, so that it fits into a turn that has begun.
pub(crate) const SEND_BYTES_MAX: usize = weir_types::limits::APPEND_BYTES_MAX - TURN_BYTES - (1 << 20);
/// How often, and after what time, an append is tried again that the log was too busy for.
const BUSY_RETRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// The owner looks at the wall clock at least so often while somebody waits for it: it may have jumped.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Below so many receivers that wait nobody looks for those that have gone.
const WAITING_MIN: usize = 256;
/// How long what time does waits after an append that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Gives an answer, once it is known whether the turn is durable.
type Reply = Box<dyn FnOnce(Result<(), &QueueError>) + Send>;

pub(crate) struct Owner {
    shared: Arc<Shared>,
    state: State,
    clock: Clock,
    /// Where the log ends.
    next: u64,
    held: VecDeque<Call>,
    waiting: VecDeque<Ask>,
    /// Those who wait for messages that are given up.
    watchers: Vec<(GivenUp, usize, Answer<Vec<crate::turn::Taken>>)>,
    /// How many may wait until those that have gone are looked for.
    waiting_max: usize,
    attempts: Attempts,
    /// What this turn's attempts got, to be remembered once it is durable.
    attempted: Vec<(String, Vec<(u64, u32)>)>,
    back: mpsc::UnboundedSender<Vec<(u64, u32)>>,
    returned: mpsc::UnboundedReceiver<Vec<(u64, u32)>>,
    /// Leases that nobody has seen.
    came_back: Vec<(u64, u32)>,
    replies: Vec<Reply>,
    /// How long time has to wait after an append that failed: what it does would fail again.
    pause: Duration,
    /// More is due at this moment than the last turn took.
    more: bool,
}

/// How a turn ended.
enum Ended {
    Goes,
    Stops,
}

impl Owner {
    /// An owner of a settled state, whose log ends at `next`.
    pub(crate) fn new(shared: Arc<Shared>, state: State, clock: Clock, next: SequenceNumber) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        Self {
            shared,
            state,
            clock,
            next: next.0,
            held: VecDeque::new(),
            waiting: VecDeque::new(),
            watchers: Vec::new(),
            waiting_max: WAITING_MIN,
            attempts: Attempts::default(),
            attempted: Vec::new(),
            back,
            returned,
            came_back: Vec::new(),
            replies: Vec::new(),
            pause: Duration::ZERO,
            more: true,
        }
    }

    /// Tells how much there is, before the first turn.
    pub(crate) fn show(&self) {
        self.publish(Tally::default(), &[]);
    }

    /// Runs until it is told to close, all handles are gone, or the log is not its own any more.
    pub(crate) async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut batch = Vec::new();
        loop {
            if self.held.is_empty() && !self.more && !self.wait(&mut calls, &mut batch).await {
                return;
            }
            while batch.len() < TURN_CALLS
                && let Ok(call) = calls.try_recv()
            {
                batch.push(call);
            }
            self.held.extend(batch.drain(..));
            if let Some(at) = self.held.iter().position(|call| matches!(call, Call::Close { .. })) {
                // What came before is answered; what comes after finds nobody.
                let close = self.held.remove(at);
                self.held.truncate(at);
                while !self.held.is_empty() {
                    if matches!(self.turn().await, Ended::Stops) {
                        return;
                    }
                }
                calls.close();
                if let Some(Call::Close { answer }) = close {
                    let _ = answer.send(());
                }
                return;
            }
            if matches!(self.turn().await, Ended::Stops) {
                return;
            }
        }
    }

    /// Waits for something to do. False: everybody is gone.
    async fn wait(&mut self, calls: &mut mpsc::Receiver<Call>, batch: &mut Vec<Call>) -> bool {
        let due = self.state.next_due();
        let pause = due.map(|due| {
            let millis = u64::try_from(due.saturating_sub(self.clock.now())).unwrap_or(0);
            Duration::from_millis(millis).clamp(self.pause, SLEEP_MAX)
        });
        let env = &self.shared.env;
        let timer = async {
            match pause {
                Some(pause) => env.sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = calls.recv_many(batch, TURN_CALLS) => count > 0,
            returned = self.returned.recv() => {
                self.came_back.extend(returned.into_iter().flatten());
                true
            }
            () = timer => true,
        }
    }

    async fn turn(&mut self) -> Ended {
        let now = self.clock.now();
        let settings = self.shared.settings();
        self.more = false;
        let mut turn = Turn::new(now, self.next);
        while let Ok(leases) = self.returned.try_recv() {
            self.came_back.extend(leases);
        }
        let came_back = std::mem::take(&mut self.came_back);
        if !came_back.is_empty() {
            self.attempts.forget(&came_back);
            turn.take_back(&mut self.state, &came_back);
        }
        turn.due(&mut self.state, &settings);
        let mut calls = 0;
        while let Some(call) = self.held.pop_front() {
            if calls == TURN_CALLS || turn.writer.bytes() > TURN_BYTES || (call.is_alone() && calls > 0) {
                self.held.push_front(call);
                break;
            }
            calls += 1;
            if call.is_alone() {
                // What time did comes first, on its own.
                if let Ended::Stops = self.end(turn).await {
                    return Ended::Stops;
                }
                return self.alone(now, call).await;
            }
            self.decide(&mut turn, &settings, call);
        }
        turn.due(&mut self.state, &settings);
        self.serve(&mut turn, &settings);
        self.end(turn).await
    }

    /// Stores a turn, makes it final or takes it back, and answers.
    async fn end(&mut self, turn: Turn) -> Ended {
        self.more |= turn.more;
        if !turn.writer.is_empty() {
            // What is stored carries this time: a snapshot must not be older, or the clock goes back after a restart.
            self.state.clock = self.state.clock.max(turn.now);
        }
        let outcome = self.append(turn.writer).await;
        let replies = std::mem::take(&mut self.replies);
        let attempted = std::mem::take(&mut self.attempted);
        match &outcome {
            Ok(()) => {
                self.state.commit();
                self.publish(turn.tally, &turn.stamped);
                for (attempt, leases) in attempted {
                    self.attempts.add(attempt, turn.now, leases);
                }
                for reply in replies {
                    reply(Ok(()));
                }
                self.watched();
                self.state.tidy();
                self.pause = Duration::ZERO;
                return Ended::Goes;
            }
            Err(_) => self.state.roll_back(),
        }
        (self.more, self.pause) = (false, PAUSE);
        let (error, ended) = match outcome {
            Ok(()) => return Ended::Goes,
            Err(AppendError::Conflict { tail, .. }) => {
                tracing::error!(queue = %self.shared.name, %tail, expected = self.next, "another owner has appended; stepping down");
                (self.shared.closed(), Ended::Stops)
            }
            Err(AppendError::Closed) => (self.shared.closed(), Ended::Stops),
            Err(source) => {
                tracing::warn!(queue = %self.shared.name, error = %source, "the log did not take a change");
                (QueueError::Append { queue: self.shared.name.clone(), source }, Ended::Goes)
            }
        };
        for reply in replies {
            reply(Err(&error));
        }
        ended
    }

    /// Appends what was written, if anything was.
    async fn append(&mut self, writer: crate::command::Writer) -> Result<(), AppendError> {
        if writer.is_empty() {
            return Ok(());
        }
        let (blocks, end) = writer.finish();
        let condition = Condition::TailIs(SequenceNumber(self.next));
        let mut retries = 0;
        loop {
            let stored = self.shared.log.append(blocks.iter().map(|block| block.block()).collect(), condition).await;
            match stored {
                Ok(_) => break,
                Err(AppendError::Busy { .. }) if retries < BUSY_RETRIES => {
                    retries += 1;
                    self.shared.env.sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.next = end;
        for block in blocks {
            self.shared.payloads.keep(block);
        }
        Ok(())
    }

    /// Stores and applies commands that can't be taken back: they are applied once they are durable.
    async fn store_then_apply(&mut self, now: i64, commands: &[Command<'_>]) -> Result<(), QueueError> {
        let mut writer = crate::command::Writer::new(now, self.next);
        let mut places = Vec::with_capacity(commands.len());
        for command in commands {
            places.push(crate::state::At { time: now, block: writer.block_first(), place: writer.place() });
            writer.put(command);
        }
        let stored = self.append(writer).await;
        stored.map_err(|source| match source {
            AppendError::Conflict { .. } | AppendError::Closed => self.shared.closed(),
            source => QueueError::Append { queue: self.shared.name.clone(), source },
        })?;
        for (at, command) in places.into_iter().zip(commands) {
            self.state.apply(at, command).expect("a record that this queue has written reads");
        }
        self.state.commit();
        Ok(())
    }

    fn publish(&self, tally: Tally, stamped: &[String]) {
        if !stamped.is_empty() {
            let mut stamps = lock(&self.shared.stamps);
            for producer in stamped {
                if let Some(last) = self.state.stamps.get(producer.as_str()) {
                    stamps.insert(producer.as_str().into(), last.number);
                }
            }
        }
        let state = &self.state;
        self.shared.publish(|stats| {
            stats.ready = state.counts.ready;
            stats.in_flight = state.counts.in_flight;
            stats.delayed = state.counts.delayed;
            stats.exhausted = (state.exhausted.len() + state.dead.len()) as u64;
            stats.oldest_sent_at = state.oldest_sent_at().map(weir_types::Timestamp);
            stats.bytes = state.bytes;
            stats.sent += tally.sent;
            stats.received += tally.received;
            stats.deleted += tally.deleted;
            stats.dead_lettered += tally.dead_lettered;
            stats.expired += tally.expired;
        });
    }

    /// Answers those who wait for messages that are given up.
    fn watched(&mut self) {
        self.watchers.retain(|(.., answer)| !answer.is_closed());
        let waits: Vec<_> = std::mem::take(&mut self.watchers);
        for (which, max, answer) in waits {
            let taken = self.given_up(which, max);
            if taken.is_empty() {
                self.watchers.push((which, max, answer));
            } else {
                let _ = answer.send(Ok(taken));
            }
        }
    }
}

/// Asks an owner, and waits for its answer.
pub(crate) async fn ask<T, E: From<QueueError>>(
    shared: &Shared,
    calls: &mpsc::Sender<Call>,
    call: impl FnOnce(Answer<T, E>) -> Call,
) -> Result<T, E> {
    let (answer, answered) = oneshot::channel();
    calls.send(call(answer)).await.map_err(|_| shared.closed())?;
    answered.await.map_err(|_| shared.closed())?
}

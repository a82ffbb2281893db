//! Schedules: each time that is due becomes one event of the functions that are on it.
//!
//! An event is sent to the function's own queue, stamped with its time: a time that was sent before a crash is not sent
//! again, and how far a schedule has come is what its queue remembers. Between two times one timer waits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::watch;
use weir_config::SchedulePlan;
use weir_env::Env;
use weir_lambda::event::{Scheduled as Event, schedule, schedule_input};
use weir_queue::{Message, Queue, Stamp};
use weir_schedule::{Missed, Schedule};
use weir_types::Timestamp;

use crate::pipeline::chain;

/// The longest that a timer waits before the clock is looked at again: it may have been set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// One schedule for one function.
pub(crate) struct Scheduled {
    pub env: Env,
    pub name: String,
    pub schedule: Schedule,
    pub missed: Missed,
    /// What the function is given, as JSON; none: EventBridge's event.
    pub input: Option<Box<RawValue>>,
    pub events: Arc<Queue>,
}

impl Scheduled {
    /// Reads a plan.
    pub fn new(env: Env, plan: &SchedulePlan, events: Arc<Queue>) -> Self {
        let input = plan.input.clone().and_then(|input| RawValue::from_string(input).ok());
        Self { env, name: plan.name.to_string(), schedule: plan.when.clone(), missed: plan.missed, input, events }
    }

    fn producer(&self) -> String {
        format!("schedule/{}", self.name)
    }

    fn event(&self, time: Timestamp) -> Vec<u8> {
        // The same time has the same id, however often it is sent.
        let id = xxhash_rust::xxh3::xxh3_128(format!("{}@{}", self.name, time.0).as_bytes());
        let hex = format!("{id:032x}");
        let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let scheduled = Event { id: &id, name: &self.name, time, attempt: 1 };
        match &self.input {
            Some(input) => schedule_input(&scheduled, input),
            None => schedule(&scheduled),
        }
    }

    /// Returns the last time that was sent. A schedule that is new begins now, and stays so if the node stops before its first
    /// time.
    pub(super) async fn begin(&self) -> Result<Timestamp, weir_queue::SendError> {
        if let Some(number) = self.events.last_stamp(&self.producer()) {
            return Ok(Timestamp(i64::try_from(number).unwrap_or(i64::MAX)));
        }
        let now = self.env.now();
        let stamp = Stamp { producer: self.producer(), number: u64::try_from(now.0).unwrap_or(0) };
        self.events.send_once(stamp, Vec::new()).await?;
        Ok(now)
    }

    async fn send(&self, time: Timestamp) -> Result<(), weir_queue::SendError> {
        let stamp = Stamp { producer: self.producer(), number: u64::try_from(time.0).unwrap_or(0) };
        self.events.send_once(stamp, vec![Message::new(self.event(time))]).await.map(drop)
    }
}

/// Runs until `stopping` says so, or there is no further time.
pub(crate) async fn run(parts: Scheduled, mut stopping: watch::Receiver<bool>) {
    let mut pause = RETRY;
    let mut last = loop {
        match parts.begin().await {
            Ok(last) => break last,
            Err(error) if error.is_closed() => return,
            Err(error) => {
                tracing::error!(
                    schedule = parts.name,
                    error = chain(&error),
                    "the schedule can't begin, which is tried again"
                );
                tokio::select! {
                    () = parts.env.sleep(parts.env.jitter(pause)) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    };
    // What a rate counts from: the last time that was sent, or else when the schedule began.
    let schedule = parts.schedule.clone().anchored(last);
    loop {
        let due = schedule.due(last, parts.env.now(), parts.missed);
        if due.skipped > 0 {
            tracing::warn!(
                schedule = parts.name,
                skipped = due.skipped,
                "times of the schedule have passed while nothing ran"
            );
        }
        let mut wait = None;
        for time in due.fire {
            match parts.send(time).await {
                Ok(()) => {
                    last = time;
                    pause = RETRY;
                }
                Err(error) if error.is_closed() => return,
                Err(error) => {
                    tracing::error!(
                        schedule = parts.name,
                        error = chain(&error),
                        "a time of the schedule could not be sent, which is tried again"
                    );
                    wait = Some(parts.env.jitter(pause));
                    pause = (pause * 2).min(RETRY_MAX);
                    break;
                }
            }
        }
        let wait = match (wait, due.next) {
            (Some(wait), _) => wait,
            (None, Some(next)) => {
                last = last.max(due.seen);
                let left = next.0.saturating_sub(parts.env.now().0).max(0);
                Duration::from_millis(left.unsigned_abs()).min(LOOK)
            }
            (None, None) => return,
        };
        tokio::select! {
            () = parts.env.sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

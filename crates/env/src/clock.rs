//! Clocks: the machine's, and one that a test moves by hand.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use weir_types::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall clock's time, in UTC. It may jump either way.
    fn now(&self) -> Timestamp;
    /// Returns the time since a fixed point of this clock. It never goes back.
    fn elapsed(&self) -> Duration;
    /// Completes `span` later by the clock that never goes back.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts counting at this moment.
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    #[expect(clippy::new_without_default, reason = "a default should not read the time")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Timestamp(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that stands still until it is told to move. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock {
    time: Arc<Mutex<Time>>,
    moved: Arc<watch::Sender<Duration>>,
}

#[derive(Debug)]
struct Time {
    now: Timestamp,
    elapsed: Duration,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            time: Arc::new(Mutex::new(Time { now, elapsed: Duration::ZERO })),
            moved: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// Lets `span` pass, and wakes the sleepers whose time has come.
    pub fn advance(&self, span: Duration) {
        let elapsed = {
            let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
            time.now = time.now.after(span);
            time.elapsed += span;
            time.elapsed
        };
        self.moved.send_replace(elapsed);
    }

    /// Sets the wall clock alone, as an operator or a time server may: nobody wakes.
    pub fn jump(&self, now: Timestamp) {
        self.time.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.time.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn elapsed(&self) -> Duration {
        self.time.lock().unwrap_or_else(PoisonError::into_inner).elapsed
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = self.elapsed() + span;
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, which outlives this future.
            let _ = moved.wait_for(|elapsed| *elapsed >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn sleepers_wake_when_time_is_moved_and_not_when_the_wall_clock_jumps() {
        let clock = ManualClock::at(Timestamp(0));
        let mut sleep = clock.sleep(Duration::from_secs(5));
        assert!((&mut sleep).now_or_never().is_none());
        clock.jump(Timestamp(1_000_000));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(5));
        assert!((&mut sleep).now_or_never().is_some());
        assert_eq!(clock.now(), Timestamp(1_005_000));
    }
}

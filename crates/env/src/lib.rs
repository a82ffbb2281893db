//! The clock and chance: the only crate that reads either.
//!
//! Everything above takes an [`Env`] and asks it, so that a test can drive time by hand ([`ManualClock`]) and a seed
//! repeats a run. Invariant: no other crate calls `SystemTime::now`, `Instant::now` or a random generator (clippy
//! refuses the former).
//!
//! ```
//! use std::time::Duration;
//! use weir_env::{Clock, Env, ManualClock};
//! use weir_types::Timestamp;
//!
//! let clock = ManualClock::at(Timestamp(1_000));
//! let env = Env::seeded(clock.clone(), 7);
//! clock.advance(Duration::from_secs(1));
//! assert_eq!(env.now(), Timestamp(2_000));
//! ```

mod clock;
mod random;

use std::sync::Arc;
use std::time::Duration;

pub use clock::{Clock, ManualClock, SystemClock};
pub use random::Random;
use weir_types::Timestamp;

/// The clock and the randomness that a component was given. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
}

impl Env {
    /// The machine's clock and a seed from the operating system.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock::new()), random: Arc::new(Random::from_system()) }
    }

    /// A clock of the caller's and a seed: two runs with one seed draw the same numbers.
    pub fn seeded(clock: impl Clock, seed: u64) -> Self {
        Self { clock: Arc::new(clock), random: Arc::new(Random::seeded(seed)) }
    }

    /// Returns the wall clock's time. It may jump.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the time since some fixed point. It never goes back.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Waits. Dropping the future ends the wait.
    pub async fn sleep(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// Runs `work` for at most `limit`; `None` says that the time ran out and `work` was dropped.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let work = std::pin::pin!(work);
        match futures::future::select(work, self.clock.sleep(limit)).await {
            futures::future::Either::Left((value, _)) => Some(value),
            futures::future::Either::Right(_) => None,
        }
    }

    /// Draws a number, all 64 bits of it uniform. Not for secrets.
    pub fn random(&self) -> u64 {
        self.random.next()
    }

    /// Returns `span` spread by up to a half either way, so that retries of many don't meet.
    pub fn jitter(&self, span: Duration) -> Duration {
        let permille = 500 + self.random() % 1001;
        span.mul_f64(permille as f64 / 1000.0)
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

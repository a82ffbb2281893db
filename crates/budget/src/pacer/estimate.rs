//! How long calls would take at what is known now: the pace, waits, quotas and windows, one stretch of time after the other.

use std::time::Duration;

use weir_types::Timestamp;

use super::{Now, Pacer, calendar, rates};
use crate::{BreakerState, Estimate};

/// Stretches of time that are looked at: with a window a day, some years.
const STRETCHES_MAX: u32 = 10_000;
/// What the pace may turn out to be, as parts of what it is: known, or still being learned.
const KNOWN: (f64, f64) = (0.97, 1.02);
const SEARCHING: (f64, f64) = (0.5, 4.0);

impl Pacer {
    /// Calls a second that may go now, as far as is known; none: no limit is known.
    pub fn rate_now(&self, now: Now) -> Option<f64> {
        let rate = self.sustained(now).min(self.rates.configured(&self.settings));
        rate.is_finite().then_some(rate)
    }

    /// Calls a second that the vendor and the calls under way allow; infinite if neither is known.
    fn sustained(&self, now: Now) -> f64 {
        let (soft, _) = self.soft_pace(now.elapsed);
        // A recovery lasts moments; what it comes back to is what counts.
        let soft = if self.breaker.state() == BreakerState::Recovering { self.learner.pace() } else { soft };
        let crowd = match self.latency.typical() {
            Some(latency) if !latency.is_zero() => f64::from(self.latency.calls()) / latency.as_secs_f64(),
            _ => f64::INFINITY,
        };
        soft.min(crowd)
    }

    /// How long so many calls take.
    pub fn time_for(&self, now: Now, calls: u64) -> Estimate {
        let (low, high) = if self.learner.searching() { SEARCHING } else { KNOWN };
        let at = |part: f64| self.walk(now, calls, part);
        Estimate { likely: at(1.0), least: at(high), most: at(low) }
    }

    fn walk(&self, now: Now, calls: u64, part: f64) -> Duration {
        let begin = self
            .learner
            .blocked_until(now.elapsed)
            .unwrap_or_default()
            .max(self.breaker.poll(now.elapsed).unwrap_or_default());
        let mut at = begin.saturating_sub(now.elapsed);
        let soft = self.sustained(now) * part;
        let mut left = calls as f64;
        let mut used: Vec<(Timestamp, f64)> = self.quotas.iter().map(|_| (Timestamp(i64::MIN), 0.0)).collect();
        for _ in 0..STRETCHES_MAX {
            if left < 1e-6 || at >= Estimate::MAX {
                break;
            }
            let wall = now.wall.after(at);
            let (window, valid) = calendar::window_at(&self.settings.windows, wall);
            let mut end = if self.settings.windows.is_empty() { Timestamp(i64::MAX) } else { valid.to };
            let configured = rates::of(&self.settings, window).map_or(0.0, rates::least);
            let mut most = left;
            for (quota, used) in self.quotas.iter().zip(&mut used) {
                let (_, rest, period) = quota.outlook(wall);
                end = end.min(period.to);
                if used.0 != period.from {
                    *used = (period.from, 0.0);
                }
                most = most.min((rest as f64 - used.1).max(0.0));
            }
            let rate = soft.min(configured);
            let room = end.since(wall);
            let needed = if rate > 0.0 {
                Duration::try_from_secs_f64(most / rate).unwrap_or(Duration::MAX)
            } else {
                Duration::MAX
            };
            let enough = most >= left && needed <= room;
            let made = if needed <= room { most } else { (rate * room.as_secs_f64()).min(most) };
            at = at.saturating_add(if enough { needed } else { room });
            left -= made;
            for used in &mut used {
                used.1 += made;
            }
        }
        if left < 1e-6 { at.min(Estimate::MAX) } else { Estimate::MAX }
    }
}

//! What the vendor's headers say is left of a window of its own.
//!
//! As long as much is left, calls go at some times the even pace; the last fifth is spread evenly until the window ends, and when nothing is left
//! calls wait for that. Windows that end within moments are left to the pace that refusals teach: a token bucket's headers look like them, and
//! mean something else. Headers that lie are ignored for a while, once the vendor's own answers have contradicted them thrice.

use std::time::Duration;

use crate::LimitHeaders;

/// Windows that end sooner are ignored.
const RESET_MIN: Duration = Duration::from_secs(3);
/// The longest wait that headers of an answered call cause.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// While much is left, calls go so many times as fast as evenly: the rest of the window is room for others and for later.
const AHEAD: f64 = 8.0;
/// The part of a window that is spread.
const SPREAD_PART: u64 = 5;
/// The least pace of what is spread: honest windows lose nothing by it, and others are found out.
const SPREAD_MIN: f64 = 1.0;
/// A reset that moves by more than this is another window's.
const SAME_RESET: Duration = Duration::from_secs(2);
/// Contradictions that are believed, and for how long headers are ignored then.
const LIES_MAX: u32 = 3;
const IGNORED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy)]
struct Left {
    limit: Option<u64>,
    calls: u64,
    /// The number of the call whose answer said so.
    said_by: u64,
    reset_at: Duration,
    /// Calls were held back since then because nothing was left.
    waited: bool,
}

/// What is left, if the vendor says so.
#[derive(Debug, Default)]
pub struct Told {
    left: Option<Left>,
    lies: u32,
    ignored_until: Duration,
    before: Option<Before>,
    /// The last call whose answer was compared with an earlier one.
    compared: Option<u64>,
}

/// What was said to a call, to compare with what is said to one that was let go after that.
#[derive(Debug, Clone, Copy)]
struct Before {
    last: u64,
    remaining: u64,
    reset_at: Duration,
}

impl Told {
    /// Calls a second that the headers leave, infinite if they don't say. When nothing is left, [`Told::until`] says so.
    pub fn pace(&self, now: Duration) -> f64 {
        let Some(left) = self.left.filter(|left| left.reset_at > now) else { return f64::INFINITY };
        let plenty = left.limit.is_some_and(|limit| left.calls.saturating_mul(SPREAD_PART) > limit);
        if left.calls == 0 {
            return f64::INFINITY;
        }
        let even = left.calls as f64 / (left.reset_at - now).as_secs_f64();
        (even * if plenty { AHEAD } else { 1.0 }).max(SPREAD_MIN)
    }

    /// When the window ends, if nothing is left of it.
    pub fn until(&mut self, now: Duration) -> Option<Duration> {
        let left = self.left.as_mut().filter(|left| left.calls == 0 && left.reset_at > now)?;
        left.waited = true;
        Some(left.reset_at)
    }

    /// Takes note of a call that is let go.
    pub fn take(&mut self) {
        if let Some(left) = &mut self.left {
            left.calls = left.calls.saturating_sub(1);
        }
    }

    /// Whether calls were made in the same window and no less is left of it: ours are not counted, or more comes all the time.
    fn more_is_left(&mut self, now: Duration, number: u64, since: u64, remaining: u64, reset_at: Duration) -> bool {
        let before = self.before.filter(|before| now < before.reset_at);
        if before.is_some_and(|before| number <= before.last) {
            return false;
        }
        self.before = Some(Before { last: number + since, remaining, reset_at });
        self.compared = Some(number);
        before.is_some_and(|before| remaining >= before.remaining)
    }

    /// Takes note of what call `number`'s answer says; `since` calls were let go after it.
    pub fn answered(&mut self, now: Duration, number: u64, since: u64, said: &LimitHeaders) {
        let (Some(remaining), Some(reset)) = (said.remaining, said.reset) else { return };
        let reset_at = now + reset.min(WAIT_MAX);
        let same = self.left.is_some_and(|left| left.reset_at > now && left.reset_at.abs_diff(reset_at) <= SAME_RESET);
        if now < self.ignored_until || said.limit == Some(0) || (reset < RESET_MIN && !same) {
            return;
        }
        let calls = remaining.saturating_sub(since);
        let more = self.more_is_left(now, number, since, remaining, reset_at);
        if let Some(left) = self.left {
            if number < left.said_by {
                return;
            }
            let anew = now >= left.reset_at;
            // It was waited for, and the first answer of a new window says that nothing is left of it.
            let never = anew && left.waited && remaining == 0 && said.limit != Some(1);
            if never || more {
                self.lies += 1;
                if self.lies >= LIES_MAX {
                    *self = Self { ignored_until: now + IGNORED, ..Self::default() };
                    return;
                }
            } else if anew || self.compared == Some(number) {
                self.lies = 0;
            }
        }
        self.left = Some(Left { limit: said.limit, calls, said_by: number, reset_at, waited: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(limit: u64, remaining: u64, reset_s: u64) -> LimitHeaders {
        let reset = Some(Duration::from_secs(reset_s));
        LimitHeaders { limit: Some(limit), window: None, remaining: Some(remaining), reset }
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_is_used_freely_then_spread_then_waited_for() {
        let mut told = Told::default();
        told.answered(S, 1, 0, &said(100, 60, 40));
        assert!((told.pace(S) - 12.0).abs() < 1e-9);
        told.answered(S, 2, 5, &said(100, 15, 10));
        assert!((told.pace(S) - 1.0).abs() < 1e-9, "ten are left, of which five are under way");
        for _ in 0..10 {
            told.take();
        }
        assert_eq!(told.until(S), Some(11 * S));
        assert_eq!((told.until(11 * S), told.pace(11 * S)), (None, f64::INFINITY));
    }

    #[test]
    fn headers_that_always_say_none_are_ignored_in_the_end() {
        let mut told = Told::default();
        let (mut now, mut waits) = (S, 0);
        for number in 0..100 {
            told.answered(now, number, 0, &said(100, 0, 60));
            if let Some(until) = told.until(now) {
                now = until;
                waits += 1;
            }
        }
        assert_eq!(waits, 3);
        told.answered(now, 200, 0, &said(0, 0, 60));
        assert_eq!(told.until(now), None);
    }
}

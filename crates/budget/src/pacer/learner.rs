//! The pace that refusals teach.
//!
//! ```text
//! ramp: doubles while nothing refuses --refused--> climb: from below what was delivered to a little below the refusal
//!                                                    ^                      |
//!                                       refused, or  |                      v  ever more rarely
//!                                       no refusal --+---- probe <------- hold
//! ```
//!
//! One refusal is one lesson: calls that were under way when it came teach the same. From what became of them the vendor's rate can be
//! counted: while its bucket is empty it takes calls at exactly its rate ([`Journal::drained`]). From one refusal to the next it took no more
//! than its rate either, so that the pace need not fall below what was delivered between them: that is what ends the search with vendors that
//! count windows. A probe that is refused changes nothing but when the next one is.
//!
//! Invariant: the pace is positive and finite, or there is no limit of its own (infinite) because nothing was ever refused.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Learned;

/// The first pace when nothing is known.
const PACE_FIRST: f64 = 10.0;
/// The least pace: a vendor that refuses everything is asked this often.
const PACE_MIN: f64 = 1.0 / 60.0;
/// The greatest that is learned.
const PACE_MAX: f64 = 100_000.0;
/// A ramp doubles in this time, or in so many answers' times if that is longer; in quarters of it.
const RAMP_DOUBLES: Duration = Duration::from_millis(200);
const RAMP_ANSWERS: f64 = 1.5;
const RAMP_STEPS: f64 = 4.0;
/// Pace, as a part of that at which the vendor refused.
const HOLD: f64 = 0.97;
/// What a first refusal leaves of the pace, where the rate can't be counted. A ramp has gone about twice as fast as a vendor with a tenth of
/// a second of burst allows when it learns of it; a climb has not.
const FALL_OF_RAMP: f64 = 0.5;
const FALL: f64 = 0.85;
/// The part of the way to the held pace that a climb makes in a second.
const CLIMB: f64 = 0.35;
/// A climb that is this near has arrived.
const ARRIVED: f64 = 0.99;
/// From arriving to the first probe, and the longest time between two.
pub const PROBE_FIRST: Duration = Duration::from_secs(60);
pub const PROBE_LAST: Duration = Duration::from_secs(3600);
/// A probe goes up by this part, in steps of this time and of so many answers at least.
const PROBE_STEP: f64 = 0.02;
const PROBE_EACH: Duration = Duration::from_secs(2);
const PROBE_ANSWERS: u64 = 10;
/// Once it is so far above the old refusal, the vendor allows more than it did: the steps grow.
const PROBE_FREE: f64 = 1.3;
/// A probe that was refused nearer than this has found nothing.
const PROBE_NOISE: f64 = 1.05;
/// Refusals within so much time of each other belong to one search, which comes down faster.
const SEARCH: Duration = Duration::from_secs(30);
/// From so many refusals in one search on, the vendor counts windows.
const WINDOWS: u32 = 4;
/// The wait after a refusal that names none, doubled for each that follows without an answer between them.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_LAST: Duration = Duration::from_secs(60);
/// After a longer wait, or when the call after one was refused, a single call asks first.
const TRIAL_AFTER: Duration = Duration::from_secs(5);
/// Calls whose fate is remembered.
const JOURNAL_MAX: usize = 4096;
/// Over how long the pace is measured where none was set.
const SENT_MIN: Duration = Duration::from_millis(100);
const SENT_MAX: Duration = Duration::from_secs(1);
/// A count that is further above the pace that was refused is a mistake.
const COUNT_ABOVE: f64 = 1.2;
/// Calls taken during a drain that make a count.
const DRAIN_MIN: u64 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Answered,
    Refused,
    Other,
}

/// What became of the last calls, by number.
#[derive(Debug, Default)]
struct Journal {
    first: u64,
    calls: VecDeque<(Duration, Fate)>,
}

impl Journal {
    fn take(&mut self, number: u64, now: Duration) {
        if self.calls.is_empty() {
            self.first = number;
        }
        if self.calls.len() >= JOURNAL_MAX {
            self.calls.pop_front();
            self.first += 1;
        }
        self.calls.push_back((now, Fate::UnderWay));
    }

    /// The call took so long; half of that is taken for its way to the vendor.
    fn end(&mut self, number: u64, fate: Fate, took: Duration) {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(call) = place.and_then(|place| self.calls.get_mut(place)) {
            *call = (call.0 + took / 2, fate);
        }
    }

    /// Calls a second that were let go in the last second, or since the first that is remembered.
    fn sent(&self, now: Duration) -> f64 {
        let known = self.calls.front().map_or(Duration::ZERO, |(first, _)| now.saturating_sub(*first));
        let span = known.clamp(SENT_MIN, SENT_MAX);
        let since = now.saturating_sub(span);
        let calls = self.calls.iter().filter(|(at, _)| *at >= since).count();
        (calls as f64).max(1.0) / span.as_secs_f64()
    }

    /// Of the calls behind `after` up to `until`, from the first refused one to the last: how many were taken, and in how long they were let
    /// go. `None`: too few to count.
    fn drained(&self, after: u64, until: u64) -> Option<(u64, Duration)> {
        let place = |number: u64| usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let (from, to) = (place(after + 1), place(until + 1).min(self.calls.len()));
        let calls = || self.calls.range(from.min(to)..to);
        let refused = || calls().filter(|(_, fate)| *fate == Fate::Refused).map(|(at, _)| *at);
        let (begin, end) = (refused().min()?, refused().max()?);
        let taken = calls().filter(|(at, fate)| *fate == Fate::Answered && begin <= *at && *at <= end).count() as u64;
        let span = end - begin;
        (taken >= DRAIN_MIN && !span.is_zero()).then_some((taken, span))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Nothing was ever refused, and the settings say how fast.
    Free,
    Ramp,
    Climb,
    Hold {
        probe_at: Duration,
    },
    Probe {
        begun: Duration,
        taken: u64,
        step_at: Duration,
        answers: u64,
    },
}

/// A call that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// Its number.
    pub number: u64,
    /// Calls a second when it was let go.
    pub pace: f64,
    /// From then to the refusal.
    pub took: Duration,
}

/// A refusal whose calls have not all ended yet.
#[derive(Debug, Clone, Copy)]
struct Lesson {
    /// The last call that was let go before it was known.
    until: u64,
    /// What the phase was.
    phase: Phase,
    /// Calls a second when the refused call was let go.
    pace: f64,
    /// When it was known, and how many calls were answered since the one before, in how long.
    taken: u64,
    since: Option<Duration>,
    /// How long a wait the one before asked for.
    waited: Duration,
    /// It came soon after the one before.
    again: bool,
}

/// What refusals teach of the vendor's rate.
#[derive(Debug)]
pub struct Learner {
    pace: f64,
    refused_at: Option<f64>,
    phase: Phase,
    probe_every: Duration,
    stepped: Duration,
    /// The pace was what held calls back since the last step.
    binding: bool,
    answers_since_step: u64,
    journal: Journal,
    lesson: Option<Lesson>,
    /// When the last refusal was, how long a wait it asked for, and calls answered since.
    last_refusal: Option<Duration>,
    last_wait: Duration,
    last_until: u64,
    /// The last call that was let go when the last refusal was known.
    refused_until: u64,
    taken_since: u64,
    searches: u32,
    in_a_row: u32,
    blocked_until: Duration,
    trial: Trial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    No,
    Due,
    UnderWay(u64),
}

impl Learner {
    /// Begins with what was learned before; else with a low pace, or with none of its own where the settings say how fast.
    pub fn new(learned: Option<Learned>, paced: bool, blocked_for: Duration, now: Duration) -> Self {
        let sane = learned.filter(|learned| learned.pace.is_finite() && learned.pace > 0.0);
        let refused_at = sane.and_then(|learned| learned.refused_at).filter(|rate| rate.is_finite() && *rate > 0.0);
        let probe_every = sane.map_or(PROBE_FIRST, |learned| {
            Duration::try_from_secs_f64(learned.probe_every_s).unwrap_or(PROBE_FIRST).clamp(PROBE_FIRST, PROBE_LAST)
        });
        let (pace, phase) = match (sane, refused_at) {
            (Some(learned), Some(_)) => (learned.pace.clamp(PACE_MIN, PACE_MAX), Phase::Climb),
            (Some(learned), None) if paced => ((learned.pace / 2.0).clamp(PACE_FIRST, PACE_MAX), Phase::Ramp),
            (None, _) if paced => (PACE_FIRST, Phase::Ramp),
            (Some(_) | None, _) => (f64::INFINITY, Phase::Free),
        };
        let blocked_until = now + blocked_for;
        let trial = if blocked_for > TRIAL_AFTER { Trial::Due } else { Trial::No };
        Self {
            pace,
            refused_at,
            phase,
            probe_every,
            stepped: now,
            binding: false,
            answers_since_step: 0,
            journal: Journal::default(),
            lesson: None,
            last_refusal: None,
            last_wait: Duration::ZERO,
            last_until: 0,
            refused_until: 0,
            taken_since: 0,
            searches: 0,
            in_a_row: 0,
            blocked_until,
            trial,
        }
    }

    /// Calls a second; infinite: no limit of its own.
    pub fn pace(&self) -> f64 {
        self.pace
    }

    /// Calls a second at which the vendor refused.
    pub fn refused_at(&self) -> Option<f64> {
        self.refused_at
    }

    /// Whether the vendor's rate is still being looked for.
    pub fn searching(&self) -> bool {
        matches!(self.phase, Phase::Ramp) || self.searches > 0
    }

    /// Until when the vendor said to wait, if that is to come.
    pub fn blocked_until(&self, now: Duration) -> Option<Duration> {
        (self.blocked_until > now).then_some(self.blocked_until)
    }

    /// What is worth storing.
    pub fn learned(&self) -> Option<Learned> {
        self.pace.is_finite().then_some(Learned {
            pace: self.pace,
            refused_at: self.refused_at,
            probe_every_s: self.probe_every.as_secs_f64(),
        })
    }

    /// Until when no call may go at all; in the past: until the single call that is under way has ended.
    pub fn poll(&mut self, now: Duration) -> Option<Duration> {
        if self.blocked_until > now {
            return Some(self.blocked_until);
        }
        if self.lesson.is_some() {
            self.conclude(now);
        }
        matches!(self.trial, Trial::UnderWay(_)).then_some(self.blocked_until)
    }

    /// The pace held a call back.
    pub fn bound(&mut self) {
        self.binding = true;
    }

    /// Takes note of a call that is let go.
    pub fn take(&mut self, number: u64, now: Duration) {
        self.journal.take(number, now);
        if self.trial == Trial::Due {
            self.trial = Trial::UnderWay(number);
        }
    }

    fn tried(&mut self, number: u64, next: Trial) {
        if self.trial == Trial::UnderWay(number) {
            self.trial = next;
        }
    }

    /// Takes note of a call that ended without a word about pace.
    pub fn ended(&mut self, number: u64) {
        self.journal.end(number, Fate::Other, Duration::ZERO);
        self.tried(number, Trial::Due);
    }

    /// Takes note of an answer.
    pub fn answered(&mut self, now: Duration, number: u64, took: Duration, typical: Duration) {
        self.journal.end(number, Fate::Answered, took);
        self.tried(number, Trial::No);
        self.taken_since += 1;
        if number > self.refused_until {
            self.in_a_row = 0;
        }
        self.answers_since_step += 1;
        if self.lesson.is_none() {
            self.grow(now, typical);
        }
    }

    /// Goes up, if it is time for that.
    fn grow(&mut self, now: Duration, typical: Duration) {
        let since = now.saturating_sub(self.stepped);
        match self.phase {
            Phase::Free => {}
            Phase::Ramp => {
                let step = RAMP_DOUBLES.max(typical.mul_f64(RAMP_ANSWERS)).div_f64(RAMP_STEPS);
                if self.binding && since >= step && self.answers_since_step >= 1 {
                    self.pace = (self.pace * (1.0 / RAMP_STEPS).exp2()).min(PACE_MAX);
                    self.step(now);
                }
            }
            Phase::Climb => {
                let hold = self.refused_at.map_or(self.pace, |rate| rate * HOLD);
                // A pause is no reason to jump.
                let part = 1.0 - (-CLIMB * since.as_secs_f64().min(1.0)).exp();
                self.pace += (hold - self.pace) * part;
                self.step(now);
                if self.pace >= hold * ARRIVED {
                    self.phase = Phase::Hold { probe_at: now + self.probe_every };
                }
            }
            Phase::Hold { probe_at } => {
                let searched =
                    self.last_refusal.is_none_or(|last| now.saturating_sub(last) > SEARCH + self.last_wait * 2);
                if searched {
                    self.searches = 0;
                }
                let hold = self.refused_at.map_or(self.pace, |rate| rate * HOLD);
                self.pace += (hold - self.pace) * 0.01;
                if now >= probe_at && self.binding {
                    self.phase = Phase::Probe { begun: now, taken: 0, step_at: now, answers: PROBE_ANSWERS };
                }
                self.binding = self.binding && now < probe_at;
            }
            Phase::Probe { begun, taken, step_at, answers } if now >= step_at && answers >= PROBE_ANSWERS => {
                let refused_at = self.refused_at.unwrap_or(self.pace);
                let free = self.pace > refused_at * PROBE_FREE;
                let step = if free { self.pace - refused_at } else { refused_at * PROBE_STEP };
                self.pace = (self.pace + step.min(self.pace)).min(PACE_MAX);
                let step_at = now + PROBE_EACH.max(typical * 2);
                self.phase = Phase::Probe { begun, taken: taken + 1, step_at, answers: 0 };
            }
            Phase::Probe { begun, taken, step_at, answers } => {
                self.phase = Phase::Probe { begun, taken: taken + 1, step_at, answers: answers + 1 };
            }
        }
    }

    fn step(&mut self, now: Duration) {
        self.stepped = now;
        self.binding = false;
        self.answers_since_step = 0;
    }

    /// Takes note of a refusal of a call that was let go at so many calls a second, with the vendor's word on when to come back.
    pub fn refused(&mut self, now: Duration, call: Refused, last: u64, retry_after: Option<Duration>) {
        let Refused { number, pace, took } = call;
        self.journal.end(number, Fate::Refused, took);
        let known = number <= self.refused_until;
        let tried = self.trial == Trial::UnderWay(number);
        if !known {
            self.in_a_row += 1;
        }
        let wait = retry_after.unwrap_or_else(|| {
            (WAIT_FIRST * 2u32.saturating_pow(self.in_a_row.saturating_sub(1).min(10))).min(WAIT_LAST)
        });
        self.blocked_until = self.blocked_until.max(now + wait);
        if tried || wait > TRIAL_AFTER || retry_after.is_none() || self.in_a_row > 1 {
            self.trial = Trial::Due;
        }
        if known {
            return;
        }
        self.refused_until = last;
        if tried || self.in_a_row > 1 {
            // Nothing was taken since the last refusal: that is not about the pace, but about how long to wait.
            self.last_until = last;
            self.last_wait = (now + wait).saturating_sub(self.last_refusal.unwrap_or(now));
            return;
        }
        // What was really sent, where the pace was not what held calls back. A ramp's last second is a quarter of its pace.
        let sent = self.journal.sent(now);
        let pace = if pace.is_finite() { pace.min((sent * 4.0).max(PACE_FIRST)) } else { sent };
        let since = self.last_refusal.replace(now).map(|before| now.saturating_sub(before));
        let again = since.is_some_and(|since| since < SEARCH + self.last_wait * 2);
        let taken = std::mem::take(&mut self.taken_since);
        let waited = std::mem::replace(&mut self.last_wait, wait);
        self.lesson = Some(Lesson { until: last, phase: self.phase, pace, taken, since, waited, again });
    }

    /// Draws the conclusion from a refusal, once the wait that it asked for is over.
    fn conclude(&mut self, now: Duration) {
        let Some(lesson) = self.lesson.take() else { return };
        let Lesson { until, phase, pace, .. } = lesson;
        let after = std::mem::replace(&mut self.last_until, until);
        self.step(now);
        let counted = self.journal.drained(after, until);
        let counted = counted.map(|(taken, span)| (taken as f64 / span.as_secs_f64(), taken as f64));
        match (phase, self.refused_at) {
            (Phase::Probe { begun, taken, .. }, Some(before)) => {
                // Without a count: what it took since the probe began, of which a burst is part.
                let average = taken as f64 / now.saturating_sub(begun).as_secs_f64().max(1e-3);
                self.probed(before, pace, counted.map_or(average, |(rate, _)| rate));
            }
            _ => self.fall(&lesson, counted),
        }
        self.phase = Phase::Climb;
    }

    /// What was found above is kept; what was not there is tried ever more rarely.
    fn probed(&mut self, before: f64, pace: f64, found: f64) {
        let better = if pace > before * PROBE_NOISE { found.min(pace).max(before) } else { before };
        let free = better > before * PROBE_FREE;
        self.probe_every = if free { PROBE_FIRST } else { (self.probe_every * 2).min(PROBE_LAST) };
        self.refused_at = Some(better.clamp(PACE_MIN, PACE_MAX));
        self.pace = (better * HOLD * ARRIVED).clamp(PACE_MIN, PACE_MAX);
    }

    fn fall(&mut self, lesson: &Lesson, counted: Option<(f64, f64)>) {
        let pace = lesson.pace;
        self.searches = if lesson.again { self.searches + 1 } else { 0 };
        let (refused_at, fallen) = match counted {
            Some((rate, calls)) if rate < pace * COUNT_ABOVE => {
                (rate * (1.0 + 0.5 / calls), rate * HOLD * (1.0 - 1.0 / calls))
            }
            _ if matches!(lesson.phase, Phase::Ramp | Phase::Free) => (pace, pace * FALL_OF_RAMP),
            _ => (pace, pace * FALL),
        };
        // What it took from refusal to refusal: its rate is no less.
        let delivered = lesson.since.map_or(0.0, |since| lesson.taken as f64 / since.as_secs_f64().max(1e-3));
        let delivered = delivered.min(refused_at);
        let least = delivered * HOLD;
        // The rate lies between the two. What was delivered is the nearer the less of the time was spent waiting; with a vendor that counts
        // windows most of it is, again and again.
        let waited = lesson.since.map_or(1.0, |since| lesson.waited.as_secs_f64() / since.as_secs_f64().max(1e-3));
        let halfway = match self.searches {
            _ if counted.is_some() => 0.0,
            0 => 0.0,
            1..WINDOWS => 0.5 * (1.0 - 4.0 * waited).max(0.0),
            _ => 0.5,
        };
        let refused_at = refused_at.powf(1.0 - halfway) * delivered.max(PACE_MIN).powf(halfway);
        // A count is believed for a while; a guess is not.
        let guesses = self.searches.saturating_sub(if counted.is_some() { 2 } else { 1 });
        let toward = f64::from(guesses.min(4)) / 4.0;
        let fallen = fallen.max(least);
        let fallen = fallen.powf(1.0 - toward) * least.max(fallen * 0.1).powf(toward);
        self.refused_at = Some(refused_at.clamp(PACE_MIN, PACE_MAX));
        self.pace = fallen.clamp(PACE_MIN, PACE_MAX);
    }
}

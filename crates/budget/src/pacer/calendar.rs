//! When a quota's periods begin, and which hours have a pace of their own, by the clocks of a time zone.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike};
use chrono_tz::Tz;
use weir_types::Timestamp;

use crate::{Quota, QuotaPeriod, Window};

const MINUTES_PER_DAY: u16 = 24 * 60;

/// A span of the wall clock, its end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Span {
    /// Whether a time lies in it.
    pub fn holds(self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

fn local(zone: Tz, at: Timestamp) -> DateTime<Tz> {
    // The clock can't be outside of chrono's 262,000 years without being broken; then any time will do.
    DateTime::from_timestamp_millis(at.0).unwrap_or_default().with_timezone(&zone)
}

/// The first moment that a zone's clocks show a time, or one after it if they leave it out.
fn moment(zone: Tz, mut at: NaiveDateTime) -> Timestamp {
    for _ in 0..8 {
        if let Some(moment) = zone.from_local_datetime(&at).earliest() {
            return Timestamp(moment.timestamp_millis());
        }
        at += chrono::TimeDelta::minutes(30);
    }
    Timestamp(at.and_utc().timestamp_millis())
}

fn midnight(zone: Tz, day: NaiveDate) -> Timestamp {
    moment(zone, day.and_time(NaiveTime::MIN))
}

/// The period of a quota in which a time lies.
pub fn period(quota: &Quota, at: Timestamp) -> Span {
    let zone = quota.timezone;
    let here = local(zone, at);
    let day = here.date_naive();
    let bounds = match quota.per {
        QuotaPeriod::Hour => {
            let into = i64::from(here.minute()) * 60_000 + i64::from(here.second()) * 1000 + at.0.rem_euclid(1000);
            let from = Timestamp(at.0.saturating_sub(into));
            return Span { from, to: Timestamp(from.0.saturating_add(3_600_000)) };
        }
        QuotaPeriod::Day => (Some(day), day.checked_add_days(Days::new(1))),
        QuotaPeriod::Month => {
            (day.with_day(1), day.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))))
        }
    };
    let (from, to) = (bounds.0.unwrap_or(day), bounds.1.unwrap_or(day));
    Span { from: midnight(zone, from), to: midnight(zone, to) }
}

/// The name under which a quota's periods are counted.
pub fn key(quota: &Quota) -> String {
    let per = match quota.per {
        QuotaPeriod::Hour => "hour",
        QuotaPeriod::Day => "day",
        QuotaPeriod::Month => "month",
    };
    format!("{per} {}", quota.timezone.name())
}

fn active(window: &Window, at: Timestamp) -> bool {
    let here = local(window.timezone, at);
    let minute = u16::try_from(here.hour() * 60 + here.minute()).unwrap_or_default();
    let today = here.weekday().num_days_from_monday() as usize;
    let begins_on = |day: usize| window.days[day % 7] || window.days.iter().all(|set| !set);
    if window.from < window.to {
        return begins_on(today) && (window.from..window.to).contains(&minute);
    }
    (begins_on(today) && minute >= window.from) || (begins_on(today + 6) && minute < window.to)
}

/// The first window that holds at a time, and for how long nothing can change in that.
pub fn window_at(windows: &[Window], at: Timestamp) -> (Option<usize>, Span) {
    let mut span = Span { from: at, to: Timestamp(at.0.saturating_add(86_400_000)) };
    for window in windows {
        let day = local(window.timezone, at).date_naive();
        for day in [day.pred_opt(), Some(day), day.succ_opt()].into_iter().flatten() {
            for minute in [window.from, window.to] {
                let (over, minute) = (minute / MINUTES_PER_DAY, u32::from(minute % MINUTES_PER_DAY));
                let time = NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap_or_default();
                let Some(day) = day.checked_add_days(Days::new(u64::from(over))) else { continue };
                let edge = moment(window.timezone, day.and_time(time));
                if edge > at {
                    span.to = span.to.min(edge);
                }
            }
        }
    }
    (windows.iter().position(|window| active(window, at)), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
    }

    fn quota(per: QuotaPeriod, timezone: Tz) -> Quota {
        Quota { calls: 1, per, timezone }
    }

    #[test]
    fn periods_begin_by_the_zones_clocks() {
        let berlin = chrono_tz::Europe::Berlin;
        let span = |from: &str, to: &str| Span { from: at(from), to: at(to) };
        let day = period(&quota(QuotaPeriod::Day, berlin), at("2026-06-01T22:30:00Z"));
        assert_eq!(day, span("2026-06-01T22:00:00Z", "2026-06-02T22:00:00Z"));
        let short = period(&quota(QuotaPeriod::Day, berlin), at("2026-03-29T12:00:00Z"));
        assert_eq!(short, span("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"), "a day of 23 hours");
        let month = period(&quota(QuotaPeriod::Month, berlin), at("2026-12-31T23:30:00Z"));
        assert_eq!(month, span("2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z"));
        let hour = period(&quota(QuotaPeriod::Hour, chrono_tz::Asia::Kolkata), at("2026-01-01T10:45:01.5Z"));
        assert_eq!(hour, span("2026-01-01T10:30:00Z", "2026-01-01T11:30:00Z"));
    }

    #[test]
    fn windows_hold_over_midnight_and_on_their_days() {
        let mut days = [false; 7];
        days[4] = true;
        let friday_night = Window { from: 22 * 60, to: 6 * 60, days, timezone: chrono_tz::UTC, rates: Vec::new() };
        let noon = Window { from: 12 * 60, to: 13 * 60, days: [false; 7], timezone: chrono_tz::UTC, rates: Vec::new() };
        let windows = [friday_night, noon];
        // 2026-01-02 is a Friday.
        let look = |text: &str| window_at(&windows, at(text));
        assert_eq!(look("2026-01-02T21:59:59Z").0, None);
        assert_eq!(look("2026-01-02T21:59:59Z").1.to, at("2026-01-02T22:00:00Z"));
        assert_eq!(look("2026-01-02T22:00:00Z").0, Some(0));
        assert_eq!(look("2026-01-03T05:59:00Z").0, Some(0));
        assert_eq!(look("2026-01-03T05:59:00Z").1.to, at("2026-01-03T06:00:00Z"));
        assert_eq!(look("2026-01-03T22:00:00Z").0, None);
        assert_eq!(look("2026-01-03T12:30:00Z").0, Some(1));
    }
}

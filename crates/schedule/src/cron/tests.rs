//! The evaluator against one that asks every minute and every day whether it fits, with rules of its own.

use std::collections::HashSet;

use chrono::{Days as Length, Weekday};
use proptest::prelude::*;

use super::*;

fn cron(fields: &str) -> Cron {
    Cron::parse(Piece { text: fields, part: fields, start: 0 }).unwrap()
}

fn at(text: &str) -> Timestamp {
    let local: NaiveDateTime = text.parse().unwrap();
    Timestamp(local.and_utc().timestamp_millis())
}

fn times(fields: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
    let cron = cron(fields);
    let next = |after: &Timestamp| cron.next_after(zone, *after);
    std::iter::successors(next(&Timestamp(at(from).0 - 1)), next)
        .take(count)
        .map(|time| time.to_string().replace(":00.000Z", ""))
        .collect()
}

/// An item of a field, as the generator means it.
#[derive(Debug, Clone)]
enum Item {
    All(Option<u32>),
    One(u32),
    From(u32, u32),
    Range(u32, u32, Option<u32>),
    Last,
    Before(u32),
    Nearest(u32),
    LastWeekday,
    LastOf(u32),
    Nth(u32, u32),
}

impl Item {
    fn text(&self) -> String {
        let step = |step: &Option<u32>| step.map_or_else(String::new, |step| format!("/{step}"));
        match self {
            Self::All(by) => format!("*{}", step(by)),
            Self::One(value) => value.to_string(),
            Self::From(value, by) => format!("{value}/{by}"),
            Self::Range(from, to, by) => format!("{from}-{to}{}", step(by)),
            Self::Last => "L".to_owned(),
            Self::Before(days) => format!("L-{days}"),
            Self::Nearest(day) => format!("{day}W"),
            Self::LastWeekday => "LW".to_owned(),
            Self::LastOf(day) => format!("{day}L"),
            Self::Nth(day, nth) => format!("{day}#{nth}"),
        }
    }

    /// Whether a plain value fits, by stepping through the item.
    fn has(&self, value: u32, low: u32, high: u32) -> bool {
        let (from, to, by) = match self {
            Self::All(by) => (low, high, by.unwrap_or(1)),
            Self::One(only) => (*only, *only, 1),
            Self::From(from, by) => (*from, high, *by),
            Self::Range(from, to, by) => (*from, *to, by.unwrap_or(1)),
            _ => return false,
        };
        let (mut current, mut wait) = (from, 0);
        loop {
            if current == value && wait == 0 {
                return true;
            }
            if current == to {
                return false;
            }
            current = if current == high { low } else { current + 1 };
            wait = (wait + 1) % by;
        }
    }

    fn has_date(&self, date: NaiveDate) -> bool {
        let same_month = |other: NaiveDate| (other.year(), other.month()) == (date.year(), date.month());
        let later = |days: u64| date.checked_add_days(Length::new(days)).unwrap();
        let week_day = date.weekday().num_days_from_sunday() + 1;
        let is_weekday = |date: NaiveDate| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        match self {
            Self::Last => !same_month(later(1)),
            Self::Before(days) => same_month(later(u64::from(*days))) && !same_month(later(u64::from(*days) + 1)),
            Self::Nearest(day) => date.with_day(*day).is_some_and(|_| {
                let days = (1..=31).filter_map(|day| date.with_day(day)).filter(|date| is_weekday(*date));
                days.min_by_key(|candidate| candidate.day().abs_diff(*day)) == Some(date)
            }),
            Self::LastWeekday => {
                is_weekday(date) && (1..8).map(later).all(|later| !same_month(later) || !is_weekday(later))
            }
            Self::LastOf(day) => week_day == *day && !same_month(later(7)),
            Self::Nth(day, nth) => {
                let before = (1..=date.day()).filter_map(|day| date.with_day(day));
                week_day == *day && before.filter(|other| other.weekday() == date.weekday()).count() == *nth as usize
            }
            _ => false,
        }
    }
}

fn list(items: &[Item]) -> String {
    items.iter().map(Item::text).collect::<Vec<_>>().join(",")
}

fn item(low: u32, high: u32) -> impl Strategy<Value = Item> {
    let span = high - low + 1;
    prop_oneof![
        2 => Just(Item::All(None)),
        1 => (1..=span).prop_map(|by| Item::All(Some(by))),
        3 => (low..=high).prop_map(Item::One),
        1 => (low..=high, 1..=span).prop_map(|(from, by)| Item::From(from, by)),
        2 => (low..=high, low..=high, proptest::option::of(1..=span)).prop_map(|(a, b, by)| Item::Range(a, b, by)),
    ]
}

fn items(low: u32, high: u32) -> impl Strategy<Value = Vec<Item>> {
    proptest::collection::vec(item(low, high), 1..4)
}

fn month_day() -> impl Strategy<Value = Vec<Item>> {
    let special = prop_oneof![
        Just(Item::Last),
        Just(Item::LastWeekday),
        (1..=30u32).prop_map(Item::Before),
        (1..=31u32).prop_map(Item::Nearest),
    ];
    proptest::collection::vec(prop_oneof![item(1, 31), special], 1..3)
}

/// `L` alone is a Saturday here.
fn week_day() -> impl Strategy<Value = Vec<Item>> {
    let last = (1..=7u32).prop_map(Item::LastOf);
    prop_oneof![
        3 => proptest::collection::vec(prop_oneof![item(1, 7), last], 1..3),
        1 => (1..=7u32, 1..=5u32).prop_map(|(day, nth)| vec![Item::Nth(day, nth)]),
    ]
}

#[derive(Debug, Clone)]
enum DayField {
    Month(Vec<Item>),
    Week(Vec<Item>),
}

impl DayField {
    fn texts(&self) -> (String, String) {
        match self {
            Self::Month(items) => (list(items), "?".to_owned()),
            Self::Week(items) => ("?".to_owned(), list(items)),
        }
    }

    fn has(&self, date: NaiveDate) -> bool {
        match self {
            Self::Month(items) => items.iter().any(|item| item.has(date.day(), 1, 31) || item.has_date(date)),
            Self::Week(items) => {
                let week_day = date.weekday().num_days_from_sunday() + 1;
                items.iter().any(|item| item.has(week_day, 1, 7) || item.has_date(date))
            }
        }
    }
}

fn day() -> impl Strategy<Value = DayField> {
    prop_oneof![month_day().prop_map(DayField::Month), week_day().prop_map(DayField::Week)]
}

/// Zones and days around which their clocks are put forward, back, over midnight, by half an hour and by a whole day.
const TURNS: [(Tz, &str); 12] = [
    (Tz::UTC, "2024-02-28T00:00:00"),
    (Tz::Europe__Berlin, "2026-03-28T00:00:00"),
    (Tz::Europe__Berlin, "2026-10-24T00:00:00"),
    (Tz::America__New_York, "2027-03-13T00:00:00"),
    (Tz::America__New_York, "2027-11-06T00:00:00"),
    (Tz::Australia__Lord_Howe, "2026-04-04T00:00:00"),
    (Tz::Australia__Lord_Howe, "2026-10-02T00:00:00"),
    (Tz::America__Sao_Paulo, "2018-11-03T00:00:00"),
    (Tz::America__Sao_Paulo, "2018-02-16T12:00:00"),
    (Tz::America__St_Johns, "2006-10-28T00:00:00"),
    (Tz::Pacific__Apia, "2011-12-28T12:00:00"),
    (Tz::Pacific__Kwajalein, "1993-08-19T12:00:00"),
];

/// The times of every minute from `from` on that fit and are shown for the first time.
fn brute(zone: Tz, from: Timestamp, minutes: i64, fits: impl Fn(NaiveDateTime) -> bool) -> Vec<Timestamp> {
    let mut seen = HashSet::new();
    let warm_up = 48 * 60;
    (-warm_up..minutes)
        .map(|minute| Timestamp(from.0 + minute * 60_000))
        .filter(|time| {
            let local = zone::local(zone, *time).unwrap();
            seen.insert(local) && *time >= from && fits(local)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn next_and_latest_agree_with_asking_every_minute(
        minutes in items(0, 59),
        hours in items(0, 23),
        months in items(1, 12),
        day in day(),
        (zone, turn) in proptest::sample::select(TURNS.to_vec()),
        now in 0i64..(3 * 1440 * 60_000),
    ) {
        let (month_day, week_day) = day.texts();
        let (minutes_text, hours_text, months_text) = (list(&minutes), list(&hours), list(&months));
        let text = format!("{minutes_text} {hours_text} {month_day} {months_text} {week_day} *");
        let cron = cron(&text);
        let has = |items: &[Item], value, low, high| items.iter().any(|item| item.has(value, low, high));
        let fits = |local: NaiveDateTime| {
            has(&minutes, local.minute(), 0, 59)
                && has(&hours, local.hour(), 0, 23)
                && has(&months, local.month(), 1, 12)
                && day.has(local.date())
        };
        let from = at(turn);
        let wanted = brute(zone, from, 3 * 1440, fits);
        let end = Timestamp(from.0 + 3 * 1440 * 60_000);
        let next = |after: &Timestamp| cron.next_after(zone, *after).filter(|time| *time < end);
        let found: Vec<Timestamp> = std::iter::successors(next(&Timestamp(from.0 - 1)), next).take(5000).collect();
        prop_assert_eq!(&found, &wanted, "{} {}", text, zone);

        let now = Timestamp(from.0 + now);
        let latest = cron.latest(zone, now).filter(|time| *time >= from);
        prop_assert_eq!(latest, wanted.iter().copied().rfind(|time| *time <= now), "{} {} {}", text, zone, now);
    }

    #[test]
    fn days_agree_with_asking_every_day(day in day(), months in items(1, 12), start in 0u64..12_000) {
        let (month_day, week_day) = day.texts();
        let cron = cron(&format!("30 12 {month_day} {} {week_day} *", list(&months)));
        let first = NaiveDate::from_ymd_opt(1996, 1, 1).unwrap().checked_add_days(Length::new(start)).unwrap();
        let wanted: Vec<Timestamp> = first
            .iter_days()
            .take(800)
            .filter(|date| months.iter().any(|item| item.has(date.month(), 1, 12)) && day.has(*date))
            .map(|date| Timestamp(date.and_hms_opt(12, 30, 0).unwrap().and_utc().timestamp_millis()))
            .collect();
        let midnight = first.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_millis();
        let end = Timestamp(midnight + 800 * 86_400_000);
        let next = |after: &Timestamp| cron.next_after(Tz::UTC, *after).filter(|time| *time < end);
        let found: Vec<Timestamp> = std::iter::successors(next(&Timestamp(midnight)), next).take(1000).collect();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn documented_examples_mean_what_the_documentation_says() {
    let utc = |fields: &str| times(fields, Tz::UTC, "2026-01-01T00:00:00", 2);
    assert_eq!(utc("0 10 * * ? *"), ["2026-01-01T10:00", "2026-01-02T10:00"]);
    assert_eq!(utc("15 12 * * ? *"), ["2026-01-01T12:15", "2026-01-02T12:15"]);
    // 2 January 2026 is a Friday.
    assert_eq!(utc("0 18 ? * MON-FRI *"), ["2026-01-01T18:00", "2026-01-02T18:00"]);
    assert_eq!(utc("0 8 1 * ? *"), ["2026-01-01T08:00", "2026-02-01T08:00"]);
    assert_eq!(utc("0/15 * * * ? *"), ["2026-01-01T00:00", "2026-01-01T00:15"]);
    assert_eq!(utc("0/5 8-17 ? * MON-FRI *"), ["2026-01-01T08:00", "2026-01-01T08:05"]);
    assert_eq!(utc("0 9 ? * 2#1 *"), ["2026-01-05T09:00", "2026-02-02T09:00"]);
    assert_eq!(utc("15 10 ? * 6L 2022-2027"), ["2026-01-30T10:15", "2026-02-27T10:15"]);
    assert_eq!(utc("0 0 ? * 3#2 *"), ["2026-01-13T00:00", "2026-02-10T00:00"]);
    assert_eq!(utc("0 0 3W * ? *"), ["2026-01-02T00:00", "2026-02-03T00:00"]);
    assert_eq!(utc("1/10 0 1 JAN,mar ? *"), ["2026-01-01T00:01", "2026-01-01T00:11"]);
    assert_eq!(utc("0 0 ? * L *"), ["2026-01-03T00:00", "2026-01-10T00:00"]);
    assert_eq!(utc("0 0 L * ? *"), ["2026-01-31T00:00", "2026-02-28T00:00"]);
}

#[test]
fn time_that_does_not_exist_is_left_out_and_one_that_exists_twice_runs_once() {
    let berlin = |fields: &str, from: &str| times(fields, Tz::Europe__Berlin, from, 2);
    assert_eq!(berlin("30 2 * * ? *", "2026-03-28T12:00:00"), ["2026-03-30T00:30", "2026-03-31T00:30"]);
    assert_eq!(berlin("30 2 * * ? *", "2026-10-25T00:00:00"), ["2026-10-25T00:30", "2026-10-26T01:30"]);
    // The first round of the hour is from 00:00 to 01:00 UTC; the second rests.
    assert_eq!(berlin("0/30 * * * ? *", "2026-10-25T00:30:00"), ["2026-10-25T00:30", "2026-10-25T02:00"]);
}

#[test]
fn zone_whose_offset_has_seconds_runs_at_its_own_full_minute() {
    // Until 1972 Monrovia was 44 minutes and 30 seconds behind.
    let found = cron("0 12 * * ? *").next_after(Tz::Africa__Monrovia, at("1971-06-01T00:00:00"));
    assert_eq!(found, Some(at("1971-06-01T12:44:30")));
}

#[test]
fn times_end_with_the_last_year() {
    let all = cron("* * * * ? *");
    assert_eq!(all.next_after(Tz::UTC, at("2199-12-31T23:58:30")), Some(at("2199-12-31T23:59:00")));
    assert_eq!(all.next_after(Tz::UTC, at("2199-12-31T23:59:00")), None);
    assert_eq!(all.next_after(Tz::UTC, Timestamp(i64::MAX)), None);
    assert_eq!(all.next_after(Tz::UTC, Timestamp(i64::MIN)), Some(Timestamp(0)));
    assert_eq!(all.latest(Tz::UTC, Timestamp(i64::MAX)), Some(at("2199-12-31T23:59:00")));
    assert_eq!(all.latest(Tz::UTC, Timestamp(-1)), None);
    assert_eq!(
        cron("0 0 29 2 ? 2096-2104").next_after(Tz::UTC, at("2096-03-01T00:00:00")),
        Some(at("2104-02-29T00:00:00"))
    );
}

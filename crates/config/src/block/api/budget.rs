//! `budget { rate, burst, concurrency, quota, timezone, window "night" { ... } }`.

use chrono_tz::Tz;
use weir_budget::{Pace, Quota, Rate, Settings, Window};

use super::rate;
use crate::block::{Attributes, Inner, Shape, Times};
use crate::diagnostic::Report;
use crate::{Diagnostic, nearest};

const BUDGET: Shape = Shape {
    attributes: &["rate", "burst", "concurrency", "quota", "timezone"],
    later: &["bytes"],
    blocks: &[Inner { kind: "window", times: Times::Named }],
};

const WINDOW: Shape = Shape { attributes: &["from", "to", "days", "rate"], later: &["concurrency"], blocks: &[] };

const BURST_MAX: u32 = 1_000_000;
const CONCURRENCY_MAX: u32 = 10_000;
const RATES_MAX: usize = 8;
const WINDOWS_MAX: usize = 24;
/// A pace of our own is off.
const UNLIMITED: &str = "unlimited";

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Reads what is known of the account; `None` if something was refused.
pub(super) fn read(block: &Attributes<'_>, report: &mut Report) -> Option<Settings> {
    let inner = block.inner("budget", &BUDGET, report);
    let Some(inner) = inner.first() else { return Some(Settings::default()) };
    let pace = pace(inner, report);
    let burst = inner.whole_number("burst", 1..=BURST_MAX, report).map(u64::from);
    let concurrency = inner.whole_number("concurrency", 1..=CONCURRENCY_MAX, report);
    if burst.is_some() && !matches!(pace, Some(Pace::Limited(_)) | None) {
        let message = |_: &str| "`burst` is on top of a rate, and there is none".to_owned();
        inner.forbid(["burst"], message, "set `rate`, or remove it", report);
    }
    let timezone = timezone(inner, report);
    let quotas = quotas(inner, timezone.unwrap_or(Tz::UTC), report);
    let windows = windows(inner, timezone.unwrap_or(Tz::UTC), report);
    let timed = inner.has("quota") || !inner.inner_names("window").is_empty();
    if !timed {
        let message = |_: &str| "`timezone` is of quotas and windows, and there are none".to_owned();
        inner.forbid(["timezone"], message, "remove it", report);
    }
    timezone?;
    Some(Settings { pace: pace?, burst, concurrency, quotas: quotas?, windows: windows? })
}

fn pace(inner: &Attributes<'_>, report: &mut Report) -> Option<Pace> {
    if !inner.has("rate") {
        return Some(Pace::Learned);
    }
    let texts = inner.one_or_more("rate", "\"10/s\", \"300/m\"", report)?;
    if let [only] = texts.as_slice()
        && only.value == UNLIMITED
    {
        return Some(Pace::Unlimited);
    }
    rates(inner, texts, report).map(Pace::Limited)
}

fn rates(inner: &Attributes<'_>, texts: Vec<crate::block::Spanned<String>>, report: &mut Report) -> Option<Vec<Rate>> {
    if texts.is_empty() || texts.len() > RATES_MAX {
        let message = format!("`rate` has {} rates", texts.len());
        inner.refuse("rate", message, format!("write 1 to {RATES_MAX}, or leave it out: it is learned then"), report);
        return None;
    }
    let mut found = Vec::with_capacity(texts.len());
    for text in &texts {
        match rate::parse(&text.value) {
            Some(rate) => found.push(rate),
            None => {
                let message = format!("`{}` is not a rate", text.value);
                let place = inner.place_of(Some(text.span.clone()));
                report.push(Diagnostic::error(message).at(place).hint(rate::RATE_HINT));
            }
        }
    }
    (found.len() == texts.len()).then_some(found)
}

fn timezone(inner: &Attributes<'_>, report: &mut Report) -> Option<Tz> {
    let Some(text) = inner.name_text("timezone", "Europe/Berlin", report) else {
        return (!inner.has("timezone")).then_some(Tz::UTC);
    };
    match text.value.parse() {
        Ok(zone) => Some(zone),
        Err(_) => {
            let hint = match weir_types::nearest(&text.value, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "such as `timezone = \"Europe/Berlin\"`".to_owned(),
            };
            inner.refuse("timezone", format!("`{}` is not a time zone", text.value), hint, report);
            None
        }
    }
}

fn quotas(inner: &Attributes<'_>, timezone: Tz, report: &mut Report) -> Option<Vec<Quota>> {
    if !inner.has("quota") {
        return Some(Vec::new());
    }
    let texts = inner.one_or_more("quota", "\"10000/day\"", report)?;
    let mut found = Vec::with_capacity(texts.len());
    for text in &texts {
        match rate::quota(&text.value) {
            Some((calls, per)) => found.push(Quota { calls, per, timezone }),
            None => {
                let message = format!("`{}` is not a quota", text.value);
                let place = inner.place_of(Some(text.span.clone()));
                report.push(Diagnostic::error(message).at(place).hint(rate::QUOTA_HINT));
            }
        }
    }
    (found.len() == texts.len()).then_some(found)
}

fn windows(inner: &Attributes<'_>, timezone: Tz, report: &mut Report) -> Option<Vec<Window>> {
    let blocks = inner.inner("window", &WINDOW, report);
    if blocks.len() > WINDOWS_MAX {
        let message = format!("{inner} has {} windows, and may have {WINDOWS_MAX}", blocks.len());
        report.push(Diagnostic::error(message).at(inner.place()).hint("put hours with one rate together"));
        return None;
    }
    let windows: Vec<Option<Window>> = blocks.iter().map(|window| one_window(window, timezone, report)).collect();
    windows.into_iter().collect()
}

fn one_window(window: &Attributes<'_>, timezone: Tz, report: &mut Report) -> Option<Window> {
    for name in ["from", "to", "rate"].into_iter().filter(|name| !window.has(name)) {
        let hint = match name {
            "rate" => "say what holds then: `rate = \"50/s\"`, or `rate = []` for no calls at all",
            _ => "say when it holds: `from = \"22:00\"` and `to = \"06:00\"`",
        };
        window.missing(name, hint, report);
    }
    let from = clock(window, "from", report);
    let to = clock(window, "to", report);
    let days = days(window, report);
    let texts = window.one_or_more("rate", "\"50/s\"", report)?;
    let rates = if texts.is_empty() { Some(Vec::new()) } else { rates(window, texts, report) };
    let (from, to) = (from?, to?);
    if from == to {
        let hint = "a window of a whole day is from \"00:00\" to \"24:00\"";
        window.refuse("to", format!("{window} ends where it begins"), hint, report);
        return None;
    }
    Some(Window { from, to, days: days?, timezone, rates: rates? })
}

/// Reads a time of day, in minutes since midnight.
fn clock(window: &Attributes<'_>, name: &str, report: &mut Report) -> Option<u16> {
    let text = window.name_text(name, "22:00", report)?;
    let minutes = text.value.split_once(':').and_then(|(hour, minute)| {
        let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
        let (hour, minute) = (two(hour)?, two(minute)?);
        let within = hour < 24 && minute < 60 || name == "to" && (hour, minute) == (24, 0);
        within.then_some(hour * 60 + minute)
    });
    if minutes.is_none() {
        window.refuse(name, format!("`{}` is not a time of day", text.value), "write it as \"22:00\"", report);
    }
    minutes
}

fn days(window: &Attributes<'_>, report: &mut Report) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    if !window.has("days") {
        return Some(days);
    }
    for word in window.one_or_more("days", "\"sat\", \"sun\"", report)? {
        match DAYS.iter().position(|day| day.eq_ignore_ascii_case(&word.value)) {
            Some(at) => days[at] = true,
            None => {
                let hint = nearest::hint(&word.value, DAYS, "days");
                let message = format!("`{}` is not a day", word.value);
                report.push(Diagnostic::error(message).at(window.place_of(Some(word.span))).hint(hint));
                return None;
            }
        }
    }
    Some(days)
}

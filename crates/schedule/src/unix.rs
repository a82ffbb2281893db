//! What somebody who writes cron as Unix or Quartz has it probably meant. Only for hints: nothing is accepted by it.

use crate::cron::Cron;
use crate::error::Piece;

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const NAMED: [(&str, &str); 7] = [
    ("@hourly", "0 * * * ? *"),
    ("@daily", "0 0 * * ? *"),
    ("@midnight", "0 0 * * ? *"),
    ("@weekly", "0 0 ? * SUN *"),
    ("@monthly", "0 0 1 * ? *"),
    ("@yearly", "0 0 1 1 ? *"),
    ("@annually", "0 0 1 1 ? *"),
];

/// Returns a hint for fields without `cron()` around them, or a name such as `@daily`.
pub(crate) fn bare(text: &str) -> Option<String> {
    if let Some((_, fields)) = NAMED.iter().find(|(name, _)| *name == text) {
        return Some(format!("did you mean cron({fields})?"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.len() {
        6 if reads(text) => Some(format!("did you mean cron({text})?")),
        _ => hint(&fields),
    }
}

/// Returns a hint for five fields (Unix), six with seconds, or seven (Quartz).
pub(crate) fn hint(fields: &[&str]) -> Option<String> {
    match fields {
        [minutes, hours, day, month, weekday] => Some(five(minutes, hours, day, month, weekday)),
        [_, rest @ ..] if rest.len() == 6 && reads(&rest.join(" ")) => {
            Some(format!("without seconds it is cron({})", rest.join(" ")))
        }
        _ => None,
    }
}

fn five(minutes: &str, hours: &str, day: &str, month: &str, weekday: &str) -> String {
    let general = "five fields are Unix's form: one of day of month and day of week is `?` here, and the year is last";
    let meant = match (day, weekday) {
        (_, "*" | "?") => format!("{minutes} {hours} {day} {month} ? *"),
        ("*" | "?", _) => match week(weekday) {
            Some(weekday) => format!("{minutes} {hours} ? {month} {weekday} *"),
            None => return general.to_owned(),
        },
        // Unix runs on the days of both.
        _ => return "Unix's form runs on either day field; write a schedule for each".to_owned(),
    };
    if reads(&meant) { format!("did you mean cron({meant})?") } else { general.to_owned() }
}

/// Writes Unix's days of the week, 0 to 7 from Sunday to Sunday, by name.
fn week(field: &str) -> Option<String> {
    let name = |day: &str| match day.parse::<usize>() {
        Ok(number) => DAYS.get(number % 7).filter(|_| number <= 7).copied(),
        Err(_) => DAYS.iter().find(|known| known.eq_ignore_ascii_case(day)).copied(),
    };
    let item = |item: &str| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let range = match range.split_once('-') {
            // From 0 it is every other day from Sunday on, which is the same here.
            _ if range == "*" => "*".to_owned(),
            Some((from, to)) => format!("{}-{}", name(from)?, name(to)?),
            None => name(range)?.to_owned(),
        };
        Some(step.map_or_else(|| range.clone(), |step| format!("{range}/{step}")))
    };
    field.split(',').map(item).collect::<Option<Vec<_>>>().map(|items| items.join(","))
}

fn reads(fields: &str) -> bool {
    Cron::parse(Piece { text: fields, part: fields, start: 0 }).is_ok()
}

//! Time zones: IANA names, and which instant a clock on the wall means.
//!
//! The rules are those that chrono-tz carries; from 2100 on the last of them stands still.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use weir_types::{Timestamp, nearest};

use crate::error::ParseError;

/// Reads a zone's name.
pub(crate) fn parse(name: &str) -> Result<Tz, ParseError> {
    name.parse().map_err(|_| ParseError::Zone {
        zone: name.chars().take(80).collect(),
        hint: nearest(name, TZ_VARIANTS.iter().map(|zone| zone.name())).map(|known| format!("did you mean {known}?")),
    })
}

/// Returns what the clocks of `zone` show at `time`; `None` beyond the years that chrono knows.
pub(crate) fn local(zone: Tz, time: Timestamp) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_millis(time.0)?.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// Returns the first instant at which the clocks of `zone` show `local`; `None` if they never do.
pub(crate) fn first(zone: Tz, local: NaiveDateTime) -> Option<Timestamp> {
    let offset = zone.offset_from_local_datetime(&local).earliest()?.fix();
    Some(Timestamp(local.and_utc().timestamp_millis() - i64::from(offset.local_minus_utc()) * 1000))
}

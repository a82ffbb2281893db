//! Schedules: cron(), rate() and at() as EventBridge writes them, and when they are due.
//!
//! ```text
//! text, zone --parse--> Schedule --next_after--> the next time
//!                          |
//!      last, now, missed --due--> times to fire, what was skipped, when to wake
//! ```
//!
//! Pure: no clock is read and nothing waits. Who runs schedules keeps one time per schedule, [`Due::seen`], asks
//! [`Schedule::due`] when it wakes, and sleeps until [`Due::next`].
//!
//! Invariants: a time fires at most once, whatever the clock does; two nodes with the same text and anchor agree on
//! every time; a schedule that can never fire is refused when it is read.
//!
//! ```
//! use weir_schedule::{Missed, Schedule};
//! use weir_types::Timestamp;
//!
//! let nightly = Schedule::parse("cron(0 2 * * ? *)", Some("Europe/Berlin")).unwrap();
//! let noon = Timestamp(1_767_265_200_000);
//! assert_eq!(noon.to_string(), "2026-01-01T11:00:00.000Z");
//! assert_eq!(nightly.next_after(noon).unwrap().to_string(), "2026-01-02T01:00:00.000Z");
//!
//! let due = nightly.due(noon, Timestamp(noon.0 + 3 * 86_400_000), Missed::Once);
//! assert_eq!((due.fire.len(), due.skipped), (1, 2));
//!
//! let error = Schedule::parse("0 2 * * *", None).unwrap_err();
//! assert!(error.to_string().contains("cron(0 2 * * ? *)"));
//! ```
//!
//! # Daylight saving
//! As EventBridge Scheduler has it
//! (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#daylist-savings-time>): a `cron()` time
//! that the zone's clocks leave out does not run that day; one that they show twice runs once, the first time. So a
//! `cron()` of every ten minutes rests while an hour repeats. `rate()` counts hours and days of their full length and
//! knows no zone: it is the form for "every so often". An `at()` time that does not exist is refused.
//!
//! # Why its own parser
//! `cron` and `croner` follow Quartz and Vixie: days of the week from 0 or 1 without a mandatory `?`, seconds first,
//! both day fields at once. `croner` also runs a time that does not exist after the gap, and repeats wildcards within
//! the doubled hour, where EventBridge does neither. Bending one to this dialect leaves all of the checks to be written
//! anyway, and errors that name no field.

mod at;
mod cron;
mod due;
mod error;
mod rate;
mod schedule;
mod unix;
mod zone;

pub use due::{DUE_MAX, Due, Missed, ON_TIME, SKIPPED_MAX};
pub use error::{Field, ParseError};
pub use schedule::{Schedule, TEXT_BYTES_MAX};

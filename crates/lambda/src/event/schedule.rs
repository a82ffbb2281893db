//! A schedule's event, as EventBridge sends it: the scheduled event, or the user's own input.
//!
//! The form: <https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html>. In the user's input the
//! context attributes of EventBridge Scheduler, `<aws.scheduler.scheduled-time>` and its like, are filled in
//! (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>).

use serde_json::value::RawValue;
use weir_types::Timestamp;

use super::arn::{ACCOUNT, REGION, Service, arn};
use super::json::Json;

/// A time of a schedule that has come.
#[derive(Debug, Clone, Copy)]
pub struct Scheduled<'a> {
    /// The id of this event. Derive it from the schedule and the time, so that a retry has the same.
    pub id: &'a str,
    /// The schedule's name.
    pub name: &'a str,
    /// The time that was due, not the time of the invocation.
    pub time: Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// Writes the scheduled event.
pub fn schedule(scheduled: &Scheduled<'_>) -> Vec<u8> {
    let mut json = Json::with_capacity(400);
    json.raw(r#"{"version":"0","id":"#).string(scheduled.id);
    json.raw(r#","detail-type":"Scheduled Event","source":"aws.events","account":"#).string(ACCOUNT);
    json.raw(r#","time":"#).string(&seconds(scheduled.time));
    json.raw(r#","region":"#).string(REGION);
    json.raw(r#","resources":["#).string(&arn(Service::Events, scheduled.name)).raw(r#"],"detail":{}}"#);
    json.finish()
}

/// Writes the user's input, with the context attributes filled in.
pub fn schedule_input(scheduled: &Scheduled<'_>, input: &RawValue) -> Vec<u8> {
    let mut text = input.get().to_owned();
    let attributes = [
        ("<aws.scheduler.schedule-arn>", arn(Service::Events, scheduled.name)),
        ("<aws.scheduler.scheduled-time>", seconds(scheduled.time)),
        ("<aws.scheduler.execution-id>", scheduled.id.to_owned()),
        ("<aws.scheduler.attempt-number>", scheduled.attempt.to_string()),
    ];
    for (attribute, value) in attributes {
        if text.contains(attribute) {
            // They can only stand within strings, so that the escaped form fits, without its quotes.
            let mut escaped = Json::with_capacity(value.len() + 2);
            let escaped = String::from_utf8(escaped.string(&value).take()).expect("made of strings");
            text = text.replace(attribute, &escaped[1..escaped.len() - 1]);
        }
    }
    text.into_bytes()
}

/// The time without a fraction: `2015-10-08T16:53:06Z`.
fn seconds(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests;

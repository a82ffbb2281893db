//! Tasks on their way: as records of the outbox, then as messages of the queue `_crawl-NAME`.
//!
//! ```text
//! record = version 1 | not before (ms since 1970, 8 bytes, little endian; 0: at once) | group length (2 bytes) | group | task
//! ```
//!
//! The task is JSON, and the message's body. Its group is run, tenant and resource: whoever has the least under way is served
//! first, so that no tenant waits behind another's backlog, and deep steps are sampled while shallow ones go on.

use std::time::Duration;

use bytes::Bytes;
use weir_crawl::Task;
use weir_queue::Message;
use weir_types::{Fingerprint, Timestamp};

use crate::function::outbox::Made;

/// The key of tasks among a crawl's records.
pub(super) const TASK_KEY: &[u8] = b"\0task";
/// The largest task, as JSON: a task has values of items, and a vendor's values may be of any size.
pub(super) const TASK_BYTES_MAX: usize = 32 * 1024;
/// The longest wait that a record may ask for.
const DELAY_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest name of a group; longer ones are told apart by their hash.
const GROUP_BYTES_MAX: usize = 512;
const VERSION: u8 = 1;
const HEAD: usize = 11;

/// A task is larger than it may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "a task of `{resource}` has {bytes} bytes, and may have {TASK_BYTES_MAX}: a field that its paths and parameters use is too long"
)]
pub(super) struct TooLarge {
    resource: String,
    bytes: usize,
}

/// Writes a task as a record of the outbox; it is not received before `not_before`.
pub(super) fn made(task: &Task, not_before: Option<Timestamp>) -> Result<Made, TooLarge> {
    let group = group(task);
    let mut body = Vec::with_capacity(HEAD + group.len() + 128);
    body.push(VERSION);
    body.extend(not_before.map_or(0, |time| time.0).to_le_bytes());
    body.extend(u16::try_from(group.len()).expect("groups are short").to_le_bytes());
    body.extend(group.as_bytes());
    let from = body.len();
    serde_json::to_writer(&mut body, task).expect("names, numbers and JSON values serialise");
    let bytes = body.len() - from;
    if bytes > TASK_BYTES_MAX {
        return Err(TooLarge { resource: task.resource.clone(), bytes });
    }
    Ok(Made { key: TASK_KEY.to_vec(), fingerprint: Fingerprint(0), body })
}

fn group(task: &Task) -> String {
    let group = format!("{}/{}/{}", task.run, task.resource, task.tenant);
    if group.len() <= GROUP_BYTES_MAX {
        return group;
    }
    format!("{}/{:032x}", task.run, xxhash_rust::xxh3::xxh3_128(group.as_bytes()))
}

/// Turns a record into the queue's message. What does not read goes on as it is: whoever receives it makes a letter of it.
pub(super) fn message(now: Timestamp, record: &[u8]) -> Message {
    let Some((not_before, group, task)) = split(record) else { return Message::new(record.to_vec()) };
    let wait = u64::try_from(not_before.saturating_sub(now.0)).unwrap_or(0);
    // The clock may have been set back meanwhile.
    let delay = Duration::from_millis(wait).min(DELAY_MAX);
    Message {
        body: Bytes::copy_from_slice(task),
        group: Some(group.to_owned()),
        delay: (!delay.is_zero()).then_some(delay),
        ..Message::default()
    }
}

fn split(record: &[u8]) -> Option<(i64, &str, &[u8])> {
    let (head, rest) = record.split_at_checked(HEAD)?;
    if head[0] != VERSION {
        return None;
    }
    let not_before = i64::from_le_bytes(head[1..9].try_into().ok()?);
    let (group, task) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[9], head[10]])))?;
    Some((not_before, std::str::from_utf8(group).ok()?, task))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(tenant: &str) -> Task {
        serde_json::from_value(serde_json::json!({ "r": 7, "s": "device", "t": tenant, "v": { "group.id": "ä/1" } }))
            .unwrap()
    }

    #[test]
    fn a_task_comes_to_the_queue_as_it_was_made_and_not_before_its_time() {
        let now = Timestamp(1_000_000);
        let at_once = message(now, &made(&task("acme"), None).unwrap().body);
        assert_eq!((at_once.group.as_deref(), at_once.delay), (Some("7/device/acme"), None));
        assert_eq!(serde_json::from_slice::<Task>(&at_once.body).unwrap(), task("acme"));
        let later = made(&task("acme"), Some(Timestamp(1_002_500))).unwrap().body;
        assert_eq!(message(now, &later).delay, Some(Duration::from_millis(2500)));
        assert_eq!(message(Timestamp(1_002_500), &later).delay, None);
        assert_eq!(message(Timestamp(-i64::MAX), &later).delay, Some(DELAY_MAX));
    }

    #[test]
    fn groups_of_long_names_stay_apart() {
        let [one, other] = ["x", "y"].map(|end| group(&task(&format!("{}{end}", "t".repeat(600)))));
        assert!(one != other && one.len() < GROUP_BYTES_MAX);
    }

    #[test]
    fn what_does_not_read_goes_on_as_it_is_and_what_is_too_large_is_refused() {
        for record in [&b""[..], b"\x02garbage that is longer", b"\x01\0\0\0\0\0\0\0\0\xff\xffx"] {
            assert_eq!(message(Timestamp(0), record).body, record);
        }
        assert!(made(&task(&"t".repeat(TASK_BYTES_MAX)), None).is_err());
    }
}

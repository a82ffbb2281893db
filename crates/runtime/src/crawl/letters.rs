//! Dead letters of crawls: with the task, the request without credentials, and what was answered.
//!
//! | source              | payload            | redriven                                            |
//! | --- | --- | --- |
//! | `queue/_crawl-NAME` | the task, JSON     | back to the queue, with no attempt used: the run that is under way calls it, or the next one |
//! | `crawl/NAME`        | an item, JSON      | no: what it was made of is the vendor's to say again |

use weir_crawl::{Answer, Page, Request, Task};
use weir_env::Env;
use weir_queue::Received;

use super::crew::Crew;
use crate::dead::{Cause, Letter, REDRIVE_OF};

/// What is kept of an answer's body, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// What is kept of a request's body, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// What is kept of an item, in bytes.
const ITEM_BYTES_MAX: usize = 256 * 1024;

/// Tells whether a message was put back from the dead letters.
pub(super) fn is_redriven(message: &Received) -> bool {
    message.headers.iter().any(|(name, _)| name == REDRIVE_OF)
}

/// Of a task: it can be redriven.
pub(super) fn of_task(env: &Env, crawl: &str, message: &Received, cause: Cause, error: String) -> Letter {
    let source = format!("queue/_crawl-{crawl}");
    Letter::of_message(env, source, message, format!("crawl/{crawl}"), cause, error)
}

/// Of a task that was called.
pub(super) fn of_call(
    crew: &Crew,
    message: &Received,
    task: &Task,
    request: &Request,
    answer: Option<&Answer>,
    error: String,
) -> Letter {
    let mut letter = of_task(&crew.env, &crew.crawl, message, Cause::CallFailed, error);
    letter.attempts = task.attempt + 1;
    let mut note = |name: &str, value: String| letter.headers.push((name.to_owned(), value));
    note("resource", task.resource.clone());
    let method = format!("{:?}", request.method).to_uppercase();
    note("request", format!("{method} {}", request.url));
    if !request.body.is_empty() {
        note("request-body", cut(&request.body, REQUEST_BYTES_MAX));
    }
    if let Some(answer) = answer {
        note("status", answer.status.to_string());
        note("answer", cut(&answer.body, ANSWER_BYTES_MAX));
    }
    letter
}

/// Of an item that does not fit its schema.
pub(super) fn of_item(
    env: &Env,
    crawl: &str,
    message: &Received,
    task: &Task,
    (index, item): (usize, &[u8]),
    error: String,
) -> Letter {
    let payload = cut(item, ITEM_BYTES_MAX).into_bytes();
    let error = format!("item {index} of `{}` does not fit its schema: {error}", task.resource);
    of_answer(env, crawl, message, task, (&index.to_string(), Cause::Malformed), error, payload)
}

/// Of what single items of a page lacked.
pub(super) fn of_problems(env: &Env, crawl: &str, message: &Received, task: &Task, page: &Page) -> Letter {
    let mut error: Vec<String> = page.problems.iter().map(ToString::to_string).collect();
    let more = page.problems_count.saturating_sub(page.problems.len() as u64);
    if more > 0 {
        error.push(format!("and {more} more"));
    }
    let payload = message.body.to_vec();
    of_answer(env, crawl, message, task, ("problems", Cause::Malformed), error.join("; "), payload)
}

/// Of a task that an answer made, and that can't be stored.
pub(super) fn of_child(env: &Env, crawl: &str, message: &Received, child: &Task, error: String) -> Letter {
    let payload = serde_json::to_vec(child).unwrap_or_default();
    let which = format!("{}/{:032x}", child.resource, xxhash_rust::xxh3::xxh3_128(&payload));
    let payload = cut(&payload, ITEM_BYTES_MAX).into_bytes();
    of_answer(env, crawl, message, child, (&which, Cause::CallFailed), error, payload)
}

fn of_answer(
    env: &Env,
    crawl: &str,
    message: &Received,
    task: &Task,
    (which, cause): (&str, Cause),
    error: String,
    payload: Vec<u8>,
) -> Letter {
    let source = format!("crawl/{crawl}");
    let place = (message.sequence, message.sent_at);
    let letter = Letter::of_record(env, source.clone(), place, source, cause, error, payload);
    let headers = vec![("resource".to_owned(), task.resource.clone())];
    Letter { id: format!("{}#{which}", letter.id), headers, ..letter }
}

/// Returns what of a body is kept, as text.
fn cut(bytes: &[u8], max: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(max)]).into_owned();
    if bytes.len() > max {
        text.push_str("... (cut)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_text() {
        assert_eq!(cut(b"abc", 3), "abc");
        assert_eq!(cut("aä".as_bytes(), 2), "a\u{fffd}... (cut)");
    }
}

//! What an answer means.
//!
//! In this order: the resource's response actions, the status, whether the body is JSON, whether the items are where they
//! should be, how the list goes on. Only what passes all of them is data.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Plan;
use super::children::Above;
use super::fill::start_of;
use super::resource::Compiled;
use crate::TransportError;
use crate::page::{Found, Onward, Seen};
use crate::path::Path;
use crate::select::{Selector, clip, describe, find, is_error};
use crate::spec::Action;
use crate::{Answer, Failure, FieldProblem, Lost, Method, Page, PageState, Read, RequestError, RunValues, Task};

/// How much of an answer a failure shows, in characters.
const EXCERPT: usize = 200;

impl Plan {
    /// Returns what an answer means for its task. Never panics, whatever the vendor sends.
    pub fn read(&self, task: &Task, run: &RunValues, answer: &Answer) -> Read {
        let Some(at) = self.by_name.get(&task.resource).copied() else {
            let reason = RequestError::UnknownResource { resource: task.resource.clone() }.to_string();
            return Read::Dead(Failure::Transport { reason });
        };
        let resource = &self.resources[at];
        if let Some(read) = by_action(resource, answer).or_else(|| by_status(resource, answer)) {
            return read;
        }
        match self.page(at, task, run, answer) {
            Ok(page) => Read::Data(Box::new(page)),
            Err(
                failure @ (Failure::AmbiguousData { .. }
                | Failure::UnknownPaginator { .. }
                | Failure::ForeignLink { .. }),
            ) => Read::Dead(failure),
            Err(failure) => Read::Retry(failure),
        }
    }

    /// Returns what it means that there is no answer.
    pub fn failed(&self, error: &TransportError) -> Read {
        let failure = Failure::Transport { reason: error.to_string() };
        match error {
            TransportError::Connect { .. } | TransportError::Timeout { .. } | TransportError::CutOff { .. } => {
                Read::Retry(failure)
            }
            TransportError::Token { passing: true, .. } => Read::Retry(failure),
            TransportError::Token { .. } | TransportError::TooLarge { .. } | TransportError::NotRecorded { .. } => {
                Read::Dead(failure)
            }
        }
    }

    fn page(&self, at: usize, task: &Task, run: &RunValues, answer: &Answer) -> Result<Page, Failure> {
        let resource = &self.resources[at];
        let (body, path) = if has_no_body(resource, answer) {
            (Value::Null, Cow::Owned(Path::of_names(&[])))
        } else {
            let body = parse(answer)?;
            let path = locate(&resource.selector, task, answer, &body)?;
            (body, path)
        };
        let Some(selection) = path.select(&body) else {
            return Err(Failure::NothingSelected { selector: path.text().to_owned(), found: describe(&body) });
        };
        let is_whole = body.is_object() && path.names().is_some_and(|names| names.is_empty());
        let found = if is_whole { Found::Whole } else { Found::List };
        let seen =
            Seen { answer, body: &body, received: selection.len(), found, page: task.page.as_ref(), pages: task.pages };
        let next = self.next(resource, task, run, seen)?;
        drop(selection);
        let items = path.take(body);
        Ok(self.items(at, task, run, items, next))
    }

    /// Returns the task of the next page.
    fn next(&self, resource: &Compiled, task: &Task, run: &RunValues, seen: Seen<'_>) -> Result<Option<Task>, Failure> {
        let (page, here) = match resource.pager.onward(seen)? {
            Onward::End => return Ok(None),
            Onward::At(page) => {
                let is_here = task.page.as_ref() == Some(&page);
                (page, is_here)
            }
            Onward::Link(link) => {
                let from = self.request(task, run).map_or_else(|_| self.base.url.clone(), |request| request.url);
                let url = self.base.link(&link, &from).map_err(|error| match error {
                    RequestError::ForeignLink { link, origin } => Failure::ForeignLink { link, origin },
                    other => Failure::Pagination { path: clip(&link, EXCERPT), problem: other.to_string() },
                })?;
                let is_here = url == from;
                (PageState::Url(url.into()), is_here)
            }
        };
        match here {
            // Some vendors' last page, without items, says its own place again.
            true if seen.received == 0 => Ok(None),
            true => Err(Failure::Loop { next: clip(&shown(&page), EXCERPT) }),
            false => {
                Ok(Some(Task { page: Some(page), pages: task.pages.saturating_add(1), attempt: 0, ..task.clone() }))
            }
        }
    }

    /// Goes over the items: what they get from above, the cursor, the tasks below.
    fn items(&self, at: usize, task: &Task, run: &RunValues, items: Vec<Value>, next: Option<Task>) -> Page {
        let resource = &self.resources[at];
        let above = Above { plan: self, resource, at, task, run };
        let mut page = Page { next, items: Vec::with_capacity(items.len()), ..Page::default() };
        page.children.reserve(items.len() * resource.children.len());
        let start = start_of(resource, task, run);
        for (index, item) in items.into_iter().enumerate() {
            let mut item = match item {
                Value::Object(map) => map,
                other => Map::from_iter([("value".to_owned(), other)]),
            };
            for (column, key) in &resource.include {
                item.insert(column.clone(), task.values.get(key).cloned().unwrap_or(Value::Null));
            }
            let item = Value::Object(item);
            if is_old(resource, start.as_ref(), index, &item, &mut page) {
                page.dropped += 1;
                continue;
            }
            above.add(index, &item, &mut page);
            page.items.push(item);
        }
        page
    }
}

/// Takes note of an item's cursor, and returns whether the item is older than what is asked for, and dropped.
fn is_old(resource: &Compiled, start: Option<&Value>, index: usize, item: &Value, page: &mut Page) -> bool {
    let Some(cursor) = &resource.cursor else { return false };
    let value = cursor.path.first(item).filter(|value| !value.is_null());
    let Some(value) = value.filter(|value| cursor.knows(value)) else {
        let problem = if value.is_some() { FieldProblem::Incomparable } else { FieldProblem::Missing };
        page.problem(index, cursor.path.text(), problem, Lost::Cursor);
        return false;
    };
    match page.largest.take() {
        None => page.largest = Some(value.clone()),
        Some(largest) if cursor.compare(&largest, value).is_some_and(std::cmp::Ordering::is_lt) => {
            page.largest = Some(value.clone());
        }
        Some(largest) => page.largest = Some(largest),
    }
    let is_before = |start| cursor.compare(value, start).is_some_and(std::cmp::Ordering::is_lt);
    cursor.drop_old && start.is_some_and(is_before)
}

/// Finds where the items are.
fn locate<'a>(selector: &'a Selector, task: &Task, answer: &Answer, body: &Value) -> Result<Cow<'a, Path>, Failure> {
    let path = match selector {
        Selector::Path(path) => return Ok(Cow::Borrowed(path)),
        Selector::Whole => Path::of_names(&[]),
        Selector::Find => find(body)?,
    };
    let is_whole = path.names().is_some_and(|names| names.is_empty());
    if body.is_object() && is_whole && is_error(body) {
        return Err(Failure::Disguised { status: answer.status, excerpt: excerpt(answer) });
    }
    if is_whole && !body.is_array() && task.pages > 0 {
        let selector = "(found by looking)".to_owned();
        return Err(Failure::NothingSelected { selector, found: describe(body) });
    }
    Ok(Cow::Owned(path))
}

/// Whether HTTP says that there is no body: 204, 205, and answers to HEAD (RFC 9110, sections 9.3.2, 15.3.5 and 15.3.6).
fn has_no_body(resource: &Compiled, answer: &Answer) -> bool {
    matches!(answer.status, 204 | 205) || resource.method == Method::Head
}

fn parse(answer: &Answer) -> Result<Value, Failure> {
    let text = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    serde_json::from_slice(text).map_err(|error| {
        let reason = match text {
            [] => "it is empty".to_owned(),
            _ if error.is_eof() => format!("it ends in its midst, after {} bytes", text.len()),
            _ => error.to_string(),
        };
        Failure::NotJson { status: answer.status, reason, excerpt: excerpt(answer) }
    })
}

fn by_action(resource: &Compiled, answer: &Answer) -> Option<Read> {
    let actions = &resource.actions;
    if actions.is_empty() {
        return None;
    }
    let text = actions.iter().any(|action| action.content.is_some()).then(|| String::from_utf8_lossy(&answer.body));
    let fits = |action: &&crate::spec::ResponseAction| {
        let status = action.status_code.is_none_or(|status| status == answer.status);
        let content = action.content.as_ref().is_none_or(|part| text.as_ref().is_some_and(|text| text.contains(part)));
        status && content
    };
    let failure = |action| Failure::Action { status: answer.status, action, excerpt: excerpt(answer) };
    Some(match actions.iter().find(fits)?.action {
        Action::Ignore => Read::Ignored { status: answer.status },
        Action::Fail => Read::Dead(failure("fail")),
        Action::Retry => Read::Retry(failure("retry")),
        Action::Throttle => Read::Throttled(failure("throttle")),
    })
}

/// Returns what a status means that is not one of data.
fn by_status(resource: &Compiled, answer: &Answer) -> Option<Read> {
    let failure = || Failure::Status { status: answer.status, excerpt: excerpt(answer) };
    let asks_to_wait = answer.header("retry-after").is_some();
    // GitHub refuses for its pace with 403, and says so in its headers.
    let is_used_up = || {
        let headers = ["x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining"];
        headers.iter().any(|name| answer.header(name).is_some_and(|left| left.trim() == "0"))
    };
    Some(match answer.status {
        // Accepted, but not done: what comes with it is no answer yet.
        202 if resource.method == Method::Get => Read::Retry(failure()),
        200..=299 => return None,
        429 => Read::Throttled(failure()),
        503 if asks_to_wait => Read::Throttled(failure()),
        403 if asks_to_wait || is_used_up() => Read::Throttled(failure()),
        408 | 423 | 425 => Read::Retry(failure()),
        300..=399 => Read::Dead(Failure::Status { status: answer.status, excerpt: pointed_to(answer) }),
        501 | 505 => Read::Dead(failure()),
        500..=599 => Read::Retry(failure()),
        _ => Read::Dead(failure()),
    })
}

/// Says where a redirect leads that was not followed, behind a colon.
fn pointed_to(answer: &Answer) -> String {
    match answer.header("location") {
        Some(link) => format!(": it leads to `{}`, and credentials don't go elsewhere", clip(link, EXCERPT)),
        None => excerpt(answer),
    }
}

/// Returns an answer's beginning, behind a colon.
fn excerpt(answer: &Answer) -> String {
    let head = &answer.body[..answer.body.len().min(4 * EXCERPT)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", clip(text, EXCERPT)) }
}

fn shown(page: &PageState) -> String {
    match page {
        PageState::Url(url) => format!("`{url}`"),
        PageState::Cursor(value) | PageState::Found { value, .. } => format!("cursor {value}"),
        PageState::Offset(at) => format!("offset {at}"),
        PageState::Page(at) => format!("page {at}"),
    }
}

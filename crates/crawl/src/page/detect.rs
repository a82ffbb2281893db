//! Paginators found by looking, as dlt finds them: a `Link` header, a next link in the body, a count of pages, a cursor.
//!
//! A guess that is wrong must show. So only well-known keys count, a cursor that the vendor ignores comes back as the same
//! cursor (a loop, which is a failure), and a list that says that it is longer than what came is a failure, and no end.

use serde_json::{Map, Value};

use super::{Found, Onward, Seen, count, is_end, link};
use crate::template::text_of;
use crate::{Failure, PageState};

/// Keys of the next page, in lower case and without `_`, `-`, `.` and `@`.
const NEXT: [&str; 18] = [
    "next",
    "nextpage",
    "nexturl",
    "nexturi",
    "nextlink",
    "nexthref",
    "nextpageurl",
    "nextpageuri",
    "nextpagelink",
    "nextrecordsurl",
    "odatanextlink",
    "nextcursor",
    "nextpagecursor",
    "nextpagetoken",
    "nexttoken",
    "nextoffset",
    "nextmarker",
    "nextcontinuationtoken",
];

/// Keys of links, in an object that says more about the next page.
const LINKS: [&str; 3] = ["href", "url", "uri"];

/// Keys of how many pages there are.
const PAGE_COUNTS: [&str; 5] = ["totalpages", "pages", "pagecount", "numpages", "lastpage"];

/// Keys of the page's own number, beside the count.
const PAGE_NUMBERS: [&str; 5] = ["page", "currentpage", "pagenumber", "pageindex", "number"];

/// Keys of how many items there are.
const TOTALS: [&str; 6] = ["total", "totalcount", "totalitems", "totalresults", "totalrecords", "totalsize"];

/// Keys of flags that say that there is more.
const MORE: [&str; 5] = ["hasmore", "hasnext", "hasnextpage", "more", "moreresults"];

/// Levels of objects in which such keys are looked for.
const LEVELS: usize = 3;

pub(super) fn onward(seen: Seen<'_>) -> Result<Onward, Failure> {
    if let Some(target) = link::target(seen.answer, "next") {
        return Ok(Onward::Link(target));
    }
    // One object is one item: what is called `next` in it is a field.
    if seen.found == Found::Whole {
        return Ok(Onward::End);
    }
    let entries = entries(seen.body);
    if let Some(link) = entries.iter().find_map(|entry| next_link(entry)) {
        return Ok(Onward::Link(link.to_owned()));
    }
    if let Some((entry, pages)) = entries.iter().find_map(page_count) {
        return by_number(entry, pages, seen);
    }
    if let Some((param, value)) = entries.iter().find_map(|entry| next_cursor(entry)) {
        return Ok(Onward::At(PageState::Found { param, value: value.clone() }));
    }
    match entries.iter().find_map(|entry| more(entry, seen)) {
        Some(sign) => Err(Failure::UnknownPaginator { sign }),
        None => Ok(Onward::End),
    }
}

/// A key in some object of the answer.
struct Entry<'a> {
    object: &'a Map<String, Value>,
    key: &'a str,
    plain: String,
    value: &'a Value,
}

/// Returns all keys of the first levels of objects, those above before those below.
fn entries(root: &Value) -> Vec<Entry<'_>> {
    let mut found: Vec<Entry<'_>> = Vec::new();
    let mut level: Vec<&Map<String, Value>> = root.as_object().into_iter().collect();
    for _ in 0..LEVELS {
        let from = found.len();
        for object in level {
            found.extend(object.iter().map(|(key, value)| Entry { object, key, plain: plain(key), value }));
        }
        level = found[from..].iter().filter_map(|entry| entry.value.as_object()).collect();
    }
    found
}

fn plain(key: &str) -> String {
    key.chars().filter(|c| !"_-.@".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

fn is_one_of(entry: &Entry<'_>, keys: &[&str]) -> bool {
    keys.contains(&entry.plain.as_str())
}

fn next_link<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    if !is_one_of(entry, &NEXT) {
        return None;
    }
    let text = match entry.value {
        Value::Object(inner) => {
            inner.iter().find(|(key, _)| LINKS.contains(&plain(key).as_str())).and_then(|(_, value)| value.as_str())?
        }
        other => other.as_str()?,
    };
    let is_link = ["http://", "https://", "/", "?"].iter().any(|start| text.starts_with(start));
    is_link.then_some(text)
}

fn next_cursor<'a>(entry: &Entry<'a>) -> Option<(String, &'a Value)> {
    let usable = is_one_of(entry, &NEXT) && !is_end(entry.value) && text_of(entry.value).is_ok();
    (usable && !entry.value.is_boolean()).then(|| (param_of(entry), entry.value))
}

/// Returns the parameter that a cursor goes back in: `next_page_token` is sent as `page_token`.
fn param_of(entry: &Entry<'_>) -> String {
    let rest = entry.key.get(4..).unwrap_or_default().trim_start_matches(['_', '-', '.']);
    let mut chars = rest.chars();
    match chars.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
        None if entry.value.is_number() => "page".to_owned(),
        None => "cursor".to_owned(),
    }
}

fn page_count<'e, 'a>(entry: &'e Entry<'a>) -> Option<(&'e Entry<'a>, u64)> {
    (is_one_of(entry, &PAGE_COUNTS)).then(|| count(entry.value))?.map(|pages| (entry, pages))
}

fn by_number(entry: &Entry<'_>, pages: u64, seen: Seen<'_>) -> Result<Onward, Failure> {
    if seen.pages.saturating_add(1) >= pages {
        return Ok(Onward::End);
    }
    let number = |(key, value): (&String, &Value)| {
        let plain = plain(key);
        let param = if plain == "pagenumber" { key.clone() } else { "page".to_owned() };
        PAGE_NUMBERS.contains(&plain.as_str()).then(|| count(value))?.map(|number| (param, number))
    };
    match entry.object.iter().find_map(number) {
        Some((param, number)) => {
            let value = Value::from(number.saturating_add(1));
            Ok(Onward::At(PageState::Found { param, value }))
        }
        None => Err(Failure::UnknownPaginator { sign: format!("`{}` is {pages}", entry.key) }),
    }
}

/// Returns what says that the list goes on, where nothing says how.
fn more(entry: &Entry<'_>, seen: Seen<'_>) -> Option<String> {
    if is_one_of(entry, &MORE) && entry.value == &Value::Bool(true) {
        return Some(format!("`{}` is true", entry.key));
    }
    let total = is_one_of(entry, &TOTALS).then(|| count(entry.value))??;
    let longer = seen.pages == 0 && total > seen.received as u64;
    longer.then(|| format!("`{}` is {total}, and {} came", entry.key, seen.received))
}

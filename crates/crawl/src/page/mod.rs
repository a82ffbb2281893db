//! Paginators: how a list goes on behind an answer.
//!
//! Each answer is judged alone, with nothing but the task's own place at hand: a page is a task, and any process may
//! make the next call. Names and defaults are dlt's. Where dlt would lose or repeat items, this doesn't:
//! an offset moves by the items that came and not by those that were asked for (vendors cap their pages), a list
//! without a total goes on until a page is empty, and a place that repeats itself is a failure.

mod detect;
mod link;

use serde_json::Value;

use crate::path::Path;
use crate::spec::Paginator;
use crate::template::text_of;
use crate::{Answer, Failure, PageState};

/// A paginator, compiled.
#[derive(Debug, Clone)]
pub(crate) enum Pager {
    Auto,
    Single,
    HeaderLink { rel: String },
    JsonLink { path: Path },
    Cursor { from: CursorFrom, to: CursorTo, has_more: Option<Path> },
    Offset { limit: u64, first: u64, offset_param: String, limit_param: String, end: Range },
    PageNumber { base: u64, param: String, end: Range },
}

#[derive(Debug, Clone)]
pub(crate) enum CursorFrom {
    Body(Path),
    Header(String),
}

#[derive(Debug, Clone)]
pub(crate) enum CursorTo {
    Param(String),
    Body(Path),
}

/// Where counted pages end.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    total: Option<Path>,
    maximum: Option<u64>,
    empty: EmptyPage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmptyPage {
    Last,
    LikeAnyOther,
}

/// An answer, and where it stands in its list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) answer: &'a Answer,
    /// The answer's JSON; null without.
    pub(crate) body: &'a Value,
    /// Items of it.
    pub(crate) received: usize,
    /// What the items are of.
    pub(crate) found: Found,
    pub(crate) page: Option<&'a PageState>,
    /// Pages of the list before it.
    pub(crate) pages: u64,
}

/// What the items of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Elements of a list.
    List,
    /// The answer itself, one object.
    Whole,
}

/// How a list goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Onward {
    End,
    /// At a link, as the vendor wrote it.
    Link(String),
    At(PageState),
}

/// The parts of a request that pages differ in.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

impl Call {
    /// Sets a parameter, instead of whatever has its name.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value));
    }
}

impl Pager {
    /// Compiles a paginator.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn compile(spec: &Paginator) -> Result<Self, String> {
        let path = |name: &str, text: &str| Path::parse(text).map_err(|problem| format!("`{name}` `{text}` {problem}"));
        let total = |text: &Option<String>| text.as_ref().map(|text| path("total_path", text)).transpose();
        Ok(match spec {
            Paginator::Auto => Self::Auto,
            Paginator::SinglePage => Self::Single,
            Paginator::HeaderLink { rel } if rel.trim().is_empty() => return Err("the relation is empty".to_owned()),
            Paginator::HeaderLink { rel } => Self::HeaderLink { rel: rel.trim().to_owned() },
            Paginator::JsonLink { next_url_path } => Self::JsonLink { path: path("next_url_path", next_url_path)? },
            Paginator::Cursor { cursor_path, cursor_header, cursor_param, cursor_body_path, has_more_path } => {
                let from = match (cursor_path, cursor_header) {
                    (Some(_), Some(_)) => return Err("has `cursor_path` and `cursor_header`; one is enough".to_owned()),
                    (None, Some(header)) => CursorFrom::Header(header.clone()),
                    (cursor, None) => {
                        CursorFrom::Body(path("cursor_path", cursor.as_deref().unwrap_or("cursors.next"))?)
                    }
                };
                let to = match (cursor_param, cursor_body_path) {
                    (Some(_), Some(_)) => {
                        return Err("has `cursor_param` and `cursor_body_path`; one is enough".to_owned());
                    }
                    (None, Some(body)) => CursorTo::Body(names(path("cursor_body_path", body)?)?),
                    (param, None) => CursorTo::Param(param.clone().unwrap_or_else(|| "cursor".to_owned())),
                };
                let has_more = has_more_path.as_ref().map(|text| path("has_more_path", text)).transpose()?;
                Self::Cursor { from, to, has_more }
            }
            Paginator::Offset { limit: 0, .. } => return Err("`limit` is 0: no page would have an item".to_owned()),
            Paginator::Offset {
                limit,
                offset,
                offset_param,
                limit_param,
                total_path,
                maximum_offset,
                stop_after_empty_page,
            } => Self::Offset {
                limit: *limit,
                first: *offset,
                offset_param: offset_param.clone(),
                limit_param: limit_param.clone(),
                end: Range::new(total(total_path)?, *maximum_offset, *stop_after_empty_page, "maximum_offset")?,
            },
            Paginator::PageNumber { base_page, page_param, total_path, maximum_page, stop_after_empty_page } => {
                Self::PageNumber {
                    base: *base_page,
                    param: page_param.clone(),
                    end: Range::new(total(total_path)?, *maximum_page, *stop_after_empty_page, "maximum_page")?,
                }
            }
        })
    }

    /// Puts a page's place into a request; links are the caller's. Returns whether the place is one of this paginator's.
    #[must_use]
    pub(crate) fn fill(&self, page: Option<&PageState>, call: &mut Call) -> bool {
        match (self, page) {
            (Self::Offset { first: at, .. }, None) | (Self::Offset { .. }, Some(PageState::Offset(at))) => {
                let Self::Offset { limit, offset_param, limit_param, .. } = self else { return false };
                call.set(offset_param, at.to_string());
                call.set(limit_param, limit.to_string());
            }
            (Self::PageNumber { base: at, param, .. }, None)
            | (Self::PageNumber { param, .. }, Some(PageState::Page(at))) => call.set(param, at.to_string()),
            (Self::Cursor { to: CursorTo::Param(param), .. }, Some(PageState::Cursor(value))) => {
                let Ok(text) = text_of(value) else { return false };
                call.set(param, text.into_owned());
            }
            (Self::Cursor { to: CursorTo::Body(path), .. }, Some(PageState::Cursor(value))) => {
                path.put(call.body.get_or_insert(Value::Null), value.clone());
            }
            (Self::Auto, Some(PageState::Found { param, value })) => {
                let Ok(text) = text_of(value) else { return false };
                call.set(param, text.into_owned());
            }
            (_, Some(_)) => return false,
            (_, None) => {}
        }
        true
    }

    /// Returns how the list goes on.
    ///
    /// # Errors
    /// The list goes on, but where can't be seen.
    pub(crate) fn onward(&self, seen: Seen<'_>) -> Result<Onward, Failure> {
        match self {
            Self::Single => Ok(Onward::End),
            Self::Auto => detect::onward(seen),
            Self::HeaderLink { rel } => Ok(link::target(seen.answer, rel).map_or(Onward::End, Onward::Link)),
            Self::JsonLink { path } => match path.first(seen.body) {
                None | Some(Value::Null | Value::Bool(false)) => Ok(Onward::End),
                Some(Value::String(text)) if text.is_empty() => Ok(Onward::End),
                Some(Value::String(text)) => Ok(Onward::Link(text.clone())),
                Some(_) => Err(wrong(path.text(), "is no link")),
            },
            Self::Cursor { from, has_more, .. } => cursor(from, has_more.as_ref(), seen),
            Self::Offset { limit, first, end, .. } => {
                let at = if let Some(PageState::Offset(at)) = seen.page { *at } else { *first };
                let step = if seen.received == 0 { *limit } else { seen.received as u64 };
                let next = at.checked_add(step).ok_or_else(|| wrong("offset", "is beyond all numbers"))?;
                let more = end.is_before_end(next, 0, seen)?;
                Ok(if more { Onward::At(PageState::Offset(next)) } else { Onward::End })
            }
            Self::PageNumber { base, end, .. } => {
                let at = if let Some(PageState::Page(at)) = seen.page { *at } else { *base };
                let next = at.checked_add(1).ok_or_else(|| wrong("page", "is beyond all numbers"))?;
                let more = end.is_before_end(next, *base, seen)?;
                Ok(if more { Onward::At(PageState::Page(next)) } else { Onward::End })
            }
        }
    }
}

impl Range {
    fn new(total: Option<Path>, maximum: Option<u64>, stops: bool, name: &str) -> Result<Self, String> {
        if total.is_none() && maximum.is_none() && !stops {
            return Err(format!("nothing ends the list: say `total_path`, `{name}` or `stop_after_empty_page`"));
        }
        let empty = if stops { EmptyPage::Last } else { EmptyPage::LikeAnyOther };
        Ok(Self { total, maximum, empty })
    }

    /// Whether there may be something at `next`, the count of which begins at `base`.
    fn is_before_end(&self, next: u64, base: u64, seen: Seen<'_>) -> Result<bool, Failure> {
        if seen.received == 0 && self.empty == EmptyPage::Last {
            return Ok(false);
        }
        if self.maximum.is_some_and(|maximum| next >= maximum) {
            return Ok(false);
        }
        let Some(path) = &self.total else { return Ok(true) };
        match (path.first(seen.body), self.empty) {
            (Some(total), _) if !total.is_null() => {
                let total = count(total).ok_or_else(|| wrong(path.text(), "is no number"))?;
                Ok(next < total.saturating_add(base))
            }
            (_, EmptyPage::LikeAnyOther) if self.maximum.is_none() => {
                Err(wrong(path.text(), "is missing, and nothing else says where the list ends"))
            }
            _ => Ok(true),
        }
    }
}

fn cursor(from: &CursorFrom, has_more: Option<&Path>, seen: Seen<'_>) -> Result<Onward, Failure> {
    let told = has_more.and_then(|path| Some((path.text(), flag(path.first(seen.body)?))));
    let more = match told {
        Some((path, None)) => return Err(wrong(path, "is no flag")),
        Some((_, Some(false))) => return Ok(Onward::End),
        Some((path, Some(true))) => Some(path),
        None => None,
    };
    let (name, value) = match from {
        CursorFrom::Body(path) => (path.text(), path.first(seen.body).cloned()),
        CursorFrom::Header(header) => (header.as_str(), seen.answer.header(header).map(Value::from)),
    };
    let value = value.filter(|value| !is_end(value));
    match (value, more) {
        (None, Some(path)) => Err(wrong(name, &format!("is missing, though `{path}` says that there is more"))),
        (None, None) => Ok(Onward::End),
        (Some(value), _) => match text_of(&value) {
            Ok(_) => Ok(Onward::At(PageState::Cursor(value))),
            Err(problem) => Err(wrong(name, &problem.to_string())),
        },
    }
}

/// Whether a cursor says that there is nothing behind it: null, false, 0 and the empty text, as in Python.
fn is_end(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Null => Some(false),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
        Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
        _ => None,
    }
}

/// Returns a count, also where it was written as a text.
fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            (float >= 0.0 && float.fract() == 0.0 && float < 9e15).then_some(float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn names(path: Path) -> Result<Path, String> {
    match path.names() {
        Some(names) if !names.is_empty() => Ok(path),
        _ => Err(format!("`{}` must be names with dots between them: a cursor is put there", path.text())),
    }
}

fn wrong(path: &str, problem: &str) -> Failure {
    Failure::Pagination { path: path.to_owned(), problem: problem.to_owned() }
}

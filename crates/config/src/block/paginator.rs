//! `paginator "cursor" { cursor_path = "..." }`, or `paginator = "auto"`: how a list goes on, in dlt's names and defaults.

use weir_crawl::spec::Paginator;

use super::{Attributes, Inner, Shape, Times};
use crate::diagnostic::Report;
use crate::{Diagnostic, nearest};

/// For the shapes of blocks that may hold one.
pub(super) const INNER: Inner = Inner { kind: NAME, times: Times::Named };

/// The attribute's name, and the block's.
pub(super) const NAME: &str = "paginator";

const NOTHING: Shape = Shape { attributes: &[], later: &[], blocks: &[] };
const HEADER_LINK: Shape = Shape { attributes: &["links_next_key"], later: &[], blocks: &[] };
const JSON_LINK: Shape = Shape { attributes: &["next_url_path"], later: &[], blocks: &[] };
const CURSOR: Shape = Shape {
    attributes: &["cursor_path", "cursor_header", "cursor_param", "cursor_body_path", "has_more_path"],
    later: &[],
    blocks: &[],
};
const OFFSET: Shape = Shape {
    attributes: &[
        "limit",
        "offset",
        "offset_param",
        "limit_param",
        "total_path",
        "maximum_offset",
        "stop_after_empty_page",
    ],
    later: &["offset_body_path", "limit_body_path", "has_more_path"],
    blocks: &[],
};
const PAGE_NUMBER: Shape = Shape {
    attributes: &["base_page", "page_param", "total_path", "maximum_page", "stop_after_empty_page"],
    later: &["page_body_path", "has_more_path"],
    blocks: &[],
};

const TYPES: [(&str, &Shape); 7] = [
    ("auto", &NOTHING),
    ("single_page", &NOTHING),
    ("header_link", &HEADER_LINK),
    ("json_link", &JSON_LINK),
    ("cursor", &CURSOR),
    ("offset", &OFFSET),
    ("page_number", &PAGE_NUMBER),
];

/// The largest page, offset and limit.
const NUMBER_MAX: u32 = 1_000_000_000;

/// Tells whether a block says how lists go on.
pub(super) fn is_in(block: &Attributes<'_>) -> bool {
    block.has(NAME) || !block.inner_names(NAME).is_empty()
}

/// Reads how lists go on, if the block says it; the outer `None` says that something was refused.
pub(super) fn read(block: &Attributes<'_>, report: &mut Report) -> Option<Option<Paginator>> {
    let names = block.inner_names(NAME);
    if let [_, second, ..] = names.as_slice() {
        let message = format!("{block} has two paginators");
        report.push(
            Diagnostic::error(message).at(block.place_of(Some(second.span.clone()))).hint("remove one of the two"),
        );
        return None;
    }
    let Some(name) = names.first() else {
        return match block.name_text(NAME, "auto", report) {
            Some(word) => of_word(block, &word.value, report).map(Some),
            None => (!block.has(NAME)).then_some(None),
        };
    };
    if block.has(NAME) {
        let message = |_: &str| format!("{block} has two paginators");
        block.forbid([NAME], message, "remove one of the two", report);
        return None;
    }
    let shape_of = |name: &str| TYPES.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape);
    let opened = block.inner_by_name(NAME, shape_of, report);
    let Some(inner) = opened.first() else {
        let place = block.place_of(Some(name.span.clone()));
        let (message, hint) = unknown(&name.value);
        report.push(Diagnostic::error(message).at(place).hint(hint));
        return None;
    };
    of_block(inner, report).map(Some)
}

fn unknown(name: &str) -> (String, String) {
    let hint = nearest::hint(name, TYPES.iter().map(|(name, _)| *name), "paginators");
    (format!("`{name}` is not a paginator"), hint)
}

/// A paginator that has defaults for everything.
fn of_word(block: &Attributes<'_>, word: &str, report: &mut Report) -> Option<Paginator> {
    Some(match word {
        "auto" => Paginator::Auto,
        "single_page" => Paginator::SinglePage,
        "header_link" => Paginator::HeaderLink { rel: "next".to_owned() },
        "json_link" => Paginator::JsonLink { next_url_path: "next".to_owned() },
        "cursor" => Paginator::Cursor {
            cursor_path: Some("cursors.next".to_owned()),
            cursor_header: None,
            cursor_param: Some("cursor".to_owned()),
            cursor_body_path: None,
            has_more_path: None,
        },
        "page_number" => Paginator::PageNumber {
            base_page: 0,
            page_param: "page".to_owned(),
            total_path: Some("total".to_owned()),
            maximum_page: None,
            stop_after_empty_page: true,
        },
        "offset" => {
            let hint = "write it as a block: `paginator \"offset\" { limit = 100 }`";
            block.refuse(NAME, "`offset` needs to know how many items a page has", hint, report);
            return None;
        }
        _ => {
            let (message, hint) = unknown(word);
            block.refuse(NAME, message, hint, report);
            return None;
        }
    })
}

fn of_block(inner: &Attributes<'_>, report: &mut Report) -> Option<Paginator> {
    let text =
        |name: &str, example: &str, report: &mut Report| inner.name_text(name, example, report).map(|text| text.value);
    let total_path = |report: &mut Report| match inner.is_written("total_path") {
        true => text("total_path", "total", report),
        false => Some("total".to_owned()),
    };
    let number =
        |name: &str, from: u32, report: &mut Report| inner.whole_number(name, from..=NUMBER_MAX, report).map(u64::from);
    Some(match inner.name {
        "header_link" => {
            Paginator::HeaderLink { rel: text("links_next_key", "next", report).unwrap_or_else(|| "next".to_owned()) }
        }
        "json_link" => Paginator::JsonLink {
            next_url_path: text("next_url_path", "links.next", report).unwrap_or_else(|| "next".to_owned()),
        },
        "cursor" => {
            let cursor_header = text("cursor_header", "X-Next-Cursor", report);
            if cursor_header.is_some() {
                let message = |_: &str| format!("{inner} has both `cursor_path` and `cursor_header`");
                inner.forbid(["cursor_path"], message, "remove one of the two", report);
            }
            let cursor_body_path = text("cursor_body_path", "page.cursor", report);
            let cursor_path = text("cursor_path", "cursors.next", report)
                .or_else(|| cursor_header.is_none().then(|| "cursors.next".to_owned()));
            let cursor_param = text("cursor_param", "cursor", report)
                .or_else(|| cursor_body_path.is_none().then(|| "cursor".to_owned()));
            let has_more_path = text("has_more_path", "has_more", report);
            Paginator::Cursor { cursor_path, cursor_header, cursor_param, cursor_body_path, has_more_path }
        }
        "offset" => {
            if !inner.has("limit") {
                inner.missing("limit", "say how many items a page has: `limit = 100`", report);
            }
            Paginator::Offset {
                limit: number("limit", 1, report)?,
                offset: number("offset", 0, report).unwrap_or(0),
                offset_param: text("offset_param", "offset", report).unwrap_or_else(|| "offset".to_owned()),
                limit_param: text("limit_param", "limit", report).unwrap_or_else(|| "limit".to_owned()),
                total_path: total_path(report),
                maximum_offset: number("maximum_offset", 0, report),
                stop_after_empty_page: inner.flag("stop_after_empty_page", report).unwrap_or(true),
            }
        }
        "page_number" => Paginator::PageNumber {
            base_page: number("base_page", 0, report).unwrap_or(0),
            page_param: text("page_param", "page", report).unwrap_or_else(|| "page".to_owned()),
            total_path: total_path(report),
            maximum_page: number("maximum_page", 0, report),
            stop_after_empty_page: inner.flag("stop_after_empty_page", report).unwrap_or(true),
        },
        "single_page" => Paginator::SinglePage,
        _ => Paginator::Auto,
    })
}

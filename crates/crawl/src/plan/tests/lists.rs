//! Lists of any length in pages of any kind: each item exactly once, and an end.

use proptest::prelude::*;

use super::*;
use crate::Request;

/// A vendor with a list of numbers.
#[derive(Debug, Clone)]
struct Vendor {
    items: Vec<u64>,
    /// The most items of a page, whatever is asked for.
    cap: u64,
    /// Pages that are shorter than they could be: every n-th has one item. Zero: none.
    short: u64,
    total: Total,
    style: Style,
    /// Whether there is an empty page behind the last item.
    empty_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Total {
    Told,
    Null,
    Absent,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    HeaderLink,
    JsonLink,
    RelativeLink,
    Cursor,
    CursorInBody,
    CursorInHeader,
    CursorWithFlag,
    Offset,
    PageNumber { base: u64 },
    Auto(AutoStyle),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum AutoStyle {
    HeaderLink,
    JsonLink,
    NestedLink,
    Cursor,
    PageToken,
    PageCount { base: u64 },
}

fn param(request: &Request, name: &str) -> Option<u64> {
    request.url.query_pairs().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
}

impl Vendor {
    fn paginator(&self) -> Option<Paginator> {
        let cursor =
            |path: Option<&str>, header: Option<&str>, body: Option<&str>, more: Option<&str>| Paginator::Cursor {
                cursor_path: path.map(str::to_owned),
                cursor_header: header.map(str::to_owned),
                cursor_param: None,
                cursor_body_path: body.map(str::to_owned),
                has_more_path: more.map(str::to_owned),
            };
        let total_path =
            (self.total != Total::Absent || self.items.len().is_multiple_of(2)).then(|| "total".to_owned());
        Some(match self.style {
            Style::HeaderLink => Paginator::HeaderLink { rel: "next".to_owned() },
            Style::JsonLink | Style::RelativeLink => Paginator::JsonLink { next_url_path: "paging.next".to_owned() },
            Style::Cursor => cursor(None, None, None, None),
            Style::CursorInHeader => cursor(None, Some("X-Next-Cursor"), None, None),
            Style::CursorInBody => cursor(None, None, Some("page.after"), None),
            Style::CursorWithFlag => cursor(Some("items[-1].id"), None, None, Some("has_more")),
            Style::Offset => Paginator::Offset {
                limit: 5,
                offset: 0,
                offset_param: "offset".to_owned(),
                limit_param: "limit".to_owned(),
                total_path,
                maximum_offset: None,
                stop_after_empty_page: true,
            },
            Style::PageNumber { base } => Paginator::PageNumber {
                base_page: base,
                page_param: "page".to_owned(),
                total_path,
                maximum_page: None,
                stop_after_empty_page: true,
            },
            Style::Auto(_) => return None,
        })
    }

    /// Where a page ends that begins at an item.
    fn end_of(&self, from: u64, page: u64, limit: u64) -> u64 {
        let size = if self.short > 0 && (page + 1).is_multiple_of(self.short) { 1 } else { self.cap.min(limit) };
        (from + size).min(self.items.len() as u64)
    }

    fn answer(&self, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let from = match self.style {
            Style::Offset => param(request, "offset").expect("an offset"),
            Style::PageNumber { base } => (param(request, "page").expect("a page") - base) * self.cap,
            Style::Auto(AutoStyle::PageCount { base }) => (param(request, "page").unwrap_or(base) - base) * self.cap,
            Style::Auto(AutoStyle::PageToken) => param(request, "page_token").unwrap_or(0),
            Style::CursorInBody => body["page"]["after"].as_str().map_or(0, |text| text.parse().unwrap()),
            Style::CursorWithFlag => {
                let after = param(request, "cursor");
                after.map_or(0, |id| self.items.iter().position(|known| *known == id).unwrap() as u64 + 1)
            }
            _ => param(request, "cursor").or_else(|| param(request, "from")).unwrap_or(0),
        }
        .min(self.items.len() as u64);
        let by_number = matches!(self.style, Style::PageNumber { .. } | Style::Auto(AutoStyle::PageCount { .. }));
        let limit = param(request, "limit").unwrap_or(u64::MAX);
        let end =
            if by_number { (from + self.cap).min(self.items.len() as u64) } else { self.end_of(from, from, limit) };
        let page: Vec<_> = self.items[from as usize..end as usize].iter().map(|id| json!({"id": id})).collect();
        let count = self.items.len() as u64;
        let more = end < count || (self.empty_end && from < count);
        let link = format!("https://vendor.example/v1/a?from={end}");
        let mut body = json!({"items": page, "has_more": end < count});
        let mut headers = Vec::new();
        let next = more.then(|| end.to_string());
        match self.style {
            Style::HeaderLink | Style::Auto(AutoStyle::HeaderLink) if more => {
                headers.push(("link", format!("<{link}>; rel=\"next\"")));
            }
            Style::JsonLink | Style::Auto(AutoStyle::NestedLink) => {
                body["paging"] = json!({"next": more.then_some(link)});
            }
            Style::RelativeLink => body["paging"] = json!({"next": more.then(|| format!("?from={end}"))}),
            Style::Auto(AutoStyle::JsonLink) if more => body["next"] = json!(link),
            Style::Cursor | Style::CursorInBody => body["cursors"] = json!({"next": next}),
            Style::CursorInHeader => headers.extend(next.map(|next| ("x-next-cursor", next))),
            Style::Auto(AutoStyle::Cursor) => body["meta"] = json!({"next_cursor": next.unwrap_or_default()}),
            Style::Auto(AutoStyle::PageToken) => body["next_page_token"] = json!(next),
            Style::Auto(AutoStyle::PageCount { base }) => {
                body["meta"] = json!({"total_pages": count.div_ceil(self.cap), "page": from / self.cap + base});
            }
            _ => {}
        }
        if matches!(self.style, Style::Auto(_)) {
            body.as_object_mut().unwrap().remove("has_more");
        }
        let total = if by_number { count.div_ceil(self.cap) } else { count };
        match self.total {
            Total::Told => body["total"] = json!(total),
            Total::Text => body["total"] = json!(total.to_string()),
            Total::Null => body["total"] = Value::Null,
            Total::Absent => {}
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        raw(200, &headers, body.to_string().as_bytes())
    }
}

/// Calls all pages, and returns the items, and the calls that it took.
fn walk(plan: &Plan, answer: impl Fn(&Request) -> Answer) -> Result<(Vec<u64>, u64), String> {
    let (mut found, mut calls) = (Vec::new(), 0);
    let mut task = Some(root(plan));
    while let Some(now) = task.take() {
        let request = plan.request(&now, &run()).map_err(|error| error.to_string())?;
        calls += 1;
        match plan.read(&now, &run(), &answer(&request)) {
            Read::Data(page) => {
                found.extend(page.items.iter().map(|item| item["id"].as_u64().unwrap()));
                task = page.next;
            }
            other => return Err(format!("{other:?}")),
        }
    }
    Ok((found, calls))
}

fn resource(paginator: Option<Paginator>) -> Resource {
    Resource {
        data_selector: Some("items".to_owned()),
        paginator,
        body: Some(json!({"page": {"size": 5}})),
        ..Resource::new("a", "/a")
    }
}

fn styles() -> impl Strategy<Value = Style> {
    prop_oneof![
        Just(Style::HeaderLink),
        Just(Style::JsonLink),
        Just(Style::RelativeLink),
        Just(Style::Cursor),
        Just(Style::CursorInBody),
        Just(Style::CursorInHeader),
        Just(Style::CursorWithFlag),
        Just(Style::Offset),
        (0_u64..3).prop_map(|base| Style::PageNumber { base }),
        Just(Style::Auto(AutoStyle::HeaderLink)),
        Just(Style::Auto(AutoStyle::JsonLink)),
        Just(Style::Auto(AutoStyle::NestedLink)),
        Just(Style::Auto(AutoStyle::Cursor)),
        Just(Style::Auto(AutoStyle::PageToken)),
        (0_u64..3).prop_map(|base| Style::Auto(AutoStyle::PageCount { base })),
    ]
}

fn totals() -> impl Strategy<Value = Total> {
    prop_oneof![Just(Total::Told), Just(Total::Null), Just(Total::Absent), Just(Total::Text)]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(1500))]

    #[test]
    fn each_item_comes_exactly_once_and_the_list_ends(
        count in 0_u64..40, cap in 1_u64..12, short in 0_u64..4, total in totals(), style in styles(), empty_end in any::<bool>(),
    ) {
        let vendor = Vendor { items: (1..=count).map(|id| id * 7).collect(), cap, short, total, style, empty_end };
        let plan = plan_of(vec![resource(vendor.paginator())]);
        let (found, calls) = walk(&plan, |request| vendor.answer(request)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&found, &vendor.items);
        prop_assert!(calls <= count + 2, "{} calls", calls);
        let size = match vendor.style {
            Style::PageNumber { .. } => Some(cap),
            Style::Offset if short == 0 => Some(cap.min(5)),
            _ => None,
        };
        if let (Some(size), Total::Told | Total::Text) = (size, total) {
            prop_assert_eq!(calls, count.div_ceil(size).max(1), "a known end costs no call more");
        }
    }
}

#[test]
fn lists_that_never_end_stop_at_the_most_pages() {
    let offset = Paginator::Offset {
        limit: 5,
        offset: 0,
        offset_param: "offset".to_owned(),
        limit_param: "limit".to_owned(),
        total_path: None,
        maximum_offset: None,
        stop_after_empty_page: true,
    };
    let plan = plan_of(vec![Resource { pages_max: 25, ..resource(Some(offset)) }]);
    let calls = std::cell::Cell::new(0);
    let stopped = walk(&plan, |_| {
        calls.set(calls.get() + 1);
        answer(&json!({"items": [{"id": 1}]}))
    });
    assert_eq!(stopped.unwrap_err(), "the list has more than 25 pages; raise `pages_max` if that is so");
    assert_eq!(calls.get(), 25);
}

#[test]
fn places_that_repeat_themselves_are_failures() {
    let cursor = Paginator::Cursor {
        cursor_path: Some("next".to_owned()),
        cursor_header: None,
        cursor_param: None,
        cursor_body_path: None,
        has_more_path: None,
    };
    let link = Paginator::JsonLink { next_url_path: "next".to_owned() };
    let own = "https://vendor.example/v1/a";
    for (paginator, next) in
        [(Some(cursor.clone()), json!("x")), (Some(link), json!(own)), (None, json!("x")), (None, json!(7))]
    {
        let plan = plan_of(vec![resource(paginator)]);
        let stopped = walk(&plan, |_| answer(&json!({"items": [{"id": 1}], "next": next}))).unwrap_err();
        assert!(stopped.contains("Loop"), "{stopped}");
    }
    // A last page without items that says its own place is an end.
    let plan = plan_of(vec![resource(Some(cursor))]);
    let ended = walk(&plan, |request| {
        let items = if request.url.query().is_some() { json!([]) } else { json!([{"id": 1}]) };
        answer(&json!({"items": items, "next": "x"}))
    });
    assert_eq!(ended, Ok((vec![1], 2)));
}

#[test]
fn lists_that_say_that_they_go_on_and_not_how_are_failures() {
    let plan = plan_of(vec![resource(None)]);
    for more in [
        json!({"items": [{"id": 1}], "total": 5}),
        json!({"items": [{"id": 1}], "meta": {"total_count": 2}}),
        json!({"items": [{"id": 1}], "has_more": true}),
        json!({"items": [{"id": 1}], "total_pages": 2}),
    ] {
        let stopped = walk(&plan, |_| answer(&more)).unwrap_err();
        assert!(stopped.starts_with("Dead(UnknownPaginator"), "{stopped}");
    }
    for all in [json!({"items": [{"id": 1}], "total": 1}), json!({"items": [{"id": 1}], "has_more": false, "pages": 1})]
    {
        assert_eq!(walk(&plan, |_| answer(&all)), Ok((vec![1], 1)));
    }
}

#[test]
fn what_pages_say_wrongly_is_named() {
    let cursor = |more: Option<&str>| Paginator::Cursor {
        cursor_path: Some("next".to_owned()),
        cursor_header: None,
        cursor_param: None,
        cursor_body_path: None,
        has_more_path: more.map(str::to_owned),
    };
    let number = Paginator::PageNumber {
        base_page: 0,
        page_param: "page".to_owned(),
        total_path: Some("total".to_owned()),
        maximum_page: None,
        stop_after_empty_page: false,
    };
    let link = || Some(Paginator::JsonLink { next_url_path: "next".to_owned() });
    let table = [
        (Some(cursor(None)), json!({"items": [], "next": {"a": 1}}), "`next` is a list or an object"),
        (
            Some(cursor(Some("more"))),
            json!({"items": [], "more": true}),
            "`next` is missing, though `more` says that there is more",
        ),
        (Some(cursor(Some("more"))), json!({"items": [], "more": "perhaps"}), "`more` is no flag"),
        (Some(number.clone()), json!({"items": [{"id": 1}], "total": "many"}), "`total` is no number"),
        (Some(number), json!({"items": [{"id": 1}]}), "`total` is missing, and nothing else says where the list ends"),
        (link(), json!({"items": [], "next": 5}), "`next` is no link"),
        (
            link(),
            json!({"items": [], "next": "https://evil.example/"}),
            "the next page, `https://evil.example/`, is not on `https://vendor.example`: credentials don't go elsewhere",
        ),
    ];
    for (paginator, body, expected) in table {
        let plan = plan_of(vec![resource(paginator)]);
        match plan.read(&root(&plan), &run(), &answer(&body)) {
            Read::Retry(failure) | Read::Dead(failure) => assert_eq!(failure.to_string(), expected),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn maxima_end_lists_as_in_dlt() {
    let paginator = Paginator::PageNumber {
        base_page: 1,
        page_param: "page".to_owned(),
        total_path: None,
        maximum_page: Some(4),
        stop_after_empty_page: false,
    };
    let plan = plan_of(vec![resource(Some(paginator))]);
    let walked = walk(&plan, |request| answer(&json!({"items": [{"id": param(request, "page")}]})));
    assert_eq!(walked, Ok((vec![1, 2, 3], 3)));
}

//! A whole crawl over four levels and four paginators, of a vendor on its worst days: each leaf exactly once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Request;

const PAGE: usize = 3;

fn crawl() -> Plan {
    let items = || Some("items".to_owned());
    let number = Paginator::PageNumber {
        base_page: 1,
        page_param: "page".to_owned(),
        total_path: Some("total".to_owned()),
        maximum_page: None,
        stop_after_empty_page: true,
    };
    let cursor = Paginator::Cursor {
        cursor_path: None,
        cursor_header: None,
        cursor_param: None,
        cursor_body_path: None,
        has_more_path: None,
    };
    let offset = Paginator::Offset {
        limit: 10,
        offset: 0,
        offset_param: "offset".to_owned(),
        limit_param: "limit".to_owned(),
        total_path: None,
        maximum_offset: None,
        stop_after_empty_page: true,
    };
    let level =
        |name: &str, path: &str, paginator| Resource { data_selector: items(), paginator, ..Resource::new(name, path) };
    plan_of(vec![
        level("group", "/groups", Some(number)),
        level("device", "/groups/{resources.group.id}/devices", Some(cursor)),
        level("data", "/groups/{resources.group.id}/devices/{resources.device.id}/data", Some(offset)),
        Resource {
            include_from_parent: vec!["id".to_owned()],
            paginator: Some(Paginator::HeaderLink { rel: "next".to_owned() }),
            ..Resource::new("reading", "/readings/{resources.data.id}/all")
        },
    ])
}

/// Answers a call: lists of numbers below names that end in their numbers, three to a page.
fn serve(request: &Request, sizes: &BTreeMap<usize, usize>) -> Answer {
    let segments: Vec<String> = request
        .url
        .path_segments()
        .unwrap()
        .map(|part| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned())
        .collect();
    let query = |name: &str| {
        request.url.query_pairs().find(|(key, _)| key == name).and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let level = if segments[1] == "readings" { 3 } else { segments.len() / 2 - 1 };
    let count = sizes[&level];
    let page = query("page").map(|page| (page - 1) * PAGE);
    let from = page.or_else(|| query("cursor")).or_else(|| query("offset")).or_else(|| query("from")).unwrap_or(0);
    let above = segments.get(segments.len().wrapping_sub(2)).filter(|_| level > 0).cloned().unwrap_or_default();
    let end = (from + PAGE).min(count);
    let items: Vec<Value> = (from.min(count)..end).map(|at| json!({"id": format!("{above}/{level}?{at}")})).collect();
    let next = (end < count).then(|| end.to_string());
    let body = json!({"items": items, "total": count.div_ceil(PAGE), "cursors": {"next": next}});
    if level == 3 {
        let link = format!("<{}?from={end}>; rel=\"next\"", request.url.path());
        let headers = [("link", link.as_str())];
        let headers = if end < count { &headers[..] } else { &[] };
        return raw(200, headers, Value::from(items).to_string().as_bytes());
    }
    answer(&body)
}

/// Spoils an answer now and then.
fn spoil(answer: Answer, fate: u64) -> Answer {
    match fate % 20 {
        0 => raw(429, &[("retry-after", "1")], b"{\"items\": []}"),
        1 => raw(500, &[], b"oops"),
        2 => raw(200, &[], b"{\"error\": \"busy\"}"),
        3 => raw(200, &[], &answer.body[..answer.body.len() / 2]),
        4 => raw(503, &[], b"[]"),
        5 => raw(200, &[], b""),
        _ => answer,
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(60))]

    #[test]
    fn each_leaf_comes_once_whatever_the_vendor_does(
        seed in any::<u64>(), groups in 0_usize..6, devices in 0_usize..5, data in 0_usize..5, readings in 0_usize..6,
    ) {
        let plan = crawl();
        let sizes = BTreeMap::from([(0, groups), (1, devices), (2, data), (3, readings)]);
        let mut state = seed | 1;
        let mut draw = || {
            // xorshift64: any order and any fate will do, so long as a seed repeats it.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut open = plan.roots(&run());
        let mut leaves: BTreeMap<String, usize> = BTreeMap::new();
        while !open.is_empty() {
            let at = (draw() % open.len() as u64) as usize;
            // As it comes out of the queue.
            let task: Task = serde_json::from_slice(&serde_json::to_vec(&open.swap_remove(at)).unwrap()).unwrap();
            let request = plan.request(&task, &run()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let answer = spoil(serve(&request, &sizes), draw());
            match plan.read(&task, &run(), &answer) {
                Read::Data(page) => {
                    prop_assert_eq!(page.problems_count, 0);
                    if task.resource == "reading" {
                        for item in &page.items {
                            prop_assert_eq!(&item["_data_id"], &task.values["data.id"]);
                            *leaves.entry(item["id"].to_string()).or_default() += 1;
                        }
                    }
                    open.extend(page.children);
                    open.extend(page.next);
                }
                Read::Retry(_) | Read::Throttled(_) => open.push(task),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        prop_assert_eq!(leaves.len(), groups * devices * data * readings);
        prop_assert!(leaves.values().all(|times| *times == 1));
    }
}

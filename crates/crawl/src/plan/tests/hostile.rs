//! Whatever a vendor sends: an answer, and no panic.

use super::*;
use crate::PageState;

fn plans() -> Vec<Plan> {
    let cursor = Paginator::Cursor {
        cursor_path: None,
        cursor_header: None,
        cursor_param: None,
        cursor_body_path: None,
        has_more_path: Some("more".to_owned()),
    };
    let offset = Paginator::Offset {
        limit: 5,
        offset: 0,
        offset_param: "offset".to_owned(),
        limit_param: "limit".to_owned(),
        total_path: Some("total".to_owned()),
        maximum_offset: None,
        stop_after_empty_page: true,
    };
    let page = Paginator::PageNumber {
        base_page: 1,
        page_param: "page".to_owned(),
        total_path: Some("total".to_owned()),
        maximum_page: None,
        stop_after_empty_page: false,
    };
    let link = Paginator::JsonLink { next_url_path: "$..next".to_owned() };
    let header = Paginator::HeaderLink { rel: "next".to_owned() };
    let selectors = [None, Some("items"), Some("$..items"), Some("items[*].a"), Some("$[?@.a > 1]")];
    let pagers = [None, Some(cursor), Some(offset), Some(page), Some(link), Some(header)];
    let each = pagers.iter().flat_map(|pager| selectors.iter().map(move |selector| (pager.clone(), *selector)));
    each.map(|(paginator, selector)| {
        let first = Resource {
            paginator,
            data_selector: selector.map(str::to_owned),
            incremental: Some(Incremental { drop_old: true, lag: Some(1.0), ..incremental("a", json!(0)) }),
            ..Resource::new("first", "/first")
        };
        plan_of(vec![first, Resource::new("second", "/{resources.first.id}/{resources.first.a}")])
    })
    .collect()
}

fn read_all(plans: &[Plan], answer: &Answer) {
    let pages = [
        None,
        Some(PageState::Offset(u64::MAX)),
        Some(PageState::Page(u64::MAX)),
        Some(PageState::Url("x".to_owned())),
        Some(PageState::Cursor(json!("c"))),
    ];
    for plan in plans {
        for page in &pages {
            let task = Task { page: page.clone(), pages: u64::MAX, ..root(plan) };
            if let Read::Data(page) = plan.read(&task, &run(), answer) {
                for child in page.children.iter().chain(&page.next) {
                    let _ = plan.request(child, &run());
                }
                assert!(page.items.iter().all(Value::is_object));
            }
        }
    }
}

#[test]
fn known_monsters_are_read_without_a_panic() {
    let plans = plans();
    let deep = [b"[".repeat(100_000), b"{\"items\":".repeat(100_000), "[".repeat(120).into_bytes()];
    let bodies: Vec<Vec<u8>> = [
        &b"{\"items\": [{\"id\": 1e999}]}"[..],
        b"{\"items\": [{\"id\": 1, \"a\": 123456789012345678901234567890}]}",
        b"{\"items\": [1], \"items\": [2, 3], \"total\": -5}",
        b"{\"items\": [], \"total\": 1e300, \"next\": {\"url\": {}}}",
        b"{\"items\": [{}], \"total\": \"many\", \"more\": [], \"cursors\": {\"next\": {}}}",
        b"{\"items\": [{\"a\": -9223372036854775808}], \"next\": 18446744073709551615, \"total_pages\": 18446744073709551615, \"page\": 18446744073709551615}",
        b"{\"items\": \"\xff\xff\"}",
        b"\"\\ud800\"",
        b"\x00",
        b"{\"next\": \"http://[::1\"}",
        b"{\"items\": [], \"next\": \"https://vendor.example:99999/\"}",
        b"{\"\": {\"\": []}}",
    ]
    .iter()
    .map(|body| body.to_vec())
    .chain(deep)
    .collect();
    for body in bodies {
        let links = [("link", "<\u{1}>; rel=next"), ("Link", "<https://vendor.example/v1/first>; rel=\"next\"")];
        for headers in [&[][..], &links[..1], &links[1..]] {
            read_all(&plans, &raw(200, headers, &body));
        }
    }
}

fn json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let key = "items|next|total|total_pages|page|cursors|more|id|a|data|error|next_cursor|x";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..30).prop_map(Value::from),
        "\\PC{0,6}|https://vendor.example/v1/x|/x|\\?page=2|//evil.example|\\.\\.".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(128))]

    #[test]
    fn any_json_is_read_without_a_panic(body in json(), status in 199_u16..600) {
        let plans = plans();
        read_all(&plans, &answer(&body));
        read_all(&plans[..1], &raw(status, &[], body.to_string().as_bytes()));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        read_all(&plans()[..2], &raw(200, &[], &body));
    }

    #[test]
    fn json_that_is_cut_off_is_never_data(count in 1_usize..8, cut in 1_usize..40) {
        let items: Vec<_> = (0..count).map(|id| json!({"id": id})).collect();
        let body = json!({"items": items}).to_string();
        let cut = body.len().saturating_sub(cut);
        let plan = plan_of(vec![Resource { data_selector: Some("items".to_owned()), ..Resource::new("a", "/a") }]);
        let read = plan.read(&root(&plan), &run(), &raw(200, &[], &body.as_bytes()[..cut]));
        proptest::prop_assert!(matches!(read, Read::Retry(_)), "{:?}", read);
    }
}

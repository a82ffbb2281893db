//! From tasks to requests.

use super::*;
use crate::{Method, PageState};

fn task_with(resource: &str, values: &[(&str, Value)]) -> Task {
    Task {
        run: 7,
        resource: resource.to_owned(),
        tenant: String::new(),
        values: values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        page: None,
        pages: 0,
        attempt: 0,
    }
}

#[test]
fn values_are_put_into_paths_parameters_headers_and_bodies() {
    let resource = Resource {
        method: Method::Post,
        params: vec![("q".to_owned(), "a={resources.group.id}&x".to_owned()), ("q".to_owned(), "2".to_owned())],
        headers: vec![("x-group".to_owned(), "g {resources.group.id}".to_owned())],
        body: Some(json!({
            "id": "{resources.group.id}", "text": "group {resources.group.id}", "meta": "{resources.group.meta}",
            "list": [1, "{params.region}"], "graph": "{ a { b } }"
        })),
        ..Resource::new("device", "/groups/{resources.group.id}/devices?kind={params.region}&all")
    };
    let crawl = Crawl {
        params: vec![("region".to_owned(), "eu 1".to_owned())],
        ..Crawl::new("test", vec![Resource::new("group", "/groups"), resource])
    };
    let plan = plan(&crawl);
    let task = task_with("device", &[("group.id", json!(12)), ("group.meta", json!({"a": [1]}))]);
    let request = plan.request(&task, &run()).unwrap();
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.url.as_str(), "https://vendor.example/v1/groups/12/devices?kind=eu+1&all=&q=a%3D12%26x&q=2");
    assert_eq!(
        request.headers,
        [("x-group".to_owned(), "g 12".to_owned()), ("content-type".to_owned(), "application/json".to_owned())]
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"id": 12, "text": "group 12", "meta": {"a": [1]}, "list": [1, "eu 1"], "graph": "{ a { b } }"})
    );
    let other = RunValues { params: BTreeMap::from([("region".to_owned(), "us".to_owned())]), ..run() };
    assert!(plan.request(&task, &other).unwrap().url.as_str().contains("kind=us&"));
}

#[test]
fn paths_keep_their_slashes() {
    for (base, path, expected) in [
        ("https://v.example", "/a", "https://v.example/a"),
        ("https://v.example/v1", "a/", "https://v.example/v1/a/"),
        ("https://v.example/v1/", "/a/b", "https://v.example/v1/a/b"),
        ("https://v.example/v1", "", "https://v.example/v1"),
        ("https://v.example:8443/v%201", "/é", "https://v.example:8443/v%201/%C3%A9"),
    ] {
        let client = Client::new(base.parse().unwrap());
        let plan = Plan::compile(&client, &Crawl::new("test", vec![Resource::new("a", path)])).unwrap();
        assert_eq!(url(&plan, &root(&plan)), expected);
    }
}

#[test]
fn hostile_values_stay_in_their_segment() {
    let plan = plan_of(fleet());
    let of = |id: Value| url(&plan, &task_with("device", &[("group.id", id)]));
    let table = [
        (json!("a/b"), "https://vendor.example/v1/groups/a%2Fb/devices"),
        (json!("../../admin"), "https://vendor.example/v1/groups/..%2F..%2Fadmin/devices"),
        (json!("x?admin=1#y"), "https://vendor.example/v1/groups/x%3Fadmin%3D1%23y/devices"),
        (json!("%2e%2e"), "https://vendor.example/v1/groups/%252e%252e/devices"),
        (json!("a\\b;c@d:e"), "https://vendor.example/v1/groups/a%5Cb%3Bc%40d%3Ae/devices"),
        (json!("http://evil.example/"), "https://vendor.example/v1/groups/http%3A%2F%2Fevil.example%2F/devices"),
        (json!("größe\r\n\u{0}"), "https://vendor.example/v1/groups/gr%C3%B6%C3%9Fe%0D%0A%00/devices"),
        (json!("..."), "https://vendor.example/v1/groups/.../devices"),
        (json!(true), "https://vendor.example/v1/groups/true/devices"),
    ];
    for (id, expected) in table {
        assert_eq!(of(id), expected);
    }
    for id in [json!(".."), json!("."), json!(""), json!(null), json!([1]), json!({"a": 1})] {
        assert!(of(id.clone()).starts_with("error"), "{id}");
    }
    assert!(url(&plan, &task_with("device", &[])).contains("no value for `{resources.group.id}`"));
    assert!(url(&plan, &task_with("gone", &[])).contains("no resource `gone`"));
}

#[test]
fn headers_can_not_be_smuggled_in() {
    let resource = Resource {
        headers: vec![("x-id".to_owned(), "{resources.group.id}".to_owned())],
        ..Resource::new("device", "/devices")
    };
    let plan = plan_of(vec![Resource::new("group", "/groups"), resource]);
    for id in ["a\r\nauthorization: x", "a\nb", "a\u{0}", "é"] {
        assert!(url(&plan, &task_with("device", &[("group.id", json!(id))])).starts_with("error"), "{id}");
    }
}

#[test]
fn links_of_the_vendor_stay_at_home() {
    let plan = plan_of(vec![Resource::new("a", "/a")]);
    let of = |link: &str| url(&plan, &Task { page: Some(PageState::Url(link.to_owned())), pages: 1, ..root(&plan) });
    assert_eq!(of("https://vendor.example/v1/a?page=2#x"), "https://vendor.example/v1/a?page=2");
    // A vendor behind a proxy that doesn't know that it is called by https.
    assert_eq!(of("http://vendor.example/v1/a?page=2"), "https://vendor.example/v1/a?page=2");
    for foreign in [
        "https://evil.example/v1/a",
        "https://vendor.example.evil.example/",
        "https://vendor.example@evil.example/",
        "https://user:pw@vendor.example/v1/a",
        "https://vendor.example:8443/v1/a",
        "//evil.example/a",
        "\\\\evil.example/a",
        "http://vendor.example:8080/v1/a",
        "ftp://vendor.example/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:,x",
    ] {
        let found = of(foreign);
        assert!(found.contains("is not on `https://vendor.example`"), "{foreign}: {found}");
    }
}

#[test]
fn a_key_that_the_vendor_repeats_in_its_links_is_not_kept() {
    let auth = crate::spec::Auth::ApiKey {
        name: "key".to_owned(),
        key: weir_types::Secret::new("s3cret"),
        location: crate::spec::KeyLocation::Query,
    };
    let client = Client { auth, ..client() };
    let plan = Plan::compile(&client, &Crawl::new("test", vec![Resource::new("a", "/a")])).unwrap();
    let next = |link: &str| {
        let body = json!({"items": [1], "next": link});
        let page = page(&plan, &root(&plan), &body);
        serde_json::to_string(&page.next).unwrap()
    };
    assert!(next("/v1/a?page=2&key=s3cret").contains("https://vendor.example/v1/a?page=2\""));
    assert!(!next("/v1/b?key=s3cret").contains("key"));
}

#[test]
fn a_whole_path_may_be_a_link_below_the_base() {
    let detail = Resource::new("detail", "{resources.list.url}");
    let plan = plan_of(vec![Resource::new("list", "/things"), detail]);
    let of = |link: &str| url(&plan, &task_with("detail", &[("list.url", json!(link))]));
    assert_eq!(of("https://vendor.example/v1/things/1/?a=b"), "https://vendor.example/v1/things/1/?a=b");
    assert_eq!(of("/v1/things/1"), "https://vendor.example/v1/things/1");
    assert_eq!(of("thing 1"), "https://vendor.example/v1/thing%201");
    for elsewhere in
        ["/admin", "https://vendor.example/v1/../admin", "https://vendor.example/v11", "https://evil.example/v1/"]
    {
        assert!(of(elsewhere).starts_with("error"), "{elsewhere}");
    }
}

#[test]
fn incremental_starts_are_sent_and_left_out_where_there_is_none() {
    let resource = |initial: Value| Resource {
        params: vec![("filter".to_owned(), "updated>{incremental.start_value}".to_owned())],
        incremental: Some(Incremental {
            end_param: Some("until".to_owned()),
            lag: Some(60.0),
            ..incremental("updated", initial)
        }),
        ..Resource::new("a", "/a")
    };
    let first = plan_of(vec![resource(json!("2024-01-01T00:00:00Z"))]);
    assert_eq!(
        url(&first, &root(&first)),
        "https://vendor.example/v1/a?filter=updated%3E2024-01-01T00%3A00%3A00Z&since=2024-01-01T00%3A00%3A00Z&until=2024-02-29T23%3A59%3A59Z"
    );
    let starts = BTreeMap::from([("a".to_owned(), BTreeMap::from([(String::new(), json!("2024-02-01T00:01:00Z"))]))]);
    let next = RunValues { starts, ..run() };
    let request = first.request(&first.roots(&next)[0], &next).unwrap();
    assert!(request.url.as_str().contains("since=2024-02-01T00%3A00%3A00Z"), "{}", request.url);
    let open = plan_of(vec![resource(Value::Null)]);
    assert_eq!(url(&open, &root(&open)), "https://vendor.example/v1/a?until=2024-02-29T23%3A59%3A59Z");
}

#[test]
fn a_task_that_is_redriven_in_a_later_run_asks_from_where_its_own_did() {
    let events = Resource {
        incremental: Some(incremental("at", json!(0))),
        ..Resource::new("event", "/{resources.group.id}/events")
    };
    let plan = plan_of(vec![Resource::new("group", "/groups"), events]);
    let starts = |at: u64| BTreeMap::from([("event".to_owned(), BTreeMap::from([(String::new(), json!(at))]))]);
    let (then, now) = (RunValues { starts: starts(50), ..run() }, RunValues { starts: starts(70), ..run() });
    let groups = data(plan.read(&root(&plan), &then, &answer(&json!([{"id": 1}]))));
    let task = Task { run: 8, ..groups.children[0].clone() };
    assert_eq!(plan.request(&task, &now).unwrap().url.as_str(), "https://vendor.example/v1/1/events?since=50");
}

#[test]
fn tenants_give_values_and_each_has_its_roots() {
    let tenant = |name: &str, site: &str| Tenant {
        name: name.to_owned(),
        weight: 1,
        params: vec![("site".to_owned(), site.to_owned())],
    };
    let crawl = Crawl {
        tenants: vec![tenant("acme", "s1"), tenant("zeta", "s2")],
        ..Crawl::new("test", vec![Resource::new("a", "/{tenant.name}/{tenant.site}")])
    };
    let plan = plan(&crawl);
    let urls: Vec<_> = plan.roots(&run()).iter().map(|task| url(&plan, task)).collect();
    assert_eq!(urls, ["https://vendor.example/v1/acme/s1", "https://vendor.example/v1/zeta/s2"]);
    let one = RunValues { tenants: vec!["zeta".to_owned()], ..run() };
    assert_eq!(plan.roots(&one).len(), 1);
    assert_eq!(plan.roots(&one)[0].tenant, "zeta");
    assert!(plan.check(&one).is_ok());
}

#[test]
fn a_task_beyond_the_last_page_or_of_another_paginator_is_refused() {
    let plan = plan_of(vec![Resource { pages_max: 3, ..Resource::new("a", "/a") }]);
    let at = |pages, page| url(&plan, &Task { pages, page, ..root(&plan) });
    assert!(at(2, None).starts_with("https"));
    assert!(at(3, None).contains("more than 3 pages"));
    assert!(at(1, Some(PageState::Offset(5))).contains("another paginator"));
}

proptest::proptest! {
    #[test]
    fn no_value_changes_the_shape_of_a_url(id in "\\PC{0,12}|[./%\\\\?#&:@;=a\\r\\n 0-9e-]{0,12}", other in "\\PC{0,6}|\\.{0,3}") {
        let mixed = Resource {
            params: vec![("p".to_owned(), "{resources.group.id}".to_owned())],
            ..Resource::new("mixed", "/a/{resources.group.id}{resources.group.other}/b/x-{resources.group.id}")
        };
        let plan = plan_of(vec![Resource::new("group", "/groups"), mixed]);
        let task = task_with("mixed", &[("group.id", json!(id)), ("group.other", json!(other))]);
        if let Ok(request) = plan.request(&task, &run()) {
            let url = request.url;
            proptest::prop_assert_eq!(url.host_str(), Some("vendor.example"));
            proptest::prop_assert_eq!(url.fragment(), None);
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            proptest::prop_assert_eq!(segments.len(), 5, "{}", url);
            proptest::prop_assert_eq!((segments[0], segments[1], segments[3]), ("v1", "a", "b"));
            let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
            proptest::prop_assert_eq!(decode(segments[2]), format!("{id}{other}"));
            proptest::prop_assert_eq!(decode(segments[4]), format!("x-{id}"));
            let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            proptest::prop_assert_eq!(pairs, vec![("p".to_owned(), id)]);
        }
    }
}

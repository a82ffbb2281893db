//! What is refused, where, and what is suggested; and the tree.

use super::*;
use crate::spec::{Action, ResponseAction, WriteDisposition};

fn errors(crawl: &Crawl) -> Vec<SpecError> {
    match Plan::compile(&client(), crawl) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    }
}

/// Returns `resource attribute` of what is wrong with one resource below a `group`.
fn refused(change: impl FnOnce(&mut Resource)) -> Vec<String> {
    let mut resource = Resource::new("device", "/groups/{resources.group.id}/devices");
    change(&mut resource);
    let crawl = Crawl::new("test", vec![Resource::new("group", "/groups"), resource]);
    errors(&crawl)
        .iter()
        .map(|error| format!("{} {}", error.resource.as_deref().unwrap_or("-"), error.attribute))
        .collect()
}

#[test]
fn each_mistake_is_refused_at_its_attribute() {
    type Change = fn(&mut Resource);
    let table: [(&str, Change); 30] = [
        ("path", |r| r.path = "/groups/{resources.grup.id}".to_owned()),
        ("path", |r| r.path = "/groups/{id}".to_owned()),
        ("path", |r| r.path = "/groups/{resources.group}".to_owned()),
        ("path", |r| r.path = "/groups/{resources.device.id}".to_owned()),
        ("path", |r| r.path = "https://elsewhere.example/x".to_owned()),
        ("path", |r| r.path = "//elsewhere.example/x".to_owned()),
        ("path", |r| r.path = "/groups/../admin".to_owned()),
        ("path", |r| r.path = "/groups/%2E%2e/admin".to_owned()),
        ("path", |r| r.path = "/groups\\x".to_owned()),
        ("path", |r| r.path = "/groups#x".to_owned()),
        ("path", |r| r.path = "/a?{resources.group.id}=1".to_owned()),
        ("path", |r| r.path = "/a/{tenant.name}".to_owned()),
        ("path", |r| r.path = "/a/{incremental.start_value}".to_owned()),
        ("params", |r| r.params = vec![("a".to_owned(), "{params.region}".to_owned())]),
        ("headers", |r| r.headers = vec![("x y".to_owned(), "a".to_owned())]),
        ("headers", |r| r.headers = vec![("Authorization".to_owned(), "a".to_owned())]),
        ("headers", |r| r.headers = vec![("x-a".to_owned(), "a\r\nb: c".to_owned())]),
        ("headers", |r| r.headers = vec![("Host".to_owned(), "a".to_owned())]),
        ("body", |r| r.body = Some(json!({"{params.x}": 1}))),
        ("data_selector", |r| r.data_selector = Some("$.a[".to_owned())),
        ("paginator", |r| r.paginator = Some(Paginator::JsonLink { next_url_path: "$.a[".to_owned() })),
        ("paginator", |r| {
            r.paginator = Some(Paginator::PageNumber {
                base_page: 0,
                page_param: "page".to_owned(),
                total_path: None,
                maximum_page: None,
                stop_after_empty_page: false,
            });
        }),
        ("write_disposition", |r| r.write_disposition = WriteDisposition::Merge),
        ("incremental", |r| r.incremental = Some(incremental("a[", json!(0)))),
        ("incremental", |r| r.incremental = Some(incremental("a", json!([0])))),
        ("incremental", |r| r.incremental = Some(Incremental { lag: Some(1.0), ..incremental("a", json!("x")) })),
        ("incremental", |r| r.incremental = Some(Incremental { start_param: None, ..incremental("a", json!(0)) })),
        ("attempts", |r| r.attempts = 0),
        ("pages_max", |r| r.pages_max = 0),
        ("response_action", |r| {
            r.response_actions = vec![ResponseAction { status_code: None, content: None, action: Action::Ignore }];
        }),
    ];
    for (attribute, change) in table {
        let found = refused(change);
        assert_eq!(found, [format!("device {attribute}")]);
    }
    assert_eq!(refused(|_| ()), [] as [String; 0]);
}

#[test]
fn replace_does_not_go_with_incremental() {
    let refused = refused(|resource| {
        resource.write_disposition = WriteDisposition::Replace;
        resource.incremental = Some(incremental("at", json!(0)));
    });
    assert_eq!(refused, ["device write_disposition"]);
}

#[test]
fn loops_siblings_and_missing_parents_are_refused() {
    let of = |pairs: &[(&str, &str)]| {
        Crawl::new("test", pairs.iter().map(|(name, path)| Resource::new(*name, *path)).collect())
    };
    let around = errors(&of(&[("a", "/{resources.b.id}"), ("b", "/{resources.a.id}")]));
    assert_eq!(around.len(), 2);
    assert!(around[0].to_string().contains("depends on itself"), "{}", around[0]);
    let siblings = errors(&of(&[
        ("g", "/g"),
        ("a", "/{resources.g.id}"),
        ("b", "/{resources.g.id}"),
        ("c", "/{resources.a.id}/{resources.b.id}"),
    ]));
    assert_eq!(siblings.len(), 1);
    assert!(siblings[0].hint.as_ref().unwrap().contains("hang below"));
    let twice = errors(&of(&[("a", "/a"), ("a", "/b")]));
    assert_eq!(twice[0].attribute, "name");
    assert_eq!(errors(&of(&[]))[0].attribute, "resource");
    let orphan = Resource { include_from_parent: vec!["id".to_owned()], ..Resource::new("a", "/a") };
    assert_eq!(errors(&Crawl::new("test", vec![orphan]))[0].attribute, "include_from_parent");
}

#[test]
fn unknown_names_are_suggested() {
    let crawl = Crawl {
        params: vec![("region".to_owned(), "eu".to_owned())],
        ..Crawl::new(
            "test",
            vec![Resource::new("group", "/g"), Resource::new("a", "/{resources.grop.id}/{params.regin}")],
        )
    };
    let hints: Vec<_> = errors(&crawl).into_iter().filter_map(|error| error.hint).collect();
    assert_eq!(hints, ["did you mean `group`?", "did you mean `{params.region}`?"]);
    let wrong = RunValues {
        params: BTreeMap::from([("regon".to_owned(), "us".to_owned())]),
        tenants: vec!["acme".to_owned()],
        ..run()
    };
    let crawl = Crawl { params: crawl.params, ..Crawl::new("test", vec![Resource::new("group", "/g")]) };
    let errors = plan(&crawl).check(&wrong).unwrap_err();
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["crawl has no parameter `regon`; did you mean `region`?", "crawl has no tenant `acme`"]);
}

#[test]
fn base_urls_with_queries_names_or_other_schemes_are_refused() {
    for base in ["https://v.example/a?key=1", "https://me:pw@v.example/", "ftp://v.example/"] {
        let errors = Plan::compile(&Client::new(base.parse().unwrap()), &Crawl::new("test", fleet())).unwrap_err();
        assert_eq!(errors[0].attribute, "base_url");
        assert!(!errors[0].to_string().contains("pw"), "{}", errors[0]);
    }
}

#[test]
fn tenants_are_checked() {
    let tenant = |name: &str, weight, params: &[(&str, &str)]| Tenant {
        name: name.to_owned(),
        weight,
        params: params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let of = |tenants, tenant: Option<&str>, resources| Crawl {
        tenants,
        tenant: tenant.map(str::to_owned),
        ..Crawl::new("test", resources)
    };
    let attributes = |crawl: &Crawl| errors(crawl).iter().map(|error| error.attribute).collect::<Vec<_>>();
    assert_eq!(attributes(&of(vec![tenant("a", 0, &[])], None, fleet())), ["tenant"]);
    assert_eq!(attributes(&of(vec![tenant("a", 1, &[]), tenant("a", 1, &[])], None, fleet())), ["tenant"]);
    assert_eq!(attributes(&of(vec![], Some("{resources.grop.id}"), fleet())), ["tenant"]);
    assert_eq!(attributes(&of(vec![], Some("everyone"), fleet())), ["tenant"]);
    assert_eq!(attributes(&of(vec![], Some("{resources.group.customer}"), fleet())), [] as [&str; 0]);
    let asks = || vec![Resource::new("a", "/{tenant.site}")];
    assert_eq!(attributes(&of(vec![tenant("a", 1, &[("site", "x")]), tenant("b", 1, &[])], None, asks())), ["path"]);
    assert_eq!(attributes(&of(vec![tenant("a", 1, &[("site", "x")])], None, asks())), [] as [&str; 0]);
    // The tenant of what names the tenant isn't known when it is called.
    let own =
        vec![Resource::new("group", "/{tenant.name}"), Resource::new("device", "/{resources.group.id}/{tenant.name}")];
    assert_eq!(attributes(&of(vec![], Some("{resources.group.customer}"), own)), ["path"]);
}

#[test]
fn the_tree_stands_in_the_order_of_calls() {
    let mut resources = fleet();
    resources.reverse();
    resources.push(Resource::new("alarm", "/alarms"));
    let plan = plan_of(resources);
    let shape: Vec<_> =
        plan.shape().iter().map(|step| (step.resource.as_str(), step.parent.as_deref(), step.depth)).collect();
    assert_eq!(
        shape,
        [("group", None, 0), ("device", Some("group"), 1), ("reading", Some("device"), 2), ("alarm", None, 0)]
    );
    let dashed = Resource {
        include_from_parent: vec!["site.id".to_owned(), "x-y".to_owned()],
        ..Resource::new("b", "/{resources.data-group.id}")
    };
    let columns =
        plan_of(vec![Resource::new("data-group", "/a"), dashed.clone()]).outputs().nth(1).unwrap().from_parent.clone();
    assert_eq!(columns, ["_data_group_site_id", "_data_group_x_y"]);
    let twice = Resource { include_from_parent: vec!["x-y".to_owned(), "x_y".to_owned()], ..dashed };
    let crawl = Crawl::new("test", vec![Resource::new("data-group", "/a"), twice]);
    assert_eq!(errors(&crawl)[0].attribute, "include_from_parent");
    let output = plan.outputs().find(|output| output.resource == "reading").unwrap();
    assert_eq!(output.from_parent, ["_device_id", "_device__group_name"]);
}

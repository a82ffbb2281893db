//! What importers write is a configuration, and inferred schemas take the items that they came of.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_config::{Inputs, Plan};
use weir_crawl::import::{Imported, airbyte, dlt};
use weir_crawl::infer::{Pin, Sample};
use weir_crawl::spec::{Auth, KeyLocation, Paginator, WriteDisposition};
use weir_schema::{JsonEncoder, Schema};

use crate::folder::Folder;
use crate::plan;

macro_rules! source {
    ($name:literal) => {
        include_str!(concat!("../../../crawl/tests/import/", $name))
    };
}

/// Checks the text that was imported, with all secrets set, and values for variables without one.
fn checked(imported: &Imported, vars: &[(&str, &str)]) -> Plan {
    let folder = Folder::good();
    folder.write("weir.hcl", &imported.hcl);
    let vars: BTreeMap<String, String> = vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let named: Vec<String> = imported.secrets.iter().map(|secret| format!("WEIR_SECRET_{}", secret.name)).collect();
    plan(&folder, &Inputs::new(vars, move |name| named.iter().any(|known| known == name).then(|| "value".to_owned())))
}

#[test]
fn a_dlt_configuration_is_planned_as_it_was_meant() {
    let plan = checked(&dlt(source!("github.dlt.json"), "github").unwrap(), &[]);
    let client = &plan.apis[&"github".parse().unwrap()].client;
    assert!(matches!(&client.auth, Auth::Bearer(token) if token.reveal() == "value"));
    assert_eq!(client.paginator, Some(Paginator::HeaderLink { rel: "next".into() }));
    let crawl = &plan.crawls[&"github".parse().unwrap()];
    let resource = |name: &str| crawl.spec.resources.iter().find(|resource| resource.name == name).unwrap();
    let issues = resource("issues");
    assert_eq!(issues.write_disposition, WriteDisposition::Merge);
    assert!(issues.params.contains(&("per_page".into(), "100".into())));
    assert_eq!(issues.params.iter().filter(|(name, _)| name == "labels").count(), 2);
    let incremental = issues.incremental.as_ref().unwrap();
    assert_eq!((incremental.start_param.as_deref(), incremental.lag), (Some("since"), Some(3600.0)));
    assert_eq!(issues.response_actions[1].content.as_deref(), Some("moved ${away}"));
    assert_eq!(
        resource("search").body,
        Some(json!({"query": {"id": "{resources.issues.id}"}, "limit": 5, "all": true}))
    );
    assert_eq!(resource("issue_comments").include_from_parent, ["id", "title"]);
    assert_eq!(crawl.outputs.len(), 3);
}

#[test]
fn each_paginator_of_dlt_is_planned() {
    let plan = checked(&dlt(source!("paginators.dlt.json"), "shop").unwrap(), &[]);
    assert!(matches!(plan.apis[&"shop".parse().unwrap()].client.auth, Auth::ClientCredentials { .. }));
    let resources = &plan.crawls[&"shop".parse().unwrap()].spec.resources;
    let paginator = |name: &str| resources.iter().find(|resource| resource.name == name).unwrap().paginator.clone();
    assert!(
        matches!(paginator("a-link"), Some(Paginator::JsonLink { next_url_path }) if next_url_path == "paging.next")
    );
    assert!(matches!(paginator("offset"), Some(Paginator::Offset { limit: 50, total_path: None, .. })));
    assert!(matches!(paginator("pages"), Some(Paginator::PageNumber { base_page: 1, .. })));
    assert!(
        matches!(paginator("header"), Some(Paginator::Cursor { cursor_header: Some(name), .. }) if name == "X-Next")
    );
    assert_eq!(paginator("one"), Some(Paginator::SinglePage));
}

#[test]
fn a_manifest_is_planned_as_it_was_meant() {
    let imported = airbyte(source!("meetings.airbyte.yaml"), "meetings").unwrap();
    let plan = checked(&imported, &[("start_date", "2024-01-01T00:00:00Z")]);
    let crawl = &plan.crawls[&"meetings".parse().unwrap()];
    let events = crawl.spec.resources.iter().find(|resource| resource.name == "events").unwrap();
    assert!(events.params.contains(&("status".into(), "active".into())));
    assert_eq!(events.incremental.as_ref().unwrap().initial_value, json!("2024-01-01T00:00:00Z"));
    assert_eq!(events.attempts, 6);
    let outputs: Vec<&str> = crawl.outputs.iter().map(|output| output.resource.as_str()).collect();
    assert_eq!(outputs, ["events", "invitees"]);
}

#[test]
fn an_older_manifest_is_planned_once_its_expressions_have_values() {
    let imported = airbyte(source!("older.airbyte.yaml"), "news").unwrap();
    let vars = [("path_6", "a"), ("path_4", "a"), ("until_3", "2026-01-01")];
    let vars: Vec<_> =
        vars.into_iter().filter(|(name, _)| imported.hcl.contains(&format!("variable \"{name}\""))).collect();
    let plan = checked(&imported, &vars);
    let client = &plan.apis[&"news".parse().unwrap()].client;
    assert!(matches!(&client.auth, Auth::ApiKey { name, location: KeyLocation::Query, .. } if name == "api-key"));
    assert_eq!(client.base_url.as_str(), "https://www.news.example/");
}

/// JSON as vendors have it: few names, so that items share them, and all kinds of values.
fn value() -> impl Strategy<Value = Value> {
    let time = (0i64..4_000_000_000_000).prop_map(|ms| json!(weir_types::Timestamp(ms).to_string()));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
        (-100i64..100).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("2024-02-29")),
        Just(json!("2024-01-31T10:00:00.123456+02:00")),
        Just(json!("2024-01-31T10:00:00")),
        time,
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[abAB]",
        Just("first-name".to_owned()),
        Just("first_name".to_owned()),
        Just("_day".to_owned()),
        Just("string".to_owned()),
        Just("thing_a".to_owned()),
        ".{0,3}",
    ];
    proptest::collection::btree_map(name, value, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn each_item_of_a_sample_encodes_with_the_schema_that_came_of_it(
        items in proptest::collection::vec(object(value()), 1..40),
        extra in value(),
    ) {
        let mut sample = Sample::default();
        items.iter().for_each(|item| sample.add(item));
        let text = sample.schema("thing", &["a".to_owned()]);
        let schema = Schema::parse(&text).unwrap();
        let pin = Pin::parse(&text).unwrap();
        let mut encoder = JsonEncoder::new(&schema);
        for item in items {
            let fitted = pin.fit(item.clone());
            prop_assert!(fitted.new.is_empty(), "{:?} of {item}", fitted.new);
            let fitted = fitted.item.to_string();
            let encoded = encoder.encode(fitted.as_bytes(), &mut Vec::new());
            prop_assert!(encoded.is_ok(), "{encoded:?}\n{fitted}\n{text}");
            // A new field changes nothing else.
            let mut more = item;
            more["brand new"] = extra.clone();
            let more = pin.fit(more);
            prop_assert_eq!(more.item.to_string(), fitted);
            prop_assert_eq!(more.new, ["brand new"]);
        }
    }
}

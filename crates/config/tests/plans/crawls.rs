//! What accounts and crawls become.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_budget::{Pace, Quota, QuotaPeriod, Rate, Settings, Window};
use weir_config::{CrawlPlan, Inputs, Keep, Plan, TableSource, To, Visible};
use weir_crawl::Method;
use weir_crawl::runs::Overlap;
use weir_crawl::spec::{
    Action, Auth, Incremental, KeyLocation, Paginator, Resource, ResponseAction, Tenant, WriteDisposition,
};
use weir_types::Secret;

use crate::folder::{DEVICES, Folder};
use crate::{names, plan};

const TOKEN: &str = "hunter2";

fn planned(text: &str) -> Plan {
    let folder = Folder::devices();
    folder.write("weir.hcl", text);
    plan(&folder, &Inputs::new(BTreeMap::new(), |name| (name == "WEIR_SECRET_TOKEN").then(|| TOKEN.to_owned())))
}

fn edited(edits: &[(&str, &str)]) -> Plan {
    let mut text = DEVICES.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the configuration has no `{from}`");
        text = text.replacen(from, to, 1);
    }
    planned(&text)
}

fn crawl(plan: &Plan) -> &CrawlPlan {
    &plan.crawls[&"devices".parse().unwrap()]
}

fn resource<'a>(plan: &'a Plan, name: &str) -> &'a Resource {
    crawl(plan).spec.resources.iter().find(|resource| resource.name == name).unwrap()
}

fn auth(text: &str) -> Auth {
    let plan = edited(&[("bearer(secret(\"TOKEN\"))", text)]);
    plan.apis.into_values().next().unwrap().client.auth
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_designs_crawl_is_planned() {
    let plan = planned(DEVICES);
    assert_eq!(plan.warnings, []);
    let api = &plan.apis[&"monitor".parse().unwrap()];
    assert_eq!(api.client.base_url.as_str(), "https://vendor.example/v1");
    assert_eq!(api.client.auth, Auth::Bearer(Secret::new(TOKEN)));
    assert_eq!((api.client.timeout, api.client.answer_bytes_max), (Duration::from_secs(30), 16 << 20));
    assert_eq!((&api.client.headers, &api.client.paginator), (&vec![], &None));
    let rate = Rate { calls: 10, per: Duration::from_secs(1) };
    let budget =
        Settings { pace: Pace::Limited(vec![rate]), burst: Some(20), concurrency: Some(8), ..Settings::default() };
    assert_eq!(api.budget, budget);
    assert!(!format!("{plan:?}").contains(TOKEN), "a secret is shown");

    let crawl = crawl(&plan);
    assert_eq!((crawl.api.as_str(), crawl.overlap, crawl.weight, crawl.timeout), ("monitor", Overlap::Skip, 1, None));
    assert_eq!(crawl.schedule.as_ref().map(ToString::to_string).as_deref(), Some("cron(0 2 * * ? *)"));
    let named: Vec<&str> = crawl.spec.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(named, ["group", "device", "reading"]);
    let outputs: Vec<(&str, &To)> = crawl.outputs.iter().map(|output| (output.resource.as_str(), &output.to)).collect();
    let (table, stream) = (To::Table("devices".parse().unwrap()), To::Stream("readings".parse().unwrap()));
    assert_eq!(outputs, [("device", &table), ("reading", &stream)]);
    assert_eq!(crawl.outputs[0].columns.as_ref().map(names), Some(vec!["id", "name"]));
    assert!(crawl.outputs[0].schema_path.as_ref().unwrap().ends_with("device.avsc"));
    assert_eq!(crawl.outputs[1].schema_path, None);

    let table = &plan.tables[&"devices".parse().unwrap()];
    let source = TableSource::Crawl { crawl: "devices".parse().unwrap(), resource: "device".to_owned() };
    assert_eq!((&table.source, &table.stream), (&source, &None));
    assert_eq!((&table.unique_by, table.compaction.keep), (&vec!["id".to_owned()], Keep::Last));
    assert_eq!(table.visible, Visible::AtOnce);
}

#[test]
fn a_resource_hides_the_defaults() {
    let plan = edited(&[
        (
            "    path = \"/devices/{resources.device.id}/readings\"",
            "    path = \"/devices/{resources.device.id}/readings\"\n    params = { fields = [\"at\", \"value\"] }\n    paginator = \"single_page\"\n    attempts = 3",
        ),
        ("    params = { page_size", "    attempts = 5\n    params = { page_size"),
    ]);
    let (device, reading) = (resource(&plan, "device"), resource(&plan, "reading"));
    assert_eq!(device.params, pairs(&[("page_size", "100"), ("fields", "all")]));
    assert_eq!(reading.params, pairs(&[("page_size", "100"), ("fields", "at"), ("fields", "value")]));
    assert_eq!((device.attempts, reading.attempts), (5, 3));
    assert_eq!(reading.paginator, Some(Paginator::SinglePage));
    let Some(Paginator::Cursor { cursor_path, cursor_param, .. }) = &device.paginator else { panic!("{device:?}") };
    assert_eq!((cursor_path.as_deref(), cursor_param.as_deref()), (Some("next"), Some("cursor")));
}

#[test]
fn templates_are_left_to_each_call() {
    let plan = edited(&[
        (
            "    path          = \"/groups\"",
            "    path   = \"/${\"groups\"}/{params.kind}\"\n    method = \"post\"\n    body   = { since = \"{incremental.start_value}\", ids = [1, 2], all = true, none = null }\n    incremental {\n      cursor_path = \"at\"\n      initial_value = 0\n    }",
        ),
        ("  resource_defaults {", "  params = { kind = \"all\" }\n  resource_defaults {"),
    ]);
    let group = resource(&plan, "group");
    assert_eq!((group.path.as_str(), group.method), ("/groups/{params.kind}", Method::Post));
    let body = serde_json::json!({"since": "{incremental.start_value}", "ids": [1, 2], "all": true, "none": null});
    assert_eq!(group.body, Some(body));
}

#[test]
fn every_way_to_show_who_calls() {
    let key = || Secret::new(TOKEN);
    let api_key = |location| Auth::ApiKey { name: "X-Key".to_owned(), key: key(), location };
    assert_eq!(auth("null"), Auth::None);
    assert_eq!(auth("api_key(\"X-Key\", secret(\"TOKEN\"))"), api_key(KeyLocation::Header));
    assert_eq!(auth("api_key(\"X-Key\", secret(\"TOKEN\"), \"query\")"), api_key(KeyLocation::Query));
    assert_eq!(auth("api_key(\"X-Key\", secret(\"TOKEN\"), \"cookie\")"), api_key(KeyLocation::Cookie));
    assert_eq!(auth("basic(\"me\", secret(\"TOKEN\"))"), Auth::Basic { username: "me".to_owned(), password: key() });
    assert_eq!(auth("bearer(\"v1:${secret(\"TOKEN\")}\")"), Auth::Bearer(Secret::new("v1:hunter2")));
    let plan = edited(&[(
        "auth     = bearer(secret(\"TOKEN\"))",
        r#"headers = { X-Version = 2, X-Key = secret("TOKEN") }
           oauth2_client_credentials {
             access_token_url = "https://vendor.example/token"
             client_id        = "weir"
             client_secret    = secret("TOKEN")
             scopes           = ["read", "list"]
             credentials_in   = "header"
             access_token_request_data = { audience = "devices" }
           }"#,
    )]);
    let client = plan.apis.into_values().next().unwrap().client;
    let expected = Auth::ClientCredentials {
        token_url: "https://vendor.example/token".parse().unwrap(),
        client_id: "weir".to_owned(),
        client_secret: key(),
        scopes: vec!["read".to_owned(), "list".to_owned()],
        params: pairs(&[("audience", "devices")]),
        in_body: false,
    };
    assert_eq!(client.auth, expected);
    assert_eq!(client.headers, [("X-Version".to_owned(), Secret::new("2")), ("X-Key".to_owned(), key())]);
}

#[test]
fn a_budget_with_everything() {
    let plan = edited(&[(
        "rate        = \"10/s\"",
        r#"rate = ["10/s", "1500/15m"]
           quota = ["1000/hour", "100000/day"]
           timezone = "Europe/Berlin"
           window "night" {
             from = "22:00"
             to   = "06:00"
             rate = "50/s"
           }
           window "sunday" {
             from = "00:00"
             to   = "24:00"
             days = ["sun"]
             rate = []
           }"#,
    )]);
    let budget = plan.apis.into_values().next().unwrap().budget;
    let rate = |calls, seconds| Rate { calls, per: Duration::from_secs(seconds) };
    let timezone = chrono_tz::Europe::Berlin;
    assert_eq!(budget.pace, Pace::Limited(vec![rate(10, 1), rate(1500, 900)]));
    assert_eq!(
        budget.quotas,
        [
            Quota { calls: 1000, per: QuotaPeriod::Hour, timezone },
            Quota { calls: 100_000, per: QuotaPeriod::Day, timezone }
        ]
    );
    let sunday = [false, false, false, false, false, false, true];
    assert_eq!(
        budget.windows,
        [
            Window { from: 22 * 60, to: 6 * 60, days: [false; 7], timezone, rates: vec![rate(50, 1)] },
            Window { from: 0, to: 24 * 60, days: sunday, timezone, rates: vec![] }
        ]
    );
    let burst = "    burst       = 20\n";
    let pace = |rate| edited(&[(burst, ""), ("\"10/s\"", rate)]).apis.into_values().next().unwrap().budget.pace;
    assert_eq!(pace("\"unlimited\""), Pace::Unlimited);
    assert_eq!(pace("null"), Pace::Learned);
}

#[test]
fn a_crawl_with_everything() {
    let plan = edited(&[
        (
            "  schedule = \"cron(0 2 * * ? *)\"",
            r#"  schedule = "rate(5 minutes)"
              overlap  = "replace"
              weight   = 3
              timeout  = "2h"
              params   = { kind = "all", depth = 2 }
              tenant   = "{resources.group.customer}"
              tenant "acme" {
                weight = 2
                params = { region = "eu" }
              }
              tenant "zeta" {
              }"#,
        ),
        (
            "    data_selector = \"items\"",
            r#"    pages_max = 7
               incremental {
                 cursor_path   = "updated_at"
                 initial_value = "2020-01-01T00:00:00Z"
                 start_param   = "since"
                 lag           = "1h"
               }
               response_action {
                 status_code = 404
                 action      = "ignore"
               }
               response_action {
                 content = "try later"
                 action  = "throttle"
               }"#,
        ),
        (
            "    path = \"/devices/{resources.device.id}/readings\"",
            r#"    path = "/devices/{resources.device.id}/readings"
               include_from_parent = "id"
               headers = { X-Tenant = "{tenant.name}" }"#,
        ),
    ]);
    let crawl = crawl(&plan);
    assert_eq!((crawl.overlap, crawl.weight, crawl.timeout), (Overlap::Replace, 3, Some(Duration::from_secs(7200))));
    assert_eq!(crawl.spec.params, pairs(&[("kind", "all"), ("depth", "2")]));
    assert_eq!(crawl.spec.tenant.as_deref(), Some("{resources.group.customer}"));
    let tenant = |name: &str, weight, params: &[_]| Tenant { name: name.to_owned(), weight, params: pairs(params) };
    assert_eq!(crawl.spec.tenants, [tenant("acme", 2, &[("region", "eu")]), tenant("zeta", 1, &[])]);
    let (group, reading) = (resource(&plan, "group"), resource(&plan, "reading"));
    assert_eq!((group.pages_max, &reading.include_from_parent), (7, &vec!["id".to_owned()]));
    assert_eq!(reading.headers, pairs(&[("X-Tenant", "{tenant.name}")]));
    let incremental = Incremental {
        cursor_path: "updated_at".to_owned(),
        start_param: Some("since".to_owned()),
        end_param: None,
        initial_value: "2020-01-01T00:00:00Z".into(),
        lag: Some(3600.0),
        drop_old: true,
    };
    assert_eq!(group.incremental, Some(incremental));
    let not_found = ResponseAction { status_code: Some(404), content: None, action: Action::Ignore };
    let later = ResponseAction { status_code: None, content: Some("try later".to_owned()), action: Action::Throttle };
    assert_eq!(group.response_actions, [not_found, later]);
}

#[test]
fn every_paginator_has_dlts_defaults() {
    let of = |text: &str| {
        let plan = edited(&[("    data_selector = \"items\"", text)]);
        resource(&plan, "group").paginator.clone().unwrap()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of("paginator = \"auto\""), Paginator::Auto);
    assert_eq!(of("paginator \"auto\" { }"), Paginator::Auto);
    assert_eq!(of("paginator = \"header_link\""), Paginator::HeaderLink { rel: "next".to_owned() });
    assert_eq!(of("paginator \"json_link\" {\n}"), Paginator::JsonLink { next_url_path: "next".to_owned() });
    let cursor = of("paginator = \"cursor\"");
    assert_eq!(of("paginator \"cursor\" {\n}"), cursor);
    assert_eq!(
        cursor,
        Paginator::Cursor {
            cursor_path: text("cursors.next"),
            cursor_header: None,
            cursor_param: text("cursor"),
            cursor_body_path: None,
            has_more_path: None
        }
    );
    assert_eq!(
        of("paginator \"cursor\" {\n cursor_header = \"X-Next\"\n cursor_body_path = \"page.after\"\n}"),
        Paginator::Cursor {
            cursor_path: None,
            cursor_header: text("X-Next"),
            cursor_param: None,
            cursor_body_path: text("page.after"),
            has_more_path: None
        }
    );
    assert_eq!(
        of("paginator \"offset\" {\n limit = 50\n total_path = null\n}"),
        Paginator::Offset {
            limit: 50,
            offset: 0,
            offset_param: "offset".to_owned(),
            limit_param: "limit".to_owned(),
            total_path: None,
            maximum_offset: None,
            stop_after_empty_page: true
        }
    );
    let pages = Paginator::PageNumber {
        base_page: 0,
        page_param: "page".to_owned(),
        total_path: text("total"),
        maximum_page: None,
        stop_after_empty_page: true,
    };
    assert_eq!((of("paginator = \"page_number\""), of("paginator \"page_number\" {\n}")), (pages.clone(), pages));
}

#[test]
fn what_a_run_brings_is_seen_as_the_disposition_says() {
    let of = |disposition: &str, table: &str| {
        let plan =
            edited(&[("\"merge\"", disposition), ("table \"devices\" {", &format!("table \"devices\" {{\n{table}"))]);
        let table = &plan.tables[&"devices".parse().unwrap()];
        (table.visible, table.unique_by.clone(), table.compaction.keep)
    };
    assert_eq!(of("\"append\"", ""), (Visible::AtOnce, vec![], Keep::First));
    assert_eq!(of("\"append\"", "visible = \"complete\""), (Visible::Complete, vec![], Keep::First));
    assert_eq!(of("\"replace\"", ""), (Visible::Instead, vec!["id".to_owned()], Keep::First));
    assert_eq!(resource(&planned(DEVICES), "device").write_disposition, WriteDisposition::Merge);
}

#[test]
fn a_handler_names_the_accounts_that_it_calls() {
    let plan = edited(&[(
        "table \"devices\" {",
        "function \"ask\" {\n  code = \"code\"\n  handler = \"ask.handler\"\n  apis = [api.monitor]\n}\n\ntable \"devices\" {",
    )]);
    assert_eq!(plan.functions.into_values().next().unwrap().apis, ["monitor".parse().unwrap()]);
}

#[test]
fn a_resource_that_is_not_pinned_has_no_table_yet() {
    let plan = edited(&[("    schema            = \"device.avsc\"\n", "")]);
    let output = &crawl(&plan).outputs[0];
    assert!(output.schema_path.as_ref().unwrap().ends_with("devices.device.avsc"));
    assert!(output.schema.is_none() && output.columns.is_none());
    assert!(!plan.tables.contains_key(&"devices".parse().unwrap()));
    assert_eq!(plan.warnings.len(), 1);
}

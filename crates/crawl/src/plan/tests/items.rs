//! From items to tasks below, fields from above, cursors.

use super::*;
use crate::{FieldProblem, Lost, PROBLEMS_MAX};

#[test]
fn each_item_is_a_task_of_each_resource_below_with_the_values_that_are_needed() {
    let plan = plan_of(fleet());
    let groups = page(
        &plan,
        &root(&plan),
        &json!({"items": [
            {"id": 1, "name": "north", "ballast": "x".repeat(1000)}, {"id": "g/2"}
        ]}),
    );
    assert_eq!(groups.items.len(), 2);
    let values: Vec<_> = groups.children.iter().map(|task| json!(task.values)).collect();
    // The second has no name: it is included as null, and holds nothing up.
    assert_eq!(values, [json!({"group.id": 1, "group.name": "north"}), json!({"group.id": "g/2"})]);
    assert_eq!(groups.problems_count, 0);

    let devices = page(&plan, &groups.children[0], &json!({"items": [{"id": "d1"}]}));
    assert_eq!(devices.items, [json!({"id": "d1", "_group_name": "north"})]);
    let task = &devices.children[0];
    assert_eq!(json!(task.values), json!({"device.id": "d1", "device._group_name": "north", "group.id": 1}));
    assert_eq!(url(&plan, task), "https://vendor.example/v1/devices/d1/readings?group=1");
    let readings = page(&plan, task, &json!([{"value": 1}, 5, [6]]));
    assert_eq!(
        readings.items,
        [
            json!({"value": 1, "_device_id": "d1", "_device__group_name": "north"}),
            json!({"value": 5, "_device_id": "d1", "_device__group_name": "north"}),
            json!({"value": [6], "_device_id": "d1", "_device__group_name": "north"}),
        ]
    );
    assert!(readings.children.is_empty());
    let unnamed = page(&plan, &groups.children[1], &json!({"items": [{"id": 1}]}));
    assert_eq!(unnamed.items, [json!({"id": 1, "_group_name": null})]);
}

#[test]
fn an_item_without_a_needed_field_is_named_and_the_others_go_on() {
    let plan = plan_of(fleet());
    let groups = page(
        &plan,
        &root(&plan),
        &json!({"items": [
            {"name": "lost"}, {"id": null}, {"id": ""}, {"id": {"a": 1}}, {"id": 18446744073709551616.0}, {"id": 5}
        ]}),
    );
    assert_eq!(groups.items.len(), 6);
    assert_eq!(groups.children.len(), 1);
    let problems: Vec<_> = groups.problems.iter().map(|problem| (problem.index, problem.problem)).collect();
    assert_eq!(
        problems,
        [
            (0, FieldProblem::Missing),
            (1, FieldProblem::Missing),
            (2, FieldProblem::Empty),
            (3, FieldProblem::Nested),
            (4, FieldProblem::Inexact),
        ]
    );
    assert_eq!(groups.problems[0].to_string(), "item 0: field `id` is missing, so that `device` was not called for it");
    let many: Vec<_> = (0..50).map(|_| json!({})).collect();
    let groups = page(&plan, &root(&plan), &json!({"items": many}));
    assert_eq!((groups.problems.len(), groups.problems_count), (PROBLEMS_MAX, 50));
}

#[test]
fn items_name_the_tenant_of_what_hangs_below() {
    let crawl = Crawl { tenant: Some("{resources.group.customer.id}".to_owned()), ..Crawl::new("test", fleet()) };
    let plan = plan(&crawl);
    let body = json!({"items": [
        {"id": 1, "customer": {"id": "acme"}}, {"id": 2, "customer": {"id": 7}}, {"id": 3}, {"id": 4, "customer": {"id": "x".repeat(200)}}
    ]});
    let groups = page(&plan, &root(&plan), &body);
    let tenants: Vec<_> = groups.children.iter().map(|task| task.tenant.as_str()).collect();
    assert_eq!(tenants, ["acme", "7"]);
    assert_eq!(groups.problems.iter().map(|problem| &problem.lost).collect::<Vec<_>>(), [&Lost::Tenant, &Lost::Tenant]);
    let devices = page(&plan, &groups.children[0], &json!({"items": [{"id": 1}]}));
    assert_eq!(devices.children[0].tenant, "acme");
    // A run for one tenant passes the others over.
    let one = RunValues { tenants: vec!["7".to_owned()], ..run() };
    let groups = data(plan.read(&root(&plan), &one, &answer(&body)));
    assert_eq!(groups.children.len(), 1);
    assert_eq!(groups.items.len(), 4);
}

#[test]
fn tenants_may_be_named_from_two_levels() {
    let crawl = Crawl {
        tenant: Some("{resources.group.id}-{resources.device.owner}".to_owned()),
        ..Crawl::new("test", fleet())
    };
    let plan = plan(&crawl);
    let groups = page(&plan, &root(&plan), &json!({"items": [{"id": 1}]}));
    assert_eq!(groups.children[0].tenant, "");
    let devices = page(&plan, &groups.children[0], &json!({"items": [{"id": 1, "owner": "a"}]}));
    assert_eq!(devices.children[0].tenant, "1-a");
}

#[test]
fn the_largest_cursor_is_found_and_old_items_are_dropped() {
    let resource = Resource {
        incremental: Some(Incremental { drop_old: true, ..incremental("at", json!("2024-01-01T00:00:00Z")) }),
        ..Resource::new("a", "/a")
    };
    let plan = plan_of(vec![resource, Resource::new("b", "/b/{resources.a.id}")]);
    let found = page(
        &plan,
        &root(&plan),
        &json!([
            {"id": 1, "at": "2024-03-01T00:00:00Z"},
            {"id": 2, "at": "2024-03-01T01:00:00+02:00"},
            {"id": 3, "at": "2023-12-31T23:59:59Z"},
            {"id": 4, "at": "2024-01-01T00:00:00Z"},
            {"id": 5},
            {"id": 6, "at": "soon"},
        ]),
    );
    assert_eq!(found.largest, Some(json!("2024-03-01T00:00:00Z")));
    assert_eq!(found.dropped, 1);
    let ids: Vec<_> = found.items.iter().map(|item| item["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 4, 5, 6]);
    assert_eq!(found.children.len(), 5);
    let problems: Vec<_> = found.problems.iter().map(|problem| (problem.index, problem.problem)).collect();
    assert_eq!(problems, [(4, FieldProblem::Missing), (5, FieldProblem::Incomparable)]);
    let larger = plan.larger("a", found.largest, Some(json!("2024-02-01T00:00:00Z")));
    assert_eq!(larger, Some(json!("2024-03-01T00:00:00Z")));
    assert_eq!(plan.larger("a", None, Some(json!(1))), Some(json!(1)));
}

use serde_json::{Value, json};

use super::*;

fn sample(items: &[Value]) -> Sample {
    let mut sample = Sample::default();
    items.iter().for_each(|item| sample.add(item));
    sample
}

fn fields(items: &[Value]) -> Vec<Value> {
    let schema: Value = serde_json::from_str(&sample(items).schema("thing", &[])).unwrap();
    schema["fields"].as_array().unwrap().clone()
}

/// The type of the one field, without null.
fn becomes(values: &[Value]) -> Value {
    let items: Vec<Value> = values.iter().map(|value| json!({"x": value})).collect();
    fields(&items)[0]["type"][1].clone()
}

#[test]
fn types_are_those_that_all_values_fit() {
    let text = json!("string");
    let date = json!({"type": "int", "logicalType": "date"});
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    let micros = json!({"type": "long", "logicalType": "timestamp-micros"});
    for (values, becomes_type) in [
        (json!([true, null]), json!("boolean")),
        (json!([1, -2, 9_007_199_254_740_993_i64]), json!("long")),
        (json!([1, 2.5]), json!("double")),
        (json!([2.5, 9_007_199_254_740_993_i64]), text.clone()),
        (json!([18_446_744_073_709_551_615_u64]), text.clone()),
        (json!(["a", "2026-01-31T05:15:00Z"]), json!("string")),
        (json!(["2026-01-31T05:15:00Z", "2026-01-31T05:15:00.123+01:00"]), millis),
        (json!(["2026-01-31T05:15:00Z", "2026-01-31T05:15:00.123456Z"]), micros),
        (json!(["2026-01-31"]), date),
        (json!(["2026-01-31", "2026-01-31T05:15:00Z"]), json!("string")),
        (json!(["2026-01-31T05:15:00"]), json!("string")),
        (json!(["2026-02-30", "2026-01-31T25:00:00Z"]), json!("string")),
        (json!([1, "1"]), text.clone()),
        (json!([{}, {}]), text.clone()),
        (json!([[], []]), text.clone()),
        (json!([[1, 2], []]), json!({"type": "array", "items": "long"})),
        (json!([[1, null]]), json!({"type": "array", "items": ["null", "long"]})),
        (json!([[1, "a"]]), json!({"type": "array", "items": text})),
    ] {
        assert_eq!(becomes(values.as_array().unwrap()), becomes_type, "{values}");
    }
}

#[test]
fn what_is_absent_or_null_may_be_null() {
    let mut items: Vec<Value> = (0..30).map(|id| json!({"id": id, "a": 1, "b": 1})).collect();
    items[7] = json!({"id": 7, "a": null});
    let types: Vec<Value> = fields(&items).into_iter().map(|field| field["type"].clone()).collect();
    assert_eq!(types, [json!(["null", "long"]), json!(["null", "long"]), json!("long")]);
}

#[test]
fn a_few_items_require_nothing_but_keys() {
    let few = sample(&[json!({"id": 1, "a": 1})]);
    let schema: Value = serde_json::from_str(&few.schema("thing", &["id".into()])).unwrap();
    assert_eq!(
        schema["fields"],
        json!([{"name": "id", "type": "long"}, {"name": "a", "type": ["null", "long"], "default": null}])
    );
}

#[test]
fn the_order_is_keys_then_names_then_what_weir_added_whatever_came_first() {
    let items = [json!({"b": 1, "_group_id": 1, "id": 1}), json!({"a": 1, "id": 1})];
    let names = |items: &[Value]| -> Vec<String> {
        let schema: Value = serde_json::from_str(&sample(items).schema("thing", &["id".into()])).unwrap();
        schema["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&items), ["id", "a", "b", "_group_id"]);
    let turned: Vec<Value> = items.iter().rev().cloned().collect();
    assert_eq!(sample(&items).schema("t", &[]), sample(&turned).schema("t", &[]));
}

#[test]
fn names_become_legal_and_different_in_more_than_case() {
    let item = json!({"first-name": 1, "first_name": 2, "First_Name": 3, "2nd": 4, "": 5, "naïve": 6, "_day": 7});
    let schema = sample(std::slice::from_ref(&item)).schema("a-thing", &[]);
    let parsed: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(parsed["name"], "a_thing");
    let fitted = Pin::parse(&schema).unwrap().fit(item);
    assert!(fitted.new.is_empty(), "{:?}", fitted.new);
    assert_eq!(
        fitted.item,
        json!({"first_name_2": 1, "first_name_3": 2, "First_Name": 3, "_2nd": 4, "_": 5, "na_ve": 6, "_day_2": 7})
    );
}

#[test]
fn a_text_takes_texts_as_they_are_and_other_values_as_json() {
    let items = [json!({"x": 1, "y": [1, {"a": null}]}), json!({"x": "a", "y": []})];
    let pin = Pin::parse(&sample(&items).schema("thing", &[])).unwrap();
    assert_eq!(pin.fit(items[1].clone()).item, json!({"x": "a", "y": []}));
    assert_eq!(pin.fit(items[0].clone()).item, json!({"x": "1", "y": ["1", "{\"a\":null}"]}));
    assert_eq!(pin.fit(json!({"x": null, "y": null})).item, json!({"x": null, "y": null}));
}

#[test]
fn new_fields_are_named_by_path_and_left_out() {
    let item = json!({"id": 1, "address": {"city": "Bern"}, "lines": [{"sku": "a"}]});
    let pin = Pin::parse(&sample(&[item]).schema("thing", &[])).unwrap();
    let fitted = pin.fit(json!({
        "id": 1, "colour": {"deep": 1}, "address": {"city": "Bern", "zip": 1},
        "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}],
    }));
    assert_eq!(fitted.new, ["address.zip", "lines[].n", "colour"]);
    assert_eq!(fitted.new_count, 4);
    assert_eq!(fitted.item, json!({"id": 1, "address": {"city": "Bern"}, "lines": [{"sku": "a"}, {"sku": "b"}]}));
    assert_eq!(compare(&pin, &json!({"id": 1})), Vec::<String>::new());
}

#[test]
fn a_schema_written_by_hand_is_a_pin() {
    let schema = r#"{"type": "record", "name": "a.R", "fields": [
        {"name": "first_name", "type": "string", "aliases": ["vorname"]},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "child", "type": ["null", "R"]},
        {"name": "either", "type": ["null", "long", "string"]}]}"#;
    let pin = Pin::parse(schema).unwrap();
    let fitted = pin.fit(json!({
        "first-name": "a", "tags": {"any-key": "x"}, "either": 3, "child": {"vorname": "b", "new": 1},
    }));
    assert_eq!(
        fitted.item,
        json!({"first_name": "a", "tags": {"any-key": "x"}, "either": 3, "child": {"first_name": "b"}})
    );
    assert_eq!(fitted.new, ["child.new"]);
    // Its own name comes before what looks like it.
    let both = pin.fit(json!({"first-name": "a", "first_name": "b"}));
    assert_eq!((both.item, both.new), (json!({"first_name": "b"}), vec!["first-name".to_owned()]));
}

#[test]
fn no_schema_is_no_pin() {
    for (text, problem) in [
        ("nonsense", "the schema is no JSON"),
        ("\"string\"", "the schema is no Avro record: it is of another type"),
        (r#"{"type": "record", "name": "r"}"#, "the schema is no Avro record: record `r` has no fields"),
    ] {
        assert_eq!(Pin::parse(text).unwrap_err().to_string(), problem);
    }
}

#[test]
fn objects_whose_keys_are_data_become_texts() {
    let wide: serde_json::Map<String, Value> = (0..=FIELDS_MAX).map(|key| (format!("k{key}"), json!(1))).collect();
    let sample = sample(&[json!({"x": wide})]);
    let seen = sample.describe();
    assert_eq!((seen.len(), seen[0].becomes.as_str()), (1, "string of any value"));
    assert_eq!(seen[0].note.as_deref(), Some("its many keys are data"));
}

#[test]
fn depth_and_columns_are_bounded() {
    let deep = (0..40).fold(json!(1), |inner, _| json!({"x": [inner]}));
    let schema = sample(std::slice::from_ref(&deep)).schema("thing", &[]);
    let fitted = Pin::parse(&schema).unwrap().fit(deep);
    assert!(fitted.new.is_empty());
    let mut levels = 0;
    let mut at = &fitted.item;
    while let Some(inner) = at.get("x").or_else(|| at.get(0)) {
        (levels, at) = (levels + 1, inner);
    }
    assert!(levels <= DEPTH_MAX && at.is_string(), "{levels} levels, then {at}");

    let wide: serde_json::Map<String, Value> = (0..COLUMNS_MAX + 50).map(|key| (format!("k{key}"), json!(1))).collect();
    let sample = sample(&[Value::Object(wide)]);
    assert_eq!((sample.left_out().0.len(), sample.left_out().1), (NAMED_MAX, 50));
    assert_eq!(sample.describe().len(), COLUMNS_MAX);
}

#[test]
fn what_was_seen_is_described_without_values() {
    let items = [json!({"a": {"b": ["secret"]}, "c": 1}), json!({"a": {"b": []}, "c": "secret"}), json!({"a": null})];
    let lines: Vec<String> = sample(&items).describe().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "a: record, in 3 of 3, 1 null",
            "a.b: array, in 2 of 2",
            "a.b[]: string, in 1 of 1",
            "c: string of any value, in 2 of 3 (seen as numbers and texts)",
        ]
    );
}

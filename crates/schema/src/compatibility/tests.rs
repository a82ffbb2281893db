//! Tables of what may follow what.

use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)
}

fn reasons(reader: &str, writer: &str) -> Vec<String> {
    can_read(&schema(reader), &schema(writer)).iter().map(ToString::to_string).collect()
}

#[test]
fn readers_read_what_resolution_allows() {
    let a = record(r#"{"name": "a", "type": "int"}"#);
    let e = |name: &str, symbols: &str, rest: &str| {
        format!(r#"{{"type": "enum", "name": "{name}", "symbols": [{symbols}]{rest}}}"#)
    };
    let readable = [
        (record(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "string", "default": ""}"#), a.clone()),
        (record(""), a.clone()),
        (record(r#"{"name": "a", "type": "long"}"#), a.clone()),
        (record(r#"{"name": "a", "type": ["null", "double"]}"#), a.clone()),
        (record(r#"{"name": "b", "aliases": ["a"], "type": "int"}"#), a.clone()),
        (r#"{"type": "record", "name": "S", "aliases": ["R"], "fields": []}"#.to_owned(), a.clone()),
        (r#"{"type": "record", "name": "x.R", "fields": []}"#.to_owned(), a.clone()),
        (e("E", r#""A", "B""#, ""), e("E", r#""B""#, "")),
        (e("E", r#""A""#, r#", "default": "A""#), e("E", r#""B""#, "")),
        (r#"["string", "int"]"#.to_owned(), r#"["int"]"#.to_owned()),
        (r#""int""#.to_owned(), r#"["int"]"#.to_owned()),
        (r#""bytes""#.to_owned(), r#""string""#.to_owned()),
        (r#"{"type": "array", "items": "double"}"#.to_owned(), r#"{"type": "array", "items": "long"}"#.to_owned()),
        (r#"{"type": "long", "logicalType": "timestamp-millis"}"#.to_owned(), r#""long""#.to_owned()),
        (
            record(r#"{"name": "next", "type": ["null", "R"]}, {"name": "b", "type": "int", "default": 0}"#),
            record(r#"{"name": "next", "type": ["null", "R"]}"#),
        ),
    ];
    for (reader, writer) in readable {
        assert_eq!(reasons(&reader, &writer), Vec::<String>::new(), "{reader} reads {writer}");
    }
}

#[test]
fn explanations_name_the_field() {
    let leg = |fields: &str| {
        record(&format!(
            r#"{{"name": "legs", "type": {{"type": "array", "items": {{"type": "record", "name": "Leg", "fields": [{fields}]}}}}}}"#
        ))
    };
    let table = [
        (
            record(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "string"}"#),
            record(r#"{"name": "a", "type": "string"}"#),
            vec![
                "field `b`: the field is not in the written data and has no default: give it one",
                "field `a`: a string was written, and a int is wanted",
            ],
        ),
        (
            leg(r#"{"name": "km", "type": "int"}"#),
            leg(r#"{"name": "km", "type": "long"}"#),
            vec!["field `legs[].km`: a long was written, and a int is wanted"],
        ),
        (
            record(r#"{"name": "a", "type": "int"}"#),
            record(r#"{"name": "a", "type": ["null", "int"]}"#),
            vec!["field `a`: a null was written, and a int is wanted"],
        ),
        (
            record(r#"{"name": "a", "type": ["null", "string"]}"#),
            record(r#"{"name": "a", "type": "int"}"#),
            vec!["field `a`: a int was written, and is no branch of the reader's union (null, string)"],
        ),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#.to_owned(),
            r#"{"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}"#.to_owned(),
            vec!["the symbols B, C can be written, and are not known: add them, or a default"],
        ),
        (
            r#"{"type": "fixed", "name": "F", "size": 4}"#.to_owned(),
            r#"{"type": "fixed", "name": "F", "size": 5}"#.to_owned(),
            vec!["a fixed of 5 bytes was written, and one of 4 is wanted"],
        ),
        (
            r#"{"type": "record", "name": "A", "fields": []}"#.to_owned(),
            r#"{"type": "record", "name": "B", "fields": []}"#.to_owned(),
            vec!["`B` was written, and `A` is wanted: rename it, or give it that alias"],
        ),
        (
            r#"{"type": "long", "logicalType": "timestamp-micros"}"#.to_owned(),
            r#"{"type": "long", "logicalType": "timestamp-millis"}"#.to_owned(),
            vec!["a timestamp-millis was written, and a timestamp-micros is wanted"],
        ),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}"#.to_owned(),
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 3}"#.to_owned(),
            vec!["a decimal(6, 3) was written, and a decimal(6, 2) is wanted"],
        ),
        (
            record(r#"{"name": "next", "type": ["null", "R"]}, {"name": "b", "type": "int"}"#),
            record(r#"{"name": "next", "type": ["null", "R"]}, {"name": "b", "type": "long"}"#),
            vec!["field `b`: a long was written, and a int is wanted"],
        ),
    ];
    for (reader, writer, expected) in table {
        assert_eq!(reasons(&reader, &writer), expected, "{reader} reads {writer}");
    }
}

#[test]
fn levels_check_as_confluents_do() {
    use Compatibility::*;
    let one = schema(&record(r#"{"name": "a", "type": "int"}"#));
    let added = r#"{"name": "a", "type": "int"}, {"name": "b", "type": "int""#;
    let defaulted = schema(&record(&format!("{added}, \"default\": 0}}")));
    let required = schema(&record(&format!("{added}}}")));
    let empty = schema(&record(""));
    // new, versions, levels that allow it
    let all = [None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive];
    let table: [(&Schema, Vec<&Schema>, Vec<Compatibility>); 6] = [
        (&one, vec![], all.to_vec()),
        (&defaulted, vec![&one], all.to_vec()),
        // A field without a default can be added forward only.
        (&required, vec![&one], vec![None, Forward, ForwardTransitive]),
        // Taking a field away that has no default: old readers miss it.
        (&empty, vec![&one], vec![None, Backward, BackwardTransitive]),
        // The last version alone would allow it; the first does not.
        (&required, vec![&one, &defaulted], vec![None, Backward, Forward, ForwardTransitive, Full]),
        (&empty, vec![&one, &defaulted, &empty], vec![None, Backward, BackwardTransitive, Forward, Full]),
    ];
    for (index, (new, versions, allowed)) in table.iter().enumerate() {
        let versions: Vec<Schema> = versions.iter().map(|version| (*version).clone()).collect();
        for level in all {
            let found = check(new, &versions, level);
            assert_eq!(found.is_empty(), allowed.contains(&level), "row {index}, {level}: {found:?}");
        }
    }
    assert_eq!(
        check(&required, &[one], Backward)[0].to_string(),
        "field `b`: the new schema can't read older data: the field is not in the written data and has no default: give it one"
    );
    assert_eq!("full_transitive".parse(), Ok(FullTransitive));
    assert_eq!(
        "BACKWARDS".parse::<Compatibility>().unwrap_err().to_string(),
        "`BACKWARDS` is no level of compatibility: write NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, FORWARD_TRANSITIVE, FULL or FULL_TRANSITIVE"
    );
}

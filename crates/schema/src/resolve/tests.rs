//! Tests of resolution and of the check of untrusted bytes.

use proptest::prelude::*;

use super::*;
use crate::testing::{Dice, Ty, case};
use crate::{JsonEncoder, Schema, json};

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

/// Writes `value` with one schema and reads it with another, JSON to JSON.
fn through(writer: &str, reader: &str, value: &str) -> Result<String, String> {
    let (writer, reader) = (schema(writer), schema(reader));
    let mut binary = Vec::new();
    JsonEncoder::new(&writer).encode(value.as_bytes(), &mut binary).unwrap();
    let resolver = Resolver::new(&writer, &reader).map_err(|reasons| reasons[0].to_string())?;
    let mut resolved = b"x".to_vec();
    resolver.resolve(&binary, &mut resolved).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    json::write(&reader, &resolved[1..], &mut text).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn old_records_become_new_ones() {
    let record = |fields: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#);
    let writer = record(
        r#"{"name": "a", "type": "int"}, {"name": "gone", "type": {"type": "map", "values": "string"}}, {"name": "b", "type": "string"}"#,
    );
    let value = r#"{"a":1,"gone":{"k":"v"},"b":"x"}"#;
    for (fields, expected) in [
        (r#"{"name": "a", "type": "int"}, {"name": "b", "type": "string"}"#, r#"{"a":1,"b":"x"}"#),
        (r#"{"name": "b", "type": "string"}, {"name": "a", "type": "long"}"#, r#"{"b":"x","a":1}"#),
        (
            r#"{"name": "n", "type": "int", "default": 9}, {"name": "b", "type": "bytes"}, {"name": "m", "type": ["null", "int"], "default": null}"#,
            r#"{"n":9,"b":"x","m":null}"#,
        ),
        (
            r#"{"name": "n", "type": "int", "default": 9}, {"name": "b", "type": "string"}, {"name": "m", "type": "int", "default": 8}, {"name": "a", "type": "double"}"#,
            r#"{"n":9,"b":"x","m":8,"a":1.0}"#,
        ),
        (r#"{"name": "c", "type": "float", "aliases": ["a"]}"#, r#"{"c":1.0}"#),
        // The alias is of a field that is read by its own name: it is not read twice.
        (
            r#"{"name": "a", "type": "int"}, {"name": "c", "type": "int", "aliases": ["a"], "default": 5}"#,
            r#"{"a":1,"c":5}"#,
        ),
        (r#"{"name": "a", "type": ["string", "double", "int"]}"#, r#"{"a":{"int":1}}"#),
        (r#"{"name": "a", "type": ["string", "double"]}"#, r#"{"a":{"double":1.0}}"#),
    ] {
        assert_eq!(through(&writer, &record(fields), value).as_deref(), Ok(expected), "{fields}");
    }
}

#[test]
fn unions_enums_and_lists_resolve() {
    let e = |symbols: &str, rest: &str| format!(r#"{{"type": "enum", "name": "E", "symbols": [{symbols}]{rest}}}"#);
    let cases = [
        (e(r#""A", "B""#, ""), e(r#""B", "A""#, ""), r#""A""#, r#""A""#),
        (e(r#""A", "B""#, ""), e(r#""X", "A""#, r#", "default": "X""#), r#""B""#, r#""X""#),
        (r#"["null", "int"]"#.to_owned(), r#"["long", "null"]"#.to_owned(), "7", "7"),
        (r#"["null", "int"]"#.to_owned(), r#"["long", "null"]"#.to_owned(), "null", "null"),
        (r#"["int"]"#.to_owned(), r#""double""#.to_owned(), "7", "7.0"),
        (
            r#"{"type": "array", "items": "int"}"#.to_owned(),
            r#"{"type": "array", "items": ["null", "double"]}"#.to_owned(),
            "[1,2]",
            "[1.0,2.0]",
        ),
        (
            r#"{"type": "map", "values": "int"}"#.to_owned(),
            r#"{"type": "map", "values": "long"}"#.to_owned(),
            r#"{"a":1}"#,
            r#"{"a":1}"#,
        ),
        (
            r#"{"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"]}]}"#.to_owned(),
            r#"{"type": "record", "name": "L", "fields": [{"name": "v", "type": "int", "default": 1}, {"name": "n", "type": ["null", "L"]}]}"#.to_owned(),
            r#"{"n":{"n":null}}"#,
            r#"{"v":1,"n":{"v":1,"n":null}}"#,
        ),
    ];
    for (writer, reader, value, expected) in cases {
        assert_eq!(through(&writer, &reader, value).as_deref(), Ok(expected), "{writer} to {reader}");
    }
    assert_eq!(through("\"bytes\"", "\"string\"", r#""\u00ff""#).unwrap_err(), "a text is not valid UTF-8");
    assert_eq!(through("\"string\"", "\"int\"", r#""1""#).unwrap_err(), "a string was written, and a int is wanted");
}

#[test]
fn hostile_bytes_are_refused() {
    let nulls = r#"{"type": "array", "items": "null"}"#;
    let strings = r#"{"type": "array", "items": "string"}"#;
    let list = r#"{"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"]}]}"#;
    let table: [(&str, Vec<u8>, &str); 16] = [
        ("\"int\"", vec![], "the record ends inside this value"),
        ("\"int\"", vec![0x80], "the record ends inside this value"),
        ("\"int\"", vec![0xff, 0xff, 0xff, 0xff, 0x7f], "a number has more than the 32 bits of an int"),
        ("\"long\"", vec![0xff; 11], "a number has more than 64 bits"),
        ("\"long\"", [vec![0xff; 9], vec![2]].concat(), "a number has more than 64 bits"),
        ("\"boolean\"", vec![2], "a boolean is neither 0 nor 1"),
        ("\"string\"", vec![1], "a length is negative"),
        ("\"string\"", vec![4, b'a'], "the record ends inside this value"),
        ("\"string\"", vec![4, 0xc3, 0x28], "a text is not valid UTF-8"),
        (
            "\"bytes\"",
            vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            "the record ends inside this value",
        ),
        ("[\"null\", \"int\"]", vec![4], "2 is the number of no branch of the union"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, vec![1], "-1 is the number of no symbol of the enum"),
        (strings, vec![0x80, 0x80, 0x80, 1], "a block claims more items than the record has bytes"),
        (strings, vec![1, 200, 1], "a block's size goes beyond the record"),
        (nulls, vec![0x82, 0x80, 0x08, 0], "a block claims too many items that take no bytes"),
        (list, vec![2; 200], "values are nested more than 64 deep"),
    ];
    for (text, bytes, reason) in table {
        assert_eq!(validate(&schema(text), &bytes).unwrap_err().reason, reason, "{text} {bytes:x?}");
    }
    let record = schema(
        r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "array", "items": "boolean"}}]}"#,
    );
    assert_eq!(validate(&record, &[4, 1, 3, 0]).unwrap_err().field, "a[1]");
    assert_eq!(validate(&record, &[3, 4, 1, 0, 0, 9, 9]), Ok(5), "a block with its size, and bytes behind the record");
}

/// A reader of the same data: fields in another order, some gone, some new, some wider.
fn evolve(dice: &mut Dice, ty: &Ty) -> Ty {
    match ty {
        Ty::Int if dice.roll(2) == 0 => Ty::Long,
        Ty::Float if dice.roll(2) == 0 => Ty::Double,
        Ty::Record(name, fields) => {
            let mut fields: Vec<(String, Ty)> =
                fields.iter().filter(|_| dice.roll(4) > 0).map(|(name, ty)| (name.clone(), ty.clone())).collect();
            for index in (1..fields.len()).rev() {
                fields.swap(index, dice.roll(index as u64 + 1) as usize);
            }
            Ty::Record(name.clone(), fields.into_iter().map(|(name, ty)| (name, evolve(dice, &ty))).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn resolves_as_apache_avro_does(seed: u64) {
        // apache-avro 0.21 resolves no decimal of fewer bytes than its precision might need.
        let plain = |seed: u64| {
            let mut dice = Dice::new(seed);
            let ty = dice.record();
            (!ty.schema().to_string().contains("decimal")).then_some((dice, ty))
        };
        let (mut dice, ty) = (0..).find_map(|step| plain(seed.wrapping_add(step))).unwrap();
        let reader = evolve(&mut dice, &ty).schema().to_string();
        let writer = ty.schema().to_string();
        let oracles = [&writer, &reader].map(|text| apache_avro::Schema::parse_str(text).unwrap());
        let resolver = Resolver::new(&schema(&writer), &schema(&reader)).unwrap();
        let (_, value) = dice.value(&ty);
        let binary = apache_avro::to_avro_datum(&oracles[0], value).unwrap();
        let expected = apache_avro::from_avro_datum(&oracles[0], &mut &binary[..], Some(&oracles[1])).unwrap();
        let mut resolved = Vec::new();
        resolver.resolve(&binary, &mut resolved).unwrap();
        let found = apache_avro::from_avro_datum(&oracles[1], &mut &resolved[..], None).unwrap();
        prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_record_ends_where_it_ends(seed: u64) {
        let (schema, records) = case(seed, 2);
        for (_, binary) in records {
            prop_assert_eq!(validate(&schema, &binary), Ok(binary.len()));
            for cut in 0..binary.len() {
                prop_assert!(validate(&schema, &binary[..cut]).is_err());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(seed: u64, bytes in prop::collection::vec(any::<u8>(), 0..200), flip in any::<prop::sample::Index>()) {
        let (schema, records) = case(seed, 1);
        let mut damaged = records[0].1.clone();
        if !damaged.is_empty() {
            let at = flip.index(damaged.len());
            damaged[at] ^= bytes.first().copied().unwrap_or(1);
        }
        let resolver = Resolver::new(&schema, &Schema::parse(schema.canonical_form()).unwrap()).unwrap();
        for bytes in [&bytes, &damaged] {
            let fits = validate(&schema, bytes) == Ok(bytes.len());
            let mut out = Vec::new();
            prop_assert_eq!(resolver.resolve(bytes, &mut out).is_ok(), fits);
            let _ = json::write(&schema, bytes, &mut Vec::new());
        }
    }
}

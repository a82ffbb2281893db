//! Tests of parsing, canonical forms and fingerprints.

use apache_avro::rabin::Rabin;
use proptest::prelude::*;

use super::fingerprint::crc64;
use super::*;
use crate::testing::Dice;

fn error(text: &str) -> String {
    let error = Schema::parse(text).unwrap_err();
    match &error.hint {
        Some(hint) => format!("{error} | {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn fingerprints_are_those_of_the_specification() {
    assert_eq!(crc64(b"").0, 0xc15d_213a_a4d7_a795);
    assert_eq!(crc64(b"hello world").0, 2_906_301_498_937_520_992);
    // From Avro's own share/test/data/schema-tests.txt.
    for (text, fingerprint) in [
        ("\"null\"", 7_195_948_357_588_979_594i64),
        ("\"int\"", 8_247_732_601_305_521_295),
        ("{\"type\": \"float\"}", 5_583_340_709_985_441_680),
        ("\"long\"", -3_434_872_931_120_570_953),
        ("\"double\"", -8_181_574_048_448_539_266),
        ("\"bytes\"", 5_746_618_253_357_095_269),
        ("{\"type\":\"array\", \"items\":\"null\"}", -589_620_603_366_471_059),
        ("{\"type\":\"map\", \"values\":\"string\"}", -8_732_877_298_790_414_990),
        ("{\"type\":\"fixed\", \"name\":\"foo\", \"size\":15}", 1_756_455_273_707_447_556),
        ("{\"type\":\"enum\", \"name\":\"foo\", \"symbols\":[\"A1\"]}", -6_342_190_197_741_309_591),
    ] {
        assert_eq!(Schema::parse(text).unwrap().fingerprint().0 as i64, fingerprint, "{text}");
    }
}

#[test]
fn canonical_form_has_full_names_once_and_nothing_that_does_not_change_bytes() {
    let schema = Schema::parse(
        r#" {"doc": "d", "type": "record", "name": "R", "namespace": "a.b", "aliases": ["Q"], "fields": [
            {"name": "e", "doc": "x", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"], "default": "X"}},
            {"name": "again", "type": ["null", "E"], "default": null, "order": "ignore"},
            {"name": "next", "type": ["null", "a.b.R"]},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "h", "type": {"type": "fixed", "size": 4, "name": "H", "namespace": ""}}]}"#,
    )
    .unwrap();
    assert_eq!(
        schema.canonical_form(),
        concat!(
            r#"{"name":"a.b.R","type":"record","fields":[{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["X","Y"]}},"#,
            r#"{"name":"again","type":["null","a.b.E"]},{"name":"next","type":["null","a.b.R"]},{"name":"at","type":"long"},"#,
            r#"{"name":"h","type":{"name":"H","type":"fixed","size":4}}]}"#
        )
    );
    assert_eq!(schema.name(), Some("a.b.R"));
    assert_eq!(schema.md5(), <[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(schema.canonical_form())));
    let again = Schema::parse(r#"{"type": "record", "name": "a.R", "fields": [{"name": "n", "type": ["null", "R"]}]}"#)
        .unwrap();
    assert_eq!(Schema::parse(again.canonical_form()).unwrap().fingerprint(), again.fingerprint());
}

#[test]
fn errors_name_the_place_and_the_mend() {
    let record = |fields: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#);
    let a = r#"{"name": "a", "type": "int"}"#;
    let table = [
        ("{", "this is not JSON: EOF while parsing an object at line 1 column 1 | a schema is a JSON text (`.avsc`)"),
        (
            "3",
            "a type is a name, an object or a list, and this is a number | write for example \"string\", or [\"null\", \"string\"]",
        ),
        ("\"strin\"", "unknown type \"strin\" | did you mean \"string\"?"),
        ("\"Ride\"", "unknown type \"Ride\" | a named type must be defined, in full, before it is used by name"),
        ("[]", "a union has no branches"),
        ("[\"int\", \"int\"]", "the union has \"int\" twice"),
        ("[\"int\", [\"null\"]]", "at [1]: a union directly inside a union"),
        ("{\"type\": \"array\"}", "the array has no \"items\" | add \"items\": the type of each"),
        ("{}", "an object has no \"type\" | add \"type\": \"record\", for example"),
        (r#"{"type": "record", "fields": []}"#, "the record has no \"name\" | records, enums and fixed have names"),
        (r#"{"type": "record", "name": "R"}"#, "the record `R` has no list of fields | add \"fields\": [...]"),
        (&record(&format!("{a}, {a}")), "at fields[1] \"a\": a field of that name stands above already"),
        (
            &record(r#"{"name": "dep_delay", "type": "itn"}"#),
            "at fields[0] \"dep_delay\": unknown type \"itn\" | did you mean \"int\"?",
        ),
        (
            &record(r#"{"name": "a", "type": {"type": "array", "items": {"type": "map"}}}"#),
            "at fields[0] \"a\".type.items: the map has no \"values\" | add \"values\": the type of each",
        ),
        (
            &record(r#"{"name": "a-b", "type": "int"}"#),
            "at fields[0] \"a-b\": \"a-b\" is no name | names are letters, digits and `_`, and don't begin with a digit",
        ),
        (
            &record(r#"{"name": "a", "type": "int", "default": null}"#),
            "at fields[0] \"a\": the default `null` is no int | add \"null\" to the field's type, or give a default that fits",
        ),
        (
            &record(r#"{"name": "a", "type": "int", "default": 3000000000}"#),
            "at fields[0] \"a\": the default `3000000000` is no int",
        ),
        (
            &record(r#"{"name": "a", "type": ["null", "int"], "default": "x"}"#),
            "at fields[0] \"a\": the default `\"x\"` fits no branch of the union",
        ),
        (
            &record(r#"{"name": "a", "type": "R"}"#),
            "every value of `R` holds another one, without end | make the field that leads back a union with \"null\", or an array",
        ),
        (r#"{"type": "enum", "name": "E", "symbols": ["A", "A"]}"#, "the symbol \"A\" stands there twice"),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}"#,
            "the default \"B\" is none of the symbols",
        ),
        (
            r#"{"type": "fixed", "name": "F"}"#,
            "the fixed `F` has no \"size\" that a record could hold | add \"size\": a number of bytes up to 1048576",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn defaults_are_encoded_once() {
    let schema = Schema::parse(
        r#"{"type": "record", "name": "R", "fields": [
            {"name": "a", "type": ["null", "int"], "default": null},
            {"name": "b", "type": ["null", "string"], "default": "x"},
            {"name": "c", "type": {"type": "array", "items": "long"}, "default": [1, -1]},
            {"name": "d", "type": "bytes", "default": "\u00ff"},
            {"name": "e", "type": {"type": "record", "name": "I", "fields": [
                {"name": "x", "type": "int", "default": 7}, {"name": "y", "type": "boolean"}]}, "default": {"y": true}},
            {"name": "f", "type": "string"}]}"#,
    )
    .unwrap();
    let defaults: Vec<Option<&[u8]>> = schema.fields().iter().map(|field| field.default.as_deref()).collect();
    assert_eq!(
        defaults,
        [Some(&[0][..]), Some(&[2, 2, b'x']), Some(&[4, 2, 1, 0]), Some(&[2, 0xff]), Some(&[14, 1]), None]
    );
}

#[test]
fn deep_and_doubling_schemas_are_refused_quickly() {
    let deep = format!("{}\"int\"{}", "{\"type\":\"array\",\"items\":".repeat(65), "}".repeat(65));
    assert!(error(&deep).contains("nested more than 64 deep"));
    let deeper = format!("{}\"int\"{}", "{\"type\":\"array\",\"items\":".repeat(5000), "}".repeat(5000));
    assert!(error(&deeper).contains("this is not JSON"));
    // Each record's default holds the one before it twice: 2^40 values.
    let mut fields = String::new();
    for level in 1..40 {
        let inner = format!("R{}", level - 1);
        fields += &format!(
            r#", {{"name": "l{level}", "type": {{"type": "record", "name": "R{level}", "fields": [
                {{"name": "a", "type": "{inner}", "default": {{}}}}, {{"name": "b", "type": "{inner}", "default": {{}}}}]}}, "default": {{}}}}"#
        );
    }
    let text = format!(
        r#"{{"type": "record", "name": "R", "fields": [{{"name": "l0", "type": {{"type": "record", "name": "R0", "fields": []}}}}{fields}]}}"#
    );
    assert!(error(&text).contains("unfolds to"), "{}", error(&text));
}

#[test]
fn invalid_and_unknown_logical_types_are_ignored() {
    for text in [
        r#"{"type": "string", "logicalType": "date"}"#,
        r#"{"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}"#,
        r#"{"type": "long", "logicalType": "moon-phase"}"#,
    ] {
        assert_eq!(Schema::parse(text).unwrap().root().logical, None, "{text}");
    }
}

proptest! {
    #[test]
    fn canonical_form_and_fingerprint_are_apache_avros(seed: u64) {
        let text = Dice::new(seed).record().schema().to_string();
        let oracle = apache_avro::Schema::parse_str(&text).unwrap();
        let schema = Schema::parse(&text).unwrap();
        // apache-avro 0.21 leaves {"type":"long"} where a logical type was, and a decimal's precision; the specification's
        // [PRIMITIVES] and [STRIP] make it "long".
        let mut form = oracle.canonical_form().replace(",\"precision\":12,\"scale\":2", "");
        for word in ["int", "long", "string", "bytes"] {
            form = form.replace(&format!("{{\"type\":\"{word}\"}}"), &format!("\"{word}\""));
        }
        prop_assert_eq!(schema.canonical_form(), &form);
        let fingerprint = apache_avro::Schema::parse_str(&form).unwrap().fingerprint::<Rabin>().bytes;
        prop_assert_eq!(schema.fingerprint().0.to_le_bytes().to_vec(), fingerprint);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = Schema::parse(&text);
    }
}

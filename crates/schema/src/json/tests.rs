//! Tests of JSON's way in and out, against apache-avro and against tables.

use proptest::prelude::*;
use weir_types::limits::RECORD_BYTES_MAX;

use super::*;
use crate::testing::case;
use crate::{RecordError, Schema};

const RIDE: &str = r#"{"type": "record", "name": "Ride", "fields": [
    {"name": "city", "type": "string"},
    {"name": "km", "type": ["null", "double"]},
    {"name": "seats", "type": "int", "default": 4},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
    {"name": "class", "type": ["null", {"type": "enum", "name": "Class", "symbols": ["FIRST", "SECOND"]}], "default": null},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}], "default": null},
    {"name": "legs", "type": {"type": "array", "items": {"type": "record", "name": "Leg", "fields": [
        {"name": "line", "type": "long"}]}}, "default": []},
    {"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
    {"name": "id", "type": ["null", {"type": "string", "logicalType": "uuid"}], "default": null}]}"#;

fn ride(json: &str) -> Result<String, RecordError> {
    let schema = Schema::parse(RIDE).unwrap();
    let mut out = b"before".to_vec();
    let result = JsonEncoder::new(&schema).encode(json.as_bytes(), &mut out);
    if let Err(error) = result {
        assert_eq!(out, b"before", "what failed leaves no bytes");
        return Err(error);
    }
    let mut text = Vec::new();
    write(&schema, &out[6..], &mut text).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn values_meet_types_as_documented() {
    let rest = r#""seats":4,"at":null,"class":null,"price":null,"legs":[],"tags":{},"day":null,"id":null}"#;
    assert_eq!(ride(r#" {"km": 2.5, "city": "Bern"} "#).unwrap(), format!(r#"{{"city":"Bern","km":2.5,{rest}"#));
    assert_eq!(
        ride(r#"{"city": "\u0042\u00e9\ud83e\udd80\n"}"#).unwrap(),
        format!(r#"{{"city":"Bé🦀\n","km":null,{rest}"#)
    );
    assert_eq!(ride(r#"{"km": {"double": 1e3}, "city": ""}"#).unwrap(), format!(r#"{{"city":"","km":1000.0,{rest}"#));
    assert_eq!(ride(r#"{"km": "NaN", "city": "x"}"#).unwrap(), format!(r#"{{"city":"x","km":"NaN",{rest}"#));
    let full = r#"{"city":"x","km":null,"seats":300,"at":"2013-01-01T10:00:00.250Z","class":"SECOND","price":"-0.05","legs":[{"line":1},{"line":-9223372036854775808}],"tags":{"a":"b"},"day":"2000-02-29","id":"123e4567-e89b-12d3-a456-426614174000"}"#;
    assert_eq!(ride(full).unwrap(), full);
    let same = full
        .replace("300", "3.0e2")
        .replace("\"2013-01-01T10:00:00.250Z\"", "\"2013-01-01 11:00:00.250000+01:00\"")
        .replace("\"-0.05\"", "-5e-2")
        .replace("\"2000-02-29\"", "11016");
    assert_eq!(ride(&same).unwrap(), full);
}

#[test]
fn errors_name_the_field_and_the_reason() {
    let table = [
        ("", "", "the JSON ends where an object should stand"),
        ("[]", "", "an object is wanted, and this is a list"),
        (r#"{"city": "x""#, "", "the JSON ends where `}` should stand"),
        (r#"{"city": "x"} x"#, "", "the end of the record should stand at byte 15, and `x` does"),
        (r#"{"city": 'x'}"#, "city", "a text should stand at byte 10, and `'` does"),
        (r#"{"km": 1}"#, "city", "the field is missing, and has neither a default nor null in its type"),
        (r#"{"city": null}"#, "city", "a text is wanted, and this is null"),
        (r#"{"city": "x", "citi": 1}"#, "citi", "the schema has no such field: did you mean `city`?"),
        (
            r#"{"city": "x", "weather": 1}"#,
            "weather",
            "the schema has no such field: leave it out, or add it to the schema",
        ),
        (r#"{"city": "x", "city": "y"}"#, "city", "the field stands there twice"),
        (r#"{"city": "x", "seats": 2.5}"#, "seats", "`2.5` is not a whole number of 64 bits"),
        (r#"{"city": "x", "seats": 3000000000}"#, "seats", "3000000000 does not fit the 32 bits of an int"),
        (r#"{"city": "x", "seats": 01}"#, "seats", "a number begins with 0 at byte 24"),
        (r#"{"city": "x", "seats": NaN}"#, "seats", "a whole number should stand at byte 24, and `N` does"),
        (r#"{"city": "x", "seats": "4"}"#, "seats", "a whole number is wanted, and this is a text"),
        (r#"{"city": "x", "km": "far"}"#, "km", "`far` is a text, and a number is wanted"),
        (r#"{"city": "x", "km": 1e999}"#, "km", "`1e999` is too large for a double"),
        (r#"{"city": "x", "km": .5}"#, "km", "a number should stand at byte 21, and `.` does"),
        (r#"{"city": "x", "km": 1.}"#, "km", "a number has no digit behind its point at byte 22"),
        (
            r#"{"city": "x", "at": "2013-01-01T10:00:00"}"#,
            "at",
            "`2013-01-01T10:00:00` has no offset: add Z, or one such as +01:00",
        ),
        (
            r#"{"city": "x", "at": "2013-02-29T10:00:00Z"}"#,
            "at",
            "`2013-02-29T10:00:00Z` is no point in time: write it as 2013-01-31T05:15:00Z, or with an offset such as +01:00",
        ),
        (
            r#"{"city": "x", "at": "2013-01-01T10:00:00.0001Z"}"#,
            "at",
            "the text is finer than the type's milliseconds: round it, or give the field the -micros type",
        ),
        (r#"{"city": "x", "class": "FRIST"}"#, "class", "`FRIST` is none of the enum's symbols: did you mean `FIRST`?"),
        (r#"{"city": "x", "price": 1.005}"#, "price", "`1.005` does not fit a decimal with 2 digits behind the point"),
        (r#"{"city": "x", "price": 12345}"#, "price", "`12345` has more than the 6 digits of its decimal"),
        (
            r#"{"city": "x", "legs": [{"line": 1}, {"line": "x"}]}"#,
            "legs[1].line",
            "a whole number is wanted, and this is a text",
        ),
        (
            r#"{"city": "x", "legs": [{"line": 9223372036854775808}]}"#,
            "legs[0].line",
            "`9223372036854775808` does not fit 64 bits",
        ),
        (r#"{"city": "x", "tags": {"a": "b", "a": "c"}}"#, "tags", "the key `a` stands there twice"),
        (r#"{"city": "x", "tags": {"a": 1}}"#, "tags.a", "a text is wanted, and this is a number"),
        (r#"{"city": "x", "day": "31.1.2013"}"#, "day", "`31.1.2013` is no date: write it as 2013-01-31"),
        (r#"{"city": "x", "id": "123"}"#, "id", "this is no uuid: write 36 letters, hexadecimal and hyphens"),
        (r#"{"city": "\ud83e"}"#, "city", "a \\u escape is half of a surrogate pair"),
        (
            r#"{"city": "\x"}"#,
            "city",
            "a letter that JSON allows behind a backslash should stand at byte 12, and `x` does",
        ),
        ("{\"city\": \"a\nb\"}", "city", "a string holds the bare control character 0x0a: write \\u000a"),
        (r#"{"city": "x"#, "city", "a string is not closed"),
        (r#"{city: "x"}"#, "", "`\"` should stand at byte 2, and `c` does"),
        (r#"{"city": "x",}"#, "", "`\"` should stand at byte 14, and `}` does"),
    ];
    for (json, field, reason) in table {
        let error = ride(json).unwrap_err();
        assert_eq!((error.field.as_str(), error.reason.as_str()), (field, reason), "{json}");
    }
    let schema = Schema::parse(RIDE).unwrap();
    let error = JsonEncoder::new(&schema).encode(b"{\"city\": \"\xff\"}", &mut Vec::new()).unwrap_err();
    assert_eq!(error.reason, "the text is not valid UTF-8 from byte 11 on");
}

#[test]
fn unions_take_bare_values_and_named_branches() {
    let schema = Schema::parse(
        r#"[{"type": "record", "name": "A", "fields": [{"name": "x", "type": "int"}]}, "null", "string", "double",
            {"type": "record", "name": "B", "fields": [{"name": "y", "type": "int"}]}, {"type": "map", "values": "int"}]"#,
    )
    .unwrap();
    let mut encoder = JsonEncoder::new(&schema);
    for (json, binary) in [
        (r#"{"x": 1}"#, &[0, 2][..]),
        ("null", &[2]),
        (r#""hi""#, &[4, 4, b'h', b'i']),
        ("0", &[6, 0, 0, 0, 0, 0, 0, 0, 0]),
        (r#"{"y": 1}"#, &[8, 2]),
        (r#"{"B": {"y": 1}}"#, &[8, 2]),
        (r#"{"z": 1}"#, &[10, 2, 2, b'z', 2, 0]),
        (r#"{"map": {"z": 1}}"#, &[10, 2, 2, b'z', 2, 0]),
        (r#"{"map": 1}"#, &[10, 2, 6, b'm', b'a', b'p', 2, 0]),
    ] {
        let mut out = Vec::new();
        encoder.encode(json.as_bytes(), &mut out).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(out, binary, "{json}");
    }
    let error = encoder.encode(b"true", &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.reason,
        "the value fits no branch of the union (A, null, string, double, B, map): an object is wanted, and this is true or false"
    );
}

#[test]
fn depth_and_tries_are_bounded() {
    let list = Schema::parse(r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#)
        .unwrap();
    let nest = |levels: usize| format!("{}null{}", "{\"next\":".repeat(levels), "}".repeat(levels));
    let mut encoder = JsonEncoder::new(&list);
    assert!(encoder.encode(nest(65).as_bytes(), &mut Vec::new()).is_err());
    assert!(encoder.encode(nest(64).as_bytes(), &mut Vec::new()).is_ok());
    let error = encoder.encode(nest(100_000).as_bytes(), &mut Vec::new()).unwrap_err();
    assert!(error.reason.contains("nested more than 64 deep"), "{error}");
    // Two branches that differ only at the innermost value: 2^20 ways.
    let tree = Schema::parse(
        r#"{"type": "record", "name": "T", "fields": [{"name": "a", "type": ["null", "T",
            {"type": "record", "name": "U", "fields": [{"name": "a", "type": ["null", "T", "U"]}]}]}]}"#,
    )
    .unwrap();
    let text = format!("{}true{}", "{\"a\":".repeat(20), "}".repeat(20));
    let error = JsonEncoder::new(&tree).encode(text.as_bytes(), &mut Vec::new()).unwrap_err();
    assert!(error.reason.contains("too many branches of unions"), "{error}");
}

fn lines(chunks: &[&[u8]]) -> Vec<(u64, Result<Vec<u8>, String>)> {
    let mut found = Vec::new();
    let mut splitter = LineSplitter::new();
    let mut each = |line, record: Result<&[u8], RecordError>| {
        found.push((line, record.map(<[u8]>::to_vec).map_err(|error| error.reason)));
    };
    for chunk in chunks {
        splitter.feed(chunk, &mut each);
    }
    splitter.finish(&mut each);
    found
}

#[test]
fn lines_keep_their_numbers() {
    let expected = [(1, Ok(b"a".to_vec())), (4, Ok(b" b".to_vec())), (5, Ok(b"c".to_vec()))];
    assert_eq!(lines(&[b"a\r\n\r\n  \n b\nc"]), expected);
    assert_eq!(lines(&[b"\xef\xbb", b"\xbfa\n\n\n b\nc"]), expected, "a byte-order mark");
    assert_eq!(lines(&[b"a", b"\r", b"\n\r\n  \n b", b"\n", b"c"]), expected);
}

#[test]
fn an_overlong_line_is_refused_once_and_not_kept() {
    let chunk = vec![b'x'; 700_000];
    let mut splitter = LineSplitter::new();
    let mut found = Vec::new();
    let mut each = |line, record: Result<&[u8], RecordError>| found.push((line, record.map(<[u8]>::len).ok()));
    splitter.feed(b"ok\n", &mut each);
    for _ in 0..100 {
        splitter.feed(&chunk, &mut each);
    }
    assert!(format!("{splitter:?}").len() < 1000, "nothing is kept");
    splitter.feed(b"\nok", &mut each);
    splitter.finish(&mut each);
    assert_eq!(found, [(1, Some(2)), (2, None), (3, Some(2))]);
    let whole = [vec![b'x'; RECORD_BYTES_MAX + 1], b"\nok\n".to_vec()].concat();
    assert_eq!(
        lines(&[&whole]).iter().map(|(line, record)| (*line, record.is_ok())).collect::<Vec<_>>(),
        [(1, false), (2, true)]
    );
}

fn elements(chunks: &[&[u8]]) -> Result<Vec<(u64, Option<String>)>, String> {
    let mut found = Vec::new();
    let mut splitter = ValueSplitter::new();
    let mut each = |at, record: Result<&[u8], RecordError>| {
        found.push((at, record.ok().map(|text| String::from_utf8(text.to_vec()).unwrap())));
    };
    let mut feed = || {
        for chunk in chunks {
            splitter.feed(chunk, &mut each)?;
        }
        std::mem::take(&mut splitter).finish(&mut each)
    };
    feed().map_err(|error| error.reason)?;
    Ok(found)
}

#[test]
fn arrays_and_single_objects_are_cut() {
    let body = br#" [{"a": "]},{\"", "b": [1, {}]} , 3,"x,]", null ] "#;
    let expected = [r#"{"a": "]},{\"", "b": [1, {}]}"#, "3", r#""x,]""#, "null "];
    let expected: Vec<_> = (1..).zip(expected.map(|text| Some(text.to_owned()))).collect();
    assert_eq!(elements(&[body]).unwrap(), expected);
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(elements(&bytes).unwrap(), expected);
    assert_eq!(elements(&[b"{\"a\": 1}\n"]).unwrap(), [(1, Some("{\"a\": 1}".to_owned()))]);
    assert_eq!(elements(&[b"[]"]).unwrap(), []);
    assert_eq!(elements(&[b"\xef\xbb", b"\xbf[1]"]).unwrap(), [(1, Some("1".to_owned()))], "a byte-order mark");
    for (body, reason) in [
        ("", "the body is empty: an array of records or one object is wanted"),
        ("3", "`[` or `{` should stand at byte 1 of the body, behind element 0, and `3` does"),
        ("[1, 2", "the body ends inside element 2"),
        ("[{}", "the body ends behind element 1 without `]`"),
        ("[1,]", "an element should stand at byte 4 of the body, behind element 1, and `]` does"),
        ("[{} {}]", "`,` or `]` should stand at byte 5 of the body, behind element 1, and `{` does"),
        ("{} {}", "the end of the body should stand at byte 4 of the body, behind element 1, and `{` does"),
    ] {
        assert_eq!(elements(&[body.as_bytes()]).unwrap_err(), reason, "{body}");
    }
    let long = format!("[\"{}\",1]", "x".repeat(RECORD_BYTES_MAX));
    assert_eq!(elements(&[long.as_bytes()]).unwrap(), [(1, None), (2, Some("1".to_owned()))]);
}

proptest! {
    #[test]
    fn encodes_as_apache_avro_does(seed: u64) {
        let (schema, records) = case(seed, 4);
        let mut encoder = JsonEncoder::new(&schema);
        for (json, binary) in records {
            let mut out = Vec::new();
            if let Err(error) = encoder.encode(json.as_bytes(), &mut out) {
                panic!("{error}: {json} in {}", schema.to_json());
            }
            prop_assert_eq!(&out, &binary, "{} in {}", json, schema.to_json());
        }
    }

    #[test]
    fn what_is_written_reads_back(seed: u64) {
        let (schema, records) = case(seed, 2);
        let mut encoder = JsonEncoder::new(&schema);
        for (_, binary) in records {
            let mut json = Vec::new();
            write(&schema, &binary, &mut json).unwrap();
            serde_json::from_slice::<serde_json::Value>(&json).unwrap();
            let mut again = Vec::new();
            encoder.encode(&json, &mut again).unwrap();
            prop_assert_eq!(&again, &binary, "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn damaged_json_never_panics_and_leaves_no_bytes(seed: u64, at: prop::sample::Index, byte: u8) {
        let (schema, records) = case(seed, 1);
        let mut json = records[0].0.clone().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        let mut encoder = JsonEncoder::new(&schema);
        let mut out = Vec::new();
        let fits = encoder.encode(&json, &mut out);
        prop_assert!(fits.is_ok() || out.is_empty());
        if fits.is_ok() {
            prop_assert_eq!(crate::validate(&schema, &out), Ok(out.len()));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
        // The encoder is as good as new.
        let mut out = Vec::new();
        encoder.encode(records[0].0.as_bytes(), &mut out).unwrap();
        prop_assert_eq!(&out, &records[0].1);
    }

    #[test]
    fn doubles_are_read_as_rust_reads_them(mantissa in any::<i64>(), places in 0usize..25, exponent in -330i32..330) {
        let digits = mantissa.unsigned_abs().to_string();
        let whole = digits.len().saturating_sub(places).max(1);
        let (a, b) = digits.split_at(whole.min(digits.len()));
        let text = format!("{}{a}.{b}0", if mantissa < 0 { "-" } else { "" });
        prop_assert_eq!(double(&text).to_bits(), text.parse::<f64>().unwrap().to_bits());
        let text = format!("{a}e{exponent}");
        prop_assert_eq!(double(&text).to_bits(), text.parse::<f64>().unwrap().to_bits());
    }

    #[test]
    fn lines_do_not_depend_on_chunks(body in "[ab \r\n]{0,60}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.sort_unstable();
        let mut chunks = Vec::new();
        let mut start = 0;
        for place in places.into_iter().chain([body.len()]) {
            chunks.push(&body.as_bytes()[start..place]);
            start = place;
        }
        prop_assert_eq!(lines(&chunks), lines(&[body.as_bytes()]));
    }
}

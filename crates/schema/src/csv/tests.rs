//! Tests of CSV: headers, nulls, quotes, lines, chunks.

use proptest::prelude::*;

use super::*;
use crate::json;

const FLIGHT: &str = r#"{"type": "record", "name": "Flight", "fields": [
    {"name": "carrier", "type": "string"},
    {"name": "delay", "type": ["null", "int"]},
    {"name": "tail", "type": ["null", "string"]},
    {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
    {"name": "km", "type": "double", "default": 1},
    {"name": "legs", "type": {"type": "array", "items": "int"}, "default": []},
    {"name": "late", "type": ["null", "boolean"], "default": null}]}"#;

type Found = (Vec<(u64, Result<String, String>)>, Result<(), CsvError>);

fn read(options: CsvOptions, chunks: &[&[u8]]) -> Found {
    let schema = Schema::parse(FLIGHT).unwrap();
    let mut found = Vec::new();
    let mut each = |line, record: Result<&[u8], RecordError>| {
        let text = record.map(|record| {
            let mut text = Vec::new();
            json::write(&schema, record, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        found.push((line, text.map_err(|error| error.to_string())));
    };
    let mut reader = CsvReader::new(&schema, options);
    let result = chunks.iter().try_for_each(|chunk| reader.feed(chunk, &mut each));
    let result = result.and_then(|()| reader.finish(&mut each));
    (found, result)
}

fn na() -> CsvOptions {
    CsvOptions { null: Some("NA".to_owned()), ..CsvOptions::default() }
}

#[test]
fn rows_become_records_with_their_lines() {
    let body = "\u{feff}delay,carrier,tail,legs,at\r\n\r\n-3,UA,N1,\"[1, 2]\",2013-01-01T10:00:00Z\r\nNA,\"A,\"\"\nA\",NA,[],1000\r\n,x,,[],\n1,y,z,[],\"\"";
    let expected = [
        (3, r#"{"carrier":"UA","delay":-3,"tail":"N1","at":"2013-01-01T10:00:00Z","km":1.0,"legs":[1,2],"late":null}"#),
        (4, r#"{"carrier":"A,\"\nA","delay":null,"tail":null,"at":"1970-01-01T00:00:01Z","km":1.0,"legs":[],"late":null}"#),
        (6, r#"{"carrier":"x","delay":null,"tail":"","at":null,"km":1.0,"legs":[],"late":null}"#),
        (7, r#"{"carrier":"y","delay":1,"tail":"z","at":null,"km":1.0,"legs":[],"late":null}"#),
    ]
    .map(|(line, text)| (line, Ok(text.to_owned())));
    assert_eq!(read(na(), &[body.as_bytes()]), (expected.to_vec(), Ok(())));
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(read(na(), &bytes), (expected.to_vec(), Ok(())));
}

#[test]
fn headers_that_do_not_fit_end_the_file() {
    for (header, error) in [
        ("", "the body is empty: a header row is wanted"),
        ("carrier,dellay\n", "the schema has no field for the column `dellay`"),
        (
            "delay\n",
            "the header has no column for the field `carrier`, which has neither a default nor null in its type",
        ),
        ("carrier,carrier\n", "the header has the column `carrier` twice"),
    ] {
        let (found, result) = read(CsvOptions::default(), &[header.as_bytes(), b"1,2\n"]);
        let result = if header.is_empty() { read(CsvOptions::default(), &[b"\n"]).1 } else { result };
        assert_eq!(found, []);
        assert_eq!(result.unwrap_err().to_string(), error);
    }
    match read(CsvOptions::default(), &[b"carrier,dellay\n"]).1 {
        Err(CsvError::UnknownColumn { hint, .. }) => assert_eq!(hint.as_deref(), Some("did you mean `delay`?")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn cells_that_do_not_fit_refuse_their_row() {
    let table = [
        ("UA,x,true", "field `delay`: `x` is not a whole number of 64 bits"),
        ("UA,1.5,true", "field `delay`: `1.5` is not a whole number of 64 bits"),
        ("UA,3000000000,true", "field `delay`: 3000000000 does not fit the 32 bits of an int"),
        ("UA,NA,yes", "field `late`: `yes` is neither true nor false"),
        ("UA,1", "the row has 2 cells, and the header has 3"),
        ("UA,1,true,4", "the row has 4 cells, and the header has 3"),
    ];
    for (row, error) in table {
        let body = format!("carrier,delay,late\n{row}\nok,1.0,TRUE\n");
        let (found, result) = read(na(), &[body.as_bytes()]);
        assert_eq!(result, Ok(()));
        assert_eq!(found[0], (2, Err(error.to_owned())));
        assert!(matches!(&found[1], (3, Ok(_))), "the next one goes on: {found:?}");
    }
    let (found, _) = read(na(), &[b"carrier,delay\n\xff,1\n"]);
    assert_eq!(found, [(2, Err("field `carrier`: the cell is not valid UTF-8".to_owned()))]);
    let (found, _) = read(na(), &[b"carrier,km\na,1e999\nb,inf\nc,1e2\nd,\n"]);
    let errors: Vec<bool> = found.iter().map(|(_, record)| record.is_ok()).collect();
    assert_eq!(errors, [false, false, true, false]);
}

#[test]
fn an_overlong_row_is_refused_and_not_kept() {
    let schema = Schema::parse(FLIGHT).unwrap();
    let mut reader = CsvReader::new(&schema, CsvOptions::default());
    let mut found = Vec::new();
    let mut each = |line, record: Result<&[u8], RecordError>| found.push((line, record.is_ok()));
    reader.feed(b"carrier,delay\n\"", &mut each).unwrap();
    for _ in 0..64 {
        reader.feed(&[b'x'; 100_000], &mut each).unwrap();
    }
    assert!(reader.row.bytes.len() <= RECORD_BYTES_MAX);
    reader.feed(b"\",1\nok,2\n", &mut each).unwrap();
    reader.feed(",".repeat(10_000).as_bytes(), &mut each).unwrap();
    reader.feed(b"\nok,3", &mut each).unwrap();
    reader.finish(&mut each).unwrap();
    assert_eq!(found, [(2, false), (3, true), (4, false), (5, true)]);
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic_and_do_not_depend_on_chunks(body in "[a1,\"\r\n]{0,60}", size in 1usize..20) {
        let body = format!("carrier,delay\n{body}");
        let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
        prop_assert_eq!(read(na(), &chunks), read(na(), &[body.as_bytes()]));
    }
}

//! Tests of the mapping, and of columns in and out.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, SchemaStore};
use proptest::prelude::*;

use super::*;
use crate::testing::case;
use crate::{JsonEncoder, json};

fn schema(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)).unwrap()
}

fn decode(schema: &Schema, records: &[&str]) -> RecordBatch {
    let mut encoder = JsonEncoder::new(schema);
    let mut decoder = ColumnDecoder::new(schema).unwrap();
    for record in records {
        let mut binary = Vec::new();
        encoder.encode(record.as_bytes(), &mut binary).unwrap();
        decoder.push(schema, &binary).unwrap();
    }
    decoder.flush().unwrap()
}

#[test]
fn the_mapping_is_the_documented_one() {
    let l = |base: &str, logical: &str| format!(r#"{{"type": "{base}", "logicalType": "{logical}"}}"#);
    let table = [
        ("\"boolean\"".to_owned(), "Boolean", false),
        ("\"int\"".to_owned(), "Int32", false),
        ("[\"long\", \"null\"]".to_owned(), "Int64", true),
        ("\"float\"".to_owned(), "Float32", false),
        ("\"double\"".to_owned(), "Float64", false),
        ("\"string\"".to_owned(), "Utf8", false),
        ("\"bytes\"".to_owned(), "Binary", false),
        ("\"null\"".to_owned(), "Utf8", true),
        (r#"{"type": "fixed", "name": "F", "size": 3}"#.to_owned(), "Binary", false),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#.to_owned(), "Utf8", false),
        (l("string", "uuid"), "Utf8", false),
        (l("int", "date"), "Date32", false),
        (l("int", "time-millis"), "Int32", false),
        (l("long", "time-micros"), "Int64", false),
        (l("long", "timestamp-millis"), "Timestamp(µs, \"UTC\")", false),
        (l("long", "timestamp-micros"), "Timestamp(µs, \"UTC\")", false),
        (l("long", "local-timestamp-millis"), "Timestamp(µs)", false),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#.to_owned(),
            "Decimal128(9, 2)",
            false,
        ),
        (r#"["null", "int", "string"]"#.to_owned(), "Utf8", true),
        (r#"["int", "string"]"#.to_owned(), "Utf8", false),
        (r#"["null", "R"]"#.to_owned(), "Utf8", true),
        (r#"{"type": "array", "items": ["null", "int"]}"#.to_owned(), "List(Int32, field: 'element')", false),
        (
            r#"{"type": "map", "values": "int"}"#.to_owned(),
            "Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \"value\": non-null Int32), unsorted)",
            false,
        ),
        (
            r#"{"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}"#.to_owned(),
            "Struct(\"x\": non-null Int32)",
            false,
        ),
    ];
    for (text, data_type, nullable) in table {
        let columns = arrow_schema(&schema(&format!(r#"{{"name": "f", "type": {text}}}"#))).unwrap();
        let field = columns.field(0);
        assert_eq!((field.data_type().to_string().as_str(), field.is_nullable()), (data_type, nullable), "{text}");
    }
    let error = |schema: &Schema| arrow_schema(schema).unwrap_err().to_string();
    assert_eq!(error(&Schema::parse("\"int\"").unwrap()), "a int has no columns: only a record has");
    let wide = schema(r#"{"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 39}}"#);
    assert_eq!(error(&wide), "field `d`: a decimal of 39 digits has no column: 38 are the most");
}

#[test]
fn values_stand_in_their_columns() {
    let schema = schema(
        r#"{"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
           {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
           {"name": "u", "type": ["null", "int", "string"]},
           {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}},
           {"name": "next", "type": ["null", "R"]}"#,
    );
    let batch = decode(
        &schema,
        &[
            r#"{"at": "1970-01-01T00:00:01.5Z", "e": "B", "u": "x", "d": "-1.5", "next": {"at": null, "e": "A", "u": 1, "d": 1, "next": null}}"#,
            r#"{"at": null, "e": "A", "u": null, "d": 2, "next": null}"#,
        ],
    );
    let times = batch.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(1_500_000), None]);
    assert_eq!(batch.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("B"), Some("A")]);
    assert_eq!(batch.column(2).as_string::<i32>().iter().collect::<Vec<_>>(), [Some(r#"{"string":"x"}"#), None]);
    assert_eq!(batch.column(3).as_primitive::<arrow::datatypes::Decimal128Type>().value_as_string(0), "-1.50");
    let next = batch.column(4).as_string::<i32>();
    assert_eq!(next.value(0), r#"{"at":null,"e":"A","u":{"int":1},"d":"1.00","next":null}"#);
    assert!(next.is_null(1));
}

#[test]
fn a_bad_record_leaves_the_batch_as_it_was() {
    let schema = schema(
        r#"{"name": "a", "type": "string"}, {"name": "m", "type": {"type": "map", "values": {"type": "array", "items": ["null", "boolean"]}}},
           {"name": "s", "type": ["null", {"type": "record", "name": "S", "fields": [{"name": "b", "type": "boolean"}]}]}"#,
    );
    let good = [2, b'x', 2, 2, b'k', 4, 2, 1, 0, 0, 0, 2, 1];
    let mut decoder = ColumnDecoder::new(&schema).unwrap();
    decoder.push(&schema, &good).unwrap();
    for cut in 0..good.len() {
        decoder.push(&schema, &good[..cut]).unwrap_err();
    }
    let mut bad = good;
    bad[7] = 7;
    assert_eq!(decoder.push(&schema, &bad).unwrap_err().to_string(), "field `m.k[0]`: a boolean is neither 0 nor 1");
    assert_eq!(
        decoder.push(&schema, &[&good[..], &[0]].concat()).unwrap_err().to_string(),
        "1 bytes are left behind the record"
    );
    decoder.push(&schema, &good).unwrap();
    let batch = decoder.flush().unwrap();
    assert_eq!(encode_batch(&schema, &batch).unwrap().iter().collect::<Vec<_>>(), [&good, &good]);
    assert_eq!((decoder.rows(), decoder.flush().unwrap().num_rows()), (0, 0));
}

#[test]
fn older_writers_are_resolved_and_foreign_ones_refused() {
    let reader = schema(r#"{"name": "b", "type": "long"}, {"name": "c", "type": "string", "default": "x"}"#);
    let writer = schema(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "int"}"#);
    let mut decoder = ColumnDecoder::new(&reader).unwrap();
    decoder.push(&writer, &[2, 4]).unwrap();
    decoder.push(&reader, &[6, 0]).unwrap();
    let error = decoder.push(&schema(r#"{"name": "b", "type": "string"}"#), &[0]).unwrap_err();
    assert!(error.to_string().starts_with("field `b`: written with the schema "), "{error}");
    let batch = decoder.flush().unwrap();
    assert_eq!(batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values(), &[2, 3]);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "x");
}

#[test]
fn batches_of_functions_are_fitted_or_refused() {
    let schema = schema(r#"{"name": "n", "type": "int"}, {"name": "t", "type": ["null", "string"], "default": "d"}"#);
    let batch = |columns: Vec<(&str, ArrayRef)>| {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    };
    let long = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let records = encode_batch(&schema, &batch(vec![("n", long(vec![Some(1), Some(-1)]))])).unwrap();
    assert_eq!(records.iter().collect::<Vec<_>>(), [[2, 2, 2, b'd'], [1, 2, 2, b'd']]);
    let error = |columns| encode_batch(&schema, &batch(columns)).unwrap_err().to_string();
    assert_eq!(
        error(vec![("n", long(vec![Some(1), None]))]),
        "field `n`: row 2: the value is null, and the field's type does not allow that"
    );
    assert!(
        error(vec![("n", long(vec![Some(1 << 40)]))])
            .starts_with("field `n`: a column of Int64 can't become one of Int32")
    );
    assert_eq!(
        error(vec![("n", Arc::new(Float64Array::from(vec![1.5])))]),
        "field `n`: a column of Float64 would lose its fractions as Int32: round and cast it first"
    );
    assert_eq!(
        error(vec![("m", long(vec![Some(1)]))]),
        "field `m`: the schema has no field for the column: did you mean `n`?"
    );
    assert_eq!(
        error(vec![("t", Arc::new(StringArray::from(vec!["x"])))]),
        "field `n`: row 1: there is no such column, and the field has neither a default nor null"
    );
}

#[test]
fn bare_numbers_are_times_in_the_units_of_their_fields() {
    let schema = schema(
        r#"{"name": "ms", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null},
           {"name": "us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
           {"name": "of", "type": {"type": "array", "items": {"type": "record", "name": "I", "fields": [
               {"name": "ms", "type": {"type": "long", "logicalType": "local-timestamp-millis"}}]}}}"#,
    );
    let long = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let item = Arc::new(Field::new("ms", DataType::Int64, false));
    let items = StructArray::from(vec![(item, long(vec![Some(3), Some(4)]))]);
    let element = Arc::new(Field::new("element", items.data_type().clone(), false));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([1, 1]), Arc::new(items), None);
    let columns =
        [("ms", long(vec![Some(1), None])), ("us", long(vec![Some(1), Some(2)])), ("of", Arc::new(lists) as _)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let records = encode_batch(&schema, &batch).unwrap();
    // A long is twice itself in Avro; the first field's union says its branch before, and lists are blocks of one item.
    assert_eq!(records.iter().collect::<Vec<_>>(), [&[2, 2, 2, 2, 6, 0][..], &[0, 4, 2, 8, 0]]);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    let batch = RecordBatch::try_from_iter([("us", floats)]).unwrap();
    let error = encode_batch(&schema, &batch).unwrap_err().to_string();
    assert!(error.starts_with("field `us`: a column of Float64 would lose its fractions"), "{error}");
}

proptest! {
    #[test]
    fn records_survive_the_way_through_columns(seed: u64) {
        let (schema, records) = case(seed, 5);
        let mut decoder = ColumnDecoder::new(&schema).unwrap();
        for (_, binary) in &records {
            decoder.push(&schema, binary).unwrap();
        }
        let batch = decoder.flush().unwrap();
        let encoded = match encode_batch(&schema, &batch) {
            Ok(encoded) => encoded,
            Err(error) => panic!("{error} in {}", schema.to_json()),
        };
        prop_assert_eq!(encoded.len(), records.len());
        for (found, (_, expected)) in encoded.iter().zip(&records) {
            prop_assert_eq!(found, &expected[..], "{}", schema.to_json());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(seed: u64, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let (schema, records) = case(seed, 1);
        let mut decoder = ColumnDecoder::new(&schema).unwrap();
        let fits = decoder.push(&schema, &bytes).is_ok();
        prop_assert_eq!(fits, crate::validate(&schema, &bytes) == Ok(bytes.len()));
        decoder.push(&schema, &records[0].1).unwrap();
        prop_assert_eq!(decoder.flush().unwrap().num_rows(), 1 + usize::from(fits));
        let _ = json::write(&schema, &bytes, &mut Vec::new());
    }

    #[test]
    fn plain_columns_are_arrow_avros(numbers in prop::collection::vec((any::<i32>(), any::<Option<i64>>(), any::<f64>(), ".{0,8}", any::<bool>()), 1..20)) {
        let text = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "long"]},
            {"name": "c", "type": "double"}, {"name": "d", "type": "string"}, {"name": "e", "type": "boolean"}]}"#;
        let schema = Schema::parse(text).unwrap();
        let mut store = SchemaStore::new();
        store.register(AvroSchema::new(text.to_owned())).unwrap();
        let mut oracle = ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(100).build_decoder().unwrap();
        let mut decoder = ColumnDecoder::new(&schema).unwrap();
        for (a, b, c, d, e) in numbers {
            let mut record = Vec::new();
            crate::binary::write_long(i64::from(a), &mut record);
            match b {
                None => record.push(0),
                Some(b) => {
                    record.push(2);
                    crate::binary::write_long(b, &mut record);
                }
            }
            record.extend(c.to_le_bytes());
            crate::binary::write_bytes(d.as_bytes(), &mut record);
            record.push(u8::from(e));
            decoder.push(&schema, &record).unwrap();
            let mut frame = Vec::new();
            crate::wire::write_single_object(schema.fingerprint(), &record, &mut frame);
            oracle.decode(&frame).unwrap();
        }
        let (ours, theirs) = (decoder.flush().unwrap(), oracle.flush().unwrap().unwrap());
        for (a, b) in ours.columns().iter().zip(theirs.columns()) {
            prop_assert_eq!(a.to_data(), b.to_data());
        }
    }
}

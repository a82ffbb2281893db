use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};
use arrow::util::pretty::pretty_format_batches;

use super::*;

fn schema(fields: Vec<Field>) -> Schema {
    Schema::new(fields)
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn plan(has: &Schema, wants: &Schema, evolution: &Evolution) -> Result<Plan, GrowError> {
    Plan::new(&"t".parse().unwrap(), has, wants, evolution)
}

fn path(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

fn renamed(to: &str, from: &[&str]) -> Evolution {
    let from = from.iter().map(|name| (*name).to_owned()).collect();
    Evolution { renamed: [(path(to), from)].into(), ..Evolution::default() }
}

fn text(plan: &Plan, has: Schema, columns: Vec<ArrayRef>) -> String {
    let batch = RecordBatch::try_new(Arc::new(has), columns).unwrap();
    pretty_format_batches(&[plan.apply(&batch).unwrap()]).unwrap().to_string()
}

#[test]
fn what_is_the_same_or_narrower_changes_nothing() {
    let has = schema(vec![field("n", DataType::Int64), field("t", DataType::Utf8)]);
    let wants = schema(vec![field("t", DataType::Utf8), field("n", DataType::Int32)]);
    let plan = plan(&has, &wants, &Evolution::default()).unwrap();
    assert_eq!(*plan.columns, has);
    assert!(plan.changes.is_empty() && !plan.rewrites());
}

#[test]
fn a_renamed_widened_and_a_filled_column_are_one_rewrite() {
    let has = schema(vec![field("n", DataType::Int32), field("gone", DataType::Utf8)]);
    let wants =
        schema(vec![field("count", DataType::Int64), field("site", DataType::Utf8), field("r", DataType::Float64)]);
    let mut evolution = renamed("count", &["total", "n"]);
    evolution.filled.insert(path("site"), Arc::new(StringArray::from(vec!["main"])));
    let plan = plan(&has, &wants, &evolution).unwrap();
    let shown: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "column `n` is renamed to `count`",
            "column `count` becomes bigint instead of int",
            "column `site` (text) is added: its default is put into the rows so far",
            "column `r` (double) is added: null in the rows so far",
            "column `gone` is in the rows no more: it stays, and is null from now on",
        ]
    );
    assert_eq!(plan.stored_name(&has, "count"), Some("n"));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![Some(7), None])), Arc::new(StringArray::from(vec!["a", "b"]))];
    insta::assert_snapshot!(text(&plan, has, columns), @r"
    +-------+------+------+---+
    | count | gone | site | r |
    +-------+------+------+---+
    | 7     | a    | main |   |
    |       | b    | main |   |
    +-------+------+------+---+
    ");
}

#[test]
fn an_old_name_that_is_still_somebodys_is_not_taken_away() {
    let has = schema(vec![field("a", DataType::Int32)]);
    let wants = schema(vec![field("b", DataType::Int32), field("a", DataType::Int32)]);
    let kept = plan(&has, &wants, &renamed("b", &["a"])).unwrap();
    assert!(!kept.rewrites(), "{:?}", kept.changes);
    // Two that were called so: the first has it.
    let wants = schema(vec![field("b", DataType::Int32), field("c", DataType::Int32)]);
    let mut evolution = renamed("b", &["a"]);
    evolution.renamed.insert(path("c"), vec!["a".to_owned()]);
    let one = plan(&has, &wants, &evolution).unwrap();
    assert_eq!(one.stored_name(&has, "b"), Some("a"));
    assert_eq!(one.stored_name(&has, "c"), None);
}

#[test]
fn types_that_lose_values_are_refused_by_name() {
    let refused = [
        (DataType::Int64, DataType::Utf8),
        (DataType::Utf8, DataType::Int32),
        (DataType::Binary, DataType::Utf8),
        (DataType::Date32, DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)),
        (DataType::Decimal128(10, 2), DataType::Decimal128(12, 3)),
    ];
    for (from, to) in refused {
        let has = schema(vec![field("r", DataType::Struct(vec![field("n", from.clone())].into()))]);
        let wants = schema(vec![field("r", DataType::Struct(vec![field("n", to.clone())].into()))]);
        let error = plan(&has, &wants, &Evolution::default()).unwrap_err().to_string();
        assert!(error.contains("`r.n`"), "{from} to {to}: {error}");
    }
    let has = schema(vec![field("name", DataType::Utf8)]);
    let wants = schema(vec![field("Name", DataType::Utf8)]);
    assert!(plan(&has, &wants, &Evolution::default()).is_err(), "names that differ in case alone");
}

#[test]
fn what_lists_maps_and_records_hold_follows_too() {
    let record = |name: &str, data_type: DataType, more: Vec<Field>| {
        let mut fields = vec![field(name, data_type)];
        fields.extend(more);
        DataType::Struct(fields.into())
    };
    let list = |item: DataType| DataType::List(Arc::new(Field::new("element", item, true)));
    let has = schema(vec![field("r", list(record("n", DataType::Int32, vec![])))]);
    let more = vec![field("s", DataType::Utf8)];
    let wants = schema(vec![field("r", list(record("m", DataType::Float64, more)))]);
    let mut evolution = renamed("r.element.m", &["n"]);
    evolution.filled.insert(path("r.element.s"), Arc::new(StringArray::from(vec!["x"])));
    let plan = plan(&has, &wants, &evolution).unwrap();
    assert_eq!(*plan.columns, wants);
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let DataType::List(item) = has.field(0).data_type() else { unreachable!() };
    let DataType::Struct(fields) = item.data_type() else { unreachable!() };
    let items = StructArray::try_new(fields.clone(), vec![inner], None).unwrap();
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1]);
    let rows: ArrayRef = Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(items), None).unwrap());
    insta::assert_snapshot!(text(&plan, has.clone(), vec![rows]), @r"
    +----------------------------------+
    | r                                |
    +----------------------------------+
    | [{m: 1.0, s: x}, {m: 2.0, s: x}] |
    | []                               |
    | [{m: 3.0, s: x}]                 |
    +----------------------------------+
    ");
}

#[test]
fn a_whole_number_that_becomes_a_float_is_a_double_and_keeps_its_digits() {
    let has = schema(vec![field("n", DataType::Int64)]);
    let wants = schema(vec![field("n", DataType::Float32)]);
    let plan = plan(&has, &wants, &Evolution::default()).unwrap();
    assert_eq!(plan.columns.field(0).data_type(), &DataType::Float64);
    let again = self::plan(&plan.columns, &wants, &Evolution::default()).unwrap();
    assert!(!again.rewrites(), "a double holds every float");
}

#[test]
fn numbers_become_what_avro_makes_of_them() {
    let has = schema(vec![field("n", DataType::Int64)]);
    let wants = schema(vec![field("n", DataType::Float64)]);
    let plan = plan(&has, &wants, &Evolution::default()).unwrap();
    let batch = RecordBatch::try_new(
        Arc::new(has),
        vec![Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 9_007_199_254_740_993]))],
    )
    .unwrap();
    let made = plan.apply(&batch).unwrap();
    let expected = Float64Array::from(vec![i64::MAX as f64, i64::MIN as f64, 9_007_199_254_740_993_i64 as f64]);
    assert_eq!(made.column(0).as_primitive::<arrow::datatypes::Float64Type>(), &expected);
}

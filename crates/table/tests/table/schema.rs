//! Schemas grow, and change in no other way.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMillisecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use weir_env::Env;
use weir_table::{AppendError, GrowError, OpenError, Spec, SpecError, Table};

use crate::support::{HOUR, START, columns, env, memory, open, read_file, row, spec};

fn with(extra: Vec<Field>) -> SchemaRef {
    let fields: Vec<Field> = columns().fields().iter().map(|field| field.as_ref().clone()).chain(extra).collect();
    Arc::new(Schema::new(fields))
}

fn batch_with(flight: i32, extra: ArrayRef, field: Field) -> RecordBatch {
    let batch = crate::support::batch(&[row("UA", flight, START, 1)]);
    let mut arrays = batch.columns().to_vec();
    arrays.push(extra);
    RecordBatch::try_new(with(vec![field]), arrays).unwrap()
}

async fn try_open(
    columns: SchemaRef,
    store: Arc<object_store::memory::InMemory>,
    env: &Env,
) -> Result<Table, OpenError> {
    Table::open(Spec { columns, ..spec() }, store, "memory:///tables/flights".parse().unwrap(), env.clone()).await
}

#[tokio::test]
async fn new_columns_are_added_and_old_files_and_batches_have_nulls() {
    let (store, env) = (memory(), env(1));
    let table = open(spec(), store.clone(), &env).await;
    table.append(crate::support::batch(&[row("UA", 1, START, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    table.append(crate::support::batch(&[row("UA", 2, START, 1)]), &[]).await.unwrap();
    let gate = Field::new("gate", DataType::Utf8, false);
    table.grow(with(vec![gate.clone()])).await.unwrap();
    table.append(batch_with(3, Arc::new(StringArray::from(vec!["B7"])), gate), &[]).await.unwrap();
    let view = table.view();
    assert_eq!(view.buffered.len(), 2);
    let gates: Vec<_> = view
        .buffered
        .iter()
        .map(|batch| batch["gate"].as_string::<i32>().iter().next().unwrap().map(str::to_owned))
        .collect();
    assert_eq!(gates, [None, Some("B7".to_owned())]);
    table.commit().await.unwrap();
    drop(table);

    // The same settings as at first: the column stays.
    let table = open(spec(), store.clone(), &env).await;
    assert!(table.columns().field_with_name("gate").is_ok());
    for _ in 0..8 {
        table
            .append(crate::support::batch(&[row("UA", table.stats().version as i32 + 10, START, 1)]), &[])
            .await
            .unwrap();
        table.commit().await.unwrap();
    }
    while table.merge().await.unwrap().files_in > 0 {}
    let mut found = Vec::new();
    for file in table.view().files.iter() {
        for batch in read_file(store.as_ref(), &file.location).await {
            if let Some(gates) = batch.column_by_name("gate") {
                found.extend(gates.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
    }
    assert_eq!(found, ["B7"]);
    // Repeats are found in files of both schemas.
    let rows: Vec<_> = (1..4).map(|n| row("UA", n, START, 1)).collect();
    assert_eq!(table.append(crate::support::batch(&rows), &[]).await.unwrap().repeats, 3);
}

#[tokio::test]
async fn incompatible_changes_are_refused_with_the_column_and_nothing_changes() {
    let (store, env) = (memory(), env(2));
    drop(open(spec(), store.clone(), &env).await);
    let mut fields: Vec<Field> = columns().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[3] = Field::new("distance", DataType::Utf8, true);
    fields.push(Field::new("gate", DataType::Utf8, true));
    let error = try_open(Arc::new(Schema::new(fields)), store.clone(), &env).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "column `distance` of table `flights` is bigint, and can't become text: give the new column another name"
    );
    let table = open(spec(), store, &env).await;
    assert_eq!(table.columns().fields().len(), 4);
    let wider = with(vec![Field::new("CARRIER", DataType::Utf8, true)]);
    assert!(matches!(table.grow(wider).await, Err(GrowError::Spec(SpecError::ColumnName { .. }))));
}

#[tokio::test]
async fn narrower_types_are_widened_and_ids_stay_the_same() {
    let (store, env) = (memory(), env(3));
    let table = open(spec(), store.clone(), &env).await;
    let narrow = |flight: i16| {
        let schema = Schema::new(vec![
            Field::new("carrier", DataType::LargeUtf8, false),
            Field::new("flight", DataType::Int16, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into())), false),
        ]);
        let at = TimestampMillisecondArray::from(vec![START / 1000]).with_timezone("Europe/Berlin");
        let arrays: Vec<ArrayRef> =
            vec![Arc::new(LargeStringArray::from(vec!["UA"])), Arc::new(Int16Array::from(vec![flight])), Arc::new(at)];
        RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
    };
    table.append(crate::support::batch(&[row("UA", 7, START, 1)]), &[]).await.unwrap();
    assert_eq!(table.append(narrow(7), &[]).await.unwrap().repeats, 1);
    assert_eq!(table.append(narrow(8), &[]).await.unwrap().added, 1);
    table.commit().await.unwrap();
    assert_eq!(table.append(narrow(8), &[]).await.unwrap().repeats, 1);
}

#[tokio::test]
async fn batches_that_do_not_fit_are_refused_with_the_column() {
    let (store, env) = (memory(), env(4));
    let table = open(spec(), store, &env).await;
    let extra = batch_with(1, Arc::new(Int32Array::from(vec![1])), Field::new("extra", DataType::Int32, true));
    let error = table.append(extra, &[]).await.unwrap_err();
    assert!(matches!(&error, AppendError::UnknownColumn { column, .. } if column == "extra"), "{error}");
    let schema = Schema::new(vec![Field::new("flight", DataType::Utf8, true)]);
    let wrong = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(StringArray::from(vec!["7"]))]).unwrap();
    let error = table.append(wrong, &[]).await.unwrap_err();
    assert!(matches!(&error, AppendError::ColumnType { column, .. } if column == "flight"), "{error}");
    assert_eq!(table.pending().rows, 0);
}

#[test]
fn types_that_delta_has_not_are_refused_with_a_hint() {
    for (data_type, hint) in [
        (DataType::Null, "cast"),
        (DataType::Time64(TimeUnit::Nanosecond), "time of day"),
        (DataType::Duration(TimeUnit::Second), "number"),
        (DataType::Decimal256(50, 2), "38 digits"),
    ] {
        let error = Spec { columns: with(vec![Field::new("odd", data_type, true)]), ..spec() }
            .validate()
            .unwrap_err()
            .to_string();
        assert!(error.contains("`odd`") && error.contains(hint), "{error}");
    }
    for name in ["_day", "with space", "a=b", ""] {
        let spec = Spec { columns: with(vec![Field::new(name, DataType::Utf8, true)]), ..spec() };
        assert!(matches!(spec.validate(), Err(SpecError::ColumnName { .. })), "{name}");
    }
}

#[tokio::test]
async fn nested_columns_are_stored_and_grow_within() {
    let (store, env) = (memory(), env(5));
    let leg = |extra: Option<Field>| {
        let mut fields = vec![Field::new("from", DataType::Utf8, false)];
        fields.extend(extra);
        Fields::from(fields)
    };
    let legs = |fields: Fields| {
        Field::new("legs", DataType::List(Arc::new(Field::new("item", DataType::Struct(fields), false))), true)
    };
    let table = try_open(with(vec![legs(leg(None))]), store.clone(), &env).await.unwrap();
    let value = |fields: Fields, children: Vec<ArrayRef>| -> ArrayRef {
        let item = Arc::new(Field::new("item", DataType::Struct(fields.clone()), false));
        let structs = StructArray::new(fields, children, None);
        let lengths = arrow::buffer::OffsetBuffer::from_lengths([structs.len()]);
        Arc::new(ListArray::new(item, lengths, Arc::new(structs), None))
    };
    let plain = value(leg(None), vec![Arc::new(StringArray::from(vec!["JFK", "EWR"]))]);
    table.append(batch_with(1, plain, legs(leg(None))), &[]).await.unwrap();
    table.commit().await.unwrap();
    let miles = Field::new("miles", DataType::UInt32, true);
    let grown = legs(leg(Some(miles.clone())));
    table.grow(with(vec![grown.clone()])).await.unwrap();
    let children: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["LGA"])), Arc::new(UInt32Array::from(vec![5]))];
    table.append(batch_with(2, value(leg(Some(miles)), children), grown), &[]).await.unwrap();
    table.commit().await.unwrap();
    drop(table);
    let table = open(spec(), store.clone(), &env).await;
    let DataType::List(item) = table.columns().field_with_name("legs").unwrap().data_type().clone() else { panic!() };
    let DataType::Struct(fields) = item.data_type() else { panic!() };
    assert_eq!(fields.find("miles").unwrap().1.data_type(), &DataType::Int64);
    let mut miles = Vec::new();
    for file in table.view().files.iter() {
        for batch in read_file(store.as_ref(), &file.location).await {
            let legs = batch["legs"].as_list::<i32>().values().clone();
            if let Some(found) = legs.as_struct().column_by_name("miles") {
                miles.extend(found.as_primitive::<Int64Type>().iter().flatten());
            }
        }
    }
    assert_eq!(miles, [5]);
}

#[tokio::test]
async fn a_table_by_milliseconds_in_an_integer_and_dictionaries_works() {
    let (store, env) = (memory(), env(6));
    let schema = Arc::new(Schema::new(vec![
        Field::new("at", DataType::Int64, true),
        Field::new("kind", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
    ]));
    let spec = Spec { columns: schema.clone(), unique_by: vec!["kind".into(), "at".into()], ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let kinds: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    let at = Int64Array::from(vec![START / 1000, START / 1000, (START + 30 * HOUR) / 1000]);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(at), Arc::new(kinds)]).unwrap();
    assert_eq!(table.append(batch.clone(), &[]).await.unwrap().added, 3);
    table.commit().await.unwrap();
    assert_eq!(table.append(batch, &[]).await.unwrap().repeats, 3);
    let days: std::collections::BTreeSet<_> = table.view().files.iter().map(|file| file.place.day).collect();
    assert_eq!(days.into_iter().collect::<Vec<_>>(), [Some(15_706), Some(15_707)]);
}

//! Columns get other names, wider types and defaults: old rows read as new ones, in every file, whatever happens meanwhile.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use weir_env::Env;
use weir_table::{AppendError, Evolution, GrowError, OpenError, PartitionBy, Rewriting, Spec, Table};

use crate::support::*;

fn new_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("airline", DataType::Utf8, false),
        Field::new("flight", DataType::Int64, false),
        Field::new("departs", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("distance", DataType::Float64, true),
        Field::new("site", DataType::Utf8, false),
    ]))
}

/// The table of `spec()` with its id and its time renamed, wider numbers, and a default.
fn new_spec() -> Spec {
    let path = |name: &str| vec![name.to_owned()];
    let evolution = Evolution {
        rewriting: Rewriting::Allowed,
        renamed: [
            (path("airline"), vec!["company".to_owned(), "carrier".to_owned()]),
            (path("departs"), vec!["at".to_owned()]),
        ]
        .into(),
        filled: [(path("site"), Arc::new(StringArray::from(vec!["main"])) as ArrayRef)].into(),
    };
    Spec {
        columns: new_columns(),
        partition_by: PartitionBy::Day("departs".into()),
        unique_by: vec!["airline".into(), "flight".into(), "departs".into()],
        evolution,
        ..spec()
    }
}

fn new_batch(rows: &[Row], site: &str) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.carrier.as_str()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::from(row.flight)))),
        Arc::new(rows.iter().map(|row| row.at).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.distance as f64))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| site))),
    ];
    RecordBatch::try_new(new_columns(), columns).unwrap()
}

/// A table of some files over days and buckets.
async fn filled(store: Arc<dyn ObjectStore>, env: &Env) -> Vec<Row> {
    let table = open(spec(), store, env).await;
    let mut rows = Vec::new();
    for day in 0..3 {
        let some: Vec<Row> = (0..20).map(|n| row("UA", n, START + day * DAY, i64::from(n) * 100)).collect();
        table.append(batch(&some), &[(source(), rows.len() as u64 + 20)]).await.unwrap();
        table.commit().await.unwrap();
        rows.extend(some);
    }
    rows
}

/// Reads every file by the new columns alone: what an outside reader finds.
async fn read(table: &Table, store: &dyn ObjectStore) -> Vec<(Row, String)> {
    let mut rows = Vec::new();
    for file in table.view().files.iter() {
        for batch in read_file(store, &file.location).await {
            let text = |name: &str| batch[name].as_string::<i32>().clone();
            let (airline, site) = (text("airline"), text("site"));
            let flight = batch["flight"].as_primitive::<Int64Type>();
            let at = batch["departs"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            let distance = batch["distance"].as_primitive::<Float64Type>();
            for n in 0..batch.num_rows() {
                let row = row(airline.value(n), flight.value(n) as i32, at.value(n), distance.value(n) as i64);
                rows.push((row, site.value(n).to_owned()));
            }
        }
    }
    rows.sort();
    rows
}

fn with_site(rows: &[Row], site: &str) -> Vec<(Row, String)> {
    let mut rows: Vec<_> = rows.iter().map(|row| (row.clone(), site.to_owned())).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn old_rows_have_the_new_names_types_and_defaults_and_repeats_of_them_are_found() {
    let (store, env) = (memory(), env(1));
    let rows = filled(store.clone(), &env).await;
    let table = open(new_spec(), store.clone(), &env).await;
    let waiting = table.reshaping().unwrap();
    assert!(waiting.files > 3 && waiting.bytes > 0 && waiting.done == 0, "{waiting}");
    assert!(waiting.to_string().contains("column `carrier` is renamed to `airline`"), "{waiting}");
    // Until then readers see what there was, and no row is taken in a form that files don't have.
    assert!(table.columns().field_with_name("carrier").is_ok());
    let refused = table.append(new_batch(&rows[..1], "east"), &[]).await;
    assert!(matches!(refused, Err(AppendError::Reshaping { .. })));

    table.reshape().await.unwrap();
    assert!(table.reshaping().is_none());
    assert_eq!(table.columns().fields().len(), 5);
    assert_eq!(table.positions()[&source()], 60);
    assert_eq!(read(&table, store.as_ref()).await, with_site(&rows, "main"));
    let appended = table.append(new_batch(&rows, "east"), &[(source(), 120)]).await.unwrap();
    assert_eq!((appended.added, appended.repeats), (0, 60));
    let more = [row("UA", 99, START, 5)];
    assert_eq!(table.append(new_batch(&more, "east"), &[]).await.unwrap().added, 1);
    table.commit().await.unwrap();
    drop(table);

    // The same settings once more: nothing is to be done.
    let table = open(new_spec(), store.clone(), &env).await;
    assert!(table.reshaping().is_none());
    let mut all = with_site(&rows, "main");
    all.extend(with_site(&more, "east"));
    all.sort();
    assert_eq!(read(&table, store.as_ref()).await, all);
    assert_eq!(table.append(new_batch(&rows, "east"), &[]).await.unwrap().repeats, 60);
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_the_old_table_or_the_new_one_and_what_is_written_is_used() {
    for late in [false, true] {
        for writes in 0.. {
            let (store, env) = (memory(), env(writes));
            let rows = filled(store.clone(), &env).await;
            let faulty = Faulty::over(store.clone(), writes);
            let table = open(new_spec(), faulty.clone(), &env).await;
            let files = table.reshaping().unwrap().files;
            faulty.crash_after(writes, late);
            let done = table.reshape().await.is_ok();
            drop(table);
            let again = Faulty::over(store.clone(), writes);
            let table = open(new_spec(), again.clone(), &env).await;
            let before = again.writes.load(std::sync::atomic::Ordering::Relaxed);
            table.reshape().await.unwrap();
            let written = again.writes.load(std::sync::atomic::Ordering::Relaxed) - before;
            // The transaction, and a commit that notes which partitions changed.
            assert!(written <= files + 2 - writes.min(files).saturating_sub(2), "{writes}: {written} of {files}");
            assert_eq!(read(&table, store.as_ref()).await, with_site(&rows, "main"), "{writes} writes, late: {late}");
            assert_eq!(table.append(new_batch(&rows, "x"), &[]).await.unwrap().repeats, 60);
            if done && !faulty.is_dead() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn replies_that_are_lost_change_nothing() {
    for seed in 0..20 {
        let (store, env) = (memory(), env(seed));
        let rows = filled(store.clone(), &env).await;
        let faulty = Faulty::over(store.clone(), seed);
        let table = open(new_spec(), faulty.clone(), &env).await;
        faulty.fail_one_in(3);
        let mut tries = 0;
        while let Err(error) = table.reshape().await {
            tries += 1;
            assert!(tries < 100, "seed {seed}: {error}");
        }
        faulty.fail_one_in(0);
        assert!(table.reshaping().is_none(), "seed {seed}");
        assert_eq!(read(&table, store.as_ref()).await, with_site(&rows, "main"), "seed {seed}");
        assert_eq!(table.append(new_batch(&rows, "x"), &[]).await.unwrap().repeats, 60, "seed {seed}");
    }
}

#[tokio::test]
async fn files_of_several_forms_become_one() {
    let (store, env) = (memory(), env(4));
    let rows = filled(store.clone(), &env).await;
    // A column that the first files lack, and that is renamed later.
    let gate = |name: &str, rest: &SchemaRef| {
        let fields = rest.fields().iter().map(|field| field.as_ref().clone());
        Arc::new(Schema::new(fields.chain([Field::new(name, DataType::Int32, true)]).collect::<Vec<_>>()))
    };
    let table = open(Spec { columns: gate("gate", &columns()), ..spec() }, store.clone(), &env).await;
    let mut arrays = batch(&[row("UA", 77, START, 1)]).columns().to_vec();
    arrays.push(Arc::new(arrow::array::Int32Array::from(vec![7])));
    table.append(RecordBatch::try_new(gate("gate", &columns()), arrays).unwrap(), &[]).await.unwrap();
    table.commit().await.unwrap();
    drop(table);
    let mut changed = new_spec();
    changed.columns = gate("door", &new_columns());
    changed.evolution.renamed.insert(vec!["door".to_owned()], vec!["gate".to_owned()]);
    let table = open(changed, store.clone(), &env).await;
    table.reshape().await.unwrap();
    let mut doors = Vec::new();
    for file in table.view().files.iter() {
        for batch in read_file(store.as_ref(), &file.location).await {
            doors.extend(batch["door"].as_primitive::<arrow::datatypes::Int32Type>().iter());
        }
    }
    assert_eq!(doors.len(), rows.len() + 1);
    assert_eq!(doors.iter().flatten().collect::<Vec<_>>(), [&7]);
}

#[tokio::test]
async fn a_table_without_rows_changes_at_once() {
    let (store, env) = (memory(), env(5));
    drop(open(spec(), store.clone(), &env).await);
    let table = open(new_spec(), store.clone(), &env).await;
    table.reshape().await.unwrap();
    assert_eq!(table.columns().field(0).name(), "airline");
    assert_eq!(table.append(new_batch(&[row("UA", 1, START, 1)], "x"), &[]).await.unwrap().added, 1);
}

async fn refused(spec: Spec, store: Arc<InMemory>, env: &Env) -> OpenError {
    Table::open(spec, store, "memory:///tables/flights".parse().unwrap(), env.clone()).await.unwrap_err()
}

#[tokio::test]
async fn a_table_that_only_appends_refuses_what_needs_more_and_takes_a_default_for_new_rows() {
    let (store, env) = (memory(), env(6));
    filled(store.clone(), &env).await;
    let mut strict = new_spec();
    strict.evolution.rewriting = Rewriting::Refused;
    let error = refused(strict, store.clone(), &env).await;
    assert!(matches!(&error, OpenError::Grow(GrowError::NeedsRewriting { .. })), "{error}");
    let site = Field::new("site", DataType::Utf8, false);
    let fields = columns().fields().iter().map(|field| field.as_ref().clone()).chain([site]).collect::<Vec<_>>();
    let mut strict = Spec { columns: Arc::new(Schema::new(fields)), ..spec() };
    strict.evolution = Evolution { rewriting: Rewriting::Refused, ..new_spec().evolution };
    let table = open(strict, store, &env).await;
    assert!(table.reshaping().is_none());
    assert!(table.columns().field_with_name("site").is_ok());
}

#[tokio::test]
async fn an_id_that_would_hash_otherwise_is_refused_by_name() {
    let (store, env) = (memory(), env(7));
    filled(store.clone(), &env).await;
    let old = columns();
    let fields = old.fields().iter().map(|field| match field.name().as_str() {
        "flight" => Field::new("flight", DataType::Float64, false),
        _ => field.as_ref().clone(),
    });
    let changed = Spec { columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())), ..spec() };
    let error = refused(changed, store.clone(), &env).await;
    assert!(matches!(&error, OpenError::Grow(GrowError::OfId { column, .. }) if column == "flight"), "{error}");
    // Without the old name, the id is another one.
    let mut lost = new_spec();
    lost.evolution.renamed.clear();
    assert!(matches!(refused(lost, store, &env).await, OpenError::Fixed { setting: "unique_by", .. }));
}

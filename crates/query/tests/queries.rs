//! Queries over files and rows in memory, and their limits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use weir_env::Env;
use weir_query::{Engine, File, Limits, QueryError, Source};
use weir_types::ByteSize;

fn engine(limits: Limits) -> (Engine, tempfile::TempDir) {
    let spill = tempfile::tempdir().unwrap();
    (Engine::new(Env::system(), limits, spill.path()).unwrap(), spill)
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)]))
}

fn numbers(range: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(range))
}

fn names(range: std::ops::Range<i64>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(range.map(|id| format!("n{id}"))))
}

/// A table of ids 0 to 99 in a file of day 10 and 100 to 109 in memory, of day 11. The file lacks `name`, as files do that
/// were written before a column was added.
async fn table() -> Source {
    let old = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, old.clone(), None).unwrap();
    writer.write(&RecordBatch::try_new(old, vec![numbers(0..100)]).unwrap()).unwrap();
    writer.close().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let size = bytes.len() as u64;
    store.put(&Path::from("day=10/a.parquet"), bytes.into()).await.unwrap();
    let day = Arc::new(Field::new("_day", DataType::Date32, true));
    let mut fields: Vec<_> = columns().fields().iter().cloned().collect();
    fields.push(day.clone());
    let days: ArrayRef = Arc::new(Date32Array::from(vec![11; 10]));
    let rows =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![numbers(100..110), names(100..110), days]).unwrap();
    Source {
        columns: columns(),
        partition_columns: vec![day],
        store: Some(store),
        files: vec![File { path: "day=10/a.parquet".into(), size, partition: vec![ScalarValue::Date32(Some(10))] }],
        rows: vec![rows],
    }
}

async fn ask(engine: &Engine, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    let parsed = engine.parse(sql)?;
    let system =
        Source::rows(columns(), vec![RecordBatch::try_new(columns(), vec![numbers(0..7), names(0..7)]).unwrap()]);
    engine.run(parsed, vec![("t".into(), table().await)], vec![("t".into(), system)]).await?.collect().await
}

async fn number(engine: &Engine, sql: &str) -> i64 {
    let batches = ask(engine, sql).await.unwrap();
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn files_and_rows_in_memory_are_one_table() {
    let (engine, _spill) = engine(Limits::default());
    assert_eq!(number(&engine, "select count(*) from t").await, 110);
    assert_eq!(number(&engine, "select sum(id) from t where id >= 95").await, (95..110).sum::<i64>());
    assert_eq!(number(&engine, "select count(*) from t where name is null").await, 100);
    assert_eq!(number(&engine, "select count(*) from t where name = 'n105'").await, 1);
    assert_eq!(number(&engine, "select count(*) from t where _day = date '1970-01-11'").await, 100);
    assert_eq!(number(&engine, "select count(*) from t where _day = date '1970-01-12' and id < 105").await, 5);
    let all = ask(&engine, "select * from t order by id desc limit 1").await.unwrap();
    assert_eq!(all[0].schema().fields().len(), 3);
    assert!(all[0].column(1).is_valid(0));
}

#[tokio::test]
async fn a_query_changes_nothing() {
    let (engine, _spill) = engine(Limits::default());
    for sql in [
        "drop table t",
        "create table u as select 1",
        "create external table u stored as csv location '/etc/passwd'",
        "insert into t values (1, 'a', null)",
        "delete from t",
        "copy t to '/tmp/weir-must-not-be'",
        "set datafusion.execution.batch_size = 1",
        "select 1; select 2",
    ] {
        let error = ask(&engine, sql).await.expect_err(sql);
        assert!(matches!(error, QueryError::Sql(_)), "{sql}: {error}");
    }
    assert!(!std::path::Path::new("/tmp/weir-must-not-be").exists());
}

#[tokio::test]
async fn wrong_sql_has_its_place_and_a_hint() {
    let (engine, _spill) = engine(Limits::default());
    let Err(QueryError::Sql(error)) = ask(&engine, "select id,\n  nam from t").await else {
        panic!("it has no such column")
    };
    assert_eq!(error.at, Some((2, 3)), "{error:?}");
    assert!(error.hint.unwrap().contains("name"));
    let Err(QueryError::Sql(error)) = ask(&engine, "selec id from t").await else { panic!("it is no SQL") };
    assert_eq!(error.at, Some((1, 1)), "{error:?}");
    let Err(QueryError::Sql(error)) = ask(&engine, "select 1 from nowhere").await else { panic!("no such table") };
    assert!(error.message.contains("nowhere"), "{error:?}");
    assert!(matches!(engine.parse("  "), Err(QueryError::Sql(_))));
}

#[tokio::test]
async fn limits_hold() {
    let (rows, _spill) = engine(Limits { rows: 50, ..Limits::default() });
    assert!(matches!(ask(&rows, "select * from t").await, Err(QueryError::Rows { limit: 50 })));
    let (time, _spill) = engine(Limits { time: Duration::from_millis(50), ..Limits::default() });
    let forever = "select count(*) from t a, t b, t c, t d, t e where a.id + b.id + c.id + d.id + e.id = -1";
    assert!(matches!(ask(&time, forever).await, Err(QueryError::Time { .. })));
    let (memory, _spill) = engine(Limits { memory: ByteSize(64 * 1024), ..Limits::default() });
    let hungry = "select array_agg(repeat(cast(a.id as varchar), 1000)) from t a, t b";
    assert!(matches!(ask(&memory, hungry).await, Err(QueryError::Memory { .. })));
}

#[tokio::test]
async fn what_does_not_fit_in_memory_spills() {
    let (engine, _spill) = engine(Limits { memory: ByteSize(16 * 1024 * 1024), ..Limits::default() });
    let sql = "select count(*) from (select a.id * 12100 + b.id * 110 + c.id as x from t a, t b, t c order by x desc, repeat('z', 30))";
    assert_eq!(number(&engine, sql).await, 110 * 110 * 110);
}

#[tokio::test]
async fn the_catalog_can_be_asked() {
    let (engine, _spill) = engine(Limits::default());
    assert!(
        engine.parse("show tables").unwrap().reads_catalog()
            || engine.parse("select * from information_schema.tables").unwrap().reads_catalog()
    );
    let columns = ask(&engine, "describe t").await.unwrap();
    assert_eq!(columns.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(engine.parse("select * from a join b using (x)").unwrap().tables().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn long_chains_are_refused_before_they_are_parsed() {
    let (engine, _spill) = engine(Limits::default());
    for chain in [
        format!("select 1{}", "+1".repeat(100_000)),
        format!("select id from t where id = 1{}", " or id = 2".repeat(20_000)),
        format!("select 1{}", " union all select 1".repeat(10_000)),
        format!("select {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("select {}id from t", "-".repeat(3) + &"not ".repeat(50_000)),
    ] {
        assert!(ask(&engine, &chain).await.is_err(), "{}", &chain[..30]);
    }
    let list: Vec<String> = (0..20_000).map(|id| id.to_string()).collect();
    let sql = format!("select count(*) from t where id in ({})", list.join(", "));
    assert_eq!(number(&engine, &sql).await, 110);
}

#[tokio::test]
async fn system_tables_have_a_schema_of_their_own() {
    let (engine, _spill) = engine(Limits::default());
    assert_eq!(number(&engine, "select count(*) from weir.t").await, 7);
    assert_eq!(number(&engine, "select count(*) from t join weir.t as s on t.id = s.id").await, 7);
    let parsed = engine.parse("select * from t join weir.t as s on t.id = s.id").unwrap();
    assert_eq!(parsed.tables().collect::<Vec<_>>(), ["t"]);
    assert_eq!(parsed.system_tables().collect::<Vec<_>>(), ["t"]);
    assert!(ask(&engine, "select * from weir.nothing").await.is_err());
}

//! Rows are unique by id within their partition, whenever the repeat comes.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use weir_env::Env;
use weir_table::{PartitionBy, Spec, Table};

use crate::support::*;

#[tokio::test]
async fn repeats_within_a_batch_in_the_buffer_and_in_files_are_dropped() {
    let (store, env) = (memory(), env(1));
    let table = open(spec(), store.clone(), &env).await;
    let first = [row("UA", 1, START, 100), row("UA", 1, START, 999), row("AA", 1, START, 200)];
    let appended = table.append(batch(&first), &[(source(), 3)]).await.unwrap();
    assert_eq!((appended.added, appended.repeats), (2, 1));
    let appended = table.append(batch(&first), &[(source(), 6)]).await.unwrap();
    assert_eq!((appended.added, appended.repeats), (0, 3));
    let committed = table.commit().await.unwrap();
    assert_eq!(committed.rows, 2);
    let appended = table.append(batch(&first), &[(source(), 9)]).await.unwrap();
    assert_eq!((appended.added, appended.repeats), (0, 3));
    let rows = rows_in(&table.view(), store.as_ref()).await;
    assert_eq!(rows, [row("AA", 1, START, 200), row("UA", 1, START, 100)]);
}

#[tokio::test]
async fn repeats_are_found_after_a_restart_and_after_a_merge() {
    let (store, env) = (memory(), env(2));
    let all: Vec<Row> = (0..400).map(|n| row("UA", n, START + i64::from(n) * MINUTE, n.into())).collect();
    let table = open(spec(), store.clone(), &env).await;
    for (index, rows) in all.chunks(40).enumerate() {
        table.append(batch(rows), &[(source(), (index as u64 + 1) * 40)]).await.unwrap();
        table.commit().await.unwrap();
    }
    drop(table);
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(table.positions()[&source()], 400);
    assert_eq!(table.append(batch(&all), &[(source(), 800)]).await.unwrap().repeats, 400);
    let mut merges = 0;
    while table.merge().await.unwrap().files_in > 0 {
        merges += 1;
    }
    assert!(merges > 0);
    assert_eq!(table.append(batch(&all), &[(source(), 1200)]).await.unwrap().repeats, 400);
    table.commit().await.unwrap();
    drop(table);
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(table.append(batch(&all), &[(source(), 1600)]).await.unwrap().repeats, 400);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
}

#[tokio::test]
async fn files_without_a_filter_are_read_by_their_id_columns() {
    let (store, env) = (memory(), env(3));
    let table = open(spec(), store.clone(), &env).await;
    let rows: Vec<Row> = (0..50).map(|n| row("UA", n, START, n.into())).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    // Another writer's file: the same rows, and no entry in the footer.
    for file in table.view().files.iter() {
        let batches = read_file(store.as_ref(), &file.location).await;
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
        for batch in &batches {
            writer.write(batch).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        rewrite(&table, store.as_ref(), file, bytes).await;
    }
    drop(table);
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(table.append(batch(&rows), &[]).await.unwrap().repeats, 50);
    assert_eq!(table.append(batch(&[row("UA", 50, START, 1)]), &[]).await.unwrap().added, 1);
}

/// Replaces a file's bytes, and its size in the log.
async fn rewrite(table: &Table, store: &dyn object_store::ObjectStore, file: &weir_table::DataFile, bytes: Vec<u8>) {
    use object_store::ObjectStoreExt;
    let size = bytes.len();
    store.put(&file.location, bytes.into()).await.unwrap();
    for version in 0..=table.view().version {
        let path = object_store::path::Path::from(format!("tables/flights/_delta_log/{version:020}.json"));
        let log = String::from_utf8(store.get(&path).await.unwrap().bytes().await.unwrap().to_vec()).unwrap();
        let mut changed = String::new();
        for line in log.lines() {
            let line = if line.contains(&file.path) {
                line.replace(&format!("\"size\":{}", file.size), &format!("\"size\":{size}"))
            } else {
                line.to_owned()
            };
            changed.push_str(&line);
            changed.push('\n');
        }
        store.put(&path, changed.into()).await.unwrap();
    }
}

#[tokio::test]
async fn new_rows_read_no_id_columns_and_filters_are_read_once() {
    let (inner, env) = (memory(), env(4));
    let table = open(spec(), inner.clone(), &env).await;
    let rows: Vec<Row> = (0..4000).map(|n| row("UA", n, START + i64::from(n % 60) * MINUTE, 0)).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    drop(table);
    let store = Faulty::over(inner, 0);
    let table = open(spec(), store.clone(), &env).await;
    for round in 1..5 {
        let rows: Vec<Row> =
            (0..2000).map(|n| row("AA", round * 10_000 + n, START + i64::from(n % 60) * MINUTE, 0)).collect();
        assert_eq!(table.append(batch(&rows), &[]).await.unwrap().added, 2000);
    }
    assert!(table.stats().id_reads <= 2, "{:?}", table.stats());
    let reads = store.reads_of(".parquet");
    assert!(reads <= 4 * 4, "{reads} reads");
}

#[tokio::test]
async fn places_and_times_that_a_batch_does_not_touch_are_not_read() {
    let (inner, env) = (memory(), env(5));
    let table = open(spec(), inner.clone(), &env).await;
    let rows: Vec<Row> = (0..300).map(|n| row("UA", n, START + i64::from(n % 10) * DAY, 0)).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    drop(table);
    let store = Faulty::over(inner, 0);
    let table = open(spec(), store.clone(), &env).await;
    // Another day, and another hour of a day that has files.
    let rows: Vec<Row> = (0..300).map(|n| row("UA", n, START + 20 * DAY, 0)).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    let rows: Vec<Row> = (0..300).map(|n| row("UA", n, START + HOUR, 0)).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    assert_eq!(store.reads_of(".parquet"), 0);
}

#[tokio::test]
async fn one_id_at_two_times_is_two_rows_and_null_ids_are_equal() {
    let (store, env) = (memory(), env(6));
    let spec = Spec { unique_by: vec!["carrier".into()], ..spec() };
    let table = open(spec, store, &env).await;
    let appended = table.append(batch(&[row("UA", 1, START, 1), row("UA", 1, START + DAY, 2)]), &[]).await.unwrap();
    assert_eq!(appended.added, 2);
    let mut timeless = row("UA", 1, 0, 3);
    timeless.at = None;
    let appended = table.append(batch(&[timeless.clone(), timeless]), &[]).await.unwrap();
    assert_eq!((appended.added, appended.repeats, appended.timeless), (1, 1, 1));
}

#[tokio::test]
async fn without_ids_all_rows_are_kept() {
    let (store, env) = (memory(), env(7));
    let spec = Spec { unique_by: Vec::new(), buckets: 1, ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let rows = [row("UA", 1, START, 1), row("UA", 1, START, 1)];
    table.append(batch(&rows), &[(source(), 2)]).await.unwrap();
    table.commit().await.unwrap();
    table.append(batch(&rows), &[(source(), 4)]).await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 4);
}

#[tokio::test]
async fn ids_too_many_for_the_cache_are_passed_by() {
    let (store, env) = (memory(), env(8));
    let spec = Spec { id_cache_bytes: 1024, filter_cache_bytes: 64, ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let rows: Vec<Row> = (0..3000).map(|n| row("UA", n, START, n.into())).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    let mut mixed = rows.clone();
    mixed.extend((3000..3100).map(|n| row("UA", n, START, n.into())));
    let appended = table.append(batch(&mixed), &[]).await.unwrap();
    assert_eq!((appended.added, appended.repeats), (100, 3000));
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u8, u8, u8)>),
    Commit,
    Merge,
    Vacuum,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = prop::collection::vec((0u8..3, 0u8..12, 0u8..6), 0..30);
    let step = prop_oneof![
        5 => rows.prop_map(Step::Append),
        3 => Just(Step::Commit),
        1 => Just(Step::Merge),
        1 => Just(Step::Vacuum),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model: the first row of each id, in the order of appending; a restart forgets what was not committed.
    #[test]
    fn a_table_holds_the_first_row_of_each_id(steps in steps(), hourly in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, env) = (memory(), Env::system());
            let partition_by = if hourly { PartitionBy::Hour("at".into()) } else { PartitionBy::Day("at".into()) };
            let spec = Spec { partition_by, buckets: 2, ..spec() };
            let mut table = open(spec.clone(), store.clone(), &env).await;
            let (mut ids, mut model): (HashSet<(String, i32, i64)>, Vec<Row>) = Default::default();
            let mut committed = (ids.clone(), model.clone());
            let mut marker = 0;
            for step in steps {
                match step {
                    Step::Append(rows) => {
                        let rows: Vec<Row> = rows.into_iter().map(|(carrier, flight, hour)| {
                            marker += 1;
                            row(&format!("C{carrier}"), flight.into(), START + i64::from(hour) * 5 * HOUR, marker)
                        }).collect();
                        let before = model.len() as u64;
                        for row in &rows {
                            if ids.insert((row.carrier.clone(), row.flight, row.at.unwrap())) {
                                model.push(row.clone());
                            }
                        }
                        let appended = table.append(batch(&rows), &[]).await.unwrap();
                        assert_eq!(appended.added, model.len() as u64 - before);
                        assert_eq!(appended.repeats, rows.len() as u64 - appended.added);
                    }
                    Step::Commit => {
                        table.commit().await.unwrap();
                        committed = (ids.clone(), model.clone());
                    }
                    Step::Merge => { table.merge().await.unwrap(); }
                    Step::Vacuum => { table.vacuum(std::time::Duration::ZERO).await.unwrap(); }
                    Step::Reopen => {
                        drop(table);
                        table = open(spec.clone(), store.clone(), &env).await;
                        (ids, model) = committed.clone();
                    }
                }
                let mut expected = model.clone();
                expected.sort();
                assert_eq!(rows_in(&table.view(), store.as_ref()).await, expected);
            }
        });
    }
}

#[tokio::test]
async fn a_year_at_once_and_the_same_year_again() {
    let (store, env) = (memory(), env(10));
    let spec = Spec { id_cache_bytes: 1 << 20, filter_cache_bytes: 1 << 20, ..spec() };
    let table = Arc::new(open(spec, store.clone(), &env).await);
    let year: Vec<Row> = (0..20_000i32).map(|n| row("UA", n, START + i64::from(n % 365) * DAY, n.into())).collect();
    for rows in year.chunks(5000) {
        table.append(batch(rows), &[]).await.unwrap();
    }
    let committed = table.commit().await.unwrap();
    assert_eq!((committed.rows, committed.files), (20_000, 365 * 4));
    for rows in year.chunks(5000) {
        assert_eq!(table.append(batch(rows), &[]).await.unwrap().repeats, 5000);
    }
}

//! Compaction: the same rows in fewer files, in order, each id once, whoever wrote them and whatever fails meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use weir_env::Env;
use weir_table::{CompactError, Compacted, Keep, Place, Spec, Table, View, Work};

use crate::support::*;

const DAYS: i64 = 2;

/// By day, in one bucket, rebuilt every hour.
fn by_day() -> Spec {
    Spec { buckets: 1, ..spec() }
}

fn place(day: i64) -> Place {
    Place { day: Some((START / DAY + day) as i32), hour: None, bucket: 0 }
}

/// Time passes only when somebody waits.
async fn pass(env: &Env, seconds: u64) {
    env.sleep(Duration::from_secs(seconds)).await;
}

fn day_of(row: &Row) -> i64 {
    (row.at.unwrap() - START).div_euclid(DAY)
}

/// Adds a file as another writer does: a version that names it. All rows are of one day.
async fn add_foreign(store: &dyn ObjectStore, env: &Env, rows: &[Row]) {
    let (day, name) = (day_of(&rows[0]), format!("part-00000-{:016x}-c000.snappy.parquet", env.random()));
    let folder = format!("_day=2013-01-{:02}", day + 1);
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), columns(), None).unwrap();
    writer.write(&batch(rows)).unwrap();
    let bytes = writer.into_inner().unwrap();
    let size = bytes.len();
    store.put(&format!("tables/flights/{folder}/{name}").into(), bytes.into()).await.unwrap();
    let add = serde_json::json!({"add": {
        "path": format!("{folder}/{name}"), "partitionValues": {"_day": format!("2013-01-{:02}", day + 1)}, "size": size,
        "modificationTime": env.now().0, "dataChange": true,
        "stats": serde_json::json!({"numRecords": rows.len()}).to_string(),
    }});
    let info = serde_json::json!({"commitInfo": {"operation": "WRITE", "engineInfo": "another"}});
    let listed: Vec<_> = store.list(Some(&"tables/flights/_delta_log".into())).try_collect().await.unwrap();
    let last =
        listed.iter().filter_map(|object| object.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok());
    let version = last.max().unwrap() + 1;
    let path = Path::from(format!("tables/flights/_delta_log/{version:020}.json"));
    store.put(&path, format!("{info}\n{add}").into()).await.unwrap();
}

/// The rows of a version's files, by file, in the order of the files' first rows.
async fn files_of(view: &View, store: &dyn ObjectStore, place: Place, order: &[&str]) -> Vec<Vec<Row>> {
    let mut files = Vec::new();
    for file in view.files.iter().filter(|file| file.place == place) {
        let batches: Vec<RecordBatch> = read_file(store, &file.location).await;
        files.push(batches.iter().flat_map(rows_of).collect::<Vec<Row>>());
    }
    files.sort_by_key(|rows| key(&rows[0], order));
    files
}

/// What rows are sorted by.
fn key(row: &Row, order: &[&str]) -> Vec<(i64, String)> {
    let column = |name: &&str| match *name {
        "at" => (row.at.unwrap_or(i64::MIN), String::new()),
        "distance" => (row.distance, String::new()),
        "flight" => (row.flight.into(), String::new()),
        _ => (0, row.carrier.clone()),
    };
    order.iter().map(column).collect()
}

fn is_sorted(files: &[Vec<Row>], order: &[&str]) -> bool {
    files.concat().is_sorted_by_key(|row| key(row, order))
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

/// Which row of each id stays, of rows in the order of their arrival.
fn kept(arrived: &[Row], keep: Keep) -> Vec<Row> {
    let mut model: BTreeMap<(String, i32, Option<i64>), Row> = BTreeMap::new();
    for row in arrived {
        let id = (row.carrier.clone(), row.flight, row.at);
        match keep {
            Keep::First => drop(model.entry(id).or_insert_with(|| row.clone())),
            Keep::Last => drop(model.insert(id, row.clone())),
        }
    }
    sorted(model.into_values().collect())
}

fn some_rows(dice: &mut Dice, count: u64, day: i64, number: &mut i64) -> Vec<Row> {
    (0..count)
        .map(|_| {
            *number += 1;
            let carrier = ["UA", "AA", "a carrier with a long name"][dice.below(3) as usize];
            row(carrier, dice.below(60) as i32, START + day * DAY + dice.below(5) as i64 * HOUR, *number)
        })
        .collect()
}

async fn rebuild_all(table: &Table) {
    for day in 0..DAYS {
        table.rebuild(place(day)).await.unwrap();
    }
}

#[tokio::test]
async fn any_files_of_any_writers_become_sorted_ones_with_each_id_once() {
    for seed in 1..=40 {
        let (store, env, mut dice) = (memory(), env(seed), Dice::new(seed));
        let order: &[&str] = [&[][..], &["distance"], &["carrier", "flight"], &["at"]][dice.below(4) as usize];
        let keep = if dice.below(2) == 0 { Keep::First } else { Keep::Last };
        let spec = Spec {
            keep,
            sort_by: order.iter().map(|name| (*name).to_owned()).collect(),
            target_file_bytes: 4096 << dice.below(3),
            ..by_day()
        };
        let order: &[&str] = if order.is_empty() { &["at"] } else { order };
        let mut table = open(spec.clone(), store.clone(), &env).await;
        let (mut arrived, mut number) = (Vec::new(), 0);
        for _step in 0..30 {
            pass(&env, 60).await;
            let count = 1 + dice.below(30);
            let rows = some_rows(&mut dice, count, 0, &mut number);
            let day = dice.below(DAYS as u64) as i64;
            let rows: Vec<Row> =
                rows.into_iter().map(|row| Row { at: row.at.map(|at| at + day * DAY), ..row }).collect();
            match dice.below(8) {
                0..=2 => {
                    table.append(batch(&rows), &[]).await.unwrap();
                    table.commit().await.unwrap();
                    arrived.extend(rows);
                }
                3 | 4 => {
                    add_foreign(store.as_ref(), &env, &rows).await;
                    arrived.extend(rows);
                }
                5 => drop(table.merge().await.unwrap()),
                6 => drop(table.rebuild(place(day)).await.unwrap()),
                _ => {
                    drop(table);
                    table = open(spec.clone(), store.clone(), &env).await;
                }
            }
        }
        drop(table);
        let table = open(spec.clone(), store.clone(), &env).await;
        rebuild_all(&table).await;
        let view = table.view();
        assert_eq!(rows_in(&view, store.as_ref()).await, kept(&arrived, keep), "seed {seed}, {keep:?}");
        for day in 0..DAYS {
            let files = files_of(&view, store.as_ref(), place(day), order).await;
            assert!(is_sorted(&files, order), "seed {seed}: {order:?}");
        }
        assert!(table.append(batch(&arrived), &[]).await.unwrap().added == 0, "seed {seed}: filters and ids are right");
    }
}

/// Many rows of one day, as several files of another writer, each row twice, the second one with another value.
async fn doubled(store: &dyn ObjectStore, env: &Env, rows: i32) -> (Vec<Row>, Vec<Row>) {
    let mut dice = Dice::new(7);
    let first: Vec<Row> = (0..rows)
        .map(|n| row(&format!("carrier {:030}", dice.below(1 << 40)), n, START + dice.below(DAY as u64) as i64, 1))
        .collect();
    let second: Vec<Row> = first.iter().rev().map(|row| Row { distance: 2, ..row.clone() }).collect();
    for rows in first.chunks(7000).chain(second.chunks(9000)) {
        pass(env, 1).await;
        add_foreign(store, env, rows).await;
    }
    (sorted(first), sorted(second))
}

#[tokio::test]
async fn a_partition_larger_than_memory_spills_and_is_right() {
    let (store, env) = (memory(), env(1));
    let scratch = tempfile::tempdir().unwrap();
    for (keep, sort_by) in [(Keep::First, vec![]), (Keep::Last, vec!["carrier".to_owned(), "at".to_owned()])] {
        let spec = Spec {
            keep,
            sort_by: sort_by.clone(),
            compact_bytes: 1 << 20,
            target_file_bytes: 256 << 10,
            scratch: Some(scratch.path().to_owned()),
            ..by_day()
        };
        let store = if keep == Keep::First { store.clone() } else { memory() };
        drop(open(spec.clone(), store.clone(), &env).await);
        let (first, second) = doubled(store.as_ref(), &env, 20_000).await;
        let table = open(spec.clone(), store.clone(), &env).await;
        let before = table.stats();
        let done = table.rebuild(place(0)).await.unwrap();
        assert_eq!((done.removed, done.rows), (20_000, 20_000));
        assert!(done.spilled > 4 << 20, "{done:?}");
        assert!(done.files_out > 1, "{done:?}");
        let view = table.view();
        for file in view.files.iter() {
            assert!(file.size <= (256 << 10) * 12 / 10, "{}", file.size);
        }
        let wants = if keep == Keep::First { first } else { second };
        assert_eq!(rows_in(&view, store.as_ref()).await, wants);
        let order: &[&str] = if sort_by.is_empty() { &["at"] } else { &["carrier", "at"] };
        assert!(is_sorted(&files_of(&view, store.as_ref(), place(0), order).await, order));
        assert_eq!(before.rows, 40_000);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left of what was spilled");
    }
}

#[tokio::test]
async fn runs_too_many_to_be_merged_at_once_are_merged_in_turns() {
    let (store, env) = (memory(), env(1));
    // With so little memory a run has a few hundred rows, and two are merged at a time.
    let spec = Spec { compact_bytes: 1 << 20, target_file_bytes: 1 << 20, ..by_day() };
    drop(open(spec.clone(), store.clone(), &env).await);
    let (first, _) = doubled(store.as_ref(), &env, 30_000).await;
    let table = open(spec, store.clone(), &env).await;
    let done = table.rebuild(place(0)).await.unwrap();
    assert_eq!(done.removed, 30_000);
    let rows = 60_000 * (30 + 8 + 8 + 4);
    assert!(done.spilled > 2 * rows, "{} bytes were spilled, of {rows}", done.spilled);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, first);
}

async fn own_commits(table: &Table, env: &Env, commits: i32) -> Vec<Row> {
    let mut all = Vec::new();
    for commit in 0..commits {
        let rows: Vec<Row> = (0..20)
            .map(|n| row("UA", commit * 20 + n, START + i64::from(n * 7 % 20) * MINUTE, commit.into()))
            .collect();
        table.append(batch(&rows), &[(source(), (commit as u64 + 1) * 20)]).await.unwrap();
        table.commit().await.unwrap();
        all.extend(rows);
        pass(env, 1).await;
    }
    sorted(all)
}

#[tokio::test]
async fn what_did_not_change_is_not_rebuilt_whoever_asks_and_is_not_even_read() {
    let (inner, env) = (memory(), env(1));
    let table = open(by_day(), inner.clone(), &env).await;
    let all = own_commits(&table, &env, 5).await;
    let done = table.rebuild(place(0)).await.unwrap();
    assert_eq!((done.files_in, done.files_out, done.removed, done.spilled), (5, 1, 0, 0));
    let version = table.view().version;
    assert_eq!(table.rebuild(place(0)).await.unwrap(), Compacted::default());
    drop(table);
    let store = Faulty::over(inner, 0);
    let table = open(by_day(), store.clone(), &env).await;
    pass(&env, 1_000_000).await;
    assert!(table.due().is_empty());
    assert_eq!(table.rebuild(place(0)).await.unwrap(), Compacted::default());
    assert_eq!((table.view().version, store.reads_of(".parquet")), (version, 0));
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
    // One more row, and it has changed.
    let late = row("UA", 9999, START, 0);
    table.append(batch(std::slice::from_ref(&late)), &[]).await.unwrap();
    table.commit().await.unwrap();
    pass(&env, 1_000_000).await;
    let due = table.due();
    assert_eq!((due.len(), due[0].work, due[0].files), (1, Work::Rebuild, 2));
}

#[tokio::test]
async fn files_in_order_are_merged_without_sorting_and_the_log_says_that_no_data_changed() {
    let (store, env) = (memory(), env(1));
    let table = open(Spec { target_file_bytes: 2048, ..by_day() }, store.clone(), &env).await;
    let all = own_commits(&table, &env, 30).await;
    let done = table.rebuild(place(0)).await.unwrap();
    assert_eq!((done.rows, done.spilled), (600, 0));
    assert!(done.files_out > 1);
    let version = table.view().version;
    let log = store.get(&format!("tables/flights/_delta_log/{version:020}.json").into()).await.unwrap();
    let log = String::from_utf8(log.bytes().await.unwrap().to_vec()).unwrap();
    assert!(log.contains("\"dataChange\":false") && !log.contains("\"dataChange\":true"), "{log}");
    let files = files_of(&table.view(), store.as_ref(), place(0), &["at"]).await;
    assert!(is_sorted(&files, &["at"]));
    assert_eq!(sorted(files.concat()), all);
}

#[tokio::test]
async fn removed_repeats_change_the_partition_and_readers_are_told() {
    let (store, env) = (memory(), env(1));
    let table = open(by_day(), store.clone(), &env).await;
    own_commits(&table, &env, 2).await;
    add_foreign(store.as_ref(), &env, &[row("UA", 1, START + 7 * MINUTE, 77)]).await;
    drop(table);
    let table = open(by_day(), store.clone(), &env).await;
    let changed = table.partitions()[0].changed;
    assert_eq!(table.rebuild(place(0)).await.unwrap().removed, 1);
    assert!(table.partitions()[0].changed > changed);
    let version = table.view().version;
    let log = store.get(&format!("tables/flights/_delta_log/{version:020}.json").into()).await.unwrap();
    let log = String::from_utf8(log.bytes().await.unwrap().to_vec()).unwrap();
    assert!(log.contains("\"dataChange\":true"), "{log}");
}

#[tokio::test]
async fn a_full_scratch_is_an_error_that_names_it_and_nothing_is_lost() {
    let (store, env) = (memory(), env(1));
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "a file where a folder should be").unwrap();
    let spec =
        |scratch: &std::path::Path| Spec { compact_bytes: 1 << 20, scratch: Some(scratch.to_owned()), ..by_day() };
    drop(open(spec(&blocked), store.clone(), &env).await);
    let (first, second) = doubled(store.as_ref(), &env, 20_000).await;
    let table = open(spec(&blocked), store.clone(), &env).await;
    let error = table.rebuild(place(0)).await.unwrap_err();
    assert!(matches!(&error, CompactError::Scratch { folder, .. } if folder.starts_with(&blocked)), "{error:?}");
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, sorted([first.clone(), second].concat()));
    drop(table);
    let table = open(spec(folder.path()), store.clone(), &env).await;
    table.rebuild(place(0)).await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, first);
}

async fn data_files(store: &InMemory) -> BTreeSet<Path> {
    let listed: Vec<_> = store.list(Some(&"tables/flights".into())).try_collect().await.unwrap();
    let paths = listed.into_iter().map(|object| object.location);
    paths.filter(|path| path.as_ref().ends_with(".parquet") && !path.as_ref().contains("_delta_log")).collect()
}

#[tokio::test]
async fn after_crashes_at_any_write_a_vacuum_leaves_exactly_the_files_of_the_version() {
    for seed in 1..=40 {
        let (inner, env, mut dice) = (memory(), env(seed), Dice::new(seed));
        let spec = Spec { target_file_bytes: 2048, ..by_day() };
        drop(open(spec.clone(), inner.clone(), &env).await);
        let (mut arrived, mut number) = (Vec::new(), 0);
        for _life in 0..8 {
            pass(&env, 60).await;
            let foreign = some_rows(&mut dice, 40, 0, &mut number);
            add_foreign(inner.as_ref(), &env, &foreign).await;
            arrived.extend(foreign);
            let store = Faulty::over(inner.clone(), seed);
            store.crash_after(dice.below(12), dice.below(2) == 0);
            let root = "memory:///tables/flights".parse().unwrap();
            let Ok(table) = Table::open(spec.clone(), store.clone(), root, env.clone()).await else { continue };
            let _ = table.rebuild(place(0)).await;
            let _ = table.merge().await;
            let _ = table.vacuum(Duration::ZERO).await;
        }
        let table = open(spec.clone(), inner.clone(), &env).await;
        table.rebuild(place(0)).await.unwrap();
        // The store's clock is the machine's: only from far ahead are all of its files old.
        pass(&env, 50 * 365 * 86_400).await;
        table.vacuum(Duration::ZERO).await.unwrap();
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await, kept(&arrived, Keep::First), "seed {seed}");
        let named: BTreeSet<Path> = table.view().files.iter().map(|file| file.location.clone()).collect();
        assert_eq!(data_files(&inner).await, named, "seed {seed}");
        assert!(open(spec, inner.clone(), &env).await.view().files.len() == named.len(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_store_that_fails_and_loses_replies_costs_tries_and_no_rows() {
    for seed in 1..=20 {
        let (inner, env, mut dice) = (memory(), env(seed), Dice::new(seed));
        let store = Faulty::over(inner.clone(), seed);
        let spec = Spec { target_file_bytes: 2048, ..by_day() };
        drop(open(spec.clone(), inner.clone(), &env).await);
        let (mut arrived, mut number) = (Vec::new(), 0);
        for _ in 0..6 {
            pass(&env, 60).await;
            let rows = some_rows(&mut dice, 40, 0, &mut number);
            add_foreign(inner.as_ref(), &env, &rows).await;
            arrived.extend(rows);
        }
        let table = open(spec, store.clone(), &env).await;
        store.fail_one_in(3);
        let mut tries = 0;
        while table.rebuild(place(0)).await.is_err() {
            tries += 1;
            assert!(tries < 200, "seed {seed}");
        }
        store.fail_one_in(0);
        table.rebuild(place(0)).await.unwrap();
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await, kept(&arrived, Keep::First), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_in_and_vacuums_go_on_while_partitions_are_rebuilt() {
    let (store, env) = (memory(), Env::system());
    let spec = Spec { target_file_bytes: 16 << 10, ..by_day() };
    let table = Arc::new(open(spec, store.clone(), &env).await);
    let done = Arc::new(AtomicBool::new(false));
    let rebuilding = tokio::spawn({
        let (table, done) = (table.clone(), done.clone());
        async move {
            let mut rebuilt = 0;
            while !done.load(Ordering::Relaxed) || rebuilt == 0 {
                rebuilt += table.rebuild(place(0)).await.unwrap().files_in;
                tokio::task::yield_now().await;
            }
            rebuilt
        }
    });
    let vacuuming = tokio::spawn({
        let (table, done) = (table.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                table.vacuum(Duration::ZERO).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut all = Vec::new();
    for commit in 0..60 {
        let rows: Vec<Row> = (0..200).map(|n| row("UA", commit * 100 + n, START + i64::from(n) * MINUTE, 1)).collect();
        table.append(batch(&rows), &[]).await.unwrap();
        table.commit().await.unwrap();
        all.extend(rows);
    }
    done.store(true, Ordering::Relaxed);
    assert!(rebuilding.await.unwrap() > 0);
    vacuuming.await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, kept(&all, Keep::First));
    table.rebuild(place(0)).await.unwrap();
    table.vacuum(Duration::ZERO).await.unwrap();
    let named: BTreeSet<Path> = table.view().files.iter().map(|file| file.location.clone()).collect();
    assert_eq!(data_files(&store).await, named);
}

#[tokio::test]
async fn a_compaction_whose_caller_is_gone_leaves_the_table_as_it_was_and_the_files_free() {
    let (store, env) = (memory(), env(1));
    let table = open(by_day(), store.clone(), &env).await;
    let all = own_commits(&table, &env, 5).await;
    for polls in 0..30 {
        {
            let mut rebuild = Box::pin(table.rebuild(place(0)));
            let mut done = false;
            for _ in 0..polls {
                done = futures::poll!(&mut rebuild).is_ready();
                if done {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if done {
                break;
            }
        }
        assert_eq!(rows_in(&table.view(), store.as_ref()).await, all, "after {polls} polls");
    }
    table.rebuild(place(0)).await.unwrap();
    assert_eq!(table.view().files.len(), 1);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
}

#[tokio::test]
async fn a_table_says_of_each_partition_when_it_is_final_and_whether_it_is_compact() {
    let (store, env) = (memory(), env(1));
    let spec = Spec { lookback: Some(Duration::from_secs(40 * 86_400)), ..by_day() };
    let table = open(spec, store.clone(), &env).await;
    own_commits(&table, &env, 3).await;
    let one = table.lifecycles()[0];
    let end = (START / 1000) + 86_400_000 * 41;
    assert_eq!((one.day, one.files, one.rows, one.is_compact), (place(0).day, 3, Some(60), false));
    assert_eq!(one.final_after.unwrap().0, end);
    assert!(!one.is_final && one.compacted_at.is_none() && one.changed_at.is_some());
    table.rebuild(place(0)).await.unwrap();
    pass(&env, 41 * 86_400).await;
    let one = table.lifecycles()[0];
    assert!(one.is_final && one.is_compact && one.compacted_at.is_some(), "{one:?}");
}

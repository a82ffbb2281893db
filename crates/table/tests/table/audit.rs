//! What somebody does behind weir's back is found and named; what weir does itself is not.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use weir_env::Env;
use weir_table::{DataFile, Finding, Known, Spec, Table};

use crate::partition::{Books, DAY0, given, open_witnessed};
use crate::support::*;

async fn filled(store: &Arc<InMemory>, env: &Env, commits: i32) -> (Table, Arc<Books>) {
    let books = Arc::new(Books::default());
    let table = open_witnessed(Spec { buckets: 1, ..spec() }, store.clone(), env, books.clone()).await;
    for commit in 0..commits {
        let rows: Vec<Row> = (0..20).map(|n| row("UA", commit * 20 + n, START + i64::from(n % 2) * DAY, 1)).collect();
        table.append(batch(&rows), &[(source(), (commit as u64 + 1) * 20)]).await.unwrap();
        table.commit().await.unwrap();
    }
    (table, books)
}

fn version_path(version: u64) -> Path {
    Path::from(format!("tables/flights/_delta_log/{version:020}.json"))
}

async fn text(store: &InMemory, path: &Path) -> String {
    String::from_utf8(store.get(path).await.unwrap().bytes().await.unwrap().to_vec()).unwrap()
}

/// Makes a version by hand, as another writer would.
async fn commit_by_hand(store: &InMemory, version: u64, operation: &str, actions: &[String]) {
    let info = format!(
        r#"{{"commitInfo":{{"timestamp":1,"operation":"{operation}","engineInfo":"other/1.0","operationParameters":{{}}}}}}"#
    );
    let lines: Vec<String> = std::iter::once(info).chain(actions.iter().cloned()).collect();
    store.put(&version_path(version), lines.join("\n").into()).await.unwrap();
}

fn add_action(path: &str, size: u64, rows: usize, day: &str, data_change: bool) -> String {
    format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"_day":"{day}"}},"size":{size},"modificationTime":1,"dataChange":{data_change},"stats":"{{\"numRecords\":{rows}}}"}}}}"#
    )
}

fn remove_action(file: &DataFile, data_change: bool) -> String {
    format!(
        r#"{{"remove":{{"path":"{}","deletionTimestamp":1,"dataChange":{data_change},"extendedFileMetadata":true,"partitionValues":{{"_day":"2013-01-01"}},"size":{}}}}}"#,
        file.path, file.size
    )
}

/// Another writer's file: the rows, and no entry in the footer.
async fn foreign_file(store: &InMemory, name: &str, rows: &[Row]) -> (String, u64) {
    let batch = batch(rows);
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let (path, size) = (format!("_day=2013-01-01/{name}.parquet"), bytes.len() as u64);
    store.put(&Path::from(format!("tables/flights/{path}")), bytes.into()).await.unwrap();
    (path, size)
}

fn changed(table: &Table) -> Vec<u64> {
    table.partitions().iter().map(|partition| partition.changed).collect()
}

#[tokio::test]
async fn what_weir_does_itself_is_no_finding_and_the_books_agree() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 60).await;
    let mut known = None;
    for step in 0..6 {
        match step {
            0 => while table.merge().await.unwrap().more {},
            1 => drop(table.vacuum(Duration::ZERO).await.unwrap()),
            2 => drop(table.append_replacing(batch(&[row("UA", 0, START, 7)]), &[]).await.unwrap()),
            3 => drop(table.commit().await.unwrap()),
            4 => drop(table.replace_partition(Some(DAY0), None, given(&[row("UA", 0, START, 8)]), &[]).await.unwrap()),
            _ => drop(table.vacuum(Duration::ZERO).await.unwrap()),
        }
        let audit = table.audit(known).await.unwrap();
        assert_eq!(audit.findings, [], "step {step}");
        assert_eq!(audit.places, books.tallies(table.commits()), "step {step}");
        assert_eq!((audit.known.version, audit.known.commits), (table.view().version, table.commits()));
        known = Some(audit.known);
    }
    drop(table);
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    assert_eq!(table.audit(known).await.unwrap().findings, []);
    assert_eq!(table.audit(known).await.unwrap().places, books.tallies(table.commits()));
}

#[tokio::test]
async fn footers_are_read_once() {
    let (inner, env) = (memory(), Env::system());
    let (table, _) = filled(&inner, &env, 5).await;
    drop(table);
    let store = Faulty::over(inner.clone(), 1);
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    table.audit(None).await.unwrap();
    let reads = || {
        store.reads.lock().unwrap().iter().filter(|(path, _)| path.ends_with(".parquet")).map(|(_, n)| n).sum::<u64>()
    };
    let first = reads();
    table.audit(None).await.unwrap();
    assert_eq!((reads(), first > 0), (first, true));
}

#[tokio::test]
async fn a_deleted_a_cut_and_a_damaged_file_are_named_with_their_rows() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 4).await;
    let files = table.view().files.clone();
    let at = |n: usize| (files[n].path.clone(), files[n].place);
    store.delete(&files[0].location).await.unwrap();
    let whole = store.get(&files[1].location).await.unwrap().bytes().await.unwrap();
    store.put(&files[1].location, whole.slice(..whole.len() / 2).into()).await.unwrap();
    let mut damaged = store.get(&files[2].location).await.unwrap().bytes().await.unwrap().to_vec();
    let end = damaged.len();
    damaged[end - 40..end - 8].fill(0xff);
    store.put(&files[2].location, damaged.into()).await.unwrap();
    let audit = table.audit(None).await.unwrap();
    let (path, place) = at(0);
    assert!(audit.findings.contains(&Finding::Missing { path, place, rows: Some(10), bytes: files[0].size }));
    let (path, place) = at(1);
    let found = files[1].size / 2;
    assert!(audit.findings.contains(&Finding::Resized { path, place, bytes: files[1].size, found }));
    let is_damaged = |finding: &&Finding| matches!(finding, Finding::Damaged { path, .. } if *path == files[2].path);
    assert_eq!(audit.findings.iter().filter(is_damaged).count(), 1, "{:?}", audit.findings);
    assert_eq!(audit.findings.len(), 3);
    // What is left is counted, so the books say where rows are missing.
    let expected: u64 = books.tallies(table.commits()).values().map(|tally| tally.count).sum();
    assert_eq!(audit.places.values().map(|tally| tally.count).sum::<u64>(), expected - 30);
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_no_finding() {
    let (inner, env) = (memory(), Env::system());
    drop(filled(&inner, &env, 3).await);
    let store = Faulty::over(inner.clone(), 1);
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    store.crash_after(0, false);
    store.put(&"elsewhere".into(), "x".into()).await.unwrap_err();
    store.put(&"elsewhere".into(), "x".into()).await.unwrap_err();
    assert!(store.is_dead());
    table.audit(None).await.unwrap_err();
}

#[tokio::test]
async fn another_writers_rows_are_found_when_they_come_and_move_the_partitions_number() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 3).await;
    let known = table.audit(None).await.unwrap().known;
    assert_eq!(changed(&table), [3, 3]);
    let (path, size) = foreign_file(&store, "part-0-other", &[row("XX", 1, START, 1), row("XX", 2, START, 1)]).await;
    commit_by_hand(&store, known.version + 1, "WRITE", &[add_action(&path, size, 2, "2013-01-01", true)]).await;
    let audit = table.audit(Some(known)).await.unwrap();
    let version = Finding::ForeignVersion {
        version: known.version + 1,
        writer: "other/1.0".to_owned(),
        operation: "WRITE".to_owned(),
        files_added: 1,
        rows_added: 2,
        files_removed: 0,
    };
    let place = weir_table::Place { day: Some(DAY0), ..weir_table::Place::default() };
    assert_eq!(audit.findings, [version, Finding::Foreign { path, place, rows: 2 }]);
    let (books, found) = (books.tallies(3), audit.places);
    assert_eq!((found[&place].count - books[&place].count, found.len()), (2, books.len()));
    // It is taken over without a commit of ours, with one, and when the table is opened.
    assert!(table.refresh().await.unwrap());
    assert_eq!((changed(&table), table.commits()), (vec![4, 3], 4));
    assert!(!table.refresh().await.unwrap());
    assert_eq!(table.append(batch(&[row("XX", 1, START, 9)]), &[]).await.unwrap().repeats, 1);
    let version = table.view().version;
    let (path, size) = foreign_file(&store, "part-1-other", &[row("XX", 3, START, 1)]).await;
    commit_by_hand(&store, version + 1, "WRITE", &[add_action(&path, size, 1, "2013-01-01", true)]).await;
    table.append(batch(&[row("UA", 999, START + DAY, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    assert_eq!((changed(&table), table.commits()), (vec![5, 5], 5));
    let version = table.view().version;
    drop(table);
    let (path, size) = foreign_file(&store, "part-2-other", &[row("XX", 4, START, 1)]).await;
    commit_by_hand(&store, version + 1, "WRITE", &[add_action(&path, size, 1, "2013-01-01", true)]).await;
    for _ in 0..2 {
        let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
        assert_eq!((changed(&table), table.commits()), (vec![6, 5], 6));
    }
}

#[tokio::test]
async fn books_and_files_differ_by_another_writers_rows_until_those_are_replaced() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 1).await;
    // A doubled row, and a new one.
    let rows = [row("UA", 0, START, 1), row("XX", 1, START, 1)];
    let foreign = async |name| {
        let (path, size) = foreign_file(&store, name, &rows).await;
        let version = table.view().version;
        commit_by_hand(&store, version + 1, "WRITE", &[add_action(&path, size, 2, "2013-01-01", true)]).await;
        table.refresh().await.unwrap();
    };
    let extra = async || {
        let audit = table.audit(None).await.unwrap();
        let count = |tallies: &std::collections::BTreeMap<_, weir_types::Tally>| {
            tallies.values().map(|tally| tally.count as i64).sum::<i64>()
        };
        count(&audit.places) - count(&books.tallies(table.commits()))
    };
    foreign("part-8-other").await;
    assert_eq!(extra().await, 2);
    table.append_replacing(batch(&[row("UA", 0, START, 2), row("XX", 1, START, 2)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    assert_eq!(extra().await, 0);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 21);
    foreign("part-9-other").await;
    assert_eq!(extra().await, 2);
    table.replace_partition(Some(DAY0), None, given(&[row("XX", 2, START, 3)]), &[]).await.unwrap();
    assert_eq!(extra().await, 0);
    assert_eq!(table.audit(None).await.unwrap().places, books.tallies(table.commits()));
}

#[tokio::test]
async fn another_writers_compaction_moves_no_number_and_is_no_foreign_version() {
    let (store, env) = (memory(), Env::system());
    let (table, _) = filled(&store, &env, 2).await;
    let known = table.audit(None).await.unwrap().known;
    let old = table.view().files.iter().find(|file| file.place.day == Some(DAY0)).unwrap().clone();
    let rows: Vec<Row> = read_file(store.as_ref(), &old.location).await.iter().flat_map(rows_of).collect();
    let (path, size) = foreign_file(&store, "part-3-other", &rows).await;
    let actions = [remove_action(&old, false), add_action(&path, size, rows.len(), "2013-01-01", false)];
    commit_by_hand(&store, known.version + 1, "OPTIMIZE", &actions).await;
    table.refresh().await.unwrap();
    assert_eq!((changed(&table), table.commits()), (vec![2, 2], 2));
    let findings = table.audit(Some(known)).await.unwrap().findings;
    assert!(matches!(findings.as_slice(), [Finding::Foreign { rows: 10, .. }]), "{findings:?}");
}

#[tokio::test]
async fn a_table_that_another_tool_restored_is_named_with_the_version() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 3).await;
    let known = table.audit(None).await.unwrap().known;
    // The newest file of a day goes, as RESTORE to the version before does it.
    let old = table.view().files.iter().rfind(|file| file.place.day == Some(DAY0)).unwrap().clone();
    commit_by_hand(&store, known.version + 1, "RESTORE", &[remove_action(&old, true)]).await;
    let audit = table.audit(Some(known)).await.unwrap();
    assert!(
        matches!(audit.findings.as_slice(), [Finding::ForeignVersion { operation, files_removed: 1, .. }] if operation == "RESTORE"),
        "{:?}",
        audit.findings
    );
    let counts: Vec<u64> = audit.places.values().map(|tally| tally.count).collect();
    assert_eq!(counts, [20, 30]);
    assert_eq!(books.tallies(3).values().map(|tally| tally.count).collect::<Vec<_>>(), [30, 30]);
    table.refresh().await.unwrap();
    assert_eq!(changed(&table), [4, 3]);
}

#[tokio::test]
async fn versions_that_were_taken_back_rewritten_or_lost_are_found_running_and_restarted() {
    for restart in [false, true] {
        let (store, env) = (memory(), Env::system());
        let (mut table, _) = filled(&store, &env, 3).await;
        let known = table.audit(None).await.unwrap().known;
        assert_eq!(known, Known { version: 3, commits: 3, mark: known.mark });
        let newest = text(&store, &version_path(3)).await;
        store.delete(&version_path(3)).await.unwrap();
        if restart {
            drop(table);
            table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
        }
        let findings = table.audit(Some(known)).await.unwrap().findings;
        let back = [Finding::VersionWentBack { known: 3, found: 2 }, Finding::CommitsWentBack { known: 3, found: 2 }];
        assert_eq!(findings, back, "restart: {restart}");
        // Another one in its place, of the same number.
        store.put(&version_path(3), newest.replace("weir/stream", "weir/STREAM").into()).await.unwrap();
        let findings = table.audit(Some(known)).await.unwrap().findings;
        assert_eq!(findings, [Finding::VersionRewritten { version: 3 }], "restart: {restart}");
        store.put(&version_path(3), newest.into()).await.unwrap();
        assert_eq!(table.audit(Some(known)).await.unwrap().findings, [], "restart: {restart}");
        let lost = text(&store, &version_path(1)).await;
        store.delete(&version_path(1)).await.unwrap();
        let audit = table.audit(Some(known)).await.unwrap();
        assert_eq!(audit.findings, [Finding::VersionMissing { version: 1 }]);
        // Such a log can't be loaded: what is counted is what this process knew.
        let rows = if restart { 40 } else { 60 };
        assert_eq!(audit.places.values().map(|tally| tally.count).sum::<u64>(), rows);
        store.put(&version_path(1), lost.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_a_checkpoint_shortened_is_whole() {
    let (store, env) = (memory(), Env::system());
    let (table, books) = filled(&store, &env, 130).await;
    while table.merge().await.unwrap().more {}
    let known = table.audit(None).await.unwrap().known;
    table.append(batch(&[row("UA", -1, START, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    let vacuumed = table.vacuum(Duration::ZERO).await.unwrap();
    assert!(vacuumed.log_files > 0);
    let audit = table.audit(Some(known)).await.unwrap();
    assert_eq!(audit.findings, []);
    assert_eq!(audit.places, books.tallies(131));
    drop(table);
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    assert_eq!(changed(&table), [131, 130], "numbers are in checkpoints too");
    assert_eq!(table.audit(Some(known)).await.unwrap().findings, []);
}

#[tokio::test]
async fn audits_run_beside_everything_else_and_find_nothing() {
    let (store, env) = (memory(), Env::system());
    let (table, _) = filled(&store, &env, 2).await;
    let table = Arc::new(table);
    let busy = tokio::spawn({
        let table = table.clone();
        async move {
            for n in 0..60 {
                table.append_replacing(batch(&[row("UA", n % 7, START, n.into())]), &[]).await.unwrap();
                table.commit().await.unwrap();
                table.merge().await.unwrap();
                table.vacuum(Duration::ZERO).await.unwrap();
            }
        }
    });
    let mut known = None;
    let mut audits = 0;
    while !busy.is_finished() || audits < 3 {
        let audit = table.audit(known).await.unwrap();
        assert_eq!(audit.findings, []);
        known = Some(audit.known);
        audits += 1;
        tokio::task::yield_now().await;
    }
    busy.await.unwrap();
}

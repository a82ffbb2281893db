//! Merging keeps rows; a vacuum deletes only the dead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use weir_env::Env;
use weir_table::{Spec, VacuumError};

use crate::support::*;

async fn data_files(store: &InMemory) -> BTreeSet<String> {
    let listed: Vec<_> = store.list(Some(&"tables/flights".into())).try_collect().await.unwrap();
    listed.into_iter().map(|object| object.location.to_string()).filter(|path| !path.contains("_delta_log")).collect()
}

async fn filled(store: &Arc<InMemory>, env: &Env, commits: i32) -> (weir_table::Table, Vec<Row>) {
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), env).await;
    let mut all = Vec::new();
    for commit in 0..commits {
        let rows: Vec<Row> =
            (0..20).map(|n| row("UA", commit * 20 + n, START + i64::from(n) * MINUTE, commit.into())).collect();
        table.append(batch(&rows), &[(source(), (commit as u64 + 1) * 20)]).await.unwrap();
        table.commit().await.unwrap();
        all.extend(rows);
    }
    all.sort();
    (table, all)
}

#[tokio::test]
async fn a_merge_keeps_every_row_and_says_what_it_did() {
    let (store, env) = (memory(), Env::system());
    let (table, all) = filled(&store, &env, 9).await;
    let before = table.view();
    let merged = table.merge().await.unwrap();
    assert_eq!((merged.files_in, merged.files_out, merged.rows, merged.more), (9, 1, 180, false));
    assert_eq!(merged.bytes_out, table.view().files[0].size);
    assert_eq!(table.view().files.len(), 1);
    assert_eq!(table.view().files[0].times, Some((START, START + 19 * MINUTE)));
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
    assert_eq!(rows_in(&before, store.as_ref()).await, all, "an older view still reads");
    assert_eq!(table.merge().await.unwrap(), weir_table::Compacted::default());
    let log =
        store.get(&"tables/flights/_delta_log/00000000000000000010.json".into()).await.unwrap().bytes().await.unwrap();
    let log = String::from_utf8(log.to_vec()).unwrap();
    assert!(log.contains("\"dataChange\":false") && !log.contains("\"dataChange\":true"), "{log}");
}

#[tokio::test]
async fn a_vacuum_deletes_replaced_and_orphaned_files_and_no_other() {
    let (store, env) = (memory(), Env::system());
    let (table, all) = filled(&store, &env, 8).await;
    let replaced = data_files(&store).await;
    table.merge().await.unwrap();
    let orphan = "tables/flights/_day=2013-01-01/part-orphan.parquet";
    store.put(&orphan.into(), "of a crashed commit".into()).await.unwrap();
    store.put(&"tables/flights/README.md".into(), "not ours".into()).await.unwrap();

    let kept = table.vacuum(Duration::from_secs(3600)).await.unwrap();
    assert_eq!((kept.files, kept.log_files), (0, 0));
    let vacuumed = table.vacuum(Duration::ZERO).await.unwrap();
    assert_eq!(vacuumed.files, replaced.len() as u64 + 1);
    let left = data_files(&store).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains("tables/flights/README.md"));
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
    assert!(matches!(table.vacuum(Duration::from_secs(8 * 86_400)).await, Err(VacuumError::Keep { .. })));
}

#[tokio::test]
async fn the_log_is_checkpointed_and_shortened_and_the_table_reopens() {
    let (store, env) = (memory(), Env::system());
    let (table, mut all) = filled(&store, &env, 60).await;
    let vacuumed = table.vacuum(Duration::ZERO).await.unwrap();
    assert!(vacuumed.log_files >= 50, "{vacuumed:?}");
    // Commits, merges and reopening go on from what is left.
    let more = row("UA", 9999, START, 1);
    table.append(batch(std::slice::from_ref(&more)), &[(source(), 1201)]).await.unwrap();
    table.commit().await.unwrap();
    table.merge().await.unwrap();
    drop(table);
    all.push(more);
    all.sort();
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    assert_eq!(table.positions()[&source()], 1201);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
    assert_eq!(table.append(batch(&all[..50]), &[]).await.unwrap().repeats, 50);
}

#[tokio::test]
async fn merging_in_turns_keeps_the_number_of_files_small() {
    let (store, env) = (memory(), Env::system());
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    let mut most = 0;
    for commit in 0..70 {
        table.append(batch(&[row("UA", commit, START, 0)]), &[]).await.unwrap();
        table.commit().await.unwrap();
        table.merge().await.unwrap();
        most = most.max(table.view().files.len());
    }
    assert!(most <= 16, "{most} files");
    assert_eq!(table.stats().rows, 70);
}

#[tokio::test]
async fn a_vacuum_deletes_what_killed_writes_have_left_in_a_local_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = url::Url::from_directory_path(folder.path().join("flights")).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(weir_table::LocalStore::new());
    let table = weir_table::Table::open(spec(), store, root, Env::system()).await.unwrap();
    table.append(batch(&[row("UA", 1, START, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    let left = ["_day=2013-01-01/part-0.parquet#17", "_delta_log/00000000000000000009.json#3"];
    for name in left {
        let path = folder.path().join("flights").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "half of a file").unwrap();
    }
    let other = folder.path().join("flights/notes#a");
    std::fs::write(&other, "not ours").unwrap();
    assert_eq!(table.vacuum(Duration::from_secs(3600)).await.unwrap().files, 0);
    assert_eq!(table.vacuum(Duration::ZERO).await.unwrap().files, 2);
    assert!(left.iter().all(|name| !folder.path().join("flights").join(name).exists()) && other.exists());
    assert_eq!(table.view().files.len(), 1);
}

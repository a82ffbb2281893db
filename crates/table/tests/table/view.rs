//! Views are consistent, and memory is bounded.

use std::sync::Arc;

use weir_table::{AppendError, Spec};

use crate::support::*;

#[tokio::test]
async fn a_view_shows_the_buffer_with_partition_columns_and_positions() {
    let (store, env) = (memory(), env(1));
    let table = open(spec(), store.clone(), &env).await;
    assert!(!table.pending().moved);
    table.append(batch(&[row("UA", 1, START, 7)]), &[(source(), 1)]).await.unwrap();
    let view = table.view();
    assert_eq!(view.positions[&source()], 1);
    assert!(table.positions().is_empty());
    let names: Vec<_> = view.buffered[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["carrier", "flight", "at", "distance", "_day", "_bucket"]);
    assert!(table.pending().moved && table.pending().oldest.is_some());
    table.commit().await.unwrap();
    assert_eq!((table.pending().rows, table.pending().bytes, table.pending().moved), (0, 0, false));
    assert!(table.view().buffered.is_empty());
    // The old view still reads.
    assert_eq!(rows_in(&view, store.as_ref()).await, [row("UA", 1, START, 7)]);
}

#[tokio::test]
async fn positions_alone_are_committed_and_nothing_is_not() {
    let (store, env) = (memory(), env(2));
    let table = open(spec(), store.clone(), &env).await;
    table.append(batch(&[]), &[(source(), 5)]).await.unwrap();
    let committed = table.commit().await.unwrap();
    assert_eq!((committed.version, committed.rows, committed.files), (1, 0, 0));
    assert_eq!(table.commit().await.unwrap().version, 1);
    drop(table);
    assert_eq!(open(spec(), store, &env).await.positions()[&source()], 5);
}

#[tokio::test]
async fn a_full_buffer_asks_for_a_commit_and_a_source_cannot_go_back() {
    let (store, env) = (memory(), env(3));
    let spec = Spec { commit_bytes: 10_000, buffer_bytes_max: 100_000, ..spec() };
    let table = open(spec, store, &env).await;
    let rows = |from: i32| (from..from + 500).map(|n| row("UA", n, START, 0)).collect::<Vec<_>>();
    let mut taken = 0u64;
    let full = loop {
        match table.append(batch(&rows(taken as i32)), &[(source(), taken + 500)]).await {
            Ok(_) => taken += 500,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { bytes_max: 100_000, .. }), "{full}");
    assert!(table.pending().bytes <= 100_000 + 60_000);
    assert_eq!(table.view().positions[&source()], taken);
    table.commit().await.unwrap();
    table.append(batch(&rows(taken as i32)), &[(source(), taken + 500)]).await.unwrap();
    let back = table.append(batch(&rows(0)), &[(source(), taken)]).await.unwrap_err();
    assert!(matches!(back, AppendError::Backwards { .. }), "{back}");
}

#[tokio::test]
async fn a_slice_of_a_large_batch_does_not_hold_the_rest() {
    let (store, env) = (memory(), env(4));
    let table = open(spec(), store, &env).await;
    let rows: Vec<Row> = (0..100_000).map(|n| row("UA", n, START, 0)).collect();
    let large = batch(&rows);
    table.append(large.slice(5, 10), &[]).await.unwrap();
    assert!(table.pending().bytes < 10_000, "{:?}", table.pending());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn views_are_consistent_while_rows_are_appended_committed_and_merged() {
    let (store, env) = (memory(), env(5));
    let table = Arc::new(open(spec(), store.clone(), &env).await);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_done = |done: &std::sync::atomic::AtomicBool| done.load(std::sync::atomic::Ordering::Relaxed);
    let appending = tokio::spawn({
        let (table, done) = (table.clone(), done.clone());
        async move {
            for n in 0..60 {
                let rows: Vec<Row> = (0..50).map(|m| row("UA", n * 40 + m, START, 0)).collect();
                // Ten of each batch repeat the last one's.
                table.append(batch(&rows), &[(source(), (n as u64 + 1) * 40 + 10)]).await.unwrap();
                tokio::task::yield_now().await;
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let committing = tokio::spawn({
        let (table, done) = (table.clone(), done.clone());
        async move {
            while !is_done(&done) {
                table.commit().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let merging = tokio::spawn({
        let (table, done) = (table.clone(), done.clone());
        async move {
            while !is_done(&done) {
                table.merge().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut views = 0;
    while !is_done(&done) || views == 0 {
        let view = table.view();
        let rows = rows_in(&view, store.as_ref()).await;
        let expected = view.positions.get(&source()).copied().unwrap_or(0);
        assert_eq!(rows.len() as u64, expected, "at version {}", view.version);
        assert!(rows.windows(2).all(|pair| pair[0] != pair[1]));
        views += 1;
        tokio::task::yield_now().await;
    }
    appending.await.unwrap();
    committing.await.unwrap();
    merging.await.unwrap();
    table.commit().await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 60 * 40 + 10);
}

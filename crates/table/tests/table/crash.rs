//! A crash at any point neither repeats nor loses a row; neither does a store that fails or loses replies.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use weir_env::Env;
use weir_table::{CommitError, LocalStore, Table};

use crate::support::*;

/// A source: numbered rows, some of which repeat earlier ones.
fn feed(seed: u64, rows: usize) -> Vec<Row> {
    let mut dice = Dice::new(seed);
    (0..rows)
        .map(|n| {
            let flight = dice.below(rows as u64 * 2 / 3) as i32;
            row("UA", flight, START + i64::from(flight % 5) * 7 * HOUR, n as i64)
        })
        .collect()
}

/// The model: the first row of each id.
fn first_of_each(rows: &[Row]) -> Vec<Row> {
    let mut model = BTreeMap::new();
    for row in rows {
        model.entry((row.flight, row.at)).or_insert_with(|| row.clone());
    }
    let mut rows: Vec<Row> = model.into_values().collect();
    rows.sort();
    rows
}

/// Reads the source from where the table is, until the end or an error.
async fn consume(table: &Table, feed: &[Row], dice: &mut Dice) -> Result<(), CommitError> {
    let mut at = table.positions().get(&source()).copied().unwrap_or(0) as usize;
    while at < feed.len() {
        let to = (at + 1 + dice.below(40) as usize).min(feed.len());
        if table.append(batch(&feed[at..to]), &[(source(), to as u64)]).await.is_err() {
            return Ok(());
        }
        at = to;
        match dice.below(4) {
            0 => drop(table.commit().await?),
            1 if dice.below(3) == 0 => drop(table.merge().await),
            _ => {}
        }
    }
    table.commit().await.map(drop)
}

async fn check(store: Arc<InMemory>, env: &Env, feed: &[Row], seed: u64) {
    let table = open(spec(), store.clone(), env).await;
    assert_eq!(table.positions()[&source()], feed.len() as u64, "seed {seed}");
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, first_of_each(feed), "seed {seed}");
}

#[tokio::test]
async fn a_crash_at_any_write_neither_repeats_nor_loses() {
    for seed in 1..=60 {
        let (inner, env) = (memory(), env(seed));
        let (feed, mut dice) = (feed(seed, 400), Dice::new(seed ^ 77));
        for _life in 0..50 {
            let store = Faulty::over(inner.clone(), seed);
            store.crash_after(dice.below(25), dice.below(2) == 0);
            let root = "memory:///tables/flights".parse().unwrap();
            let Ok(table) = Table::open(spec(), store.clone(), root, env.clone()).await else { continue };
            if consume(&table, &feed, &mut dice).await.is_ok() && !store.is_dead() {
                break;
            }
        }
        let table = open(spec(), inner.clone(), &env).await;
        consume(&table, &feed, &mut dice).await.unwrap();
        drop(table);
        check(inner, &env, &feed, seed).await;
    }
}

#[tokio::test]
async fn failing_writes_and_lost_replies_neither_repeat_nor_lose() {
    for seed in 1..=30 {
        let (inner, env) = (memory(), env(seed));
        let (feed, mut dice) = (feed(seed, 400), Dice::new(seed ^ 99));
        let store = Faulty::over(inner.clone(), seed);
        let table = open(spec(), store.clone(), &env).await;
        store.fail_one_in(3);
        let mut tries = 0;
        // A failed commit leaves the rows in the buffer; the table goes on where it was.
        let mut at = 0;
        while at < feed.len() {
            let to = (at + 1 + dice.below(40) as usize).min(feed.len());
            table.append(batch(&feed[at..to]), &[(source(), to as u64)]).await.unwrap();
            at = to;
            let _ = table.commit().await;
            let _ = table.merge().await;
        }
        while let Err(error) = table.commit().await {
            assert!(!matches!(error, CommitError::Fenced { .. }), "seed {seed}: {error}");
            tries += 1;
            assert!(tries < 200, "seed {seed}");
        }
        drop(table);
        check(inner, &env, &feed, seed).await;
    }
}

#[tokio::test]
async fn a_commit_after_a_failed_one_commits_what_came_since_too() {
    let (inner, env) = (memory(), env(5));
    let store = Faulty::over(inner.clone(), 1);
    let table = open(spec(), store.clone(), &env).await;
    table.append(batch(&[row("UA", 1, START, 0)]), &[(source(), 1)]).await.unwrap();
    store.fail_one_in(1);
    table.commit().await.unwrap_err();
    store.fail_one_in(0);
    table.append(batch(&[row("UA", 1, START, 0), row("UA", 2, START, 0)]), &[(source(), 3)]).await.unwrap();
    assert_eq!(table.pending().rows, 2);
    assert_eq!(table.commit().await.unwrap().rows, 2);
    assert!(!table.pending().moved);
    drop(table);
    assert_eq!(open(spec(), inner, &env).await.positions()[&source()], 3);
}

#[tokio::test]
async fn a_commit_whose_caller_is_gone_is_found_by_the_next() {
    for polls in 0..40 {
        let (inner, env) = (memory(), env(polls));
        let table = open(spec(), inner.clone(), &env).await;
        let rows: Vec<Row> = (0..50).map(|n| row("UA", n, START, 0)).collect();
        table.append(batch(&rows), &[(source(), 50)]).await.unwrap();
        {
            let mut commit = Box::pin(table.commit());
            for _ in 0..polls {
                if futures::poll!(&mut commit).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        table.append(batch(&[row("UA", 99, START, 0)]), &[(source(), 51)]).await.unwrap();
        table.commit().await.unwrap();
        table.commit().await.unwrap();
        drop(table);
        let table = open(spec(), inner.clone(), &env).await;
        assert_eq!(table.positions()[&source()], 51, "after {polls} polls");
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await.len(), 51, "after {polls} polls");
    }
}

#[tokio::test]
async fn the_older_of_two_writers_is_fenced_and_its_rows_are_not_stored() {
    let (store, env) = (memory(), env(1));
    let old = open(spec(), store.clone(), &env).await;
    old.append(batch(&[row("UA", 1, START, 1)]), &[(source(), 1)]).await.unwrap();
    let new = open(spec(), store.clone(), &env).await;
    new.append(batch(&[row("UA", 1, START, 1), row("UA", 2, START, 1)]), &[(source(), 2)]).await.unwrap();
    new.commit().await.unwrap();
    assert!(matches!(old.commit().await, Err(CommitError::Fenced { version: 1, .. })));
    assert!(matches!(old.commit().await, Err(CommitError::Fenced { .. })));
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 2);
}

#[tokio::test]
async fn writers_of_other_sources_fence_each_other_too() {
    let (store, env) = (memory(), env(2));
    let old = open(spec(), store.clone(), &env).await;
    let new = open(spec(), store.clone(), &env).await;
    new.append(batch(&[row("UA", 1, START, 1)]), &[]).await.unwrap();
    new.commit().await.unwrap();
    old.append(batch(&[row("UA", 1, START, 1)]), &[(source(), 1)]).await.unwrap();
    assert!(matches!(old.commit().await, Err(CommitError::Fenced { .. })));
}

#[tokio::test]
async fn a_merge_by_another_process_does_not_fence() {
    let (store, env) = (memory(), env(3));
    let table = open(spec(), store.clone(), &env).await;
    for n in 0..40 {
        table.append(batch(&[row("UA", n, START, 1)]), &[(source(), n as u64 + 1)]).await.unwrap();
        table.commit().await.unwrap();
    }
    let other = open(spec(), store.clone(), &env).await;
    assert!(other.merge().await.unwrap().files_in > 0);
    table.append(batch(&[row("UA", 0, START, 1), row("UA", 40, START, 1)]), &[(source(), 41)]).await.unwrap();
    table.commit().await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 41);
    // And ours, on files that the other has replaced, is given up or done anew.
    for _ in 0..10 {
        table.merge().await.unwrap();
    }
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 41);
}

#[tokio::test]
async fn a_local_folder_holds_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let root = url::Url::from_directory_path(folder.path().join("a table/flights")).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new());
    let env = Env::system();
    let rows: Vec<Row> = (0..100).map(|n| row("UA", n, START + i64::from(n % 3) * DAY, 0)).collect();
    let table = Table::open(spec(), store.clone(), root.clone(), env.clone()).await.unwrap();
    table.append(batch(&rows), &[(source(), 100)]).await.unwrap();
    table.commit().await.unwrap();
    drop(table);
    let table = Table::open(spec(), store.clone(), root, env).await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows);
    assert_eq!(table.append(batch(&rows), &[(source(), 200)]).await.unwrap().repeats, 100);
}

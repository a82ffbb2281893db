//! Rows that are gathered aside are seen all at once, or never; a crash at any write neither mixes, repeats nor loses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use weir_env::Env;
use weir_table::{How, OpenError, Prepared, SourceId, Spec, Table, TakeOverError, Witness, WitnessError};
use weir_types::Tally;

use crate::support::*;

/// The source that tells the table how many runs it took over.
fn run() -> SourceId {
    SourceId::new("run/flights")
}

fn aside_spec() -> Spec {
    Spec { name: "flights-run".parse().unwrap(), ..spec() }
}

async fn open_both(store: Arc<dyn ObjectStore>, env: &Env) -> (Table, Arc<Table>) {
    let table = open(spec(), store, env).await;
    let aside = table.open_aside(aside_spec(), None).await.unwrap();
    (table, aside)
}

/// The rows of a run: some days, some flights, told apart by their distance.
fn rows_of_run(run: u64, count: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..count)
        .map(|n| {
            row("UA", n as i32, START + (n as i64 % 3) * DAY + (run as i64 % 2) * DAY, run as i64 * 1000 + n as i64)
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn what_was_gathered_is_unseen_until_it_takes_the_place_of_all() {
    let (store, env) = (memory(), env(1));
    let (table, aside) = open_both(store.clone(), &env).await;
    table.append(batch(&rows_of_run(1, 20)), &[(source(), 20)]).await.unwrap();
    table.commit().await.unwrap();
    let before = table.view();

    let second = rows_of_run(2, 30);
    for (n, rows) in second.chunks(7).enumerate() {
        aside.append(batch(rows), &[(source(), 20 + n as u64)]).await.unwrap();
        aside.commit().await.unwrap();
    }
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(1, 20));
    assert_eq!(table.view().version, before.version);

    let taken = table.take_over(How::Instead, (run(), 2)).await.unwrap();
    assert_eq!((taken.rows, taken.version), (30, before.version + 1));
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, second);
    assert_eq!(rows_in(&before, store.as_ref()).await, rows_of_run(1, 20), "an older version stays readable");
    assert_eq!(table.positions()[&run()], 2);
    aside.clear(&[(source(), 50)]).await.unwrap();
    assert_eq!((aside.stats().rows, aside.positions()[&source()]), (0, 50));

    // Both are what a later process finds, whose statistics still find what is asked for.
    drop((table, aside));
    let (table, aside) = open_both(store.clone(), &env).await;
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, second);
    assert_eq!(aside.stats().rows, 0);
    let view = table.view();
    assert!(view.files.iter().all(|file| file.path.starts_with("_run/") && file.times.is_some()));
    assert!(table.audit(None).await.unwrap().findings.is_empty());
    // Ids of the table are those of the rows that came from aside.
    assert_eq!(table.append(batch(&second), &[(source(), 99)]).await.unwrap().repeats, 30);
}

#[tokio::test]
async fn what_is_added_stands_beside_what_was_there() {
    let (store, env) = (memory(), env(2));
    let spec = Spec { unique_by: Vec::new(), buckets: 1, ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let aside = table.open_aside(aside_spec(), None).await.unwrap();
    let mut all = Vec::new();
    for number in 1..=3 {
        let rows = rows_of_run(number, 10);
        aside.append(batch(&rows), &[(source(), number * 10)]).await.unwrap();
        aside.commit().await.unwrap();
        table.take_over(How::Add, (run(), number)).await.unwrap();
        aside.clear(&[(source(), number * 10 + 1)]).await.unwrap();
        all.extend(rows);
    }
    all.sort();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, all);
}

#[tokio::test]
async fn what_was_done_is_not_done_again() {
    let (store, env) = (memory(), env(3));
    let (table, aside) = open_both(store.clone(), &env).await;
    aside.append(batch(&rows_of_run(1, 10)), &[(source(), 10)]).await.unwrap();
    aside.commit().await.unwrap();
    let first = table.take_over(How::Instead, (run(), 1)).await.unwrap();
    // A row that came by itself afterwards stays, though the run is taken over once more.
    table.append(batch(&[row("DL", 1, START, 0)]), &[]).await.unwrap();
    let again = table.take_over(How::Instead, (run(), 1)).await.unwrap();
    assert_eq!(again.version, first.version + 1, "the buffered row was committed, and nothing else");
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 11);
    aside.clear(&[(source(), 11)]).await.unwrap();
    aside.append(batch(&rows_of_run(2, 5)), &[(source(), 15)]).await.unwrap();
    aside.commit().await.unwrap();
    aside.clear(&[(source(), 11)]).await.unwrap();
    assert_eq!(aside.stats().rows, 5, "what came behind the position that was reached stays");
}

#[tokio::test]
async fn an_empty_run_takes_the_place_of_all_too() {
    let (store, env) = (memory(), env(4));
    let (table, _aside) = open_both(store.clone(), &env).await;
    table.append(batch(&rows_of_run(1, 10)), &[]).await.unwrap();
    table.take_over(How::Instead, (run(), 1)).await.unwrap();
    assert!(rows_in(&table.view(), store.as_ref()).await.is_empty());
}

#[tokio::test]
async fn what_would_break_the_table_is_refused() {
    let (store, env) = (memory(), env(5));
    let table = open(spec(), store.clone(), &env).await;
    assert!(matches!(table.take_over(How::Instead, (run(), 1)).await, Err(TakeOverError::NoAside { .. })));
    let aside = table.open_aside(aside_spec(), None).await.unwrap();
    aside.append(batch(&rows_of_run(1, 10)), &[(source(), 10)]).await.unwrap();
    assert!(matches!(table.take_over(How::Instead, (run(), 1)).await, Err(TakeOverError::Uncommitted { .. })));
    aside.commit().await.unwrap();
    table.take_over(How::Add, (run(), 1)).await.unwrap();
    // Its ids would be there twice.
    assert!(matches!(table.take_over(How::Add, (run(), 2)).await, Err(TakeOverError::Unique { .. })));
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(1, 10));
    drop((table, aside));
    // The table was made anew, under another key, and what is aside was not.
    let log: Vec<_> = store_paths(store.as_ref(), "tables/flights/_delta_log").await;
    for path in log {
        object_store::ObjectStoreExt::delete(store.as_ref(), &path).await.unwrap();
    }
    let table = open(spec(), store.clone(), &env).await;
    assert!(table.has_aside().await.unwrap());
    assert!(matches!(table.open_aside(aside_spec(), None).await, Err(OpenError::Foreign { .. })));
}

async fn store_paths(store: &dyn ObjectStore, prefix: &str) -> Vec<object_store::path::Path> {
    use futures::TryStreamExt;
    let prefix = object_store::path::Path::from(prefix);
    store.list(Some(&prefix)).map_ok(|object| object.location).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_vacuum_keeps_what_either_names_and_deletes_what_was_discarded_once_it_is_old() {
    let store = memory();
    // The store's times are the machine's.
    let env = Env::system();
    let (table, aside) = open_both(store.clone(), &env).await;
    let keep = Duration::ZERO;
    aside.append(batch(&rows_of_run(1, 10)), &[(source(), 10)]).await.unwrap();
    aside.commit().await.unwrap();
    // Not opened aside in this life: nothing there is anybody's to delete.
    let other = open(spec(), store.clone(), &env).await;
    assert_eq!(other.vacuum(keep).await.unwrap().files, 0);
    assert_eq!(table.vacuum(keep).await.unwrap().files, 0);
    assert_eq!(rows_in(&aside.view(), store.as_ref()).await, rows_of_run(1, 10));

    table.take_over(How::Instead, (run(), 1)).await.unwrap();
    aside.clear(&[(source(), 11)]).await.unwrap();
    assert_eq!(aside.vacuum(keep).await.unwrap().files, 0);
    assert_eq!(table.vacuum(keep).await.unwrap().files, 0);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(1, 10));

    aside.append(batch(&rows_of_run(2, 10)), &[(source(), 20)]).await.unwrap();
    aside.commit().await.unwrap();
    let discarded = aside.view().files.len() as u64;
    aside.clear(&[(source(), 21)]).await.unwrap();
    assert_eq!(table.vacuum(Duration::from_secs(3600)).await.unwrap().files, 0);
    assert_eq!(table.vacuum(keep).await.unwrap().files, discarded);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(1, 10));

    aside.append(batch(&rows_of_run(3, 10)), &[(source(), 30)]).await.unwrap();
    aside.commit().await.unwrap();
    let replaced = table.view().files.len() as u64;
    table.take_over(How::Instead, (run(), 3)).await.unwrap();
    aside.clear(&[(source(), 31)]).await.unwrap();
    assert_eq!(table.vacuum(keep).await.unwrap().files, replaced);
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(3, 10));
}

#[tokio::test]
async fn the_log_aside_is_shortened_by_the_tables_vacuum() {
    let (store, env) = (memory(), Env::system());
    let (table, aside) = open_both(store.clone(), &env).await;
    for number in 1..=60 {
        aside.append(batch(&rows_of_run(number, 3)), &[(source(), number)]).await.unwrap();
        aside.commit().await.unwrap();
    }
    let vacuumed = table.vacuum(Duration::ZERO).await.unwrap();
    assert!(vacuumed.log_files > 40, "{vacuumed:?}");
    assert!(store_paths(store.as_ref(), "tables/flights/_run/_delta_log").await.len() < 20);
    drop((table, aside));
    let (_table, aside) = open_both(store.clone(), &env).await;
    assert_eq!(aside.positions()[&source()], 60);
}

#[tokio::test]
async fn a_compaction_and_a_swap_in_any_order_leave_the_new_rows() {
    for seed in 1..=20 {
        let (store, env) = (memory(), env(seed));
        let (table, aside) = open_both(store.clone(), &env).await;
        for n in 0..12 {
            table.append(batch(&[row("UA", n, START, 1)]), &[]).await.unwrap();
            table.commit().await.unwrap();
        }
        aside.append(batch(&rows_of_run(2, 30)), &[(source(), 1)]).await.unwrap();
        aside.commit().await.unwrap();
        let (merged, taken) = tokio::join!(table.merge(), table.take_over(How::Instead, (run(), 1)));
        taken.unwrap();
        drop(merged);
        table.merge().await.unwrap();
        assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows_of_run(2, 30), "seed {seed}");
    }
}

#[tokio::test]
async fn what_is_gathered_may_be_merged_while_it_is_taken_over() {
    for tried in 1..=20 {
        // The store's times are the machine's.
        let (store, env) = (memory(), Env::system());
        let (table, aside) = open_both(store.clone(), &env).await;
        let rows = rows_of_run(1, 40);
        for (n, rows) in rows.chunks(2).enumerate() {
            aside.append(batch(rows), &[(source(), n as u64 + 1)]).await.unwrap();
            aside.commit().await.unwrap();
        }
        let merge = async {
            while aside.merge().await.unwrap().files_in > 0 {}
            table.vacuum(Duration::ZERO).await.unwrap();
        };
        let (taken, ()) = tokio::join!(table.take_over(How::Instead, (run(), 1)), merge);
        taken.unwrap();
        aside.clear(&[(source(), 100)]).await.unwrap();
        table.vacuum(Duration::ZERO).await.unwrap();
        assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows, "time {tried}");
    }
}

/// Adds up what it is told.
#[derive(Default)]
struct Sums(Mutex<(u64, Tally)>);

#[async_trait::async_trait]
impl Witness for Sums {
    async fn prepare(&self, commit: &Prepared) -> Result<(), WitnessError> {
        let mut sums = self.0.lock().unwrap();
        assert_eq!(commit.number, sums.0 + 1);
        sums.0 = commit.number;
        for change in &commit.places {
            sums.1.merge(change.added);
            sums.1 =
                Tally { count: sums.1.count - change.removed.count, sum: sums.1.sum.wrapping_sub(change.removed.sum) };
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_witnesses_of_both_are_told_what_comes_and_what_goes() {
    let (store, env) = (memory(), env(6));
    let (of_table, of_aside) = (Arc::new(Sums::default()), Arc::new(Sums::default()));
    let root = "memory:///tables/flights".parse().unwrap();
    let table = Table::open_witnessed(spec(), store.clone(), root, env.clone(), of_table.clone()).await.unwrap();
    let aside = table.open_aside(aside_spec(), Some(of_aside.clone())).await.unwrap();
    for number in 1..=3 {
        aside.append(batch(&rows_of_run(number, 10 + number as usize)), &[(source(), number * 10)]).await.unwrap();
        aside.commit().await.unwrap();
        assert_eq!(of_aside.0.lock().unwrap().1.count, 10 + number);
        table.take_over(How::Instead, (run(), number)).await.unwrap();
        aside.clear(&[(source(), number * 10 + 1)]).await.unwrap();
        assert_eq!(of_aside.0.lock().unwrap().1, Tally::default());
        let held = table.audit(None).await.unwrap().places.into_values().fold(Tally::default(), |mut all, tally| {
            all.merge(tally);
            all
        });
        assert_eq!(of_table.0.lock().unwrap().1, held);
        assert_eq!(held.count, 10 + number);
    }
}

/// What a run's feed says at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Row(u64, usize),
    Complete(u64),
    Cancelled,
}

/// Runs of some rows each, of which some are cancelled.
fn feed(seed: u64) -> Vec<Said> {
    let mut dice = Dice::new(seed);
    let mut feed = Vec::new();
    for number in 1..=6 {
        let rows = 5 + dice.below(30) as usize;
        feed.extend((0..rows).map(|n| Said::Row(number, n)));
        feed.push(if dice.below(3) == 0 { Said::Cancelled } else { Said::Complete(rows as u64) });
    }
    feed
}

/// Works a feed off from where the table aside is; an error is a crash.
async fn work(table: &Table, aside: &Table, feed: &[Said], dice: &mut Dice) -> Result<(), Box<dyn std::error::Error>> {
    let mut at = aside.positions().get(&source()).copied().unwrap_or(0) as usize;
    while at < feed.len() {
        let rows: Vec<Row> = feed[at..]
            .iter()
            .take(1 + dice.below(12) as usize)
            .map_while(|said| match said {
                Said::Row(number, n) => {
                    Some(rows_of_run(*number, n + 1)[..].iter().max_by_key(|row| row.distance)?.clone())
                }
                _ => None,
            })
            .collect();
        if !rows.is_empty() {
            at += rows.len();
            aside.append(batch(&rows), &[(source(), at as u64)]).await?;
            if dice.below(2) == 0 {
                aside.commit().await?;
            }
            continue;
        }
        let next = at as u64 + 1;
        aside.commit().await?;
        if let Said::Complete(_) = feed[at] {
            table.take_over(How::Instead, (run(), next)).await?;
            if dice.below(3) == 0 {
                drop(table.merge().await);
            }
        }
        aside.clear(&[(source(), next)]).await?;
        at += 1;
    }
    Ok(())
}

/// What readers may find: nothing, or all of one run that was complete.
fn whole(feed: &[Said]) -> Vec<Vec<Row>> {
    let mut whole = vec![Vec::new()];
    let mut number = 0;
    for said in feed {
        match said {
            Said::Row(of, _) => number = *of,
            Said::Complete(rows) => whole.push(rows_of_run(number, *rows as usize)),
            Said::Cancelled => {}
        }
    }
    whole
}

#[tokio::test]
async fn a_crash_at_any_write_leaves_all_of_one_run_to_readers() {
    let mut crashes = 0;
    for seed in 1..=60 {
        let (inner, env) = (memory(), env(seed));
        let (feed, mut dice) = (feed(seed), Dice::new(seed ^ 77));
        let whole = whole(&feed);
        let mut versions = BTreeSet::new();
        let mut done = false;
        for life in 0..200 {
            let store = Faulty::over(inner.clone(), seed);
            // Ever longer lives, so that it ends.
            store.crash_after(dice.below(8 + life), dice.below(2) == 0);
            let root = "memory:///tables/flights".parse().unwrap();
            if let Ok(table) = Table::open(spec(), store.clone(), root, env.clone()).await
                && let Ok(aside) = table.open_aside(aside_spec(), None).await
            {
                done = work(&table, &aside, &feed, &mut dice).await.is_ok() && !store.is_dead();
            }
            crashes += u64::from(!done);
            // What a reader finds now.
            let table = open(spec(), inner.clone(), &env).await;
            let found = rows_in(&table.view(), inner.as_ref()).await;
            assert!(whole.contains(&found), "seed {seed}, life {life}: a mixture of {} rows", found.len());
            versions.insert(found);
            if done {
                break;
            }
        }
        assert!(done, "seed {seed}");
        let (table, aside) = open_both(inner.clone(), &env).await;
        assert_eq!(&rows_in(&table.view(), inner.as_ref()).await, whole.last().unwrap(), "seed {seed}");
        assert_eq!(aside.stats().rows, 0, "seed {seed}");
        assert!(versions.len() > 1 || whole.len() < 3, "seed {seed}");
    }
    assert!(crashes > 300, "{crashes} crashes");
}

#[tokio::test]
async fn failing_writes_and_lost_replies_leave_all_of_the_last_run() {
    for seed in 1..=30 {
        let (inner, env) = (memory(), env(seed));
        let (feed, mut dice) = (feed(seed), Dice::new(seed ^ 99));
        let store = Faulty::over(inner.clone(), seed);
        let (table, aside) = open_both(store.clone(), &env).await;
        store.fail_one_in(4);
        let mut tries = 0;
        while let Err(error) = work_on(&table, &aside, &feed, &mut dice).await {
            tries += 1;
            assert!(tries < 500, "seed {seed}: {error}");
        }
        store.fail_one_in(0);
        drop((table, aside));
        let (table, _) = open_both(inner.clone(), &env).await;
        assert_eq!(&rows_in(&table.view(), inner.as_ref()).await, whole(&feed).last().unwrap(), "seed {seed}");
    }
}

/// Like [`work`], but the process lives on: what is in the buffer was read.
async fn work_on(
    table: &Table,
    aside: &Table,
    feed: &[Said],
    dice: &mut Dice,
) -> Result<(), Box<dyn std::error::Error>> {
    // After an error the buffer is committed first, so that both positions are one.
    aside.commit().await?;
    work(table, aside, feed, dice).await
}

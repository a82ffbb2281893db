//! Rows that take the place of older ones: every reader of every version sees each id once.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use weir_env::Env;
use weir_table::{CommitError, Keep, Rule, Spec, Table};

use crate::partition::{Books, open_witnessed};
use crate::support::*;

/// The table as it should be: by id.
#[derive(Debug, Clone, Default)]
struct Model {
    rows: BTreeMap<(String, i32, Option<i64>), Row>,
}

impl Model {
    /// Takes a row. Says whether it is new (0), equal (1), or replaces another (2).
    fn take(&mut self, row: &Row, replacing: bool) -> usize {
        let id = (row.carrier.clone(), row.flight, row.at);
        match self.rows.get(&id) {
            None => {
                self.rows.insert(id, row.clone());
                0
            }
            Some(old) if old == row || !replacing => 1,
            Some(_) => {
                self.rows.insert(id, row.clone());
                2
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.rows.values().cloned().collect();
        rows.sort();
        rows
    }
}

fn some_row(dice: &mut Dice, ids: u64) -> Row {
    let flight = dice.below(ids) as i32;
    let at = if flight % 17 == 3 { None } else { Some(START + i64::from(flight % 5) * 7 * HOUR) };
    Row { carrier: "UA".to_owned(), flight, at, distance: dice.below(3) as i64 }
}

#[tokio::test]
async fn a_row_takes_the_place_of_one_in_the_batch_the_buffer_the_sealed_buffer_and_files() {
    let (inner, env) = (memory(), env(1));
    let store = Faulty::over(inner.clone(), 1);
    let table = open(spec(), store.clone(), &env).await;
    let at = |flight: i32, distance: i64| row("UA", flight, START, distance);
    let appended = table.append_replacing(batch(&[at(1, 1), at(2, 1), at(1, 2), at(1, 2)]), &[]).await.unwrap();
    assert_eq!((appended.added, appended.replaced, appended.repeats), (2, 1, 1));
    assert_eq!(rows_in(&table.view(), inner.as_ref()).await, vec![at(1, 2), at(2, 1)]);
    let appended = table.append_replacing(batch(&[at(1, 3), at(2, 1)]), &[]).await.unwrap();
    assert_eq!((appended.added, appended.replaced, appended.repeats), (0, 1, 1));
    // Nothing of it was committed, so all of it shows.
    assert_eq!((table.view().hidden, table.pending().rows), (0, 2));
    assert_eq!(rows_in(&table.view(), inner.as_ref()).await, vec![at(1, 3), at(2, 1)]);
    store.fail_one_in(1);
    table.commit().await.unwrap_err();
    store.fail_one_in(0);
    // The first two are sealed now.
    let appended = table.append_replacing(batch(&[at(1, 4), at(2, 1), at(3, 1)]), &[(source(), 9)]).await.unwrap();
    assert_eq!((appended.added, appended.replaced, appended.repeats), (1, 1, 1));
    let view = table.view();
    assert_eq!(view.hidden, 1);
    assert_eq!(rows_in(&view, inner.as_ref()).await, vec![at(1, 3), at(2, 1), at(3, 1)]);
    table.commit().await.unwrap();
    let view = table.view();
    assert_eq!((view.hidden, view.buffered.len()), (0, 0));
    assert_eq!(rows_in(&view, inner.as_ref()).await, vec![at(1, 4), at(2, 1), at(3, 1)]);
    // And now all are in files.
    let appended = table.append_replacing(batch(&[at(1, 4), at(2, 5), at(4, 1)]), &[]).await.unwrap();
    assert_eq!((appended.added, appended.replaced, appended.repeats), (1, 1, 1));
    assert_eq!(rows_in(&table.view(), inner.as_ref()).await, vec![at(1, 4), at(2, 1), at(3, 1), at(4, 1)]);
    table.commit().await.unwrap();
    let wants = vec![at(1, 4), at(2, 5), at(3, 1), at(4, 1)];
    assert_eq!(rows_in(&table.view(), inner.as_ref()).await, wants);
    assert_eq!((table.stats().rows, table.stats().replaced), (4, 4));
    // An ordinary append still drops what is there, whatever its values.
    let appended = table.append(batch(&[at(1, 7)]), &[]).await.unwrap();
    assert_eq!((appended.added, appended.replaced, appended.repeats), (0, 0, 1));
    drop(table);
    assert_eq!(rows_in(&open(spec(), inner.clone(), &env).await.view(), inner.as_ref()).await, wants);
}

#[tokio::test]
async fn equal_rows_are_repeats_and_rewrite_nothing() {
    let (store, env) = (memory(), env(2));
    let table = open(spec(), store.clone(), &env).await;
    let rows: Vec<Row> = (0..500).map(|n| row("UA", n, START + i64::from(n % 3) * DAY, n.into())).collect();
    table.append(batch(&rows), &[(source(), 500)]).await.unwrap();
    table.commit().await.unwrap();
    let before = table.view();
    let mut id_reads = 0;
    for round in 0..3 {
        for part in rows.chunks(100) {
            let appended = table.append_replacing(batch(part), &[]).await.unwrap();
            assert_eq!((appended.repeats, appended.added + appended.replaced), (100, 0));
        }
        if round == 0 {
            id_reads = table.stats().id_reads;
        }
    }
    assert_eq!(table.stats().id_reads, id_reads, "each row group is read once");
    assert_eq!(table.pending().rows, 0);
    table.commit().await.unwrap();
    assert_eq!(table.view().version, before.version);
}

#[tokio::test]
async fn only_files_that_hold_replaced_rows_are_rewritten_and_emptied_ones_vanish() {
    let (store, env) = (memory(), env(3));
    let table = open(Spec { buckets: 1, ..spec() }, store.clone(), &env).await;
    for day in 0..4 {
        let rows: Vec<Row> = (0..20).map(|n| row("UA", n, START + day * DAY, 1)).collect();
        table.append(batch(&rows), &[]).await.unwrap();
        table.commit().await.unwrap();
    }
    let before: Vec<String> = table.view().files.iter().map(|file| file.path.clone()).collect();
    // One row of the second day, all of the third.
    let mut rows: Vec<Row> = (0..20).map(|n| row("UA", n, START + 2 * DAY, 2)).collect();
    rows.push(row("UA", 7, START + DAY, 2));
    assert_eq!(table.append_replacing(batch(&rows), &[]).await.unwrap().replaced, 21);
    table.commit().await.unwrap();
    let after = table.view();
    let kept: Vec<bool> = before.iter().map(|path| after.files.iter().any(|file| file.path == *path)).collect();
    assert_eq!(kept, [true, false, false, true]);
    assert_eq!(after.files.len(), 5);
    assert_eq!(rows_in(&after, store.as_ref()).await.len(), 80);
    let changed: Vec<u64> = table.partitions().iter().map(|partition| partition.changed).collect();
    assert_eq!(changed, [1, 5, 5, 4]);
    // The files that were replaced are still there for older views, until a vacuum.
    table.vacuum(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await.len(), 80);
}

#[tokio::test]
async fn a_table_that_keeps_the_last_row_replaces_on_every_append_and_judges_lateness() {
    let (store, env) = (memory(), env(4));
    let lookback = Some(std::time::Duration::from_secs(24 * 3600));
    let spec = Spec { keep: Keep::Last, lookback, late: Rule::DeadLetter, ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let now = START + 31 * DAY;
    table.append(batch(&[row("UA", 1, now, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    let old = [row("UA", 1, now, 2), row("UA", 2, START, 1)];
    let appended = table.append(batch(&old), &[]).await.unwrap();
    assert_eq!((appended.replaced, appended.added, appended.late, appended.refused.len()), (1, 0, 1, 1));
    // A replay is late by nature.
    let appended = table.append_replacing(batch(&old), &[]).await.unwrap();
    assert_eq!((appended.repeats, appended.added, appended.late), (1, 1, 0));
    table.commit().await.unwrap();
    assert_eq!(
        rows_in(&table.view(), store.as_ref()).await,
        vec![row("UA", 1, now, 2), row("UA", 2, START, 1)].tap_sort()
    );
}

trait TapSort {
    fn tap_sort(self) -> Self;
}

impl TapSort for Vec<Row> {
    fn tap_sort(mut self) -> Self {
        self.sort();
        self
    }
}

/// What happens to a table at random; the model and the books follow.
async fn live(table: &Table, model: &mut Model, at: &mut u64, dice: &mut Dice, seed: u64) -> Result<(), CommitError> {
    for _ in 0..30 {
        match dice.below(10) {
            0..=5 => {
                let replacing = dice.below(3) > 0;
                let rows: Vec<Row> = (0..1 + dice.below(30)).map(|_| some_row(dice, 120)).collect();
                let mut next = model.clone();
                let mut counts = [0; 3];
                for row in &rows {
                    counts[next.take(row, replacing)] += 1;
                }
                let seen = [(source(), *at + rows.len() as u64)];
                let appended = if replacing {
                    table.append_replacing(batch(&rows), &seen).await
                } else {
                    table.append(batch(&rows), &seen).await
                };
                // A file that can't be read now.
                let Ok(appended) = appended else { continue };
                assert_eq!([appended.added, appended.repeats, appended.replaced], counts, "seed {seed}");
                *at += rows.len() as u64;
                *model = next;
            }
            6..=7 => drop(table.commit().await?),
            8 => drop(table.merge().await),
            _ => drop(table.vacuum(std::time::Duration::ZERO).await),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_table_is_its_model_whatever_fails_in_between() {
    for seed in 1..=15 {
        let (inner, env, books) = (memory(), env(seed), Arc::new(Books::default()));
        let store = Faulty::over(inner.clone(), seed);
        let table = open_witnessed(spec(), store.clone(), &env, books.clone()).await;
        let (mut model, mut at, mut dice) = (Model::default(), 0, Dice::new(seed ^ 31));
        for round in 0..6 {
            store.fail_one_in(if round % 2 == 0 { 4 } else { 0 });
            // Faults fail commits, and nothing else is wrong.
            let _ = live(&table, &mut model, &mut at, &mut dice, seed).await;
            store.fail_one_in(0);
            let mut tries = 0;
            while table.pending().moved || table.pending().rows > 0 {
                table.commit().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                tries += 1;
                assert!(tries < 5, "seed {seed}");
            }
            let view = table.view();
            assert_eq!(view.hidden, 0);
            assert_eq!(rows_in(&view, inner.as_ref()).await, model.rows(), "seed {seed}, round {round}");
            let audit = table.audit(None).await.unwrap();
            assert_eq!((audit.findings, audit.places), (vec![], books.tallies(table.commits())), "seed {seed}");
        }
        drop(table);
        let table = open(spec(), inner.clone(), &env).await;
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await, model.rows(), "seed {seed}");
    }
}

/// A feed that is read again from where the table is, after each crash.
#[tokio::test]
async fn a_crash_at_any_write_leaves_what_the_rows_so_far_make() {
    for seed in 1..=12 {
        let (inner, env, books) = (memory(), env(seed), Arc::new(Books::default()));
        let mut dice = Dice::new(seed ^ 7);
        let feed: Vec<Row> = (0..600).map(|_| some_row(&mut dice, 90)).collect();
        let made = |to: usize| {
            let mut model = Model::default();
            for row in &feed[..to] {
                model.take(row, true);
            }
            model.rows()
        };
        for life in 0..40 {
            let store = Faulty::over(inner.clone(), seed);
            store.crash_after(if life == 39 { 1 << 40 } else { dice.below(30) }, dice.below(2) == 0);
            let root = "memory:///tables/flights".parse().unwrap();
            let Ok(table) = Table::open_witnessed(spec(), store, root, env.clone(), books.clone()).await else {
                continue;
            };
            let mut at = table.positions().get(&source()).copied().unwrap_or(0) as usize;
            assert_eq!(rows_in(&table.view(), inner.as_ref()).await, made(at), "seed {seed}, life {life}");
            while at < feed.len() {
                let to = (at + 1 + dice.below(40) as usize).min(feed.len());
                if table.append_replacing(batch(&feed[at..to]), &[(source(), to as u64)]).await.is_err() {
                    break;
                }
                at = to;
                match dice.below(4) {
                    0 if table.commit().await.is_err() => break,
                    1 => drop(table.merge().await),
                    _ => {}
                }
            }
            let _ = table.commit().await;
        }
        let table = open_witnessed(spec(), inner.clone(), &env, books.clone()).await;
        assert_eq!(table.positions()[&source()], 600, "seed {seed}");
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await, made(600), "seed {seed}");
        let audit = table.audit(None).await.unwrap();
        assert_eq!((audit.findings, audit.places), (vec![], books.tallies(table.commits())), "seed {seed}");
    }
}

/// Readers meanwhile see each id once, and never an older value after a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_view_has_each_id_once_while_rows_are_replaced_merged_and_partitions_exchanged() {
    let (store, env) = (memory(), Env::system());
    let table = Arc::new(open(spec(), store.clone(), &env).await);
    let ids = 200;
    let rows: Vec<Row> = (0..ids).map(|n| row("UA", n, START + i64::from(n % 2) * DAY, 0)).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    let appending = tokio::spawn({
        let table = table.clone();
        async move {
            let mut dice = Dice::new(9);
            for round in 1..=60 {
                let rows: Vec<Row> = (0..40)
                    .map(|_| dice.below(ids as u64) as i32)
                    .map(|n| row("UA", n, START + i64::from(n % 2) * DAY, round))
                    .collect();
                table.append_replacing(batch(&rows), &[]).await.unwrap();
                if round % 3 == 0 {
                    table.commit().await.unwrap();
                }
            }
        }
    });
    let merging = tokio::spawn({
        let table = table.clone();
        async move {
            for _ in 0..30 {
                table.merge().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let replacing = tokio::spawn({
        let table = table.clone();
        async move {
            for round in 0..5 {
                let rows: Vec<Row> =
                    (0..ids).filter(|n| n % 2 == 1).map(|n| row("UA", n, START + DAY, 1000 + round)).collect();
                let day = crate::partition::DAY0 + 1;
                table.replace_partition(Some(day), None, crate::partition::given(&rows), &[]).await.unwrap();
            }
        }
    });
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut views = 0;
    while !(appending.is_finished() && merging.is_finished() && replacing.is_finished()) || views < 5 {
        let rows = rows_in(&table.view(), store.as_ref()).await;
        assert_eq!(rows.len() as i32, ids);
        for (row, n) in rows.iter().zip(0..) {
            assert_eq!(row.flight, n);
            let before = newest.insert(row.flight, row.distance).unwrap_or(0);
            assert!(row.flight % 2 == 1 || before <= row.distance, "{row:?} was {before}");
        }
        views += 1;
        tokio::task::yield_now().await;
    }
    for done in [appending, merging, replacing] {
        done.await.unwrap();
    }
    table.audit(None).await.unwrap();
}

#[tokio::test]
async fn another_process_that_merges_the_files_meanwhile_makes_the_commit_find_them_again() {
    let (store, env) = (memory(), env(8));
    let table = open(spec(), store.clone(), &env).await;
    for n in 0..40 {
        table.append(batch(&[row("UA", n, START, 1)]), &[(source(), n as u64 + 1)]).await.unwrap();
        table.commit().await.unwrap();
    }
    let rows: Vec<Row> = (0..40).map(|n| row("UA", n, START, 2)).collect();
    assert_eq!(table.append_replacing(batch(&rows), &[(source(), 99)]).await.unwrap().replaced, 40);
    let other = open(spec(), store.clone(), &env).await;
    while other.merge().await.unwrap().more {}
    table.commit().await.unwrap();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, rows);
    drop(table);
    let view = open(spec(), store.clone(), &env).await.view();
    assert_eq!(rows_in(&view, store.as_ref()).await, rows);
}

#[tokio::test]
async fn rows_of_large_row_groups_are_compared_without_being_kept() {
    let (store, env) = (memory(), env(9));
    let spec = Spec { id_cache_bytes: 100, buckets: 1, ..spec() };
    let table = open(spec, store.clone() as Arc<dyn ObjectStore>, &env).await;
    let rows: Vec<Row> = (0..300).map(|n| row("UA", n, START, n.into())).collect();
    table.append(batch(&rows), &[]).await.unwrap();
    table.commit().await.unwrap();
    for _ in 0..2 {
        let appended = table.append_replacing(batch(&[rows[5].clone(), row("UA", 6, START, 1)]), &[]).await.unwrap();
        assert_eq!(appended.repeats + appended.replaced, 2);
    }
    table.commit().await.unwrap();
    let found = rows_in(&table.view(), store.as_ref()).await;
    assert_eq!((found.len(), found[6].distance), (300, 1));
}

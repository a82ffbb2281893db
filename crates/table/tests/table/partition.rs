//! Partitions are replaced whole or not at all, and say when they changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use futures::{Stream, stream};
use object_store::ObjectStore;
use weir_table::{CommitError, PlaceChange, Prepared, ReplaceError, SourceId, Spec, Table, Witness, WitnessError};
use weir_types::Tally;

use crate::support::*;

/// 2013-01-01 in days since 1970.
pub const DAY0: i32 = 15_706;

pub fn given(rows: &[Row]) -> impl Stream<Item = Result<RecordBatch, Infallible>> + Send + use<> {
    let batches: Vec<_> = rows.chunks(7).map(|rows| Ok(batch(rows))).collect();
    stream::iter(batches)
}

fn numbers(table: &Table) -> BTreeMap<i32, u64> {
    table.partitions().iter().map(|partition| (partition.day.unwrap() - DAY0, partition.changed)).collect()
}

/// Keeps books like a ledger: what was prepared last under each number, and what that makes of each place.
#[derive(Default)]
pub struct Books {
    pub prepared: Mutex<BTreeMap<u64, Prepared>>,
    pub refuse: Mutex<bool>,
}

#[async_trait::async_trait]
impl Witness for Books {
    async fn prepare(&self, commit: &Prepared) -> Result<(), WitnessError> {
        if *self.refuse.lock().unwrap() {
            return Err(WitnessError("the books are closed".into()));
        }
        self.prepared.lock().unwrap().insert(commit.number, commit.clone());
        Ok(())
    }
}

impl Books {
    /// Returns the tallies per place after so many commits.
    pub fn tallies(&self, commits: u64) -> BTreeMap<weir_table::Place, Tally> {
        let mut tallies: BTreeMap<_, Tally> = BTreeMap::new();
        for prepared in self.prepared.lock().unwrap().range(..=commits).map(|(_, prepared)| prepared) {
            for PlaceChange { place, added, removed, .. } in &prepared.places {
                let tally = tallies.entry(*place).or_default();
                tally.merge(*added);
                assert!(tally.count >= removed.count, "{place:?} has {tally} and loses {removed}");
                tally.subtract(*removed);
            }
        }
        tallies.retain(|_, tally| !tally.is_empty());
        tallies
    }
}

pub async fn open_witnessed(spec: Spec, store: Arc<dyn ObjectStore>, env: &weir_env::Env, books: Arc<Books>) -> Table {
    let root = "memory:///tables/flights".parse().unwrap();
    Table::open_witnessed(spec, store, root, env.clone(), books).await.unwrap()
}

#[tokio::test]
async fn a_replaced_partition_has_the_new_rows_alone_and_the_others_are_untouched() {
    let (store, env) = (memory(), env(1));
    let table = open(spec(), store.clone(), &env).await;
    let old: Vec<Row> = (0..50).map(|n| row("UA", n, START + i64::from(n % 2) * DAY, 1)).collect();
    table.append(batch(&old), &[(source(), 50)]).await.unwrap();
    table.commit().await.unwrap();
    let new: Vec<Row> = (20..90).map(|n| row("AA", n, START + HOUR, 2)).collect();
    let rollup = SourceId::new("rollup/flights/2013-01-01");
    let replaced = table.replace_partition(Some(DAY0), None, given(&new), &[(rollup.clone(), 7)]).await.unwrap();
    assert_eq!((replaced.rows, replaced.version), (70, 2));
    let mut wants: Vec<Row> = old.iter().filter(|row| row.at != Some(START)).cloned().chain(new.clone()).collect();
    wants.sort();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, wants);
    assert_eq!(table.positions(), BTreeMap::from([(rollup.clone(), 7), (source(), 50)]));
    // The new rows' ids are the table's, the old ones' are not.
    let again = table.append(batch(&[new[0].clone(), old[0].clone()]), &[]).await.unwrap();
    assert_eq!((again.added, again.repeats), (1, 1));
    drop(table);
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, wants);
    assert_eq!(table.positions()[&rollup], 7);
    // With nothing, it becomes empty, and still says when it changed.
    table.replace_partition(Some(DAY0), None, given(&[]), &[(rollup, 8)]).await.unwrap();
    let partitions = table.partitions();
    assert_eq!((partitions[0].files, partitions[0].rows, partitions[0].changed), (0, Some(0), 3));
    assert_eq!((partitions[1].rows, partitions[1].changed), (Some(25), 1));
}

#[tokio::test]
async fn buffered_rows_of_the_partition_are_replaced_too_and_no_id_is_twice() {
    let (store, env) = (memory(), env(2));
    let table = open(spec(), store.clone(), &env).await;
    table.append(batch(&[row("UA", 1, START, 1), row("UA", 2, START + DAY, 1)]), &[(source(), 2)]).await.unwrap();
    table.replace_partition(Some(DAY0), None, given(&[row("UA", 1, START, 9)]), &[]).await.unwrap();
    assert!(!table.pending().moved);
    let wants = vec![row("UA", 1, START, 9), row("UA", 2, START + DAY, 1)];
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, wants);
    assert_eq!(table.commits(), 2);
}

#[tokio::test]
async fn rows_that_can_not_be_the_partitions_are_refused_and_nothing_changes() {
    let (store, env) = (memory(), env(3));
    let table = open(spec(), store.clone(), &env).await;
    table.append(batch(&[row("UA", 1, START, 1)]), &[(source(), 1)]).await.unwrap();
    table.commit().await.unwrap();
    let elsewhere = [row("UA", 1, START, 2), row("UA", 1, START + DAY, 2)];
    let error = table.replace_partition(Some(DAY0), None, given(&elsewhere), &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "a row for partition 2013-01-01 of table `flights` belongs to 2013-01-02");
    let twice: Vec<Row> = (0..20).map(|n| row("UA", n % 19, START, 2)).collect();
    let error = table.replace_partition(Some(DAY0), None, given(&twice), &[]).await.unwrap_err();
    assert!(matches!(error, ReplaceError::Repeat { .. }), "{error}");
    let error = table.replace_partition(Some(DAY0), Some(3), given(&[]), &[]).await.unwrap_err();
    assert!(matches!(error, ReplaceError::NoSuchPartition { .. }), "{error}");
    let error = table.replace_partition(Some(DAY0), None, given(&[]), &[(source(), 0)]).await.unwrap_err();
    assert!(matches!(error, ReplaceError::Backwards { has: 1, given: 0, .. }), "{error}");
    let broken = stream::iter([Ok(batch(&[row("UA", 7, START, 2)])), Err("the query stopped")]);
    let error = table.replace_partition(Some(DAY0), None, broken, &[]).await.unwrap_err();
    assert!(matches!(error, ReplaceError::Rows { .. }), "{error}");
    let small = Spec { buffer_bytes_max: 320, commit_bytes: 1, ..spec() };
    let limited = open(small, store.clone(), &env).await;
    let many: Vec<Row> = (0..20).map(|n| row("UA", n, START, 2)).collect();
    let error = limited.replace_partition(Some(DAY0), None, given(&many), &[]).await.unwrap_err();
    assert!(matches!(error, ReplaceError::TooMany { rows_max: 10, .. }), "{error}");
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, vec![row("UA", 1, START, 1)]);
    assert_eq!(table.commits(), 1);
}

#[tokio::test]
async fn a_large_partition_is_cut_into_files_of_the_target_size() {
    let (store, env) = (memory(), env(4));
    let table = open(Spec { target_file_bytes: 20_000, buckets: 1, ..spec() }, store.clone(), &env).await;
    let mut dice = Dice::new(4);
    let rows: Vec<Row> =
        (0..20_000).map(|n| row("UA", n, START + dice.below(1 << 30) as i64, dice.below(1 << 60) as i64)).collect();
    let batches: Vec<_> = rows.chunks(500).map(|rows| Ok::<_, Infallible>(batch(rows))).collect();
    let replaced = table.replace_partition(Some(DAY0), None, stream::iter(batches), &[]).await.unwrap();
    assert_eq!(replaced.rows, 20_000);
    assert!((5..60).contains(&replaced.files), "{replaced:?}");
    let mut wants = rows.clone();
    wants.sort();
    assert_eq!(rows_in(&table.view(), store.as_ref()).await, wants);
    assert_eq!(table.append(batch(&rows[..5_000]), &[]).await.unwrap().repeats, 5_000);
}

#[tokio::test]
async fn partitions_say_which_commit_changed_them_last_whatever_merges_and_restarts() {
    let (store, env) = (memory(), env(5));
    let mut table = open(spec(), store.clone(), &env).await;
    for n in 0..20 {
        table
            .append(batch(&[row("UA", n, START + i64::from(n % 3) * DAY, 1)]), &[(source(), n as u64 + 1)])
            .await
            .unwrap();
        table.commit().await.unwrap();
    }
    assert_eq!(numbers(&table), BTreeMap::from([(0, 19), (1, 20), (2, 18)]));
    // Neither repeats, nor positions alone, nor merges change a partition.
    table.append(batch(&[row("UA", 0, START, 1)]), &[(source(), 21)]).await.unwrap();
    table.commit().await.unwrap();
    while table.merge().await.unwrap().more {}
    for _ in 0..2 {
        assert_eq!((numbers(&table), table.commits()), (BTreeMap::from([(0, 19), (1, 20), (2, 18)]), 21));
        drop(table);
        table = open(spec(), store.clone(), &env).await;
    }
    table.replace_partition(Some(DAY0 + 2), None, given(&[]), &[]).await.unwrap();
    assert_eq!(numbers(&table), BTreeMap::from([(0, 19), (1, 20), (2, 22)]));
    let partition = table.partitions()[0];
    assert_eq!((partition.rows, partition.small_files), (Some(7), partition.files));
    assert!(partition.bytes > 0 && partition.modified.0 > 0);
}

#[tokio::test]
async fn the_witness_hears_of_every_commit_before_it_happens_and_can_stop_it() {
    let (store, env, books) = (memory(), env(6), Arc::new(Books::default()));
    let table = open_witnessed(spec(), store.clone(), &env, books.clone()).await;
    let rows: Vec<Row> = (0..40).map(|n| row("UA", n, START + i64::from(n % 2) * DAY, 1)).collect();
    table.append(batch(&rows), &[(source(), 40)]).await.unwrap();
    *books.refuse.lock().unwrap() = true;
    let error = table.commit().await.unwrap_err();
    assert!(matches!(error, CommitError::Witness { .. }), "{error}");
    assert_eq!((table.commits(), table.positions().len()), (0, 0));
    *books.refuse.lock().unwrap() = false;
    table.commit().await.unwrap();
    {
        let prepared = books.prepared.lock().unwrap();
        let first = &prepared[&1];
        assert_eq!(first.positions, BTreeMap::from([(source(), (0, 40))]));
        assert_eq!(first.places.iter().map(|change| change.added.count).sum::<u64>(), 40);
        assert!(first.places.is_sorted_by_key(|change| change.place));
    }
    let before = books.tallies(1);
    // What is replaced by equal rows leaves the books as they were, and so do merges.
    let same: Vec<Row> = rows.iter().filter(|row| row.at == Some(START)).cloned().collect();
    table.replace_partition(Some(DAY0), None, given(&same), &[]).await.unwrap();
    table.append(batch(&[row("AA", 1, START, 1)]), &[(source(), 41)]).await.unwrap();
    table.commit().await.unwrap();
    while table.merge().await.unwrap().more {}
    assert_eq!(books.tallies(2), before);
    assert_eq!(books.tallies(3).values().map(|tally| tally.count).sum::<u64>(), 41);
    table.replace_partition(Some(DAY0), None, given(&[]), &[]).await.unwrap();
    assert!(books.tallies(4).keys().all(|place| place.day == Some(DAY0 + 1)));
}

#[tokio::test]
async fn late_rows_are_told_to_the_witness_by_place() {
    let (store, env, books) = (memory(), env(7), Arc::new(Books::default()));
    let spec = Spec { lookback: Some(std::time::Duration::from_secs(24 * 3600)), buckets: 1, ..spec() };
    let table = open_witnessed(spec, store, &env, books.clone()).await;
    let now = START + 31 * DAY;
    table.append(batch(&[row("UA", 1, START, 1), row("UA", 2, START, 1), row("UA", 3, now, 1)]), &[]).await.unwrap();
    table.commit().await.unwrap();
    let late: Vec<_> = books.prepared.lock().unwrap()[&1].places.iter().map(|change| change.late).collect();
    assert_eq!(late, [2, 0]);
}

/// Faults and crashes anywhere: a partition is the old or the new one, and its position says which.
#[tokio::test]
async fn a_crash_at_any_write_leaves_the_old_partition_or_the_new_one() {
    for seed in 1..=20 {
        let (inner, env, books) = (memory(), env(seed), Arc::new(Books::default()));
        let mut dice = Dice::new(seed ^ 5);
        let rollup = SourceId::new("rollup/flights/2013-01-01");
        let made = |to: u64| -> Vec<Row> { (0..to as i32 * 3).map(|n| row("UA", n, START, to as i64)).collect() };
        let mut reached = 0;
        for _life in 0..30 {
            let store = Faulty::over(inner.clone(), seed);
            store.crash_after(dice.below(12), dice.below(2) == 0);
            let root = "memory:///tables/flights".parse().unwrap();
            let Ok(table) = Table::open_witnessed(spec(), store, root, env.clone(), books.clone()).await else {
                continue;
            };
            let at = table.positions().get(&rollup).copied().unwrap_or(0);
            assert!(at >= reached, "seed {seed}");
            for to in at + 1..at + 4 {
                if table.replace_partition(Some(DAY0), None, given(&made(to)), &[(rollup.clone(), to)]).await.is_err() {
                    break;
                }
                reached = to;
            }
        }
        let table = open_witnessed(spec(), inner.clone(), &env, books.clone()).await;
        let at = table.positions().get(&rollup).copied().unwrap_or(0);
        assert!(at >= reached, "seed {seed}");
        let mut wants = made(at);
        wants.sort();
        assert_eq!(rows_in(&table.view(), inner.as_ref()).await, wants, "seed {seed}");
        let audit = table.audit(None).await.unwrap();
        assert_eq!(audit.places, books.tallies(table.commits()), "seed {seed}");
        assert_eq!(audit.findings, [], "seed {seed}");
    }
}

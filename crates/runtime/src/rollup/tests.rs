//! Rollups against the query over everything, whatever happens to the tables meanwhile.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use object_store::memory::InMemory;
use weir_config::{PartitionBy, RollupScope};
use weir_function::rollup::{DAY_US, HOUR_US};
use weir_query::{Limits, Source as Scan};
use weir_table::{SourceId, Spec};

use super::*;
use crate::tables;

const HOURLY: &str = "select date_trunc('hour', at) as hour, kind, count(*) as events, sum(n) as total, min(n) as least, \
                      count(distinct id) as ids from events group by 1, 2";
const DAILY: &str =
    "select cast(hour as date) as day, sum(events) as events, max(total) as busiest from hourly group by 1";
const MONTHLY: &str =
    "select date_trunc('month', day) as month, sum(events) as events, count(*) as days from daily group by 1";
const TOTAL: &str = "select count(*) as months, coalesce(sum(events), 0) as events from monthly";

/// Random numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

/// Rows whose ids and times repeat, some before 1970 and some without a time.
fn rows(dice: &mut Dice, count: usize) -> RecordBatch {
    let mut rows: Vec<(String, Option<i64>, String, i64)> = Vec::new();
    for _ in 0..count {
        let day = [-1, 15_706, 15_706, 15_707, 15_736, 15_737, 19_782][dice.below(7) as usize];
        let hour = [0, 1, 13, 23][dice.below(4) as usize];
        // An id has one time, so that its repeats meet in one partition.
        let id = dice.below(30);
        let at = (dice.below(30) > 0).then(|| day * DAY_US + hour * HOUR_US + 59_000_000 * id as i64);
        rows.push((format!("e{id}"), at, format!("k{}", id % 2), dice.below(1000) as i64));
    }
    let at = TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.1)).with_timezone("UTC");
    RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0))),
            Arc::new(at),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.2))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3))),
        ],
    )
    .unwrap()
}

/// What survives a crash, and what reads it.
struct World {
    env: Env,
    store: Arc<dyn ObjectStore>,
    queries: weir_query::Engine,
    _spill: tempfile::TempDir,
}

/// A chain of rollups over a table.
struct Tables {
    events: Source,
    rollups: Vec<Parts>,
}

impl World {
    fn new() -> Self {
        let (env, spill) = (Env::system(), tempfile::tempdir().unwrap());
        let queries = weir_query::Engine::new(env.clone(), Limits::default(), spill.path()).unwrap();
        Self { env, store: Arc::new(InMemory::new()), queries, _spill: spill }
    }

    async fn table(&self, name: &str, columns: SchemaRef, by: &PartitionBy, unique_by: &[&str]) -> Source {
        let mut spec = Spec::new(name.parse().unwrap(), columns);
        spec.partition_by = tables::partition_by(by);
        spec.unique_by = unique_by.iter().map(|column| (*column).to_owned()).collect();
        let root = format!("memory:///{name}").parse().unwrap();
        let table = Table::open(spec, self.store.clone(), root, self.env.clone()).await.unwrap();
        Source { name: name.parse().unwrap(), table: Arc::new(table), store: self.store.clone() }
    }

    async fn rollup(&self, name: &str, sql: &str, source: &Source, by: PartitionBy) -> Parts {
        let stored = source.table.columns();
        let planned = Rollup::plan(sql, (source.name.as_str(), &stored), &Default::default()).unwrap();
        let scope = match (source.table.spec().partition_by.column(), &by) {
            (Some(time), PartitionBy::Day(column)) => {
                RollupScope::Partition(planned.by_partition(time, (column, DAY_US)).unwrap())
            }
            (Some(time), PartitionBy::Hour(column)) => {
                RollupScope::Partition(planned.by_partition(time, (column, HOUR_US)).unwrap())
            }
            _ => RollupScope::Whole,
        };
        let own = self.table(name, planned.output(), &by, &[]).await;
        let plan = RollupPlan {
            sql: sql.to_owned(),
            source: source.name.clone(),
            source_columns: stored.fields().iter().map(|field| field.name().clone()).collect(),
            reads: Vec::new(),
            scope: scope.clone(),
        };
        Parts {
            name: own.name.clone(),
            plan,
            planned,
            shape: Shape { scope, by },
            env: self.env.clone(),
            source: source.clone(),
            table: own.table,
            store: own.store,
            lookups: Arc::new(LookupSet::empty(&self.env)),
            queries: self.queries.within(Duration::from_secs(60), u64::MAX),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            freshness: Duration::ZERO,
            progress: Progress::default(),
            asked: watch::Sender::new(0),
            settled: watch::Sender::default(),
        }
    }

    async fn open(&self) -> Tables {
        let hour = || PartitionBy::Hour("at".to_owned());
        let events = self.table("events", columns(), &hour(), &["id", "at"]).await;
        let hourly = self.rollup("hourly", HOURLY, &events, PartitionBy::Hour("hour".to_owned())).await;
        let daily = self.rollup("daily", DAILY, &of(&hourly), PartitionBy::Day("day".to_owned())).await;
        let monthly = self.rollup("monthly", MONTHLY, &of(&daily), PartitionBy::Day("month".to_owned())).await;
        let total = self.rollup("total", TOTAL, &of(&monthly), PartitionBy::None).await;
        Tables { events, rollups: vec![hourly, daily, monthly, total] }
    }

    /// Runs a query over what is committed of a table, and returns the rows as text, in order.
    async fn ask(&self, sql: &str, source: &Source) -> Vec<String> {
        let view = source.table.view();
        let scan = Scan {
            columns: source.table.columns(),
            partition_columns: Vec::new(),
            store: Some(source.store.clone()),
            files: view
                .files
                .iter()
                .map(|file| weir_query::File {
                    path: file.location.to_string(),
                    size: file.size,
                    partition: Vec::new(),
                })
                .collect(),
            rows: Vec::new(),
        };
        let parsed = self.queries.parse(sql).unwrap();
        let answer = self.queries.run(parsed, vec![(source.name.to_string(), scan)], Vec::new()).await.unwrap();
        let mut rows = Vec::new();
        for batch in answer.collect().await.unwrap() {
            let format = FormatOptions::default();
            let shown: Vec<_> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format).unwrap()).collect();
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| shown.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
            );
        }
        rows.sort();
        rows
    }

    /// Compares every rollup with its query, nested, over the whole table at the bottom.
    async fn check(&self, tables: &Tables, seed: u64) {
        let mut sql = String::new();
        for rollup in &tables.rollups {
            sql = match sql.as_str() {
                "" => rollup.plan.sql.clone(),
                inner => rollup.plan.sql.replace(&format!("from {}", rollup.source.name), &format!("from ({inner})")),
            };
            let found = self.ask(&format!("select * from {}", rollup.name), &of(rollup)).await;
            // What a table stores is microseconds.
            let wanted = self.ask(&format!("select * from ({sql})"), &tables.events).await;
            let plain =
                |rows: Vec<String>| rows.into_iter().map(|row| row.replace("T00:00:00Z", "")).collect::<Vec<_>>();
            assert_eq!(plain(found), plain(wanted), "`{}`, seed {seed}", rollup.name);
        }
    }
}

fn of(rollup: &Parts) -> Source {
    Source { name: rollup.name.clone(), table: rollup.table.clone(), store: rollup.store.clone() }
}

/// Computes so many of a rollup's stale partitions, and returns how many were.
async fn compute(rollup: &Parts, most: usize) -> usize {
    let look = rollup.look();
    let stale = look.stale.iter().copied().take(most);
    let mut computed = 0;
    for (key, _) in stale {
        rollup.compute(&look, key).await.unwrap();
        computed += 1;
    }
    computed
}

impl Tables {
    /// Computes what is stale, link by link; with a limit, only so many partitions in all. Returns how many were.
    async fn settle(&self, most: usize) -> usize {
        let mut computed = 0;
        for rollup in &self.rollups {
            computed += compute(rollup, most - computed).await;
        }
        computed
    }

    fn stale(&self) -> usize {
        self.rollups.iter().map(|rollup| rollup.look().stale.len()).sum()
    }
}

async fn tidy(table: &Table) -> u64 {
    let mut files = 0;
    loop {
        let merged = table.merge().await.unwrap();
        files += merged.files_in;
        if !merged.more {
            break;
        }
    }
    table.vacuum(Duration::ZERO).await.unwrap();
    files
}

/// Random appends, late rows, replacing appends, compactions and crashes over a chain of four rollups: in the end, and in
/// between, each is its query over everything.
#[tokio::test]
async fn a_chain_is_the_query_over_everything() {
    let mut merged = 0;
    for seed in 1..=6 {
        let (world, mut dice) = (World::new(), Dice(seed));
        let mut tables = world.open().await;
        let mut next = 0;
        for _ in 0..40 {
            match dice.below(12) {
                0..=4 => {
                    next += 1;
                    let count = 1 + dice.below(20) as usize;
                    let batch = rows(&mut dice, count);
                    tables.events.table.append(batch, &[(SourceId::new("stream/s/0"), next)]).await.unwrap();
                }
                5 => {
                    next += 1;
                    let batch = rows(&mut dice, 5);
                    let seen = [(SourceId::new("stream/s/0"), next)];
                    tables.events.table.append_replacing(batch, &seen).await.unwrap();
                }
                6 => {
                    tables.events.table.commit().await.unwrap();
                }
                7 => {
                    // Many small files.
                    for _ in 0..8 {
                        next += 1;
                        let batch = rows(&mut dice, 12);
                        tables.events.table.append(batch, &[(SourceId::new("stream/s/0"), next)]).await.unwrap();
                        tables.events.table.commit().await.unwrap();
                    }
                }
                8 => {
                    tables.events.table.commit().await.unwrap();
                    let stale = tables.stale();
                    merged += tidy(&tables.events.table).await;
                    for rollup in &tables.rollups {
                        merged += tidy(&rollup.table).await;
                    }
                    assert_eq!(tables.stale(), stale, "compaction makes nothing stale, seed {seed}");
                }
                9 => {
                    // A crash: what was not committed comes again from the stream.
                    tables = world.open().await;
                    next = tables.events.table.positions().get(&SourceId::new("stream/s/0")).copied().unwrap_or(0);
                }
                10 => {
                    let most = dice.below(6) as usize;
                    tables.settle(most).await;
                }
                _ => {
                    tables.settle(usize::MAX).await;
                    world.check(&tables, seed).await;
                    assert_eq!(tables.settle(usize::MAX).await, 0, "seed {seed}");
                }
            }
        }
        tables.events.table.commit().await.unwrap();
        tables.settle(usize::MAX).await;
        world.check(&tables, seed).await;
        // What a rollup is made of is in its own log.
        let tables = world.open().await;
        assert_eq!(tables.stale(), 0, "seed {seed}");
    }
    assert!(merged > 0, "nothing was ever merged");
}

/// One hour of one day changes: one partition per link is computed, and the others' files stay.
#[tokio::test]
async fn only_what_changed_is_computed() {
    let (world, mut dice) = (World::new(), Dice(7));
    let tables = world.open().await;
    let batch = rows(&mut dice, 300);
    tables.events.table.append(batch, &[(SourceId::new("stream/s/0"), 1)]).await.unwrap();
    tables.events.table.commit().await.unwrap();
    assert!(tables.settle(usize::MAX).await > 10);
    let at = TimestampMicrosecondArray::from(vec![15_706 * DAY_US + 5]).with_timezone("UTC");
    let late = RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(StringArray::from(vec!["late"])),
            Arc::new(at),
            Arc::new(StringArray::from(vec!["k9"])),
            Arc::new(Int64Array::from(vec![1])),
        ],
    );
    tables.events.table.append(late.unwrap(), &[(SourceId::new("stream/s/0"), 2)]).await.unwrap();
    tables.events.table.commit().await.unwrap();
    let files =
        |rollup: &Parts| -> Vec<String> { rollup.table.view().files.iter().map(|file| file.path.clone()).collect() };
    let before: Vec<Vec<String>> = tables.rollups.iter().map(files).collect();
    assert_eq!(tables.settle(usize::MAX).await, 4);
    for (rollup, before) in tables.rollups.iter().zip(before) {
        let stayed = files(rollup).iter().filter(|file| before.contains(file)).count();
        assert_eq!(stayed, before.len() - 1, "`{}`", rollup.name);
    }
    world.check(&tables, 0).await;
}

/// Another query over the same table: all partitions are replaced one by one, and a crash on the way loses none.
#[tokio::test]
async fn changed_sql_is_computed_partition_by_partition() {
    let (world, mut dice) = (World::new(), Dice(3));
    let by = || PartitionBy::Hour("hour".to_owned());
    let first = "select date_trunc('hour', at) as hour, count(*) as events from events group by 1";
    let second = "select date_trunc('hour', at) as hour, count(*) + 1000 as events from events group by 1";
    let Tables { events, .. } = world.open().await;
    let batch = rows(&mut dice, 300);
    events.table.append(batch, &[(SourceId::new("stream/s/0"), 1)]).await.unwrap();
    events.table.commit().await.unwrap();
    let rollup = world.rollup("changing", first, &events, by()).await;
    let partitions = compute(&rollup, usize::MAX).await;
    assert!(partitions > 10);
    let rollup = world.rollup("changing", second, &events, by()).await;
    assert_eq!(rollup.look().stale.len(), partitions);
    assert_eq!(compute(&rollup, 5).await, 5);
    let changed = "select count(*) from changing where events > 1000";
    assert_eq!(world.ask(changed, &of(&rollup)).await, ["5"]);
    let rollup = world.rollup("changing", second, &events, by()).await;
    assert_eq!(compute(&rollup, usize::MAX).await, partitions - 5);
    assert_eq!(world.ask(changed, &of(&rollup)).await, [partitions.to_string()]);
}

/// A source that was deleted and made again counts anew, and has other rows.
#[tokio::test]
async fn another_table_in_the_sources_place_is_noticed() {
    let (world, mut dice) = (World::new(), Dice(5));
    let tables = world.open().await;
    for n in 1..=3 {
        let batch = rows(&mut dice, 100);
        tables.events.table.append(batch, &[(SourceId::new("stream/s/0"), n)]).await.unwrap();
        tables.events.table.commit().await.unwrap();
    }
    tables.settle(usize::MAX).await;
    let listed = world.store.list(Some(&"events".into()));
    let paths: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(listed).await.unwrap();
    for meta in paths {
        object_store::ObjectStoreExt::delete(world.store.as_ref(), &meta.location).await.unwrap();
    }
    let tables = world.open().await;
    tables.settle(usize::MAX).await;
    world.check(&tables, 0).await;
    assert_eq!(world.ask("select events from total", &of(&tables.rollups[3])).await, ["0"]);
    let batch = rows(&mut dice, 10);
    tables.events.table.append(batch, &[(SourceId::new("stream/s/0"), 1)]).await.unwrap();
    tables.events.table.commit().await.unwrap();
    tables.settle(usize::MAX).await;
    world.check(&tables, 0).await;
}

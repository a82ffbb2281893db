use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use weir_types::LookupName;

use super::*;

fn columns() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("at", time(), true),
        Field::new("seen", time(), true),
        Field::new("user", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("millis", DataType::Int64, true),
    ]))
}

fn users() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("user", DataType::Utf8, false), Field::new("team", DataType::Utf8, true)]))
}

fn planned(sql: &str) -> Result<Rollup, SqlError> {
    let lookups = BTreeMap::from([("users".parse::<LookupName>().unwrap(), users())]);
    Rollup::plan(sql, ("events", &columns()), &lookups)
}

fn followed(sql: &str) -> Result<Derivation, SqlError> {
    planned(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).by_partition("at", ("p", DAY_US))
}

/// Queries that can be computed by the partition of `p`, and what `p` is.
fn good() -> Vec<(&'static str, Vec<Step>)> {
    let (hour, day) = (Step::Width(HOUR_US), Step::Width(DAY_US));
    vec![
        ("select at as p, n from events", vec![]),
        ("select at as p, n + 1 as m from events where n > 3", vec![]),
        ("select date_trunc('hour', at) as p, count(*) as c from events group by 1", vec![hour]),
        ("select date_trunc('day', at) as p, user, sum(n) as s from events group by 1, 2", vec![day]),
        ("select cast(at as date) as p, max(seen) as last from events group by 1", vec![day]),
        (
            "select date_bin(interval '15 minutes', at) as p, avg(n) as a from events group by 1",
            vec![Step::Width(900_000_000)],
        ),
        (
            "select date_trunc('month', date_trunc('hour', at)) as p, count(distinct user) as u from events group by 1",
            vec![Step::Months(1)],
        ),
        ("select date_trunc('week', at) as p, count(*) as c from events group by 1", vec![Step::Week]),
        (
            "with h as (select date_trunc('hour', at) as h, count(*) as c from events group by 1) \
             select date_trunc('day', h) as p, max(c) as c from h group by 1",
            vec![day],
        ),
        (
            "select date_trunc('hour', e.at) as p, u.team, count(*) as c from events e \
             left join users u on u.user = e.user group by 1, 2",
            vec![hour],
        ),
        ("select at as p, n from events where user in (select user from users where team = 'a')", vec![]),
        ("select at as p, (select count(*) from users) as users from events", vec![]),
        ("select at as p, sum(n) over (partition by user, cast(at as date)) as s from events", vec![]),
        (
            "select date_trunc('hour', at) as p, row_number() over (partition by date_trunc('hour', at) order by n, seen) \
             as r from events",
            vec![hour],
        ),
        (
            "select date_trunc('day', at) as p, sum(n) over (partition by date_trunc('hour', at)) as s from events",
            vec![day],
        ),
        ("select distinct date_trunc('day', at) as p, user from events", vec![day]),
        (
            "select date_trunc('day', at) as p, n from events where n > 3 union all \
             select date_trunc('day', at) as p, -n as n from events",
            vec![day],
        ),
        ("select date_trunc('hour', at) as p, count(*) as c from events group by 1 having count(*) > 2", vec![hour]),
        ("select date_trunc('day', at) as p, array_agg(n order by n) as ns from events group by 1", vec![day]),
    ]
}

#[test]
fn the_partition_is_followed_back_to_the_event_time() {
    for (sql, steps) in good() {
        let wanted = steps.iter().fold(Derivation::default(), |derived, step| derived.then(*step));
        assert_eq!(followed(sql).unwrap_or_else(|error| panic!("{sql}: {error}")), wanted, "{sql}");
    }
}

#[test]
fn a_column_of_longs_is_milliseconds() {
    let rollup =
        planned("select date_trunc('hour', to_timestamp_millis(millis)) as p, count(*) c from events group by 1");
    let derived = rollup.unwrap().by_partition("millis", ("p", DAY_US)).unwrap();
    assert_eq!(derived, Derivation::default().then(Step::Width(HOUR_US)));
    let rollup = planned("select millis as p, n from events").unwrap();
    assert_eq!(rollup.by_partition("millis", ("p", DAY_US)).unwrap(), Derivation::default());
}

#[test]
fn what_mixes_partitions_is_refused() {
    for sql in [
        // Groups, windows and `distinct` without the time.
        "select max(at) as p, user from events group by user",
        "select max(at) as p from events",
        "select date_trunc('hour', max(at)) as p, user from events group by user",
        "select date_trunc('day', at) as p, count(*) as c from events group by rollup(date_trunc('day', at))",
        "select at as p, row_number() over (partition by date_trunc('month', at) order by n) as r from events",
        "select at as p, sum(n) over (partition by user) as s from events",
        "select date_trunc('hour', at) as p, sum(n) over (partition by date_trunc('week', at)) as s from events",
        "select at as p, lag(n) over (order by at) as before from events",
        "select distinct user, timestamp '2024-01-01' as p from events",
        // Another time than the event's.
        "select seen as p, n from events",
        "select date_trunc('hour', seen) as p, date_trunc('hour', at) as h, count(*) as c from events group by 1, 2",
        "select coalesce(at, seen) as p, n from events",
        "select at + interval '1 hour' as p, n from events",
        "select date_trunc('hour', arrow_cast(at, 'Timestamp(Microsecond, Some(\"Asia/Kolkata\"))')) as p from events",
        "select date_trunc('day', at at time zone 'Europe/Berlin') as p, count(*) as c from events group by 1",
        "select arrow_cast(at, 'Timestamp(Second, None)') as p from events",
        "select date_bin(interval '1 month', at) as p, count(*) as c from events group by 1",
        "select date_bin(interval '1 day', at, timestamp '2024-01-01T05:00:00') as p, count(*) as c from events group by 1",
        // Other rows of the table.
        "select a.at as p, b.n from events a join events b on a.user = b.user",
        "select at as p, n from events where n > (select avg(n) from events)",
        "select at as p, n from events e where exists (select 1 from events f where f.user = e.user and f.n > e.n)",
        "select at as p, n from events intersect select at as p, n from events where n > 3",
        "select at as p, n from events order by n limit 10",
        // Rows of no partition.
        "select e.at as p, u.team from users u left join events e on u.user = e.user",
        "select e.at as p, u.team from events e full join users u on u.user = e.user",
        "select at as p, user from events union all select null as p, user from users",
        "select at as p, n from events union all select seen as p, n from events",
    ] {
        let error = followed(sql).expect_err(sql);
        assert!(error.hint.is_some(), "no hint: {sql}: {error}");
    }
}

#[test]
fn what_no_partitioning_could_make_right_is_refused() {
    for sql in [
        "select at, now() as computed from events",
        "select at, n from events where at > current_timestamp - interval '1 day'",
        "select at, random() as r from events",
        "select at, n from events limit 10",
        "select at, n from events order by n",
        "select user, first_value(n) as n from events group by user",
        "select user, array_agg(n) as n from events group by user",
        "select at, row_number() over (partition by user) as r from events",
        "select distinct on (user) at, user from events order by user, at",
        "select user from users",
        "select * from events, others",
        "insert into events select * from events",
        "select 1 from events; select 2 from events",
        "",
    ] {
        let error = planned(sql).expect_err(sql);
        assert!(!error.message.contains("function"), "{sql}: {error}");
    }
    planned("select user, sum(n) as s from events group by user order by s desc, user limit 10").unwrap();
}

/// Times around the edges of hours, days, weeks, months and years, before and after 1970, and null.
fn rows() -> RecordBatch {
    let starts = ["1969-12-31", "1970-01-01", "2023-12-31", "2024-01-01", "2024-02-29", "2024-03-01", "2024-03-31"];
    let days = starts.iter().map(|text| {
        let parts: Vec<i64> = text.split('-').map(|part| part.parse().unwrap()).collect();
        weir_types::civil::days_from_civil(parts[0], parts[1], parts[2])
    });
    let within = [0, 1, HOUR_US - 1, HOUR_US, 7 * HOUR_US + 7, DAY_US - 1];
    let times: Vec<Option<i64>> =
        days.flat_map(|day| within.map(|micros| Some(day * DAY_US + micros))).chain([None, None]).collect();
    let count = times.len() as i64;
    let seen = TimestampMicrosecondArray::from_iter_values((0..count).map(|n| n * 977)).with_timezone("UTC");
    let user = StringArray::from_iter_values((0..count).map(|n| format!("u{}", n % 5)));
    let millis = Int64Array::from_iter(times.iter().map(|time| time.map(|micros| micros.div_euclid(1000))));
    RecordBatch::try_new(
        columns(),
        vec![
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            Arc::new(seen),
            Arc::new(user),
            Arc::new(Int64Array::from_iter_values((0..count).map(|n| n * 7919 % 13))),
            Arc::new(millis),
        ],
    )
    .unwrap()
}

/// Runs a query over some rows, and returns each row as text with the micros of `p` (null last), in order.
async fn run(sql: &str, batch: RecordBatch) -> Vec<(Option<i64>, String)> {
    let context = SessionContext::new();
    let users = RecordBatch::try_new(
        users(),
        vec![
            Arc::new(StringArray::from(vec!["u0", "u1", "u2"])),
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
        ],
    )
    .unwrap();
    let table = |batch: RecordBatch| Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap());
    context.register_table("events", table(batch)).unwrap();
    context.register_table("users", table(users)).unwrap();
    let frame = context.sql(sql).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    let all = concat_batches(&batches.first().map_or(schema, RecordBatch::schema), &batches).unwrap();
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
    let partition = arrow::compute::cast(all.column_by_name("p").unwrap(), &wanted).unwrap();
    let partition = partition.as_primitive::<TimestampMicrosecondType>();
    let format = arrow::util::display::FormatOptions::default();
    let shown: Vec<_> = all
        .columns()
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &format).unwrap())
        .collect();
    let mut rows: Vec<(Option<i64>, String)> = (0..all.num_rows())
        .map(|row| {
            let text = shown.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
            (partition.is_valid(row).then(|| partition.value(row)), text)
        })
        .collect();
    rows.sort();
    rows
}

/// The promise of the module, against DataFusion: each partition of the rollup from the partitions of the source that are
/// mapped to it alone, is what the query over everything has in it.
#[tokio::test]
async fn each_partition_alone_is_its_part_of_the_whole() {
    let all = rows();
    let at = all.column(0).as_primitive::<TimestampMicrosecondType>().clone();
    let mut compared = 0;
    for (sql, _) in good() {
        let derivation = followed(sql).unwrap();
        for (from, to) in [(HOUR_US, HOUR_US), (HOUR_US, DAY_US), (DAY_US, DAY_US)] {
            let fits = planned(sql).unwrap().by_partition("at", ("p", to)).is_ok();
            if !fits || !derivation.keeps_whole(from, to) {
                continue;
            }
            let whole = run(sql, all.clone()).await;
            let place = |row: usize| {
                at.is_valid(row).then(|| derivation.apply(at.value(row).div_euclid(from) * from).div_euclid(to))
            };
            let mut partitions: Vec<Option<i64>> = (0..all.num_rows()).map(place).collect();
            partitions.sort_unstable();
            partitions.dedup();
            let mut parts = Vec::new();
            for partition in partitions {
                let wanted: arrow::array::BooleanArray =
                    (0..all.num_rows()).map(|row| Some(place(row) == partition)).collect();
                let part = run(sql, arrow::compute::filter_record_batch(&all, &wanted).unwrap()).await;
                for (time, row) in &part {
                    assert_eq!(time.map(|time| time.div_euclid(to)), partition, "{sql}: {row}");
                }
                parts.extend(part);
            }
            parts.sort();
            assert_eq!(parts, whole, "{sql} from {from} to {to}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn errors_have_places() {
    let error = followed("select date_trunc('day', at) as p,\n  sum(n) over (partition by user) as s\nfrom events");
    assert_eq!(error.unwrap_err().at, Some((2, 10)));
    let error = planned("select at,\n  frist(n) as f from events").unwrap_err();
    assert_eq!((error.message.as_str(), error.at), ("unknown function `frist`", Some((2, 3))));
}

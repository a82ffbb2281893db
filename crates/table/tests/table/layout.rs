//! Where rows lie, and what happens to those without a usable time.

use std::time::Duration;

use object_store::ObjectStoreExt;
use weir_table::{OpenError, PartitionBy, Place, Reason, Rule, Spec, SpecError, Table};

use crate::support::*;

#[tokio::test]
async fn rows_lie_by_day_hour_and_bucket_and_timeless_ones_in_the_partition_of_null() {
    let (store, env) = (memory(), env(1));
    let spec = Spec { partition_by: PartitionBy::Hour("at".into()), ..spec() };
    let table = open(spec, store.clone(), &env).await;
    let mut rows: Vec<Row> = (0..40).map(|n| row("UA", n, START + 5 * HOUR, 0)).collect();
    let mut null = row("UA", 100, 0, 0);
    null.at = None;
    rows.push(null.clone());
    rows.push(row("UA", 101, i64::MAX, 0));
    rows.push(row("UA", 102, -3_000_000_000_000_000, 0));
    let appended = table.append(batch(&rows), &[]).await.unwrap();
    assert_eq!((appended.added, appended.timeless, appended.late), (43, 3, 0));
    table.commit().await.unwrap();
    let view = table.view();
    let hours: Vec<&weir_table::DataFile> =
        view.files.iter().map(|file| file.as_ref()).filter(|file| file.place.day.is_some()).collect();
    assert_eq!(hours.len(), 4);
    for file in hours {
        assert_eq!(file.place, Place { day: Some(15_706), hour: Some(5), bucket: file.place.bucket });
        assert!(
            file.path.starts_with(&format!("_day=2013-01-01/_hour=5/_bucket={}/part-", file.place.bucket)),
            "{}",
            file.path
        );
        assert_eq!(file.times, Some((START + 5 * HOUR, START + 5 * HOUR)));
    }
    // Once more: a repeat without a time meets its first copy.
    assert_eq!(table.append(batch(&[null, row("UA", 101, i64::MAX, 0)]), &[]).await.unwrap().repeats, 2);
}

#[tokio::test]
async fn late_rows_are_kept_and_counted_or_handed_back() {
    let (store, env) = (memory(), env(2));
    // The clock shows February 1st.
    let mut spec = Spec { lookback: Some(Duration::from_secs(12 * 3600)), ..spec() };
    let table = open(spec.clone(), store.clone(), &env).await;
    let rows = [row("UA", 1, START, 0), row("UA", 2, START + 31 * DAY - HOUR, 0)];
    let appended = table.append(batch(&rows), &[]).await.unwrap();
    assert_eq!((appended.added, appended.late, appended.refused.len()), (2, 1, 0));
    table.commit().await.unwrap();
    drop(table);

    (spec.late, spec.timeless) = (Rule::DeadLetter, Rule::DeadLetter);
    let table = open(spec, store, &env).await;
    let mut null = row("UA", 4, 0, 0);
    null.at = None;
    let rows =
        [row("UA", 1, START, 0), row("UA", 3, START, 0), row("UA", 3, START, 0), null, row("UA", 5, i64::MIN, 0)];
    let appended = table.append(batch(&rows), &[]).await.unwrap();
    // The first is a repeat, whenever it comes; the others are not stored, so neither is a repeat of the other.
    assert_eq!((appended.added, appended.repeats), (0, 1));
    let refused: Vec<_> = appended.refused.iter().map(|refused| (refused.row, refused.reason)).collect();
    assert_eq!(refused, [(1, Reason::Late), (2, Reason::Late), (3, Reason::NoTime), (4, Reason::AbsurdTime)]);
    assert_eq!(table.pending().rows, 0);
}

#[tokio::test]
async fn a_new_table_is_there_for_readers_before_its_first_row() {
    let (store, env) = (memory(), env(3));
    let table = open(spec(), store.clone(), &env).await;
    assert_eq!(table.view().version, 0);
    assert!(store.head(&"tables/flights/_delta_log/00000000000000000000.json".into()).await.is_ok());
}

#[tokio::test]
async fn what_is_fixed_cannot_change() {
    let (store, env) = (memory(), env(4));
    drop(open(spec(), store.clone(), &env).await);
    let root: url::Url = "memory:///tables/flights".parse().unwrap();
    for (changed, setting) in [
        (Spec { buckets: 8, ..spec() }, "buckets"),
        (Spec { unique_by: vec!["carrier".into()], ..spec() }, "unique_by"),
        (Spec { partition_by: PartitionBy::Hour("at".into()), ..spec() }, "partition_by"),
    ] {
        let error = Table::open(changed, store.clone(), root.clone(), env.clone()).await.unwrap_err();
        assert!(matches!(&error, OpenError::Fixed { setting: found, .. } if *found == setting), "{error}");
    }
    let error = Table::open(Spec { buckets: 8, ..spec() }, store.clone(), root.clone(), env.clone()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "table `flights` was made with buckets = 4, and can't change to 8: give the new table another name"
    );
}

#[tokio::test]
async fn damage_in_the_log_is_an_error_and_not_a_new_table() {
    let (store, env) = (memory(), env(5));
    drop(open(spec(), store.clone(), &env).await);
    let root: url::Url = "memory:///tables/flights".parse().unwrap();
    store.put(&"tables/flights/_delta_log/00000000000000000000.json".into(), "{\"damaged".into()).await.unwrap();
    assert!(matches!(Table::open(spec(), store, root, env).await, Err(OpenError::Log { .. })));
}

#[test]
fn settings_that_contradict_themselves_are_refused_with_the_name() {
    let refusal = |spec: Spec| spec.validate().unwrap_err().to_string();
    assert_eq!(
        refusal(Spec { partition_by: PartitionBy::Day("att".into()), ..spec() }),
        "`partition_by` of table `flights` names the column `att`, which is not one of its columns: carrier, flight, at, distance"
    );
    assert!(matches!(
        Spec { partition_by: PartitionBy::Day("carrier".into()), ..spec() }.validate(),
        Err(SpecError::TimeType { .. })
    ));
    assert!(matches!(
        Spec { unique_by: vec!["at".into(), "at".into()], ..spec() }.validate(),
        Err(SpecError::Twice { .. })
    ));
    assert!(matches!(
        Spec { unique_by: Vec::new(), ..spec() }.validate(),
        Err(SpecError::Range { setting: "buckets", .. })
    ));
    assert!(matches!(
        Spec { buckets: 0, ..spec() }.validate(),
        Err(SpecError::Range { setting: "buckets", value: 0, .. })
    ));
    assert!(spec().validate().is_ok());
}

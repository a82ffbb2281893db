//! Tables that are made of other tables.

use weir_config::{PartitionBy, RollupPlan, RollupScope, TableSource};
use weir_function::rollup::{Derivation, HOUR_US};
use weir_types::LookupName;

use super::folder::GOOD;
use super::{names, planned};

fn rollup<'a>(plan: &'a weir_config::Plan, table: &str) -> &'a RollupPlan {
    match &plan.tables[&table.parse().unwrap()].source {
        TableSource::Rollup(rollup) => rollup,
        other => panic!("{other:?}"),
    }
}

fn derivation<'a>(plan: &'a weir_config::Plan, table: &str) -> &'a Derivation {
    match &rollup(plan, table).scope {
        RollupScope::Partition(derivation) => derivation,
        RollupScope::Whole => panic!("`{table}` is computed whole"),
    }
}

/// Chains are planned whatever their order in the file.
const CHAIN: &str = r#"
table "daily" {
  sql          = "select date_trunc('day', hour) as day, airline, sum(flights) as flights from hourly group by 1, 2"
  partition_by = "day(day)"
}

table "hourly" {
  sql = <<-SQL
    select date_trunc('hour', time_hour) as hour, a.name as airline, count(*) as flights, avg(delay) as delay
    from flights f join airlines a using (carrier)
    group by 1, 2
  SQL
  partition_by = "day(hour)"
  freshness    = "1m"
}

table "total" {
  sql = "select sum(flights) as flights from daily"
}
"#;

#[test]
fn chains_of_rollups_are_planned() {
    let plan = planned(&format!("{GOOD}{CHAIN}"));
    let hourly = &plan.tables[&"hourly".parse().unwrap()];
    assert_eq!(names(&hourly.columns), ["hour", "airline", "flights", "delay"]);
    assert_eq!(hourly.partition_by, PartitionBy::Day("hour".into()));
    assert_eq!(hourly.freshness, std::time::Duration::from_secs(60));
    assert_eq!((hourly.buckets, hourly.stream.as_ref(), hourly.lookback), (1, None, None));
    let of = rollup(&plan, "hourly");
    assert_eq!(
        (of.source.as_str(), of.reads.as_slice()),
        ("flights", &["airlines".parse::<LookupName>().unwrap()][..])
    );
    assert_eq!(of.source_columns, ["carrier", "flight", "origin", "delay", "time_hour", "airline"]);
    assert_eq!(derivation(&plan, "hourly").apply(HOUR_US * 3 + 7), HOUR_US * 3);
    assert_eq!(rollup(&plan, "daily").source.as_str(), "hourly");
    assert_eq!(derivation(&plan, "daily").apply(HOUR_US * 27), HOUR_US * 24);
    assert_eq!(rollup(&plan, "total").scope, RollupScope::Whole);
    // The lookup is in use, though no function reads it.
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
}

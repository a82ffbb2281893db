//! Mistakes in tables that are made of other tables.

use super::folder::{Folder, GOOD};
use super::{check, refused, shown};
use weir_config::{Inputs, load};

/// A rollup behind the good configuration, with the attributes given.
fn with_rollup(attributes: &str) -> String {
    format!("{GOOD}\ntable \"hourly\" {{\n{attributes}\n}}\n")
}

fn sql(sql: &str) -> String {
    with_rollup(&format!("  sql          = \"{sql}\"\n  partition_by = \"day(hour)\""))
}

fn listed(cases: &[(&str, String)]) -> String {
    let shown = cases.iter().map(|(name, text)| {
        let folder = Folder::good();
        folder.write("weir.hcl", text);
        format!("### {name}\n{}", refused(&folder, &Inputs::default()))
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_rollups_read() {
    let chain = |first: &str, second: &str| {
        format!(
            "{GOOD}\ntable \"a\" {{\n  sql = \"select time_hour from {first}\"\n  partition_by = \"day(time_hour)\"\n}}\n\
             table \"b\" {{\n  sql = \"select time_hour from {second}\"\n  partition_by = \"day(time_hour)\"\n}}\n\
             table \"c\" {{\n  sql = \"select time_hour from a\"\n  partition_by = \"day(time_hour)\"\n}}\n"
        )
    };
    check(
        "what_rollups_read",
        &listed(&[
            ("no such table", sql("select time_hour as hour from flihgts")),
            ("a stream", sql("select time_hour as hour from streams")),
            ("no table", sql("select carrier as hour from airlines")),
            ("no table at all", sql("select 1 as hour")),
            (
                "two tables",
                format!(
                    "{}\ntable \"raw\" {{\n  from = stream.flights\n}}\n",
                    sql("select f.time_hour as hour from flights f join raw r on r.flight = f.flight")
                ),
            ),
            ("itself", sql("select hour from hourly")),
            ("each other", chain("b", "a")),
            ("a system table", sql("select day as hour from weir.partitions")),
            (
                "a table that was refused",
                sql("select time_hour as hour from flights").replace("buckets      = 4", "buckets      = 0"),
            ),
            (
                "a lookup that was refused",
                sql("select time_hour as hour from flights join airlines using (carrier)")
                    .replace("\"airlines.csv\"", "\"missing.csv\""),
            ),
        ]),
    );
}

#[test]
fn what_rollups_say() {
    check(
        "what_rollups_say",
        &listed(&[
            ("a column that is not there", sql("select date_trunc('hour', time_huor) as hour from flights")),
            ("no SQL", sql("")),
            ("two statements", sql("select 1; select 2")),
            (
                "a column without a name",
                sql("select date_trunc('hour', time_hour) as hour, count(*) from flights group by 1"),
            ),
            ("the clock", sql("select time_hour as hour, now() as computed from flights")),
            ("an order", sql("select time_hour as hour from flights order by 1")),
            ("a limit", sql("select time_hour as hour from flights limit 10")),
            ("groups that span partitions", sql("select max(time_hour) as hour, origin from flights group by origin")),
            (
                "a window that spans partitions",
                sql("select time_hour as hour, sum(delay) over (partition by origin) as s from flights"),
            ),
            ("another time", sql("select time_hour + interval '1 hour' as hour from flights")),
            ("a partition that the SQL has not", sql("select time_hour from flights")),
            ("a partition that is no time", sql("select origin as hour from flights")),
            (
                "finer partitions than the source's",
                sql("select time_hour as hour from flights").replace("day(hour)", "hour(hour)"),
            ),
            (
                "a source of one partition",
                sql("select time_hour as hour from flights").replacen("partition_by = \"day(time_hour)\"\n", "", 1),
            ),
            (
                "an unknown way to partition",
                sql("select time_hour as hour from flights").replace("day(hour)", "week(hour)"),
            ),
        ]),
    );
}

#[test]
fn what_rollups_are_not() {
    check(
        "what_rollups_are_not",
        &listed(&[
            ("two sources", with_rollup("  sql  = \"select time_hour from flights\"\n  from = stream.flights")),
            ("both forms", with_rollup("  sql      = \"select time_hour from flights\"\n  sql_file = \"hourly.sql\"")),
            ("a file that is missing", with_rollup("  sql_file = \"hourly.sql\"")),
            (
                "fed by a function",
                with_rollup("  sql = \"select time_hour from flights\"").replace("table.flights", "table.hourly"),
            ),
            (
                "what is for rows that are added",
                with_rollup(
                    "  sql       = \"select time_hour from flights\"\n  unique_by = [\"time_hour\"]\n  buckets   = 2\n  lookback  = \"1h\"\n  late      = \"keep\"",
                ),
            ),
            ("a table filled from a table", with_rollup("  from = table.flights")),
        ]),
    );
}

#[test]
fn one_partition_is_warned_of() {
    let folder = Folder::good();
    folder.write(
        "weir.hcl",
        format!(
            "{}\ntable \"origins\" {{\n  sql = \"select origin, count(*) as flights from hourly group by 1\"\n}}\n",
            with_rollup("  sql = \"select date_trunc('hour', time_hour) as hour, origin from flights\"")
        ),
    );
    let plan = load(folder.path(), &Inputs::default()).unwrap();
    check("one_partition_is_warned_of", &shown(&plan.warnings, &folder));
}

//! What a good configuration becomes.
#![expect(clippy::unwrap_used, reason = "only tests are here, and a failure is theirs")]

#[path = "plans/crawls.rs"]
mod crawls;
mod folder;
#[path = "plans/imports.rs"]
mod imports;
#[path = "plans/orders.rs"]
mod orders;
#[path = "plans/rollups.rs"]
mod rollups;

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use folder::{Folder, GOOD};
use weir_config::{Body, Diagnostic, FunctionPlan, Inputs, PartitionBy, Plan, RefreshPlan, Rule, TableSource, load};
use weir_schema::Compatibility;
use weir_types::{ByteSize, LookupName};

fn plan(folder: &Folder, inputs: &Inputs) -> Plan {
    let rendered = |found: Vec<Diagnostic>| found.iter().map(Diagnostic::render).collect::<String>();
    load(folder.path(), inputs).map_err(rendered).unwrap_or_else(|found| panic!("{found}"))
}

fn planned(hcl: &str) -> Plan {
    let folder = Folder::good();
    folder.write("weir.hcl", hcl);
    plan(&folder, &Inputs::default())
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

fn sql_of(function: &FunctionPlan) -> (&str, &[LookupName], &SchemaRef) {
    match &function.body {
        Body::Sql { sql, reads, output } => (sql, reads, output),
        Body::Handler(_) => panic!("the function is SQL"),
    }
}

#[test]
fn the_designs_example_is_planned() {
    let plan = planned(GOOD);
    let stream = &plan.streams[&"flights".parse().unwrap()];
    assert_eq!((stream.key.as_deref(), stream.time.as_deref(), stream.shards), (Some("carrier"), Some("time_hour"), 2));
    assert_eq!(stream.id, ["carrier", "flight", "time_hour"]);
    assert_eq!(stream.retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(stream.schema.fields().len(), 5);
    let lookup = &plan.lookups[&"airlines".parse().unwrap()];
    assert!(matches!(lookup.refresh, RefreshPlan::Every(every) if every == Duration::from_secs(300)));
    assert_eq!(names(&lookup.columns), ["carrier", "name"]);
    let function = &plan.functions[&"enrich".parse().unwrap()];
    assert_eq!(sql_of(function).1, ["airlines".parse().unwrap()]);
    let table = &plan.tables[&"flights".parse().unwrap()];
    assert_eq!(
        table.source,
        TableSource::Function { function: "enrich".parse().unwrap(), output: "default".to_owned() }
    );
    assert_eq!(names(&table.columns), ["carrier", "flight", "origin", "delay", "time_hour", "airline"]);
    assert_eq!(table.partition_by, PartitionBy::Day("time_hour".into()));
    assert_eq!(table.event_time.as_deref(), Some("time_hour"));
    assert_eq!(table.unique_by, ["carrier", "flight", "time_hour"]);
    assert_eq!(table.lookback, Some(Duration::from_secs(12 * 3600)));
    assert!(plan.warnings.is_empty());
}

#[test]
fn defaults_are_those_of_the_docs() {
    let plan =
        planned("stream \"flights\" {\n  schema = \"flight.avsc\"\n}\ntable \"raw\" {\n  from = stream.flights\n}\n");
    let stream = &plan.streams[&"flights".parse().unwrap()];
    assert_eq!((stream.shards, stream.retention), (1, Duration::from_secs(7 * 24 * 3600)));
    assert_eq!((stream.retention_bytes, stream.compatibility, &stream.null_text), (None, None, &None));
    let table = &plan.tables[&"raw".parse().unwrap()];
    assert_eq!(table.source, TableSource::Stream("flights".parse().unwrap()));
    assert_eq!((table.buckets, table.freshness), (1, Duration::from_secs(5)));
    assert_eq!(
        (&table.partition_by, table.lookback, table.late, table.timeless),
        (&PartitionBy::None, None, Rule::Keep, Rule::Keep)
    );
    assert_eq!((&table.location, table.target_file_size, table.event_time.as_deref()), (&None, None, None));
    assert!(table.unique_by.is_empty() && table.tags.is_empty());
}

#[test]
fn every_attribute_reaches_the_plan() {
    let plan = planned(
        r#"
        stream "flights" {
          schema          = "flight.avsc"
          retention_bytes = "10GB"
          null            = "NA"
          compatibility   = "FULL"
          time            = "time_hour"
        }
        table "raw" {
          from             = stream.flights
          partition_by     = "hour(time_hour)"
          unique_by        = ["carrier", "flight"]
          late             = "dead_letter"
          timeless         = "dead_letter"
          freshness        = "500ms"
          location         = "s3://lake/raw"
          target_file_size = "64MiB"
          tags             = { team = "data", "cost center" = "7" }
        }
        "#,
    );
    let stream = &plan.streams[&"flights".parse().unwrap()];
    assert_eq!(stream.retention_bytes, Some(ByteSize(10_000_000_000)));
    assert_eq!((stream.null_text.as_deref(), stream.compatibility), (Some("NA"), Some(Compatibility::Full)));
    let table = &plan.tables[&"raw".parse().unwrap()];
    assert_eq!((&table.partition_by, table.late), (&PartitionBy::Hour("time_hour".into()), Rule::DeadLetter));
    assert_eq!((table.freshness, table.timeless), (Duration::from_millis(500), Rule::DeadLetter));
    assert_eq!(table.location.as_ref().map(url::Url::as_str), Some("s3://lake/raw"));
    assert_eq!(
        (table.target_file_size, &table.unique_by),
        (Some(ByteSize(64 << 20)), &vec!["carrier".into(), "flight".into()])
    );
    assert_eq!(table.tags["cost center"], "7");
}

#[test]
fn variables_the_environment_and_conditions_are_evaluated() {
    let folder = Folder::good();
    folder.write(
        "variables.hcl",
        "variable \"shards\" {\n  type = number\n  default = 1\n  description = \"how wide\"\n}\nvariable \"stage\" {\n  default = \"dev\"\n}\n",
    );
    folder.write(
        "weir.hcl",
        GOOD.replace("shards = 2", "shards = var.shards")
            .replace("\"7d\"", "var.stage == \"prod\" && true ? \"7d\" : \"1d\"")
            .replace("\"flight.avsc\"", "\"${env(\"RECORD\")}.avsc\"")
            .replace("\"12h\"", "!(var.stage != \"prod\") ? \"12h\" : \"1h\""),
    );
    let inputs = Inputs::new([("shards".into(), "3".into()), ("stage".into(), "prod".into())].into(), |name| {
        (name == "RECORD").then(|| "flight".to_owned())
    });
    let plan = plan(&folder, &inputs);
    let stream = &plan.streams[&"flights".parse().unwrap()];
    assert_eq!((stream.shards, stream.retention), (3, Duration::from_secs(7 * 24 * 3600)));
    assert_eq!(plan.tables[&"flights".parse().unwrap()].lookback, Some(Duration::from_secs(12 * 3600)));
    assert_eq!(plan.variables["shards"].description.as_deref(), Some("how wide"));
}

#[test]
fn sql_may_stand_in_a_file_or_a_heredoc() {
    let sql = "\"select f.*, a.name as airline from input f left join airlines a using (carrier)\"";
    let in_file = planned(&GOOD.replace(&format!("sql = {sql}"), "sql_file = \"good.sql\""));
    assert_eq!(sql_of(&in_file.functions[&"enrich".parse().unwrap()]).0, "select * from input\n");
    assert_eq!(in_file.warnings.len(), 1);
    assert_eq!(
        in_file.warnings[0].render(),
        "warning: lookup \"airlines\" is not used\n  --> weir.hcl:10:1\n    |\n 10 | lookup \"airlines\" {\n    | ^^^^^^\n  hint: join with it in a function's SQL, or remove it\n"
    );
    let heredoc = planned(&GOOD.replace(
        sql,
        "<<-SQL\n    select f.*, a.name as airline\n    from input f left join airlines a using (carrier)\n  SQL",
    ));
    let function = &heredoc.functions[&"enrich".parse().unwrap()];
    assert_eq!(names(sql_of(function).2).last(), Some(&"airline"));
}

#[test]
fn several_attributes_may_stand_on_one_line_and_files_may_begin_with_a_mark() {
    let short = GOOD.replace(
        "{\n  file    = \"airlines.csv\"\n  refresh = \"5m\"\n}",
        "{ file = \"airlines.csv\"  refresh = \"5m\" }",
    );
    assert_ne!(short, GOOD);
    let plan = planned(&format!("\u{feff}{}", short.replace('\n', "\r\n")));
    let refresh = &plan.lookups[&"airlines".parse().unwrap()].refresh;
    assert!(matches!(refresh, RefreshPlan::Every(every) if *every == Duration::from_secs(300)));
}

#[test]
fn repeats_are_kept_where_the_table_says_so() {
    let plan = planned(&GOOD.replace("buckets      = 4", "unique_by = []"));
    assert!(plan.tables[&"flights".parse().unwrap()].unique_by.is_empty());
}

#[test]
fn the_flights_example_is_planned_without_warnings() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    let plan = load(&example, &Inputs::default()).unwrap();
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let table = &plan.tables[&"flights".parse().unwrap()];
    assert_eq!(table.unique_by, ["carrier", "flight", "origin", "time_hour", "sched_dep_time"]);
    let added = &names(&table.columns)[19..];
    assert_eq!(added, ["airline", "dest_name", "dest_lat", "dest_lon", "manufacturer", "model", "seats", "built"]);
}

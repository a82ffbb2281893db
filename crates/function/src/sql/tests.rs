use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, TimeUnit};

use super::*;

fn flights() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("carrier", DataType::Utf8, false),
        Field::new("flight", DataType::Int32, false),
        Field::new("deviceId", DataType::Utf8, true),
        Field::new("time_hour", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}

fn batch(carriers: &[&str]) -> RecordBatch {
    let rows = carriers.len();
    let flights_numbers: Vec<i32> = (0..i32::try_from(rows).unwrap()).collect();
    let times = arrow::array::TimestampMicrosecondArray::from(vec![1_357_034_400_000_000; rows]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(carriers.to_vec())),
        Arc::new(Int32Array::from(flights_numbers)),
        Arc::new(StringArray::from(vec![None::<&str>; rows])),
        Arc::new(times),
    ];
    RecordBatch::try_new(flights(), columns).unwrap()
}

fn airlines() -> RecordBatch {
    weir_lookup::read_csv(b"carrier,name\nAA,American\nUA,United\n", None).unwrap()
}

fn schemas() -> BTreeMap<LookupName, SchemaRef> {
    BTreeMap::from([
        ("airlines".parse().unwrap(), airlines().schema()),
        ("Planes".parse().unwrap(), airlines().schema()),
    ])
}

fn loaded() -> Lookups {
    let mut lookups = Lookups::default();
    lookups.insert("airlines".parse().unwrap(), Arc::new(vec![airlines()]));
    lookups
}

const ENRICH: &str = "select f.*, a.name as airline from input f left join airlines a using (carrier)";

fn refused(sql: &str) -> String {
    let error = SqlFunction::plan(sql, flights(), &schemas()).unwrap_err();
    let at = error.at.map_or("nowhere".to_owned(), |(line, column)| format!("{line}:{column}"));
    format!("{at}: {}\nhint: {}", error.message, error.hint.unwrap_or_default())
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[tokio::test]
async fn a_left_join_keeps_all_rows_in_each_run() {
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    for _ in 0..3 {
        let output = function.run(batch(&["ZZ", "UA", "AA", "UA"]), &loaded()).await.unwrap();
        assert_eq!(output.len(), 1);
        let flights = output[0].column_by_name("flight").unwrap().as_primitive::<Int32Type>().iter();
        let airlines = output[0].column_by_name("airline").unwrap().as_string::<i32>().iter();
        let by_flight: BTreeMap<Option<i32>, Option<&str>> = flights.zip(airlines).collect();
        let expected = [None, Some("United"), Some("American"), Some("United")];
        assert_eq!(by_flight.into_values().collect::<Vec<_>>(), expected);
        assert_eq!(output[0].schema(), function.output());
    }
}

#[tokio::test]
async fn a_lookup_that_changed_its_rows_is_seen_by_the_next_run() {
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    let mut lookups = loaded();
    lookups.insert(
        "airlines".parse().unwrap(),
        Arc::new(vec![weir_lookup::read_csv(b"carrier,name\nAA,New\n", None).unwrap()]),
    );
    let output = function.run(batch(&["AA"]), &lookups).await.unwrap();
    assert_eq!(output[0].column_by_name("airline").unwrap().as_string::<i32>().value(0), "New");
}

#[tokio::test]
async fn an_empty_batch_and_an_empty_lookup_give_what_sql_says() {
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    assert!(function.run(batch(&[]), &loaded()).await.unwrap().is_empty());
    let mut empty = Lookups::default();
    empty.insert("airlines".parse().unwrap(), Arc::new(Vec::new()));
    assert_eq!(function.run(batch(&["AA"]), &empty).await.unwrap()[0].num_rows(), 1);
}

#[tokio::test]
async fn lookups_that_are_missing_or_changed_their_columns_are_named() {
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    let error = function.run(batch(&["AA"]), &Lookups::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "lookup `airlines` is not loaded");
    let mut other = Lookups::default();
    other.insert(
        "airlines".parse().unwrap(),
        Arc::new(vec![weir_lookup::read_csv(b"carrier,name\nAA,1\n", None).unwrap()]),
    );
    let error = function.run(batch(&["AA"]), &other).await.unwrap_err();
    assert!(error.to_string().starts_with("lookup `airlines` has columns (carrier Utf8, name Int64)"), "{error}");
    assert!(!error.is_of_rows());
    let error = function.run(airlines(), &loaded()).await.unwrap_err();
    assert!(matches!(error, RunError::Input { .. }), "{error}");
}

#[tokio::test]
async fn output_types_are_plain() {
    let sql = "select upper(carrier) u, arrow_cast(carrier, 'Utf8View') v, arrow_cast(carrier, 'Dictionary(Int32, Utf8)') d,
        to_timestamp('2013-01-01T00:00:00Z') t, make_array(arrow_cast(carrier, 'Utf8View')) l, arrow_cast(flight, 'UInt32') n,
        cast(carrier as varchar) s, concat(carrier, '-', flight) c, date_trunc('day', time_hour) as day,
        substr(carrier, 1, 1) x from input";
    let function = SqlFunction::plan(sql, flights(), &schemas()).unwrap();
    let types: Vec<String> =
        function.output().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    snapshot("output_types", &types.join("\n"));
    let output = function.run(batch(&["AA"]), &loaded()).await.unwrap();
    assert_eq!(output[0].schema(), function.output());
}

#[tokio::test]
async fn subqueries_over_lookups_may_aggregate() {
    let sql =
        "select carrier, (select count(*) from airlines) n from input where carrier in (select carrier from airlines)";
    let function = SqlFunction::plan(sql, flights(), &schemas()).unwrap();
    for _ in 0..2 {
        let output = function.run(batch(&["AA", "ZZ", "UA"]), &loaded()).await.unwrap();
        assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    }
}

#[test]
fn joins_hold_the_lookup_and_stream_the_input() {
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    let shown = datafusion::physical_plan::displayable(function.plan.as_ref()).indent(false).to_string();
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text} in {shown}"));
    assert!(at("Scan: airlines") < at("Scan: input"), "{shown}");
}

#[test]
fn a_query_names_the_lookups_it_reads() {
    let names = |sql: &str| reads(sql).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(names(ENRICH), ["airlines"]);
    assert_eq!(names("with a as (select * from airlines) select * from input join a using (carrier)"), ["airlines"]);
    assert_eq!(names("select * from input where carrier in (select carrier from \"Planes\")"), ["Planes"]);
    let function = SqlFunction::plan(ENRICH, flights(), &schemas()).unwrap();
    assert_eq!(function.reads().map(LookupName::as_str).collect::<Vec<_>>(), ["airlines"]);
}

#[test]
fn mistakes_are_placed_and_come_with_a_hint() {
    let mistakes = [
        "",
        "select carier from input",
        "select deviceId from input",
        "select f.*, a.nam from input f\n  left join airlines a using (carrier)",
        "select * from inputs",
        "select * from input join airline using (carrier)",
        "select * from input join planes using (carrier)",
        "select * from main.input",
        "select * frm input",
        "select carrier from input where",
        "select 'open from input",
        "select carrier + 1, nosuch(carrier) from input",
        "select * from input f join airlines a on f.carrier = a.carrier where carrier = 'AA'",
        "select lower(flight, 2) from input",
        "insert into input select * from input",
        "create table t as select * from input",
        "copy input to 'x.csv'",
        "select 1; select 2",
        "explain select * from input",
        "select 1",
        "select * from airlines",
    ];
    let shown: Vec<String> =
        mistakes.iter().map(|sql| format!("{sql}\n  {}", refused(sql).replace('\n', "\n  "))).collect();
    snapshot("mistakes", &shown.join("\n\n"));
}

#[test]
fn what_depends_on_the_batch_the_clock_or_chance_is_refused() {
    let impure = [
        "select now() as t from input",
        "select current_timestamp as t from input",
        "select current_date as t from input",
        "select random() as r, uuid() from input",
        "select carrier from input where exists (select 1 from airlines where name = cast(now() as varchar))",
        "select count(*) from input",
        "select carrier, count(*) from input group by carrier",
        "select distinct carrier from input",
        "select carrier from input union select carrier from input",
        "select carrier from input limit 10",
        "select row_number() over (partition by carrier) from input",
        "select a.carrier from input a join input b using (carrier)",
        "select carrier from input where flight = (select max(flight) from input)",
        "select a.name from input f right join airlines a using (carrier)",
        "select a.name from airlines a left join input f using (carrier)",
        "select a.name from airlines a full join input f using (carrier)",
        "select name from airlines a where exists (select 1 from input f where f.carrier = a.carrier)",
        "select carrier from input union all select carrier from airlines",
        "with recursive r as (select flight as n from input union all select n + 1 from r where n < 5) select n from r",
    ];
    let shown: Vec<String> =
        impure.iter().map(|sql| format!("{sql}\n  {}", refused(sql).replace('\n', "\n  "))).collect();
    snapshot("impure", &shown.join("\n\n"));
}

#[test]
fn sql_beyond_its_limits_is_refused() {
    let long = format!("select '{}' from input", "x".repeat(SQL_BYTES_MAX));
    assert_eq!(refused(&long), "nowhere: the SQL has 65556 bytes, and may have 65536\nhint: ");
    let deep = format!("select {}1{} from input", "(".repeat(5000), ")".repeat(5000));
    assert!(refused(&deep).contains("recursion limit exceeded"), "{}", refused(&deep));
}

#[tokio::test]
async fn output_beyond_its_limit_ends_the_run() {
    let function =
        SqlFunction::plan("select repeat(carrier, 100000000) as long from input", flights(), &schemas()).unwrap();
    let error = function.run(batch(&["AA", "UA"]), &loaded()).await.unwrap_err();
    assert!(matches!(error, RunError::TooLarge { .. }), "{error}");
    assert!(error.is_of_rows());
}

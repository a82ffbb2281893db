//! What queues, schedules, files, handlers and outputs become.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_config::{
    BatchPlan, Body, DeadLetterPlan, EnvironmentValue, FifoPlan, FilesContent, FilesFormat, FilesStart, FunctionPlan,
    HandlerPlan, Inputs, Network, On, Plan, RetryPlan, RuntimePlan, Start, TableSource, To,
};
use weir_schedule::Missed;
use weir_types::{ByteSize, StreamName, Timestamp};

use crate::folder::{Folder, ORDERS};
use crate::{names, plan};

fn planned(edits: &[(&str, &str)]) -> Plan {
    let mut text = ORDERS.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the configuration has no `{from}`");
        text = text.replacen(from, to, 1);
    }
    let folder = Folder::orders();
    folder.write("weir.hcl", text);
    plan(&folder, &Inputs::default())
}

fn function<'a>(plan: &'a Plan, name: &str) -> &'a FunctionPlan {
    &plan.functions[&name.parse().unwrap()]
}

fn handler<'a>(plan: &'a Plan, name: &str) -> &'a HandlerPlan {
    match &function(plan, name).body {
        Body::Handler(handler) => handler,
        Body::Sql { .. } => panic!("{name} is a handler"),
    }
}

fn targets(function: &FunctionPlan) -> Vec<(&str, &To)> {
    function.outputs.iter().map(|output| (output.name.as_str(), &output.to)).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn queues_have_the_defaults_of_sqs_and_every_attribute_reaches_the_plan() {
    let plan = planned(&[(
        "queue \"failures\" {",
        r#"queue "all" {
          fifo                  = true
          content_deduplication = true
          visibility_timeout    = "0s"
          delay                 = "15m"
          retention             = "14d"
          receive_wait          = "20s"
          message_bytes_max     = "1KiB"
          max_receives          = 1000
          tags                  = { team = "shop" }
        }
        queue "failures" {"#,
    )]);
    let plain = &plan.queues[&"orders_dead".parse().unwrap()];
    assert_eq!(
        (plain.visibility_timeout, plain.delay, plain.receive_wait),
        (30 * SECOND, Duration::ZERO, Duration::ZERO)
    );
    assert_eq!((plain.retention, plain.message_bytes_max), (4 * 86_400 * SECOND, ByteSize(1 << 20)));
    assert_eq!((&plain.fifo, &plain.dead_letter, plain.tags.len()), (&None, &None, 0));
    let orders = &plan.queues[&"orders".parse().unwrap()];
    let to = Some("orders_dead".parse().unwrap());
    assert_eq!(orders.dead_letter, Some(DeadLetterPlan { max_receives: 5, to }));
    let all = &plan.queues[&"all.fifo".parse().unwrap()];
    assert_eq!(all.fifo, Some(FifoPlan { content_deduplication: true }));
    assert_eq!((all.visibility_timeout, all.delay, all.receive_wait), (Duration::ZERO, 900 * SECOND, 20 * SECOND));
    assert_eq!((all.retention, all.message_bytes_max), (14 * 86_400 * SECOND, ByteSize(1024)));
    assert_eq!(all.dead_letter, Some(DeadLetterPlan { max_receives: 1000, to: None }), "into the table");
    assert_eq!(all.tags["team"], "shop");
}

#[test]
fn a_fifo_queue_takes_the_dead_letters_of_one() {
    let plan = planned(&[
        ("  max_receives       = 5", "  fifo = true\n  max_receives = 5"),
        ("queue \"orders_dead\" {", "queue \"orders_dead\" {\n  fifo = true"),
    ]);
    let orders = &plan.queues[&"orders.fifo".parse().unwrap()];
    let to = orders.dead_letter.as_ref().unwrap().to.as_ref().unwrap();
    assert_eq!(to.as_str(), "orders_dead.fifo");
    assert_eq!(function(&plan, "book").on, On::Queue("orders.fifo".parse().unwrap()));
    assert_eq!(targets(function(&plan, "webhook")), [("default", &To::Queue("orders.fifo".parse().unwrap()))]);
}

#[test]
fn schedules_are_read_with_their_zone_and_input() {
    let plan = planned(&[
        (
            "  input    = { report = \"daily\", days = 1 }\n}",
            "  input    = { report = \"da\\\"ily\", days = 1, part = 0.5, all = [true, null], none = {} }\n  missed = \"ALL\"\n}\nschedule \"often\" {\n  when  = \"rate(5 minutes)\"\n  input = \"[1, 2]\"\n}",
        ),
        ("  on      = schedule.nightly", "  on = schedule.nightly"),
    ]);
    let nightly = &plan.schedules[&"nightly".parse().unwrap()];
    assert_eq!((nightly.when.zone(), nightly.missed), (Some("Europe/Berlin"), Missed::All));
    let noon = Timestamp(1_767_265_200_000);
    assert_eq!(nightly.when.next_after(noon).unwrap().to_string(), "2026-01-02T01:00:00.000Z");
    let input = "{\"report\":\"da\\\"ily\",\"days\":1,\"part\":0.5,\"all\":[true,null],\"none\":{}}";
    assert_eq!(nightly.input.as_deref(), Some(input));
    let often = &plan.schedules[&"often".parse().unwrap()];
    assert_eq!((often.missed, often.input.as_deref(), often.when.zone()), (Missed::Once, Some("[1, 2]"), None));
    assert_eq!(plan.warnings.len(), 1);
    assert_eq!(plan.warnings[0].message, "schedule \"often\" is not used");
}

#[test]
fn files_are_references_or_records_of_a_stream_of_their_own() {
    let folder = Folder::orders();
    let planned = plan(&folder, &Inputs::default());
    let drops = &planned.files[&"drops".parse().unwrap()];
    assert_eq!((drops.every, drops.settle, drops.start), (30 * SECOND, 2 * SECOND, FilesStart::All));
    assert_eq!((drops.location.scheme(), drops.pattern.as_deref()), ("file", Some("*.csv")));
    assert_eq!(drops.location.to_file_path().unwrap(), folder.path().join("drops"));
    let FilesContent::Records { format, stream, .. } = &drops.content else { panic!("they are records") };
    assert_eq!((*format, stream.name.as_str(), stream.shards), (FilesFormat::Csv, "_files-drops", 1));
    assert!(stream.name.is_internal() && !planned.streams.contains_key(&stream.name));
    assert_eq!(names(&stream.columns), ["order_id", "region", "amount", "placed_at"]);
    let table = &planned.tables[&"dropped".parse().unwrap()];
    assert_eq!(table.source, TableSource::Stream(StreamName::of_files(&drops.name)));
    assert_eq!(table.stream.as_ref(), Some(&stream.name));
    let images = &planned.files[&"images".parse().unwrap()];
    assert!(matches!(images.content, FilesContent::Reference));
    assert_eq!(images.location.as_str(), "s3://bucket/images/");
    assert_eq!(function(&planned, "thumb").on, On::Files(images.name.clone()));
    assert!(planned.warnings.is_empty(), "{:?}", planned.warnings);
}

#[test]
fn functions_run_on_the_records_of_files() {
    let plan = planned(&[
        ("  on          = stream.orders", "  on = files.drops\n  start = \"newest\""),
        (
            "  schema   = \"order.avsc\"\n}",
            "  schema = \"order.avsc\"\n  key = \"region\"\n  time = \"placed_at\"\n  id = [\"order_id\"]\n  null = \"NA\"\n  shards = 3\n  retention = \"1d\"\n  every = \"1s\"\n  settle = \"0s\"\n  start = \"new\"\n}",
        ),
    ]);
    let name = StreamName::of_files(&"drops".parse().unwrap());
    assert_eq!(function(&plan, "score").on, On::Stream { stream: name, start: Start::Newest });
    let drops = &plan.files[&"drops".parse().unwrap()];
    assert_eq!((drops.every, drops.settle, drops.start), (SECOND, Duration::ZERO, FilesStart::New));
    let FilesContent::Records { stream, .. } = &drops.content else { panic!("they are records") };
    assert_eq!((stream.shards, stream.retention, stream.null_text.as_deref()), (3, 86_400 * SECOND, Some("NA")));
    let table = &plan.tables[&"dropped".parse().unwrap()];
    assert_eq!((&table.unique_by, table.event_time.as_deref()), (&vec!["order_id".to_owned()], Some("placed_at")));
}

#[test]
fn handlers_have_defaults_and_their_runtime_is_found() {
    let plan = planned(&[]);
    let score = handler(&plan, "score");
    assert!(score.code.ends_with("functions/score"));
    assert_eq!((score.runtime, score.handler.as_deref()), (RuntimePlan::Python, Some("score.handler")));
    assert_eq!((score.memory, score.temp), (ByteSize(256 << 20), ByteSize(512 << 20)));
    assert_eq!((score.timeout, score.keep_warm, score.concurrency), (30 * SECOND, 60 * SECOND, None));
    assert_eq!(score.network, Network::All);
    assert_eq!(score.environment, BTreeMap::from([("LEVEL".into(), EnvironmentValue::Plain("info".into()))]));
    assert_eq!(handler(&plan, "book").runtime, RuntimePlan::Node);
    let thumb = handler(&plan, "thumb");
    assert_eq!((thumb.runtime, &thumb.handler), (RuntimePlan::Provided, &None));
}

#[test]
fn every_attribute_of_a_handler_reaches_the_plan() {
    let plan = planned(&[
        (
            "  code        = \"functions/score\"\n  handler     = \"score.handler\"",
            r#"code = "functions/both"
            runtime = "python"
            handler = "a.handler"
            memory = "64MiB"
            timeout = "15m"
            concurrency = 0
            temp = "1MiB"
            keep_warm = "0s"
            network = "none"
            start = "2026-01-01T01:00:00+01:00""#,
        ),
        ("    size = 50", "    size = 10000\n    window = \"5m\"\n    parallel = 10"),
        ("    attempts = 5", "    attempts = 0\n    age = \"6h\"\n    bisect = false"),
        ("    window = \"1s\"\n  }", "    concurrency = 1000\n  }\n  retry {\n    attempts = 7\n    age = \"1h\"\n  }"),
    ]);
    let score = handler(&plan, "score");
    assert_eq!((score.runtime, score.handler.as_deref()), (RuntimePlan::Python, Some("a.handler")));
    assert_eq!((score.memory, score.temp, score.network), (ByteSize(64 << 20), ByteSize(1 << 20), Network::None));
    assert_eq!((score.timeout, score.keep_warm, score.concurrency), (900 * SECOND, Duration::ZERO, Some(0)));
    let function = function(&plan, "score");
    let start = Start::Time(Timestamp(1_767_225_600_000));
    assert_eq!(function.on, On::Stream { stream: "orders".parse().unwrap(), start });
    let batch = BatchPlan { size: 10_000, window: 300 * SECOND, parallel: 10, concurrency: None };
    assert_eq!(function.batch, batch);
    assert_eq!(function.retry, RetryPlan { attempts: Some(0), age: Some(21_600 * SECOND), bisect: false });
    assert_eq!(function.on_failure, Some("failures".parse().unwrap()));
    let book = self::function(&plan, "book");
    assert_eq!(book.batch, BatchPlan { size: 10, window: Duration::ZERO, parallel: 1, concurrency: Some(1000) });
    assert_eq!(book.retry, RetryPlan { attempts: Some(7), age: Some(3600 * SECOND), bisect: false });
}

#[test]
fn batches_and_retries_follow_what_a_function_is_on() {
    let plan = planned(&[("  batch {\n    size = 50\n  }\n  retry {\n    attempts = 5\n  }\n", "")]);
    let of = |name: &str| (function(&plan, name).batch.size, function(&plan, name).retry);
    assert_eq!(of("score"), (100, RetryPlan { attempts: Some(3), age: None, bisect: true }));
    assert_eq!(of("route").0, 10_000, "SQL takes what there is");
    assert_eq!(of("book"), (10, RetryPlan { attempts: None, age: None, bisect: false }));
    let event = RetryPlan { attempts: Some(2), age: Some(21_600 * SECOND), bisect: false };
    for name in ["report", "thumb", "webhook"] {
        assert_eq!(of(name), (1, event), "{name}");
    }
    assert_eq!(function(&plan, "webhook").on, On::Invocation);
    assert_eq!(function(&plan, "report").on, On::Schedule("nightly".parse().unwrap()));
    assert!(function(&plan, "report").outputs.is_empty());
}

#[test]
fn each_output_of_sql_has_its_condition_and_columns() {
    let plan = planned(&[]);
    let route = function(&plan, "route");
    let Body::Sql { sql, output, .. } = &route.body else { panic!("it is SQL") };
    assert_eq!(sql, "select order_id, region, placed_at, amount from input");
    let (eu, rest) = (To::Table("eu".parse().unwrap()), To::Queue("orders".parse().unwrap()));
    assert_eq!(targets(route), [("eu", &eu), ("rest", &rest)]);
    for (output_plan, condition) in route.outputs.iter().zip(["region = 'EU'", "region <> 'EU'"]) {
        assert_eq!(output_plan.columns.as_ref(), Some(output));
        let query = output_plan.sql.as_deref().unwrap();
        assert!(query.contains(sql) && query.contains(condition), "{query}");
        assert!(output_plan.schema.is_none());
    }
    let table = &plan.tables[&"eu".parse().unwrap()];
    let source = TableSource::Function { function: "route".parse().unwrap(), output: "eu".to_owned() };
    assert_eq!((&table.source, names(&table.columns)), (&source, vec!["order_id", "region", "placed_at", "amount"]));
    assert_eq!((&table.unique_by, table.event_time.as_deref()), (&vec!["order_id".to_owned()], Some("placed_at")));
}

#[test]
fn lookups_in_conditions_are_read_too() {
    let folder = Folder::orders();
    folder.write("regions.csv", "name\nEU\n");
    let condition = "region in (select name from regions)";
    let lookup = "lookup \"regions\" {\n  file = \"regions.csv\"\n}\n";
    folder.write("weir.hcl", format!("{}{lookup}", ORDERS.replace("region = 'EU'", condition)));
    let plan = plan(&folder, &Inputs::default());
    let Body::Sql { reads, .. } = &function(&plan, "route").body else { panic!("it is SQL") };
    assert_eq!(reads, &["regions".parse().unwrap()]);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn sql_may_write_to_a_stream_whose_schema_it_fits() {
    let plan = planned(&[
        ("    to    = queue.orders", "    to = stream.scores"),
        (
            "select order_id, region, placed_at, amount from input",
            "select order_id, cast(amount as double) as score, region as note from input",
        ),
        ("region = 'EU'", "note = 'EU'"),
        ("region <> 'EU'", "note <> 'EU'"),
        ("  id     = [\"order_id\"]\n", ""),
    ]);
    let rest = &function(&plan, "route").outputs[1];
    assert_eq!(rest.to, To::Stream("scores".parse().unwrap()));
    let fields: Vec<&str> = rest.schema.as_ref().unwrap().fields().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(fields, ["order_id", "score", "note"]);
}

#[test]
fn handlers_outputs_have_the_schema_of_their_records() {
    let plan = planned(&[]);
    let scores = &function(&plan, "score").outputs[0];
    assert_eq!(scores.to, To::Stream("scores".parse().unwrap()));
    assert_eq!(names(scores.columns.as_ref().unwrap()), ["order_id", "score", "note"]);
    assert!(scores.schema.is_some() && scores.sql.is_none());
    let booked = &function(&plan, "book").outputs[0];
    assert!(booked.schema.is_some());
    let table = &plan.tables[&"booked".parse().unwrap()];
    assert_eq!((&table.stream, names(&table.columns)), (&None, vec!["order_id", "score", "note"]));
    assert_eq!(table.unique_by, ["order_id"]);
    let messages = &function(&plan, "webhook").outputs[0];
    assert!(messages.schema.is_none() && messages.columns.is_none());
}

#[test]
fn a_table_behind_a_handler_has_no_defaults_of_a_stream_that_is_not_there() {
    let plan = planned(&[("  unique_by = [\"order_id\"]\n", "")]);
    let table = &plan.tables[&"booked".parse().unwrap()];
    assert_eq!((table.unique_by.len(), &table.event_time, &table.stream), (0, &None, &None));
}

#[test]
fn secrets_reach_the_environment_and_nothing_that_is_printed() {
    let folder = Folder::orders();
    let environment = "{ TOKEN = secret(\"TOKEN\"), URL = \"https://${secret(\"USER\")}:${secret(\"TOKEN\")}@host\" }";
    folder.write("weir.hcl", ORDERS.replace("{ LEVEL = \"info\" }", environment));
    let inputs = Inputs::new(BTreeMap::new(), |name| match name {
        "WEIR_SECRET_TOKEN" => Some("hunter2".to_owned()),
        "WEIR_SECRET_USER" => Some("me".to_owned()),
        _ => None,
    });
    let plan = plan(&folder, &inputs);
    let environment = &handler(&plan, "score").environment;
    assert_eq!(environment["TOKEN"].reveal(), "hunter2");
    assert_eq!(environment["URL"].reveal(), "https://me:hunter2@host");
    assert_eq!(format!("{:?}", environment["URL"]), "secret(\"USER, TOKEN\")");
    assert!(!format!("{plan:?}").contains("hunter2"));
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let folder = Folder::orders();
    folder.write("functions/score/requirements.txt", "datadog-lambda\n");
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let text = ORDERS
        .replacen("\"score.handler\"", "\"datadog_lambda.handler.handler\"", 1)
        .replacen("location = \"drops\"", "location = \"later\"", 1)
        .replacen("  from = files.drops", "  from = stream.scores", 1)
        .replacen("\"functions/thumb\"", &format!("\"../{name}/functions/thumb\""), 1);
    folder.write("weir.hcl", text);
    let plan = plan(&folder, &Inputs::default());
    let messages: Vec<&str> = plan.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(messages.len(), 4, "{messages:#?}");
    assert_eq!(messages[0], "files block \"drops\" is not used");
    assert_eq!(messages[1], "there is no folder `later` yet");
    assert!(messages[2].starts_with("`functions/score` has no `datadog_lambda/handler.py`"), "{}", messages[2]);
    assert!(messages[3].ends_with("lies outside of the configuration's folder"), "{}", messages[3]);
}

#[test]
fn blocks_inside_may_stand_on_one_line() {
    let plan = planned(&[("  batch {\n    size = 50\n  }", "  batch { size = 50  window = \"2s\" }")]);
    assert_eq!(function(&plan, "score").batch.window, 2 * SECOND);
}

#[test]
fn the_orders_example_is_planned_without_warnings() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/orders");
    let inputs = Inputs::new(BTreeMap::new(), |name| name.starts_with("WEIR_SECRET_").then(|| "key".to_owned()));
    let plan = weir_config::load(&example, &inputs).unwrap();
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

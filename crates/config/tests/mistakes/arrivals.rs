//! Queues, schedules, files, and how they hang together.

use crate::{check, table_of_orders};

#[test]
fn queues() {
    check(
        "queues",
        &table_of_orders(&[
            ("hidden for too long", &[("\"1m\"", "\"13h\"")]),
            ("delayed for too long", &[("\"1m\"", "\"1m\"\n  delay = \"16m\"")]),
            ("kept for too short", &[("\"1m\"", "\"1m\"\n  retention = \"1s\"")]),
            ("a wait that is too long", &[("\"1m\"", "\"1m\"\n  receive_wait = \"1m\"")]),
            ("messages that are too large", &[("\"1m\"", "\"1m\"\n  message_bytes_max = \"2MiB\"")]),
            ("a word for a flag", &[("\"1m\"", "\"1m\"\n  fifo = \"yes\"")]),
            ("received never", &[("max_receives       = 5", "max_receives = 0")]),
            ("SQS's own word", &[("visibility_timeout =", "visibility_timeout_seconds =")]),
            ("deduplication of a standard queue", &[("\"1m\"", "\"1m\"\n  content_deduplication = true")]),
            ("dead letters without a number", &[("  max_receives       = 5\n", "")]),
            ("dead letters that are not there", &[("queue.orders_dead", "queue.order_dead")]),
            ("dead letters in a table", &[("queue.orders_dead", "table.eu")]),
            ("dead letters in a stream", &[("queue.orders_dead", "stream.orders")]),
            ("dead letters of another kind", &[("\"1m\"", "\"1m\"\n  fifo = true")]),
            ("its own dead letters", &[("queue.orders_dead", "queue.orders")]),
            (
                "dead letters in a ring",
                &[
                    (
                        "queue \"orders_dead\" {",
                        "queue \"orders_dead\" {\n  max_receives = 2\n  dead_letter = queue.failures",
                    ),
                    ("queue \"failures\" {", "queue \"failures\" {\n  max_receives = 2\n  dead_letter = queue.orders"),
                ],
            ),
            (
                "a name that is too long",
                &[(
                    "queue \"failures\" {",
                    "queue \"a23456789012345678901234567890123456789012345678901234567890123456789012345\" {\n  fifo = true\n}\n\nqueue \"a234567890123456789012345678901234567890123456789012345678901234567890123456789\" {\n  fifo = true\n}\n\nqueue \"failures\" {",
                )],
            ),
        ]),
    );
}

#[test]
fn schedules() {
    check(
        "schedules",
        &table_of_orders(&[
            ("no time", &[("  when     = \"cron(0 2 * * ? *)\"\n", "")]),
            ("five fields", &[("cron(0 2 * * ? *)", "0 2 * * *")]),
            ("a field out of range", &[("cron(0 2 * * ? *)", "cron(0 25 * * ? *)")]),
            ("both days", &[("cron(0 2 * * ? *)", "cron(0 2 * * * *)")]),
            ("one of a plural", &[("cron(0 2 * * ? *)", "rate(1 hours)")]),
            ("a day that never comes", &[("cron(0 2 * * ? *)", "cron(0 2 31 2 ? *)")]),
            ("an unknown zone", &[("Europe/Berlin", "Europe/Berln")]),
            ("a time that the zone leaves out", &[("cron(0 2 * * ? *)", "at(2026-03-29T02:30:00)")]),
            ("a rule that is none", &[("  input ", "  missed = \"latest\"\n  input ")]),
            ("an input that is a number", &[("{ report = \"daily\", days = 1 }", "1")]),
            ("an input that is no JSON", &[("{ report = \"daily\", days = 1 }", "\"daily\"")]),
            ("an input with a reference", &[("days = 1", "days = queue.orders")]),
            ("an input with too large a number", &[("days = 1", "days = 99999999999999999999")]),
            ("a schedule that is not there", &[("schedule.nightly", "schedule.nightlt")]),
        ]),
    );
}

#[test]
fn files() {
    let drops = "  location = \"drops\"\n";
    check(
        "arriving_files",
        &table_of_orders(&[
            ("no location", &[(drops, "")]),
            ("a location that is a file", &[(drops, "  location = \"order.avsc\"\n")]),
            ("a location of an unknown kind", &[("s3://bucket", "ftp://host")]),
            ("a location with a password", &[("s3://bucket", "https://me:hunter2@host")]),
            ("a format that is none", &[("\"csv\"", "\"xlsx\"")]),
            ("records without schema", &[("  format   = \"csv\"\n  schema   = \"order.avsc\"", "  format = \"csv\"")]),
            (
                "a schema without format",
                &[("  format   = \"csv\"\n", ""), ("  from = files.drops\n", "  from = stream.scores\n")],
            ),
            ("a null of Parquet", &[("\"csv\"", "\"parquet\"\n  null = \"NA\"")]),
            ("a pattern with braces", &[("*.csv", "*.{csv,txt}")]),
            ("a pattern that begins at the root", &[("*.csv", "/*.csv")]),
            ("looked at too often", &[(drops, "  location = \"drops\"\n  every = \"10ms\"\n")]),
            ("a start that is none", &[(drops, "  location = \"drops\"\n  start = \"newest\"\n")]),
            ("files that are not there", &[("files.drops", "files.drop")]),
            ("no name", &[("files \"images\"", "files")]),
            ("a table from references", &[("files.drops", "files.images")]),
            ("an attribute for later", &[(drops, "  location = \"drops\"\n  compression = \"gzip\"\n")]),
        ]),
    );
}

#[test]
fn loops() {
    let copy = |from: &str, to: &str| {
        let code = "code = \"functions/score\"\n  handler = \"score.handler\"";
        format!("function \"copy\" {{\n  on = {from}\n  {code}\n  to = {to}\n}}\n\ntable \"eu\" {{")
    };
    check(
        "loops",
        &table_of_orders(&[
            ("a function on what it writes to", &[("table \"eu\" {", &copy("stream.scores", "stream.scores"))]),
            ("two functions in a ring", &[("table \"eu\" {", &copy("stream.scores", "stream.orders"))]),
            ("around a queue and dead letters", &[("table \"eu\" {", &copy("queue.orders_dead", "queue.orders"))]),
            ("around failures", &[("table \"eu\" {", &copy("queue.failures", "stream.orders"))]),
            ("two functions on a queue", &[("table \"eu\" {", &copy("queue.orders", "stream.scores"))]),
        ]),
    );
}

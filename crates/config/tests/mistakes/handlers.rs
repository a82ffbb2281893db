//! Handlers, batches, retries, and several outputs.

use weir_config::Inputs;

use crate::folder::{Folder, ORDERS};
use crate::{check, edited_from, refused, table_of_orders};

const SCORE: &str = "  code        = \"functions/score\"\n  handler     = \"score.handler\"\n";

#[test]
fn code() {
    check(
        "code",
        &table_of_orders(&[
            ("no code", &[("  code        = \"functions/score\"\n", "")]),
            ("neither SQL nor code", &[(SCORE, "")]),
            (
                "both SQL and code",
                &[(SCORE, "  code = \"functions/score\"\n  handler = \"score.handler\"\n  sql = \"select 1\"\n")],
            ),
            ("code that is not there", &[("\"functions/score\"", "\"functions/scores\"")]),
            ("code in a file", &[("\"functions/score\"", "\"functions/score/score.py\"")]),
            ("code in an archive", &[("\"functions/score\"", "\"functions/score.zip\"")]),
            ("nothing to run", &[("\"functions/score\"", "\"functions/empty\"")]),
            ("two languages", &[("\"functions/score\"", "\"functions/both\"")]),
            ("no handler", &[("  handler     = \"score.handler\"\n", "")]),
            ("a handler without function", &[("\"score.handler\"", "\"score\"")]),
            ("a handler with an empty part", &[("\"score.handler\"", "\"score.\"")]),
            ("a module that is not there", &[("\"score.handler\"", "\"scores.handler\"")]),
            ("a module in a folder that is not there", &[("\"score.handler\"", "\"inner.dep.handler\"")]),
            ("a module of Node that is not there", &[("\"book.handler\"", "\"lib/helper.handler\"")]),
            ("a module outside", &[("\"book.handler\"", "\"../score/score.handler\"")]),
            ("a runtime of another language", &[("  handler     = ", "  runtime = \"node\"\n  handler = ")]),
            ("a runtime by Lambda's name", &[("  handler     = ", "  runtime = \"python3.12\"\n  handler = ")]),
            (
                "a handler for bootstrap",
                &[("\"functions/thumb\"", "\"functions/thumb\"\n  handler = \"thumb.handler\"")],
            ),
            ("no bootstrap", &[("\"functions/thumb\"", "\"functions/book\"\n  runtime = \"provided\"")]),
        ]),
    );
    let folder = Folder::orders();
    folder.executable("functions/thumb/bootstrap", false);
    check("bootstrap_that_can_not_run", &refused(&folder, &Inputs::default()));
}

#[test]
fn settings() {
    let handler = "  handler     = \"score.handler\"\n";
    let with = |line: &str| format!("{handler}  {line}\n");
    check(
        "settings",
        &table_of_orders(&[
            ("too little memory", &[(handler, &with("memory = \"16MiB\""))]),
            ("memory as a number", &[(handler, &with("memory = 256"))]),
            ("too long a timeout", &[(handler, &with("timeout = \"16m\""))]),
            ("too much at once", &[(handler, &with("concurrency = 1001"))]),
            ("too large a folder", &[(handler, &with("temp = \"11GiB\""))]),
            ("warm for too long", &[(handler, &with("keep_warm = \"2h\""))]),
            ("a network that is none", &[(handler, &with("network = \"some\""))]),
            ("a start that is none", &[(handler, &with("start = \"latest\""))]),
            ("a start of a queue", &[("  on      = queue.orders", "  on = queue.orders\n  start = \"newest\"")]),
            ("an environment that is no map", &[("{ LEVEL = \"info\" }", "[\"LEVEL\"]")]),
            ("a number in the environment", &[("LEVEL = \"info\"", "LEVEL = 3")]),
            ("a reference in the environment", &[("LEVEL = \"info\"", "QUEUE = queue.orders")]),
            ("a name with a dash", &[("LEVEL = \"info\"", "\"LOG-LEVEL\" = \"info\"")]),
            ("a name of Lambda's", &[("LEVEL = \"info\"", "AWS_LAMBDA_FUNCTION_NAME = \"x\", _HANDLER = \"y\"")]),
            ("a secret that is not set", &[("LEVEL = \"info\"", "TOKEN = secret(\"TOKEN\")")]),
            (
                "memory of SQL",
                &[("  sql = \"select order_id", "  memory = \"1GiB\"\n  timeout = \"1m\"\n  sql = \"select order_id")],
            ),
            ("failures into a table", &[("queue.failures", "table.eu")]),
            ("failures into a FIFO queue", &[("queue \"failures\" {", "queue \"failures\" {\n  fifo = true")]),
        ]),
    );
}

#[test]
fn batches_and_retries() {
    let thumb = "  code = \"functions/thumb\"\n";
    check(
        "batches_and_retries",
        &table_of_orders(&[
            ("too large a batch", &[("size = 50", "size = 20000")]),
            ("too long a window", &[("\"1s\"", "\"10m\"")]),
            ("an unknown attribute", &[("size = 50", "sise = 50")]),
            ("a batch that is an attribute", &[("  batch {\n    size = 50\n  }", "  batch = { size = 50 }")]),
            ("two batches", &[("  retry {", "  batch {\n    size = 5\n  }\n  retry {")]),
            ("a batch with a name", &[("  batch {\n    size", "  batch \"big\" {\n    size")]),
            ("an unknown block", &[("  batch {\n    size", "  batches {\n    size")]),
            ("parallel on a queue", &[("window = \"1s\"", "parallel = 2")]),
            ("concurrency on a stream", &[("size = 50", "concurrency = 5")]),
            ("one environment at most", &[("window = \"1s\"", "concurrency = 1")]),
            ("a batch of files", &[(thumb, "  code = \"functions/thumb\"\n  batch {\n    size = 2\n  }\n")]),
            (
                "a batch of SQL for tables",
                &[
                    ("    to    = queue.orders", "    to = table.rest"),
                    ("  output \"eu\"", "  batch {\n    size = 2\n  }\n  output \"eu\""),
                    ("table \"eu\" {", "table \"rest\" {\n}\n\ntable \"eu\" {"),
                ],
            ),
            ("a retry of SQL", &[("  output \"eu\"", "  retry {\n    attempts = 2\n  }\n  output \"eu\"")]),
            ("too many attempts", &[("attempts = 5", "attempts = 10001")]),
            ("too old", &[("attempts = 5", "age = \"30d\"")]),
            (
                "a queue's message cut in two",
                &[("  batch {\n    window = \"1s\"\n  }", "  retry {\n    bisect = true\n  }")],
            ),
            ("a file cut in two", &[(thumb, "  code = \"functions/thumb\"\n  retry {\n    bisect = false\n  }\n")]),
        ]),
    );
}

#[test]
fn outputs() {
    check(
        "outputs",
        &table_of_orders(&[
            ("an output without target", &[("    to    = table.eu\n", "")]),
            ("an output without name", &[("output \"eu\"", "output")]),
            ("an output twice", &[("output \"rest\"", "output \"EU\"")]),
            ("an output with a bad name", &[("output \"eu\"", "output \"e u\"")]),
            ("both forms", &[("  sql = \"select order_id", "  to = table.eu\n  sql = \"select order_id")]),
            ("a target that is not there", &[("table.eu", "table.ue")]),
            ("a target that is a function", &[("table.eu", "function.score")]),
            ("a condition that is no SQL", &[("region = 'EU'", "region = ")]),
            ("a condition with an unknown column", &[("region = 'EU'", "regoin = 'EU'")]),
            ("a condition that is more", &[("region = 'EU'", "true) union (select 1")]),
            ("a condition that is a number", &[("region = 'EU'", "amount")]),
            ("a condition by chance", &[("region = 'EU'", "random() < 0.5")]),
            (
                "a condition in a heredoc",
                &[("\"region = 'EU'\"", "<<-SQL\n      region = 'EU'\n        and amont > 1\n    SQL")],
            ),
            ("an empty condition", &[("region = 'EU'", "")]),
            (
                "a condition of a handler",
                &[(
                    "  to      = table.booked\n  schema  = \"score.avsc\"",
                    "  output \"booked\" {\n    to = table.booked\n    schema = \"score.avsc\"\n    where = \"score > 1\"\n  }",
                )],
            ),
            ("two outputs to one table", &[("    to    = queue.orders", "    to = table.eu")]),
            ("a schema of SQL", &[("    where = \"region = 'EU'\"", "    schema = \"score.avsc\"")]),
            ("no schema for a table", &[("  schema  = \"score.avsc\"\n", "")]),
            ("a schema that is not there", &[("  schema  = \"score.avsc\"", "  schema = \"scores.avsc\"")]),
            ("a schema that no table can hold", &[("  schema  = \"score.avsc\"", "  schema = \"reserved.avsc\"")]),
            (
                "a schema for a stream",
                &[("  to          = stream.scores", "  to = stream.scores\n  schema = \"score.avsc\"")],
            ),
            ("a schema for a queue", &[("  to      = queue.orders", "  to = queue.orders\n  schema = \"score.avsc\"")]),
            (
                "a schema for nothing",
                &[("  on      = schedule.nightly", "  on = schedule.nightly\n  schema = \"score.avsc\"")],
            ),
            ("unique by a column that the schema lacks", &[("unique_by = [\"order_id\"]", "unique_by = [\"id\"]")]),
            ("a lookback without a stream", &[("unique_by = [\"order_id\"]", "lookback = \"1h\"\n  buckets = 2")]),
            (
                "an id that the schema lacks",
                &[
                    ("  to          = stream.scores\n", "  to = table.scored\n  schema = \"score.avsc\"\n"),
                    ("  id     = [\"order_id\"]", "  id     = [\"order_id\", \"region\"]"),
                    ("table \"eu\" {", "table \"scored\" {\n}\n\ntable \"eu\" {"),
                ],
            ),
            (
                "SQL without target",
                &[(
                    "  output \"eu\" {\n    to    = table.eu\n    where = \"region = 'EU'\"\n  }\n  output \"rest\" {\n    to    = queue.orders\n    where = \"region <> 'EU'\"\n  }\n",
                    "",
                )],
            ),
            (
                "SQL on a queue",
                &[
                    ("  on  = stream.orders", "  on = queue.orders_dead"),
                    ("    to    = queue.orders\n", "    to = queue.failures\n"),
                ],
            ),
            ("SQL on references", &[("  on  = stream.orders", "  on = files.images")]),
            ("SQL on nothing", &[("  on  = stream.orders\n", "")]),
            ("a function on a table", &[("  on  = stream.orders", "  on = table.eu")]),
        ]),
    );
}

#[test]
fn rows_for_streams_and_queues() {
    let route = "sql = \"select order_id, region, placed_at, amount from input\"";
    let to_scores = ("    to    = queue.orders", "    to = stream.scores");
    check(
        "rows_for_streams_and_queues",
        &table_of_orders(&[
            ("columns that the stream lacks, and the other way round", &[to_scores]),
            (
                "text for a number",
                &[to_scores, (route, "sql = \"select order_id, region as score, region as note from input\"")],
            ),
            (
                "a number for a time",
                &[
                    ("    to    = queue.orders", "    to = stream.copies"),
                    (
                        route,
                        "sql = \"select order_id, region, amount as placed_at, amount * 1.5 as amount from input\"",
                    ),
                    ("stream \"scores\" {", "stream \"copies\" {\n  schema = \"order.avsc\"\n}\n\nstream \"scores\" {"),
                ],
            ),
            (
                "two columns of a name",
                &[(route, "sql = \"select order_id, region, placed_at, region as order_id from input\"")],
            ),
        ]),
    );
}

#[test]
fn secrets_of_handlers_are_never_shown() {
    let folder = Folder::orders();
    let environment = "{ TOKEN = secret(\"TOKEN\"), URL = \"https://me:${secret(\"TOKEN\")}@host\", LEVEL = 1 }";
    let input = "input = { token = secret(\"TOKEN\") }\n  missed = secret(\"TOKEN\")";
    let text = edited_from(
        ORDERS,
        &[("{ LEVEL = \"info\" }", environment), ("input    = { report = \"daily\", days = 1 }", input)],
    );
    folder.write("weir.hcl", text);
    let inputs = Inputs::new(std::collections::BTreeMap::new(), |name| {
        (name == "WEIR_SECRET_TOKEN").then(|| "hunter2".to_owned())
    });
    check("secrets_of_handlers", &refused(&folder, &inputs));
}

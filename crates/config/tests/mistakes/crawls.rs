//! Accounts, budgets and crawls.

use weir_config::{Inputs, load};

use crate::folder::{DEVICES, Folder};
use crate::{Case, check, edited_from, refused, shown};

fn inputs() -> Inputs {
    Inputs::new(std::collections::BTreeMap::new(), |name| (name == "WEIR_SECRET_TOKEN").then(|| "hunter2".to_owned()))
}

fn table_of_devices(cases: &[Case<'_>]) -> String {
    let shown = cases.iter().map(|(name, edits)| {
        let folder = Folder::devices();
        folder.write("weir.hcl", edited_from(DEVICES, edits));
        format!("### {name}\n{}", refused(&folder, &inputs()))
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn accounts() {
    let url = "https://vendor.example/v1";
    let auth = "bearer(secret(\"TOKEN\"))";
    let oauth = "access_token_url = \"https://vendor.example/token\"\n    client_id = \"weir\"";
    let oauth = |more: &str| format!("oauth2_client_credentials {{\n    {oauth}\n    {more}\n  }}");
    let line = "auth     = bearer(secret(\"TOKEN\"))";
    check(
        "accounts",
        &table_of_devices(&[
            ("no URL", &[("  base_url = \"https://vendor.example/v1\"\n", "")]),
            ("a URL that is none", &[(url, "vendor.example/v1")]),
            ("a URL of another kind", &[(url, "ftp://vendor.example")]),
            ("a URL with a password", &[(url, "https://me:hunter2@vendor.example")]),
            ("a URL with a query", &[(url, "https://vendor.example/v1?key=1")]),
            ("a token in plain text", &[(auth, "bearer(\"hunter2\")")]),
            ("a token as a string", &[(auth, "\"hunter2\"")]),
            ("a token of nothing", &[(auth, "bearer()")]),
            ("a secret without a form", &[(auth, "secret(\"TOKEN\")")]),
            ("a secret that is not set", &[(auth, "bearer(secret(\"TOKNE\"))")]),
            ("a form that is none", &[(auth, "baerer(secret(\"TOKEN\"))")]),
            ("a place of a key that is none", &[(auth, "api_key(\"X-Key\", secret(\"TOKEN\"), \"haeder\")")]),
            ("a key without a name", &[(auth, "api_key(\"\", secret(\"TOKEN\"))")]),
            ("a password in plain text", &[(auth, "basic(\"me\", \"hunter2\")")]),
            (
                "two ways to show who calls",
                &[(line, &format!("{line}\n  {}", oauth("client_secret = secret(\"TOKEN\")")))],
            ),
            ("a client without a secret", &[(line, &oauth("scopes = \"read\""))]),
            ("a client's secret in plain text", &[(line, &oauth("client_secret = \"hunter2\""))]),
            (
                "credentials elsewhere",
                &[("weight", "weight")].map(|_| {
                    (url, "https://v.example\"\n  timeout = bearer(secret(\"TOKEN\"))\n  answer_bytes_max = \"1MiB")
                }),
            ),
            ("a header in plain text", &[(line, "headers = { Authorization = \"Bearer hunter2\" }")]),
            ("a header of the connection", &[(line, "headers = { Host = \"vendor.example\" }")]),
            ("a header that is none", &[(line, "headers = { \"X Key\" = \"1\" }")]),
            ("an account that is not there", &[("api.monitor", "api.monitr")]),
            ("an account that is a stream", &[("api.monitor", "stream.readings")]),
            ("an account in quotes", &[("api.monitor", "\"monitor\"")]),
        ]),
    );
}

#[test]
fn budgets() {
    let rate = "rate        = \"10/s\"";
    let window = |attributes: &str| format!("{rate}\n    window \"night\" {{\n      {attributes}\n    }}");
    check(
        "budgets",
        &table_of_devices(&[
            ("a rate that is a number", &[(rate, "rate = 10")]),
            ("a rate without a time", &[(rate, "rate = \"10\"")]),
            ("a rate of nothing", &[(rate, "rate = \"0/s\"")]),
            ("a rate among others", &[(rate, "rate = [\"10/s\", \"10/fortnight\"]")]),
            ("no rates", &[(rate, "rate = []")]),
            ("a burst of a rate that is learned", &[(rate, "")]),
            ("a burst of no rate", &[(rate, "rate = \"unlimited\"")]),
            ("too many at once", &[("concurrency = 8", "concurrency = 0")]),
            ("a quota of a week", &[(rate, "rate = \"10/s\"\n    quota = \"10/week\"")]),
            (
                "a zone that is none",
                &[(rate, "rate = \"10/s\"\n    quota = \"10/day\"\n    timezone = \"Europe/Berln\"")],
            ),
            ("a zone of nothing", &[(rate, "rate = \"10/s\"\n    timezone = \"Europe/Berlin\"")]),
            ("a window without hours", &[(rate, &window("rate = \"50/s\""))]),
            ("a window of no hours", &[(rate, &window("from = \"22:00\"\n to = \"22:00\"\n rate = \"50/s\""))]),
            ("an hour that is none", &[(rate, &window("from = \"10pm\"\n to = \"24:00\"\n rate = \"50/s\""))]),
            (
                "a day that is none",
                &[(rate, &window("from = \"22:00\"\n to = \"24:00\"\n days = [\"sut\"]\n rate = []"))],
            ),
            ("two budgets", &[("  budget {", "  budget {\n  }\n  budget {")]),
            (
                "a budget that is an attribute",
                &[(
                    "  budget {\n    rate        = \"10/s\"\n    burst       = 20\n    concurrency = 8\n  }",
                    "  budget = \"10/s\"",
                )],
            ),
        ]),
    );
}

#[test]
fn crawls() {
    check(
        "crawls",
        &table_of_devices(&[
            ("no account", &[("  api      = api.monitor\n", "")]),
            ("a schedule that is none", &[("cron(0 2 * * ? *)", "0 2 * * *")]),
            ("a field of a schedule", &[("cron(0 2 * * ? *)", "cron(0 25 * * ? *)")]),
            ("a zone without schedule", &[("schedule = \"cron(0 2 * * ? *)\"", "timezone = \"Europe/Berlin\"")]),
            ("an overlap that is none", &[("  schedule", "  overlap = \"wait\"\n  schedule")]),
            ("a weight of nothing", &[("  schedule", "  weight = 0\n  schedule")]),
            ("a secret among the params", &[("page_size = 100", "page_size = 100, key = secret(\"TOKEN\")")]),
            ("a map among the params", &[("page_size = 100", "page_size = { a = 1 }")]),
            (
                "no resources",
                &[("crawl \"devices\" {", "crawl \"nothing\" {\n  api = api.monitor\n}\n\ncrawl \"devices\" {")],
            ),
            ("a resource without a path", &[("    path          = \"/groups\"\n", "")]),
            ("a method that is none", &[("    data_selector = \"items\"", "    method = \"FETCH\"")]),
            ("a body of GET", &[("    data_selector = \"items\"", "    body = { all = true }")]),
            (
                "a secret in a body",
                &[("    data_selector = \"items\"", "    method = \"POST\"\n    body = { key = secret(\"TOKEN\") }")],
            ),
            (
                "a paginator that is none",
                &[("paginator \"cursor\" { cursor_path", "paginator \"curser\" { cursor_path")],
            ),
            ("a word that is no paginator", &[("    data_selector = \"items\"", "    paginator = \"link\"")]),
            ("an offset without a limit", &[("    data_selector = \"items\"", "    paginator = \"offset\"")]),
            (
                "an offset's block without a limit",
                &[("    data_selector = \"items\"", "    paginator \"offset\" {\n    }")],
            ),
            ("an attribute of another paginator", &[("cursor_path = \"next\"", "next_url_path = \"next\"")]),
            (
                "two paginators",
                &[(
                    "    data_selector = \"items\"",
                    "    paginator \"auto\" {\n    }\n    paginator \"cursor\" {\n    }",
                )],
            ),
            (
                "two ways to a cursor",
                &[("cursor_path = \"next\"", "cursor_path = \"next\"  cursor_header = \"X-Next\"")],
            ),
            (
                "what grows is not said",
                &[("    data_selector = \"items\"", "    incremental {\n      start_param = \"since\"\n    }")],
            ),
            (
                "a lag that is none",
                &[(
                    "    data_selector = \"items\"",
                    "    incremental {\n      cursor_path = \"at\"\n      initial_value = 0\n      lag = \"soon\"\n    }",
                )],
            ),
            (
                "an action without answers",
                &[("    data_selector = \"items\"", "    response_action {\n      action = \"ignore\"\n    }")],
            ),
            (
                "an action that is none",
                &[(
                    "    data_selector = \"items\"",
                    "    response_action {\n      status_code = 404\n      action = \"skip\"\n    }",
                )],
            ),
            ("merging without a key", &[("    primary_key       = \"id\"\n", "")]),
            ("a path of all", &[("params = { page_size", "path = \"/groups\"\n    params = { page_size")]),
            ("a resource twice", &[("resource \"device\"", "resource \"group\"")]),
        ]),
    );
}

#[test]
fn where_items_go() {
    check(
        "where_items_go",
        &table_of_devices(&[
            ("a queue", &[("table.devices", "queue.devices")]),
            ("a table that is not there", &[("table.devices", "table.device")]),
            (
                "a schema of a stream",
                &[("    to   = stream.readings", "    to = stream.readings\n    schema = \"device.avsc\"")],
            ),
            ("a schema of nothing", &[("    data_selector = \"items\"", "    schema = \"device.avsc\"")]),
            ("a column that tables don't have", &[("device.avsc", "reserved.avsc")]),
            ("a schema that is none", &[("device.avsc", "weir.hcl")]),
            ("a key that rows don't have", &[("primary_key       = \"id\"", "primary_key = \"ident\"")]),
            (
                "two resources of one table",
                &[("stream.readings\n  }", "table.devices\n    schema = \"device.avsc\"\n  }")],
            ),
            ("two sources", &[("table \"devices\" {", "table \"devices\" {\n  from = stream.readings")]),
            (
                "a crawl and a function",
                &[(
                    "table \"devices\" {",
                    "function \"copy\" {\n  on = stream.readings\n  sql = \"select * from input\"\n  to = table.devices\n}\n\ntable \"devices\" {",
                )],
            ),
            (
                "replaced and seen at once",
                &[
                    ("\"merge\"", "\"replace\""),
                    ("table \"devices\" {", "table \"devices\" {\n  visible = \"at_once\""),
                ],
            ),
            ("merged and seen at the end", &[("table \"devices\" {", "table \"devices\" {\n  visible = \"complete\"")]),
            ("the first of a key", &[("table \"devices\" {", "table \"devices\" {\n  keep = \"first\"")]),
            ("another key", &[("table \"devices\" {", "table \"devices\" {\n  unique_by = [\"name\"]")]),
            (
                "a table that no crawl fills",
                &[("table \"readings\" {", "table \"readings\" {\n  visible = \"complete\"")],
            ),
            (
                "withheld and unique",
                &[
                    ("\"merge\"", "\"append\""),
                    ("table \"devices\" {", "table \"devices\" {\n  visible = \"complete\"\n  unique_by = [\"id\"]"),
                ],
            ),
            (
                "merged where a row may move",
                &[
                    ("device.avsc", "reading.avsc"),
                    ("primary_key       = \"id\"", "primary_key = \"value\""),
                    ("table \"devices\" {", "table \"devices\" {\n  partition_by = \"day(at)\""),
                ],
            ),
            (
                "replaced and late",
                &[
                    ("device.avsc", "reading.avsc"),
                    ("primary_key       = \"id\"", "primary_key = \"value\""),
                    ("\"merge\"", "\"replace\""),
                    ("table \"devices\" {", "table \"devices\" {\n  partition_by = \"day(at)\"\n  lookback = \"1d\""),
                ],
            ),
            ("empty and merged", &[("table \"devices\" {", "table \"devices\" {\n  allow_empty = true")]),
            ("lateness without time", &[("table \"devices\" {", "table \"devices\" {\n  lookback = \"1d\"")]),
        ]),
    );
}

#[test]
fn accounts_of_functions() {
    let ask = |attributes: &str| {
        format!(
            "function \"ask\" {{\n  code = \"code\"\n  handler = \"ask.handler\"\n  {attributes}\n}}\n\ntable \"devices\" {{"
        )
    };
    check(
        "accounts_of_functions",
        &table_of_devices(&[
            ("an account that is not there", &[("table \"devices\" {", &ask("apis = [api.monitr]"))]),
            ("a stream", &[("table \"devices\" {", &ask("apis = [stream.readings]"))]),
            ("no list", &[("table \"devices\" {", &ask("apis = api.monitor"))]),
            ("twice", &[("table \"devices\" {", &ask("apis = [api.monitor, api.monitor]"))]),
            ("without a network", &[("table \"devices\" {", &ask("apis = [api.monitor]\n  network = \"none\""))]),
            (
                "two of one variable",
                &[
                    ("table \"devices\" {", &ask("apis = [api.a-b, api.a_b]")),
                    (
                        "crawl \"devices\" {",
                        "api \"a-b\" { base_url = \"http://a\" }\n\napi \"a_b\" { base_url = \"http://a\" }\n\ncrawl \"devices\" {",
                    ),
                ],
            ),
            (
                "of SQL",
                &[(
                    "table \"devices\" {",
                    "function \"copy\" {\n  on = stream.readings\n  sql = \"select * from input\"\n  to = table.copy\n  apis = [api.monitor]\n}\n\ntable \"copy\" {\n}\n\ntable \"devices\" {",
                )],
            ),
        ]),
    );
}

#[test]
fn what_is_not_pinned_is_warned_of() {
    let folder = Folder::devices();
    let unused = "api \"other\" {\n  base_url = \"https://other.example\"\n}\n\n";
    let rollup = "table \"names\" {\n  sql = \"select name, count(*) as n from devices group by 1\"\n}\n";
    let text = edited_from(DEVICES, &[("    schema            = \"device.avsc\"\n", "")]);
    folder.write("weir.hcl", format!("{unused}{text}\n{rollup}"));
    let plan = load(folder.path(), &inputs()).unwrap_or_else(|found| panic!("{}", shown(&found, &folder)));
    assert!(plan.tables.keys().all(|table| table.as_str() == "readings"), "{:?}", plan.tables.keys());
    check("what_is_not_pinned_is_warned_of", &shown(&plan.warnings, &folder));
}

/// What shows only when the resources are looked at together.
#[test]
fn crawls_as_a_whole() {
    check(
        "crawls_as_a_whole",
        &table_of_devices(&[
            ("a parent that is none", &[("{resources.group.id}", "{resources.grup.id}")]),
            ("a template that does not end", &[("{resources.group.id}", "{resources.group.id")]),
            ("a parameter that is none", &[("page_size = 100", "page_size = \"{params.size}\"")]),
            ("a selector that does not parse", &[("    data_selector = \"items\"", "    data_selector = \"items[\"")]),
            (
                "resources in a circle",
                &[("    path          = \"/groups\"", "    path          = \"/of/{resources.device.id}/groups\"")],
            ),
            ("fields of no parent", &[("    data_selector = \"items\"", "    include_from_parent = [\"id\"]")]),
            (
                "another host",
                &[("    path          = \"/groups\"", "    path          = \"https://elsewhere.example/groups\"")],
            ),
        ]),
    );
}

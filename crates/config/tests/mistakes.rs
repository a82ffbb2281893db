//! Every mistake that a configuration can have, what is said about it, where, and the hint.
//!
//! One snapshot per subject. `INSTA_UPDATE=always cargo test -p weir-config` rewrites them: read the difference.

#[path = "mistakes/archives.rs"]
mod archives;
#[path = "mistakes/arrivals.rs"]
mod arrivals;
#[path = "mistakes/crawls.rs"]
mod crawls;
mod folder;
#[path = "mistakes/handlers.rs"]
mod handlers;
#[path = "mistakes/rollups.rs"]
mod rollups;

use folder::{Folder, GOOD};
use weir_config::{Diagnostic, Inputs, Severity, load};

/// A mistake: its name, and what is replaced in the good configuration.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);

fn edited(edits: &[(&str, &str)]) -> String {
    edited_from(GOOD, edits)
}

fn edited_from(good: &str, edits: &[(&str, &str)]) -> String {
    let mut text = good.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the good configuration has no `{from}`");
        text = text.replacen(from, to, 1);
    }
    text
}

fn shown(diagnostics: &[Diagnostic], folder: &Folder) -> String {
    for found in diagnostics {
        assert!(found.hint.is_some(), "no hint: {}", found.render());
        assert!(found.place.is_some() || found.message.starts_with("`--var"), "no place: {}", found.render());
    }
    let rendered: Vec<String> = diagnostics.iter().map(Diagnostic::render).collect();
    rendered.join("").replace(&folder.path().display().to_string(), "FOLDER")
}

fn refused(folder: &Folder, inputs: &Inputs) -> String {
    let found = load(folder.path(), inputs).expect_err("a mistake is refused");
    assert!(found.iter().all(|found| !found.render().contains("hunter2")), "a secret is shown");
    assert!(found.iter().any(|found| found.severity == Severity::Error));
    shown(&found, folder)
}

fn table(cases: &[Case<'_>]) -> String {
    let shown = cases.iter().map(|(name, edits)| {
        let folder = Folder::good();
        folder.write("weir.hcl", edited(edits));
        format!("### {name}\n{}", refused(&folder, &Inputs::default()))
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// The same from the configuration of [`folder::ORDERS`].
fn table_of_orders(cases: &[Case<'_>]) -> String {
    let shown = cases.iter().map(|(name, edits)| {
        let folder = Folder::orders();
        folder.write("weir.hcl", edited_from(folder::ORDERS, edits));
        format!("### {name}\n{}", refused(&folder, &Inputs::default()))
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn syntax() {
    check(
        "syntax",
        &table(&[
            ("an equals sign is missing", &[("schema = ", "schema ")]),
            ("a quote is missing", &[("\"flight.avsc\"", "\"flight.avsc")]),
            ("a brace is missing", &[("}\n\nlookup", "\n\nlookup")]),
            ("a bracket is missing", &[("\"time_hour\"]", "\"time_hour\"")]),
            ("two attributes on a line", &[("\n  key ", " key ")]),
            ("a stray brace", &[("}\n\nlookup", "}\n}\nlookup")]),
            ("an attribute is set twice", &[("  key    = \"carrier\"\n", "  key = \"carrier\"\n  key = \"origin\"\n")]),
            ("an attribute outside of a block", &[("stream \"flights\"", "name = \"x\"\nstream \"flights\"")]),
            (
                "a heredoc without end",
                &[(
                    "\"select f.*, a.name as airline from input f left join airlines a using (carrier)\"",
                    "<<SQL\nselect",
                )],
            ),
        ]),
    );
}

#[test]
fn blocks() {
    check(
        "blocks",
        &table(&[
            ("an unknown kind", &[("stream \"flights\" {", "steam \"flights\" {")]),
            ("a kind for later", &[("table \"flights\" {", "alarm \"no_flights\" {\n}\n\ntable \"flights\" {")]),
            ("no name", &[("lookup \"airlines\" {", "lookup {")]),
            ("two names", &[("lookup \"airlines\" {", "lookup \"airlines\" \"more\" {")]),
            ("a name with a blank", &[("lookup \"airlines\" {", "lookup \"my airlines\" {")]),
            (
                "a name twice",
                &[("table \"flights\" {", "table \"flights\" {\n  from = stream.flights\n}\n\ntable \"Flights\" {")],
            ),
            ("an unknown attribute", &[("key ", "keys ")]),
            ("an attribute like no other", &[("  key    =", "  zzz    =")]),
            ("an attribute for later", &[("  to  = table.flights", "  to  = table.flights\n  layers = [\"a\"]")]),
            ("a block in a block", &[("  key    = \"carrier\"", "  retention {\n    days = 7\n  }")]),
        ]),
    );
}

#[test]
fn values() {
    check(
        "values",
        &table(&[
            ("a number for a string", &[("\"flight.avsc\"", "1")]),
            ("a string for a number", &[("shards = 2", "shards = \"2\"")]),
            ("a string for a list", &[("[\"carrier\", \"flight\", \"time_hour\"]", "\"carrier\"")]),
            ("a number in a list of strings", &[("\"flight\", ", "7, ")]),
            ("an element twice", &[("\"flight\", ", "\"carrier\", ")]),
            ("an empty string", &[("\"flight.avsc\"", "\" \"")]),
            ("too many shards", &[("shards = 2", "shards = 5000")]),
            ("a broken shard", &[("shards = 2", "shards = 1.5")]),
            ("a negative number", &[("shards = 2", "shards = -1")]),
            ("a length of time without unit", &[("retention = \"7d\"", "retention = \"7\"")]),
            ("a length of time with an unknown unit", &[("retention = \"7d\"", "retention = \"7 days\"")]),
            ("a length of time out of range", &[("retention = \"7d\"", "retention = \"1s\"")]),
            ("a size without unit", &[("retention = \"7d\"", "retention_bytes = \"10\"")]),
            ("a size out of range", &[("retention = \"7d\"", "retention_bytes = \"10B\"")]),
            ("a word that is no choice", &[("retention = \"7d\"", "compatibility = \"backwards\"")]),
            ("a bare word", &[("\"carrier\"\n", "carrier\n")]),
            ("arithmetic", &[("shards = 2", "shards = 1 + 1")]),
            ("an unknown function", &[("\"flight.avsc\"", "file(\"flight.avsc\")")]),
            ("a call without argument", &[("\"flight.avsc\"", "env()")]),
            ("a loop", &[("[\"carrier\", \"flight\", \"time_hour\"]", "[for x in [\"carrier\"] : x]")]),
            ("a directive in a string", &[("\"flight.avsc\"", "\"%{ if true }flight.avsc%{ endif }\"")]),
            ("a list in a string", &[("\"flight.avsc\"", "\"${[1]}.avsc\"")]),
            ("a condition that is none", &[("shards = 2", "shards = \"x\" ? 1 : 2")]),
            ("null where a value must be", &[("\"flight.avsc\"", "null")]),
        ]),
    );
}

#[test]
fn references() {
    check(
        "references",
        &table(&[
            ("a stream that is not there", &[("stream.flights", "stream.flight")]),
            ("a table that is not there", &[("table.flights", "table.fliegen")]),
            ("a reference in quotes", &[("stream.flights", "\"flights\"")]),
            ("a reference with three parts", &[("stream.flights", "stream.flights.carrier")]),
            ("an unknown kind", &[("stream.flights", "steam.flights")]),
            ("a function on a table", &[("stream.flights", "table.flights")]),
            ("a function to a stream", &[("table.flights", "stream.flights")]),
            ("a table from a function", &[("  partition_by", "  from = function.enrich\n  partition_by")]),
            ("an index", &[("stream.flights", "stream[\"flights\"]")]),
        ]),
    );
}

#[test]
fn streams() {
    check(
        "streams",
        &table(&[
            ("no schema", &[("  schema = \"flight.avsc\"\n", "")]),
            ("a schema that is not there", &[("flight.avsc", "fligth.avsc")]),
            ("a schema that is a folder", &[("flight.avsc", "folder")]),
            ("a schema that is not JSON", &[("flight.avsc", "broken.avsc")]),
            ("a schema with an unknown type", &[("flight.avsc", "unknown.avsc")]),
            ("a schema of no record", &[("flight.avsc", "enum.avsc")]),
            ("a decimal that no column can hold", &[("flight.avsc", "decimal.avsc")]),
            ("a key that is no field", &[("key    = \"carrier\"", "key    = \"carier\"")]),
            ("a time that is no field", &[("time   = \"time_hour\"", "time   = \"hour\"")]),
            ("a time that is no time", &[("time   = \"time_hour\"", "time   = \"origin\"")]),
            ("an id that is no field", &[("\"flight\", ", "\"flightnumber\", ")]),
        ]),
    );
}

const LOOKUP_FILE: &str = "file    = \"airlines.csv\"";

#[test]
fn lookups() {
    check(
        "lookups",
        &table(&[
            ("no file", &[("  file    = \"airlines.csv\"\n", "")]),
            ("a file that is not there", &[("\"airlines.csv\"", "\"airline.csv\"")]),
            ("a file of another format", &[("\"airlines.csv\"", "\"flight.avsc\"")]),
            ("a row that is too short", &[("\"airlines.csv\"", "\"short.csv\"")]),
            ("a pattern that nothing matches", &[("\"airlines.csv\"", "\"air/*.csv\"")]),
            ("refreshed too often", &[("refresh = \"5m\"", "refresh = \"1ms\"")]),
            ("refreshed in two ways", &[("refresh = \"5m\"", "refresh = \"5m\"\n  schedule = \"rate(5 minutes)\"")]),
            ("a schedule that never comes", &[("refresh = \"5m\"", "schedule = \"at(5 minutes)\"")]),
            ("a type that is none", &[("refresh = \"5m\"", "columns = { carrier = \"text\" }")]),
            ("a column that is not there", &[("refresh = \"5m\"", "columns = { carier = \"string\" }")]),
            ("a type that does not fit", &[("refresh = \"5m\"", "columns = { carrier = \"long\" }")]),
            ("a key that is no column", &[("refresh = \"5m\"", "key = \"carier\"")]),
            ("larger than allowed", &[("refresh = \"5m\"", "rows_max = 1")]),
            ("a file and a database", &[("refresh = \"5m\"", "database = \"mysql://weir@127.0.0.1:1/shop\"")]),
            ("a query of a file", &[("refresh = \"5m\"", "query = \"select 1\"")]),
            ("a database without a query", &[(LOOKUP_FILE, "database = \"mysql://weir@127.0.0.1:1/shop\"")]),
            (
                "a database's null",
                &[(
                    LOOKUP_FILE,
                    "database = \"mysql://weir@127.0.0.1:1/shop\"\n  query = \"select 1\"\n  null = \"NA\"",
                )],
            ),
            ("a database that is none", &[(LOOKUP_FILE, "database = \"http://db\"\n  query = \"select 1\"")]),
            (
                "a password in the URL",
                &[(LOOKUP_FILE, "database = \"mysql://weir:hunter2@db/shop\"\n  query = \"select 1\"")],
            ),
            (
                "a password in plain text",
                &[(
                    LOOKUP_FILE,
                    "database = \"mysql://weir@127.0.0.1:1/shop\"\n  password = \"hunter2\"\n  query = \"select 1\"",
                )],
            ),
            (
                "a database that does not answer",
                &[(LOOKUP_FILE, "database = \"mysql://weir@127.0.0.1:1/shop\"\n  query = \"select 1\"")],
            ),
            ("a lookup named input", &[("lookup \"airlines\"", "lookup \"input\""), ("airlines a", "input a")]),
        ]),
    );
}

const SQL: &str = "sql = \"select f.*, a.name as airline from input f left join airlines a using (carrier)\"";

#[test]
fn functions() {
    check(
        "functions",
        &table(&[
            ("no stream", &[("  on  = stream.flights\n", "")]),
            ("no target", &[("  to  = table.flights\n", "")]),
            ("no SQL", &[(SQL, "")]),
            ("SQL twice", &[(SQL, "sql = \"select * from input\"\n  sql_file = \"good.sql\"")]),
            ("a file that is not there", &[(SQL, "sql_file = \"god.sql\"")]),
            ("a handler", &[(SQL, "handler = \"enrich.handler\"")]),
            ("a syntax error", &[("select f.*, ", "select f.*,, ")]),
            ("an unknown column", &[("a.name", "a.nam")]),
            ("an unknown lookup", &[("join airlines a", "join airline a")]),
            ("an unknown function", &[("a.name", "uper(a.name)")]),
            ("an aggregate", &[("f.*, a.name as airline", "count(*) as n")]),
            ("the clock", &[("a.name as airline", "now() as t")]),
            (
                "in a heredoc",
                &[(
                    SQL,
                    "sql = <<-SQL\n    select f.*,\n      a.nam as airline\n    from input f left join airlines a using (carrier)\n  SQL",
                )],
            ),
            ("in a file", &[(SQL, "sql_file = \"wrong.sql\"")]),
            (
                "in a template",
                &[(
                    SQL,
                    "sql = \"select f.*, '${\"x\"}' as x, a.nam from input f left join airlines a using (carrier)\"",
                )],
            ),
            ("two statements", &[("using (carrier)", "using (carrier); select 1")]),
            ("not a query", &[(SQL, "sql = \"drop table input\"")]),
            ("two columns of a name", &[("f.*, a.name as airline", "f.*, a.carrier")]),
            ("columns that differ in case", &[("a.name as airline", "a.name as \\\"Carrier\\\"")]),
            ("a reserved column", &[("a.name as airline", "a.name as _day")]),
            ("a column without name", &[("a.name as airline", "upper(a.name)")]),
            ("a length of time", &[("a.name as airline", "f.time_hour - f.time_hour as airline")]),
            ("a column that no table can hold", &[("a.name as airline", "null as airline")]),
        ]),
    );
}

#[test]
fn tables() {
    check(
        "tables",
        &table(&[
            (
                "no source",
                &[
                    ("to  = table.flights", "to  = table.other"),
                    ("table \"flights\" {", "table \"other\" {\n}\n\ntable \"flights\" {"),
                ],
            ),
            ("two sources", &[("  partition_by", "  from = stream.flights\n  partition_by")]),
            (
                "two functions",
                &[(
                    "table \"flights\" {",
                    "function \"copy\" {\n  on  = stream.flights\n  sql = \"select * from input\"\n  to  = table.flights\n}\n\ntable \"flights\" {",
                )],
            ),
            ("a partition by nothing known", &[("day(time_hour)", "week(time_hour)")]),
            ("a partition by a column that is not there", &[("day(time_hour)", "day(time_huor)")]),
            ("a partition by no time", &[("day(time_hour)", "day(carrier)")]),
            ("a partition column left out by the SQL", &[("f.*, a.name", "f.carrier, f.flight, a.name")]),
            ("an id left out by the SQL", &[("f.*, a.name", "f.time_hour, f.carrier, a.name")]),
            ("unique by a column that is not there", &[("buckets      = 4", "unique_by = [\"carrier\", \"fligth\"]")]),
            ("buckets without id", &[("  id     = [\"carrier\", \"flight\", \"time_hour\"]\n", "")]),
            ("too many buckets", &[("buckets      = 4", "buckets = 100000")]),
            ("no buckets", &[("buckets      = 4", "buckets = 0")]),
            (
                "a lookback without time",
                &[("  partition_by = \"day(time_hour)\"\n", ""), ("  time   = \"time_hour\"\n", "")],
            ),
            ("a rule that is none", &[("buckets      = 4", "late = \"drop\"")]),
            ("not fresh", &[("buckets      = 4", "freshness = \"0s\"")]),
            ("a location that is no URL", &[("buckets      = 4", "location = \"/data/flights\"")]),
            ("a location of an unknown kind", &[("buckets      = 4", "location = \"ftp://host/flights\"")]),
            ("a location with a password", &[("buckets      = 4", "location = \"https://me:hunter2@host/flights\"")]),
            ("tags that are no map", &[("buckets      = 4", "tags = [\"team\"]")]),
            ("a tag that is no string", &[("buckets      = 4", "tags = { team = 1 }")]),
            ("a file size out of range", &[("buckets      = 4", "target_file_size = \"1KB\"")]),
            ("compacted too often", &[("buckets      = 4", "compact = \"1ms\"")]),
            ("sorted by a column that is not there", &[("buckets      = 4", "sort_by = [\"carier\"]")]),
            ("sorted by a column twice", &[("buckets      = 4", "sort_by = [\"flight\", \"flight\"]")]),
            ("a row to keep that is none", &[("buckets      = 4", "keep = \"drop\"")]),
            (
                "the last row without id",
                &[
                    ("  id     = [\"carrier\", \"flight\", \"time_hour\"]\n", ""),
                    ("buckets      = 4", "keep = \"last\""),
                ],
            ),
            (
                "a stream that no table can hold",
                &[
                    ("flight.avsc", "reserved.avsc"),
                    (
                        "  key    = \"carrier\"\n  time   = \"time_hour\"\n  id     = [\"carrier\", \"flight\", \"time_hour\"]\n",
                        "",
                    ),
                    ("on  = stream.flights", "on  = stream.clean"),
                    (
                        "table \"flights\" {",
                        "stream \"clean\" {\n  schema = \"flight.avsc\"\n}\n\ntable \"raw\" {\n  from = stream.flights\n}\n\ntable \"flights\" {",
                    ),
                    ("  buckets      = 4\n", ""),
                ],
            ),
        ]),
    );
}

#[test]
fn variables_and_the_environment() {
    let cases: &[Case<'_>] = &[
        ("a variable that is not declared", &[("shards = 2", "shards = var.shads")]),
        (
            "a variable without value",
            &[
                ("stream \"flights\" {", "variable \"shards\" {\n}\n\nstream \"flights\" {"),
                ("shards = 2", "shards = var.shards"),
            ],
        ),
        (
            "a default of another type",
            &[
                (
                    "stream \"flights\" {",
                    "variable \"shards\" {\n  type = number\n  default = \"2\"\n}\n\nstream \"flights\" {",
                ),
                ("shards = 2", "shards = var.shards"),
            ],
        ),
        (
            "an unknown type",
            &[
                (
                    "stream \"flights\" {",
                    "variable \"shards\" {\n  type = int\n  default = 2\n}\n\nstream \"flights\" {",
                ),
                ("shards = 2", "shards = var.shards"),
            ],
        ),
        (
            "a default that refers to a variable",
            &[
                ("stream \"flights\" {", "variable \"a\" {\n  default = var.b\n}\n\nstream \"flights\" {"),
                ("shards = 2", "shards = var.a"),
            ],
        ),
        (
            "a value of the wrong type for its attribute",
            &[
                ("stream \"flights\" {", "variable \"shards\" {\n  default = \"many\"\n}\n\nstream \"flights\" {"),
                ("shards = 2", "shards = var.shards"),
            ],
        ),
        (
            "a variable that is null",
            &[
                ("stream \"flights\" {", "variable \"schema\" {\n  default = null\n}\n\nstream \"flights\" {"),
                ("\"flight.avsc\"", "var.schema"),
            ],
        ),
        ("an environment that lacks it", &[("\"flight.avsc\"", "env(\"SCHEMA\")")]),
        ("a secret that is not set", &[("\"flight.avsc\"", "secret(\"SCHEMA\")")]),
    ];
    check("variables", &table(cases));
}

#[test]
fn values_given_on_the_command_line() {
    let declared = edited(&[
        ("stream \"flights\" {", "variable \"shards\" {\n  type    = number\n  default = 2\n}\n\nstream \"flights\" {"),
        ("shards = 2", "shards = var.shards"),
    ]);
    let given = |name: &str, value: &str| {
        let folder = Folder::good();
        folder.write("weir.hcl", &declared);
        refused(&folder, &Inputs::new([(name.to_owned(), value.to_owned())].into(), |_| None))
    };
    let shown = [given("shard", "3"), given("zzz", "3"), given("shards", "three"), given("shards", "0")];
    check("command_line", &shown.join("\n"));
}

#[test]
fn secrets_are_never_shown() {
    let folder = Folder::good();
    folder.write("weir.hcl", edited(&[("buckets      = 4", "location = \"s3://${secret(\"BUCKET\")}/x\"")]));
    let inputs = Inputs::new([("password".into(), "hunter2".into())].into(), |name| {
        (name == "WEIR_SECRET_BUCKET").then(|| "hunter2".to_owned())
    });
    assert!(!format!("{inputs:?}").contains("hunter2"));
    let shown = refused(&folder, &inputs);
    assert!(!shown.contains("hunter2"), "{shown}");
    check("secrets", &shown);
}

#[test]
fn files() {
    let mut shown = Vec::new();
    let mut case = |name: &str, files: &[(&str, &[u8])]| {
        let folder = Folder::empty();
        for (name, bytes) in files {
            folder.write(name, bytes);
        }
        shown.push(format!("### {name}\n{}", refused(&folder, &Inputs::default())));
    };
    case("an empty folder", &[]);
    case("a folder without configuration", &[("weir.json", b"{}")]);
    case("an empty file", &[("weir.hcl", b"")]);
    case("comments alone", &[("weir.hcl", b"# nothing\n")]);
    case("not UTF-8", &[("weir.hcl", b"stream \"caf\xe9\" {\n}\n")]);
    case("UTF-16", &[("weir.hcl", b"\xff\xfes\0t\0r\0")]);
    case("mistakes in two files", &[("a.hcl", b"stream \"a\" {\n"), ("b.hcl", b"table \"b\" {\n")]);
    case("a name twice in two files", &[("a.hcl", b"lookup \"x\" {\n}\n"), ("b.hcl", b"\nlookup \"x\" {\n}\n")]);
    case("too large", &[("weir.hcl", " ".repeat(2 << 20).as_bytes())]);
    case("deep nesting", &[("weir.hcl", format!("a = {}1{}\n", "[".repeat(500), "]".repeat(500)).as_bytes())]);
    let folder = Folder::empty();
    let missing = load(&folder.path().join("missing"), &Inputs::default()).unwrap_err();
    shown.push(format!("### a folder that is not there\n{}", self::shown(&missing, &folder)));
    std::fs::create_dir(folder.path().join("weir.hcl")).unwrap();
    shown.push(format!("### a folder in place of a file\n{}", refused(&folder, &Inputs::default())));
    check("files", &shown.join("\n"));
}

#[test]
fn absurd_numbers_of_blocks_and_mistakes_are_cut_short() {
    let folder = Folder::empty();
    folder.write("weir.hcl", "steam \"x\" {\n}\n".repeat(10_000));
    let found = load(folder.path(), &Inputs::default()).unwrap_err();
    assert_eq!(found.len(), 101);
    assert_eq!(found[100].message, "3997 more problems are not shown");
}

#[test]
fn many_mistakes_are_found_at_once_and_consequences_are_not() {
    let folder = Folder::good();
    folder.write(
        "weir.hcl",
        edited(&[
            ("flight.avsc", "fligth.avsc"),
            ("shards = 2", "shards = 0"),
            ("refresh = \"5m\"", "refersh = \"5m\""),
            ("a.name as airline", "a.nam as airline"),
            ("day(time_hour)", "day(time)"),
            ("buckets      = 4", "buckets = \"4\""),
        ]),
    );
    // Without the schema, nothing can be said about the SQL and the partition.
    check("many", &refused(&folder, &Inputs::default()));
}

"""A plan that changes between two runs: what may change does so by itself, what may not is refused with its name."""

import json
import subprocess

import deltalake
import pytest

from conftest import EVENT_HCL, EVENT_SCHEMA, WEIR


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def post(server, *records):
    return server.post("/v1/streams/events/records", lines(*records), {"content-type": "application/x-ndjson"})


def change_schema(folder, edit):
    schema = json.loads(EVENT_SCHEMA)
    edit(schema["fields"])
    (folder / "event.avsc").write_text(json.dumps(schema))


def refused(server) -> str:
    done = subprocess.run(
        [WEIR, "up", str(server.folder), "--data", str(server.data), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    return done.stderr


def test_new_fields_extend_the_table_and_old_records_are_read_as_the_new_schema(events):
    assert post(events, {"id": "old", "at": 1, "n": 7})[1]["stored"] == 1
    assert events.query("select count(*) as n from events")[0]["n"] == 1
    # Stored, and not in the table yet: read as the new schema after the change.
    events.kill()
    change_schema(
        events.folder,
        lambda fields: fields.extend(
            [
                {"name": "site", "type": "string", "default": "main"},
                {"name": "ratio", "type": ["null", "double"], "default": None},
            ]
        ),
    )
    events.start()
    assert post(events, {"id": "new", "at": 2, "n": 8, "site": "east", "ratio": 0.5})[1]["stored"] == 1
    rows = {row["id"]: row for row in events.query("select id, n, site, ratio from events")}
    assert rows["new"] == {"id": "new", "n": 8, "site": "east", "ratio": 0.5}
    assert rows["old"]["n"] == 7 and rows["old"]["ratio"] is None
    versions = events.run("tail", "events", "--envelope").stdout.splitlines()
    assert len({json.loads(line)["schema"] for line in versions}) == 2
    assert events.stop() == 0
    table = deltalake.DeltaTable(events.table_path("events"))
    assert {"site", "ratio"} <= {field.name for field in table.schema().fields}
    assert table.to_pyarrow_table().num_rows == 2


@pytest.mark.parametrize(
    "edit, named",
    [
        (lambda fields: fields.append({"name": "must", "type": "string"}), "must"),
        (lambda fields: fields[2].update(type=["null", "string"]), "n"),
    ],
    ids=["a field without a default", "another type"],
)
def test_a_schema_that_contradicts_the_last_is_refused_and_names_the_field(events, edit, named):
    assert post(events, {"id": "a", "at": 1})[1]["stored"] == 1
    assert events.stop() == 0
    change_schema(events.folder, edit)
    told = refused(events)
    assert "contradicts" in told and f"{named}" in told, told
    (events.folder / "event.avsc").write_text(EVENT_SCHEMA)
    events.start()
    assert events.query("select count(*) as n from events")[0]["n"] == 1


def test_shards_can_be_added_and_not_taken_away(events):
    assert post(events, {"id": "a", "at": 1})[1]["stored"] == 1
    assert events.stop() == 0
    hcl = events.folder / "weir.hcl"
    hcl.write_text(EVENT_HCL.replace('schema = "event.avsc"', 'schema = "event.avsc"\n  shards = 3'))
    events.start()
    assert post(events, *({"id": f"b{n}", "at": n} for n in range(50)))[1]["stored"] == 50
    assert events.query("select count(*) as n from events")[0]["n"] == 51
    assert events.stop() == 0
    hcl.write_text(EVENT_HCL)
    assert "has 3 shards" in refused(events)


def test_a_table_that_another_data_folder_fed_is_refused(events, tmp_path):
    location = tmp_path / "table"
    hcl = EVENT_HCL.replace('freshness    = "1s"', f'freshness = "1s"\n  location = "file://{location}"')
    assert events.stop() == 0
    (events.folder / "weir.hcl").write_text(hcl)
    events.start()
    assert post(events, {"id": "a", "at": 1})[1]["stored"] == 1
    # A stop commits what the table has read, and the query waits until that is all.
    assert events.query("select count(*) as n from events")[0]["n"] == 1
    assert events.stop() == 0
    events.data = tmp_path / "data0" / "another"
    assert "was fed" in refused(events)


def test_rows_that_a_rule_refuses_are_dead_letters(serve, folder):
    rules = EVENT_HCL.replace('freshness    = "1s"', 'freshness = "1s"\n  lookback = "1h"\n  late = "dead_letter"\n  timeless = "dead_letter"')
    server = serve(folder(weir__hcl=rules, event__avsc=EVENT_SCHEMA))
    assert post(server, {"id": "late", "at": 1}, {"id": "absurd", "at": 99_999_999_999_999})[1]["stored"] == 2
    assert server.query("select count(*) as n from events")[0]["n"] == 0
    letters = server.query("select cause, target, error from dead_letters order by error")
    assert [letter["cause"] for letter in letters] == ["refused_by_table"] * 2
    assert {letter["target"] for letter in letters} == {"table/events"}


def test_a_record_on_which_the_function_fails_is_a_dead_letter(serve, folder):
    hcl = """
stream "events" {
  schema = "event.avsc"
  id     = ["id"]
}
function "parse" {
  on  = stream.events
  sql = "select id, cast(id as bigint) as number from input"
  to  = table.numbers
}
table "numbers" {}
"""
    server = serve(folder(weir__hcl=hcl, event__avsc=EVENT_SCHEMA))
    assert post(server, *({"id": str(n) if n % 10 else f"x{n}", "at": n} for n in range(100)))[1]["stored"] == 100
    assert server.query("select count(*) as n, sum(number) as s from numbers")[0]["n"] == 90
    letters = server.query("select source, sequence, error from dead_letters where cause = 'function_failed'")
    assert len(letters) == 10 and all(letter["sequence"] is not None for letter in letters)
    assert "x" in letters[0]["error"]
    server.kill()
    server.start()
    assert server.query("select count(*) as n from numbers")[0]["n"] == 90
    assert server.query("select count(*) as n from dead_letters")[0]["n"] == 10

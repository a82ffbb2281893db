"""A schema that changes while data of all its versions is in files, in the log and on its way: whoever reads finds one table."""

import io
import json
import pathlib
import random
import subprocess

import deltalake
import duckdb
import duckdb_extension_delta
import fastavro
import polars
import pytest

from conftest import WEIR

# The package brings the file; DuckDB would fetch it.
EXTENSION = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))

OLD = {
    "type": "record",
    "name": "Trip",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "cost", "type": "int"},
        {"name": "ratio", "type": "float"},
        {"name": "city", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"], "default": "A"}},
        {
            "name": "stops",
            "type": {
                "type": "array",
                "items": {"type": "record", "name": "Stop", "fields": [{"name": "km", "type": "int"}]},
            },
        },
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "gone", "type": ["null", "string"], "default": None},
    ],
}
NEW = {
    "type": "record",
    "name": "Trip",
    "fields": [
        {"name": "number", "type": "long", "aliases": ["id"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": "double", "aliases": ["cost"]},
        {"name": "ratio", "type": "double"},
        {"name": "city", "type": ["null", "string"]},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"], "default": "A"}},
        {
            "name": "stops",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Stop",
                    "fields": [
                        {"name": "metres", "type": "long", "aliases": ["km"]},
                        {"name": "name", "type": "string", "default": "?"},
                    ],
                },
            },
        },
        {"name": "tags", "type": {"type": "map", "values": "long"}},
        {"name": "site", "type": "string", "default": "main"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}

HCL = """
stream "trips" {
  schema = "trip.avsc"
  time   = "at"
  id     = ["%(id)s", "at"]
  key    = "%(id)s"
  shards = 2
}
table "trips" {
  from         = stream.trips
  partition_by = "day(at)"
  buckets      = 2
  freshness    = "200ms"
}
function "pass" {
  on  = stream.trips
  sql = "select %(id)s, at, %(cost)s, %(cost)s * 2 as doubled, city from input"
  to  = table.passed
}
table "passed" { freshness = "200ms" }
"""
BEFORE = HCL % {"id": "id", "cost": "cost"}
AFTER = HCL % {"id": "number", "cost": "price"}
DAY = 86_400_000


def old(n: int) -> dict:
    return {
        "id": n,
        "at": (n % 3) * DAY,
        "cost": n * 10,
        "ratio": 0.5,
        "city": f"c{n % 5}",
        "kind": "AB"[n % 2],
        "stops": [{"km": n}, {"km": n + 1}],
        "tags": {"x": n},
        "gone": None,
    }


def new(n: int) -> dict:
    return {
        "number": n,
        "at": (n % 3) * DAY,
        "price": n * 10.5,
        "ratio": 0.25,
        "city": None,
        "kind": "C",
        "stops": [{"metres": 2**40, "name": "end"}],
        "tags": {"y": 2**40},
        "site": "east",
        "note": "new",
    }


def resolved(n: int) -> dict:
    """What an old record is by the new schema."""
    record = old(n)
    return {
        "number": n,
        "at": record["at"],
        "price": float(record["cost"]),
        "ratio": 0.5,
        "city": record["city"],
        "kind": record["kind"],
        "stops": [{"metres": stop["km"], "name": "?"} for stop in record["stops"]],
        "tags": record["tags"],
        "site": "main",
        "note": None,
    }


def post(server, records):
    body = "".join(json.dumps(record) + "\n" for record in records).encode()
    status, answer = server.post(
        "/v1/streams/trips/records", body, {"content-type": "application/x-ndjson"}
    )
    assert status == 200 and answer["stored"] == len(records), answer


def post_avro(server, schema, records):
    body = io.BytesIO()
    fastavro.writer(body, schema, records)
    status, answer = server.post("/v1/streams/trips/records", body.getvalue(), {"content-type": "application/avro"})
    assert status == 200 and answer["stored"] == len(records), answer


def shown(row: dict) -> dict:
    """A row of any reader, in one form."""
    row = dict(row)
    at = row["at"]
    if isinstance(at, str):
        row["at"] = int(at[8:10]) * DAY - DAY
    elif not isinstance(at, int):
        row["at"] = round(at.timestamp() * 1000)
    tags = row["tags"]
    if isinstance(tags, list):
        tags = dict((tag["key"], tag["value"]) if isinstance(tag, dict) else tag for tag in tags)
    row["tags"] = tags
    return {name: row[name] for name in ("number", "at", "price", "ratio", "city", "kind", "stops", "tags", "site", "note")}


def rows_of_readers(path: str) -> dict[str, list[dict]]:
    table = deltalake.DeltaTable(path)
    connection = duckdb.connect()
    connection.execute(f"load '{EXTENSION}'; set timezone = 'UTC'")
    found = connection.execute(f"from delta_scan('{path}')").to_arrow_table()
    return {
        "deltalake": table.to_pyarrow_table().to_pylist(),
        "duckdb": found.to_pylist(),
        "polars": polars.scan_delta(path).collect().to_dicts(),
    }


def write(folder, hcl, schema):
    (folder / "weir.hcl").write_text(hcl)
    (folder / "trip.avsc").write_text(json.dumps(schema))


@pytest.fixture
def trips(serve, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    write(folder, BEFORE, OLD)
    return serve(folder)


def test_rows_in_files_and_in_the_log_read_as_the_new_schema_for_every_reader(trips):
    post(trips, [old(n) for n in range(60)])
    assert trips.query("select count(*) as n from trips")[0]["n"] == 60
    assert trips.stop() == 0
    trips.start()
    post(trips, [old(n) for n in range(60, 90)])
    # Some are in the log alone, or in the buffer.
    trips.kill()
    write(trips.folder, AFTER, NEW)
    trips.start()
    # Producers of both schemas go on: as JSON by either name, and as Avro by either schema.
    post(trips, [old(n) | {"gone": None} for n in range(0)] + [new(n) for n in range(90, 100)])
    post(trips, [{"id" if name == "number" else name: value for name, value in new(n).items()} for n in range(100, 105)])
    post_avro(trips, OLD, [old(n) for n in range(105, 110)])
    post_avro(trips, NEW, [new(n) for n in range(110, 115)])
    # Repeats of what is in rewritten files.
    status, answer = trips.post(
        "/v1/streams/trips/records",
        "".join(json.dumps(new(n) | {"number": n}) + "\n" for n in range(60)).encode(),
        {"content-type": "application/x-ndjson"},
    )
    assert answer["stored"] == 60
    expected = [resolved(n) for n in range(90)]
    expected += [new(n) for n in range(90, 105)] + [resolved(n) for n in range(105, 110)]
    expected += [new(n) for n in range(110, 115)]
    ours = sorted((shown(row) for row in trips.query("select * from trips")), key=lambda row: row["number"])
    assert ours == expected
    # What SQL passes on follows too; what it computes is what it was.
    passed = {row["number"]: row for row in trips.query("select * from passed")}
    assert len(passed) == 115
    assert passed[3]["price"] == 30.0 and passed[3]["doubled"] == 60.0 and passed[92]["doubled"] == 92 * 21.0
    assert trips.stop() == 0
    for reader, rows in rows_of_readers(trips.table_path("trips")).items():
        rows = sorted((shown(row) for row in rows), key=lambda row: row["number"])
        assert rows == expected, reader
    fields = {field.name: str(field.type) for field in deltalake.DeltaTable(trips.table_path("trips")).schema().fields}
    assert "cost" not in fields and "id" not in fields and "gone" in fields
    # And once more, with nothing to do.
    trips.start()
    assert trips.query("select count(*) as n from trips")[0]["n"] == 115


def test_a_rewrite_that_is_killed_again_and_again_ends_in_the_same_table(trips):
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    for start in range(0, 2000, 100):
        post(trips, [old(n) for n in range(start, start + 100)])
        trips.query("select count(*) from trips")
        if start % 500 == 0:
            assert trips.stop() == 0
            trips.start()
    assert trips.stop() == 0
    write(trips.folder, AFTER, NEW)
    for _ in range(5):
        trips.start()
        post(trips, [new(dice.randrange(5000, 6000)) for _ in range(5)])
        try:
            trips.process.wait(timeout=dice.random() * 0.3)
        except subprocess.TimeoutExpired:
            pass
        trips.kill()
        versions = {len(rows) for rows in rows_of_readers(trips.table_path("trips")).values()}
        assert len(versions) == 1, versions
    trips.start()
    rows = {row["number"]: shown(row) for row in trips.query("select * from trips where number < 5000")}
    assert rows == {n: resolved(n) for n in range(2000)}


def refused(server, *arguments) -> str:
    done = subprocess.run(
        [WEIR, "up", str(server.folder), "--data", str(server.data), "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    return done.stderr


def test_a_table_that_only_appends_refuses_a_rewrite_and_names_the_column(trips):
    post(trips, [old(1)])
    assert trips.query("select count(*) as n from trips")[0]["n"] == 1
    assert trips.stop() == 0
    write(trips.folder, AFTER.replace("buckets      = 2", 'buckets      = 2\n  evolve       = "append"'), NEW)
    told = refused(trips)
    assert "evolve" in told and "trips" in told, told
    write(trips.folder, BEFORE, OLD)
    trips.start()
    assert trips.query("select cost from trips")[0]["cost"] == 10


def check(server, *arguments):
    done = subprocess.run(
        [WEIR, "check", str(server.folder), *arguments], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_check_says_before_a_deploy_what_would_change_and_what_would_break_by_name(trips):
    post(trips, [old(n) for n in range(10)])
    assert trips.query("select count(*) as n from trips")[0]["n"] == 10
    write(trips.folder, AFTER, NEW)
    # While the server runs, its schemas are asked for, and its tables looked at.
    code, told, _ = check(trips, "--server", trips.url, "--data", str(trips.data))
    assert code == 0 and 'stream "trips": its schema becomes version 2' in told, told
    code, told, warned = check(trips, "--data", str(trips.data))
    assert code == 0 and "--server" in warned, warned
    assert trips.stop() == 0
    code, told, _ = check(trips, "--data", str(trips.data))
    assert code == 0, told
    for expected in [
        'stream "trips": its schema becomes version 2',
        'table "trips": column `cost` is renamed to `price`',
        'table "trips": column `price` becomes double instead of int',
        'table "trips": column `site` (text) is added: its default is put into the rows so far',
        'table "trips": column `gone` is in the rows no more',
        'table "passed": column `cost` is renamed to `price`',
        "are rewritten at the next start",
    ]:
        assert expected in told, told
    # A field that must be there, another type, a new name without alias: each with who uses the field.
    broken = json.loads(json.dumps(NEW))
    broken["fields"][2].pop("aliases")
    broken["fields"][4]["type"] = "int"
    write(trips.folder, AFTER, broken)
    code, _, told = check(trips, "--data", str(trips.data))
    assert code == 3 and "`price`" in told and "`city`" in told, told
    assert 'function "pass"' in told and 'table "trips"' in told and "weir.hcl:" in told, told
    answer = json.loads(check(trips, "--data", str(trips.data), "--json")[1])
    assert not answer["ok"] and answer["diagnostics"][0]["line"], answer
    # What SQL names and the schema lost is named by the plan's own check.
    write(trips.folder, AFTER.replace("price * 2", "cost * 2"), NEW)
    code, _, told = check(trips, "--data", str(trips.data))
    assert code == 3 and "cost" in told and "weir.hcl:" in told, told
    # Another id.
    write(trips.folder, AFTER.replace('id     = ["number", "at"]', 'id     = ["number"]'), NEW)
    code, _, told = check(trips, "--data", str(trips.data))
    assert code == 3 and "unique_by" in told, told
    # Nothing was changed by looking.
    write(trips.folder, BEFORE, OLD)
    assert len(check(trips, "--data", str(trips.data))[1].splitlines()) == 1
    trips.start()
    assert trips.query("select count(*) as n, sum(cost) as s from trips")[0] == {"n": 10, "s": 450}

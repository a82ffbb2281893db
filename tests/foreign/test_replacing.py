"""Rows that take the place of older ones: readers nobody here wrote see each id once, in every version, and what another
writer does to a table neither breaks it nor goes unseen."""

import json
import pathlib
import random

import deltalake
import duckdb
import duckdb_extension_delta
import pyarrow as pa
import pytest

from conftest import EVENT_HCL, EVENT_SCHEMA, until

LAST = EVENT_HCL.replace('freshness    = "1s"', 'freshness    = "1s"\n  keep         = "last"')
EXTENSION = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
DAY = 24 * 3600 * 1000


@pytest.fixture
def events(serve, folder):
    return serve(folder(weir__hcl=LAST, event__avsc=EVENT_SCHEMA))


def post(server, records):
    body = "".join(json.dumps(record) + "\n" for record in records).encode()
    status, answer = server.post("/v1/streams/events/records", body, {"content-type": "application/x-ndjson"})
    assert status == 200, answer


def values(server) -> dict:
    return {row["id"]: row["n"] for row in server.query("select id, n from events")}


def version_of(server) -> int:
    return deltalake.DeltaTable(server.table_path("events")).version()


def check_every_version(server):
    """Each id once, in the versions that are still there."""
    path = server.table_path("events")
    for version in range(1, version_of(server) + 1):
        ids = deltalake.DeltaTable(path, version=version).to_pyarrow_table(columns=["id"])["id"].to_pylist()
        assert len(ids) == len(set(ids)), f"version {version} has an id twice"


def test_the_last_row_of_an_id_is_what_every_reader_sees(events):
    dice = random.Random(7)
    model = {}
    for round in range(12):
        records = [{"id": f"e{n}", "at": DAY * (n % 3), "n": round} for n in dice.sample(range(60), 25)]
        post(events, records)
        model.update({record["id"]: record["n"] for record in records})
        # Acknowledged is seen, replaced or not, before any commit that comes by itself.
        assert values(events) == model
        if round == 7:
            events.kill()
            events.start()
            assert values(events) == model
    assert events.stop() == 0
    path = events.table_path("events")
    delta = deltalake.DeltaTable(path).to_pyarrow_table(columns=["id", "n"])
    assert dict(zip(delta["id"].to_pylist(), delta["n"].to_pylist())) == model and delta.num_rows == len(model)
    connection = duckdb.connect()
    connection.execute(f"load '{EXTENSION}'")
    duck = connection.execute(f"select id, n from delta_scan('{path}')").fetchall()
    assert dict(duck) == model and len(duck) == len(model)
    check_every_version(events)


def test_another_writers_rows_are_taken_over_and_replaced_like_ours(events):
    post(events, [{"id": f"e{n}", "at": 0, "n": 1} for n in range(20)])
    until(lambda: version_of(events) >= 1, "the rows are committed")
    path = events.table_path("events")
    schema = deltalake.DeltaTable(path).to_pyarrow_table().schema
    columns = {
        "id": ["other", "e3"],
        "at": pa.array([0, 0], pa.timestamp("us", "UTC")),
        "n": [1, 1],
        "_day": pa.array([0, 0], pa.date32()),
    }
    rows = pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema})
    deltalake.write_deltalake(path, rows, mode="append")
    # The doubled row is another writer's doing; it goes when its id comes again.
    post(events, [{"id": "e3", "at": 0, "n": 2}, {"id": "other", "at": 0, "n": 2}, {"id": "new", "at": 0, "n": 2}])
    expected = {f"e{n}": 1 for n in range(20)} | {"e3": 2, "other": 2, "new": 2}
    until(lambda: values(events) == expected, "the other writer's rows are seen and replaced")
    assert events.stop() == 0
    table = deltalake.DeltaTable(path).to_pyarrow_table(columns=["id"])
    assert sorted(table["id"].to_pylist()) == sorted(expected)

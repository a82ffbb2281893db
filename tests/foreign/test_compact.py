"""Compaction seen by readers that nobody here wrote: before, during and after, they and weir read the same rows."""

import json
import pathlib
import threading
import time

import deltalake
import duckdb
import duckdb_extension_delta
import polars
import pyarrow
import pyarrow.parquet
import pytest

from conftest import EVENT_SCHEMA, until

EXTENSION = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
# 2013-01-01 in milliseconds.
START = 1_356_998_400_000
HCL = """
stream "events" {
  schema = "event.avsc"
  time   = "at"
  id     = ["id"]
}
table "events" {
  from         = stream.events
  partition_by = "day(at)"
  lookback     = "12h"
  freshness    = "100ms"
  compact      = "2s"
  sort_by      = ["at", "id"]
}
"""
BATCHES, ROWS = 40, 50


def rows_of(batch: int) -> list[dict]:
    """Some new rows, and some that came before, of two days."""
    numbers = list(range(batch * ROWS, (batch + 1) * ROWS)) + list(range(max(0, batch * ROWS - 10), batch * ROWS))
    return [{"id": f"e{n:06}", "at": START + n * 7_919_000 % 172_800_000, "n": n} for n in numbers]


def with_deltalake(path: str) -> list[tuple]:
    table = deltalake.DeltaTable(path).to_pyarrow_table(columns=["id", "n"]).to_pylist()
    return sorted((row["id"], row["n"]) for row in table)


def with_duckdb(path: str) -> list[tuple]:
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"load '{EXTENSION}'")
    return sorted(connection.execute(f"select id, n from delta_scan('{path}')").fetchall())


def with_polars(path: str) -> list[tuple]:
    return sorted(polars.scan_delta(path).select("id", "n").collect().rows())


READERS = [with_deltalake, with_duckdb, with_polars]


def with_weir(server) -> list[tuple]:
    return sorted((row["id"], row["n"]) for row in server.query("select id, n from events"))


def partitions(server) -> list[dict]:
    return server.query("""select * from weir.partitions where "table" = 'events' order by day""")


@pytest.fixture
def events(serve, folder):
    return serve(folder(weir__hcl=HCL, event__avsc=EVENT_SCHEMA))


def test_readers_agree_with_weir_before_during_and_after_compaction(events):
    path = events.table_path("events")
    wanted = {(row["id"], row["n"]) for batch in range(BATCHES) for row in rows_of(batch)}
    done, reads, wrong = threading.Event(), dict.fromkeys(range(len(READERS)), 0), []

    def keep_reading(index: int):
        last = 0
        while not (done.is_set() and reads[index] > 0) and not wrong:
            try:
                rows = READERS[index](path)
            except Exception as error:
                wrong.append(f"{READERS[index].__name__}: {error!r}")
                return
            if len(set(rows)) != len(rows) or not set(rows) <= wanted or len(rows) < last:
                wrong.append(f"{READERS[index].__name__}: {len(rows)} rows, {len(set(rows))} distinct, after {last}")
            last, reads[index] = len(rows), reads[index] + 1

    readers = [threading.Thread(target=keep_reading, args=(index,)) for index in range(len(READERS))]
    for reader in readers:
        reader.start()
    for batch in range(BATCHES):
        body = "".join(json.dumps(row) + "\n" for row in rows_of(batch)).encode()
        status, _ = events.post("/v1/streams/events/records", body, {"content-type": "application/x-ndjson"})
        assert status == 200
        time.sleep(0.15)
    assert with_weir(events) == sorted(wanted)
    compact = lambda: all(one["is_compact"] and one["files"] == 1 for one in partitions(events))  # noqa: E731
    until(compact, f"compacted: {partitions(events)}", 120)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong
    assert all(count > 1 for count in reads.values()), reads
    for read in READERS:
        assert read(path) == sorted(wanted), read.__name__
    assert with_weir(events) == sorted(wanted)
    for one in partitions(events):
        assert one["is_final"] and one["final_after"] and one["compacted_at"] and one["small_files"] <= 1, one
    told = events.run("status").stdout
    assert "final, compact" in told, told
    # Each file is in the order that the table names.
    for file in deltalake.DeltaTable(path).file_uris():
        table = pyarrow.parquet.read_table(file, columns=["at", "id"])
        assert table.to_pylist() == sorted(table.to_pylist(), key=lambda row: (row["at"], row["id"]))


def test_repeats_of_another_writer_go_and_the_first_row_stays(events):
    path = events.table_path("events")
    body = "".join(json.dumps(row) + "\n" for row in rows_of(0)).encode()
    events.post("/v1/streams/events/records", body, {"content-type": "application/x-ndjson"})
    before = with_weir(events)
    until(lambda: with_deltalake(path) == before, "committed")
    theirs = deltalake.DeltaTable(path).to_pyarrow_table()
    theirs = theirs.set_column(theirs.schema.get_field_index("n"), "n", pyarrow.array([-1] * len(theirs), "int64"))
    deltalake.write_deltalake(path, theirs, mode="append")
    assert len(with_deltalake(path)) == 2 * len(before)
    # weir learns of it with its next commit, and puts the partition right.
    more = json.dumps({"id": "more", "at": START, "n": 1}).encode()
    events.post("/v1/streams/events/records", more, {"content-type": "application/x-ndjson"})
    wanted = sorted([*before, ("more", 1)])
    until(lambda: with_deltalake(path) == wanted, "the repeats go", 120)
    assert with_weir(events) == wanted
    for read in READERS:
        assert read(path) == wanted, read.__name__

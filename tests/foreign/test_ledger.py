"""The ledger over kill -9, and over what others do to the tables: found and named; nothing where nothing was done."""

import json
import pathlib
import random
import time

import deltalake
import pyarrow.parquet
import pytest

from conftest import until

SCHEMA = """{"type": "record", "name": "Event", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "n", "type": ["null", "long"], "default": null}]}"""

HCL = """
stream "events" {
  schema = "event.avsc"
  time   = "at"
  id     = ["id", "at"]
  shards = 2
}
table "events" {
  from         = stream.events
  partition_by = "day(at)"
  freshness    = "200ms"
}
function "shares" {
  on  = stream.events
  sql = "select id, at, 100 / n as share from input"
  to  = table.shares
}
table "shares" {
  unique_by    = ["id", "at"]
  partition_by = "day(at)"
  freshness    = "200ms"
}
"""
DAY = 86_400_000
START = 1_700_000_000_000


@pytest.fixture
def server(serve, folder):
    return serve(folder(weir__hcl=HCL, event__avsc=SCHEMA))


def lines(first: int, last: int, zero=()) -> bytes:
    """Events of two days; those in `zero` make the function fail."""
    rows = ({"id": f"e{n}", "at": START + n % 2 * DAY, "n": 0 if n in zero else n + 1} for n in range(first, last))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def send(server, first, last, zero=(), batch=None):
    headers = {"content-type": "application/x-ndjson"}
    if batch is not None:
        headers |= {"weir-producer-id": "test", "weir-batch-number": str(batch)}
    status, report = server.post("/v1/streams/events/records", lines(first, last, zero), headers)
    assert status == 200, report
    return report


def ledger(server, *args) -> dict:
    done = server.run("ledger", "--json", *args, check=False)
    report = json.loads(done.stdout or "{}")
    assert done.returncode == (0 if report.get("balanced") else 7), f"{done.stdout}\n{done.stderr}\n{server.tail()}"
    return report


def settled(server) -> bool:
    return all(not table["behind"] and not table["pending"] for table in server.status()["tables"])


def settle(server):
    until(lambda: settled(server), "the tables have all that was sent")
    # Positions without rows are committed a little later.
    def even():
        report = ledger(server)
        return all(line["in_flight"] == 0 for line in report["lines"])

    until(even, "nothing is in flight")


def faults(report) -> list[tuple]:
    return sorted({(found["hop"], found["name"], found["fault"]) for found in report["findings"]})


def total(report, hop, name, field) -> int:
    return sum(line[field] for line in report["lines"] if (line["hop"], line["name"]) == (hop, name))


def delta(server, name) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(server.table_path(name))


def test_it_balances_under_kill_9(server):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    sent, batch = 0, 0
    for _ in range(8):
        count = chance.randrange(1, 2000)
        send(server, sent, sent + count, zero={sent}, batch=batch)
        # The same batch once more: a producer that did not hear the answer.
        send(server, sent, sent + count, zero={sent}, batch=batch)
        sent, batch = sent + count, batch + 1
        time.sleep(chance.uniform(0, 0.5))
        if chance.random() < 0.7:
            server.kill()
            server.start()
    settle(server)
    report = ledger(server, "--verify")
    assert report["balanced"] and report["verified"] and not report["unchecked"], report
    for hop, name, field, expected in [
        ("stream", "events", "records_in", sent),
        ("table", "events", "records_in", sent),
        ("table", "events", "out", sent),
        ("table", "shares", "out", sent - 8),
        ("table", "shares", "dead_lettered", 8),
    ]:
        assert total(report, hop, name, field) == expected, (hop, name, field)
    assert all(line["balance"] == 0 for line in report["lines"])
    # And it is a table of its own.
    rows = server.query("select sum(records_in) as n from weir.ledger where hop = 'table' and name = 'events'")
    assert rows == [{"n": sent}]


def test_a_deleted_file_is_named_with_its_rows(server):
    send(server, 0, 40)
    settle(server)
    files = [pathlib.Path(uri.removeprefix("file://")) for uri in delta(server, "events").file_uris()]
    gone = {row["id"] for row in pyarrow.parquet.ParquetFile(files[0]).read().to_pylist()}
    files[0].unlink()
    report = ledger(server, "--verify", "--table", "events")
    assert ("table", "events", "file") in faults(report) and ("table", "events", "stock") in faults(report)
    stock = next(found for found in report["findings"] if found["fault"] == "stock")
    named = {json.loads(one["id"])["id"] for one in stock["ids"]}
    assert named == gone and len(named) == stock["missing"]
    assert all(one["wrong"] == "missing" and one["log"].startswith("stream/events/") for one in stock["ids"])
    # People are told the same.
    text = server.run("ledger", "--verify", "--table", "events", check=False).stdout
    assert "it does not balance" in text and files[0].name in text and "missing" in text
    # The check that weir makes by itself, and `weir status`, say it too once all was looked at.
    ledger(server, "--verify")
    assert "the files do not balance" in server.run("status").stdout


def test_a_row_that_another_writer_doubled_is_named(server):
    send(server, 0, 30)
    settle(server)
    table = delta(server, "events")
    rows = table.to_pyarrow_table()
    deltalake.write_deltalake(table, rows.slice(3, 1), mode="append")
    twice = rows.slice(3, 1).to_pylist()[0]["id"]
    # weir sees the version with its next commit.
    send(server, 30, 31)
    settle(server)
    report = ledger(server, "--verify")
    assert ("table", "events", "other_writer") in faults(report), report
    stock = [found for found in report["findings"] if found["fault"] == "stock"]
    named = [json.loads(one["id"])["id"] for found in stock for one in found["ids"] if one["wrong"] == "doubled"]
    assert named == [twice], report
    assert any("was made by" in incident["what"] for incident in report["incidents"]), report["incidents"]


def test_rows_that_another_writer_deleted_are_named(server):
    send(server, 0, 30)
    settle(server)
    delta(server, "events").delete("id = 'e7' or id = 'e8'")
    send(server, 30, 31)
    settle(server)
    # The books see it in the Delta log at once.
    assert ("table", "events", "stock") in faults(ledger(server))
    report = ledger(server, "--verify")
    stock = [found for found in report["findings"] if found["fault"] == "stock"]
    named = sorted(json.loads(one["id"])["id"] for found in stock for one in found["ids"] if one["wrong"] == "missing")
    assert named == ["e7", "e8"], report


def test_a_restored_table_is_noticed(server):
    for n in range(3):
        send(server, 10 * n, 10 * n + 10)
        settle(server)
    table = delta(server, "events")
    table.restore(table.version() - 1)
    send(server, 100, 101)
    settle(server)
    report = ledger(server, "--verify")
    assert not report["balanced"]
    assert ("table", "events", "stock") in faults(report)
    assert any("RESTORE" in incident["what"] for incident in report["incidents"]), report["incidents"]
    missing = {json.loads(one["id"])["id"] for found in report["findings"] for one in found["ids"]}
    assert missing == {f"e{n}" for n in range(20, 30)}


def test_a_dead_letter_that_is_gone_is_named(server):
    send(server, 0, 20, zero={4, 9})
    settle(server)
    assert ledger(server, "--verify")["balanced"]
    letters = delta(server, "dead_letters")
    rows = letters.to_pyarrow_table().to_pylist()
    assert len(rows) == 2
    letters.delete(f"id = '{rows[0]['id']}'")
    send(server, 20, 21, zero={20})
    settle(server)
    report = ledger(server, "--verify")
    found = [found for found in report["findings"] if found["hop"] == "dead_letters"]
    assert [(one["fault"], one["missing"]) for one in found] == [("letters", 1)], report
    assert found[0]["ids"][0]["id"] == rows[0]["id"]


def test_a_rolled_back_commit_is_noticed_and_accepted(server):
    for n in range(3):
        send(server, 10 * n, 10 * n + 10)
        settle(server)
    assert server.stop() == 0
    log = pathlib.Path(server.table_path("events")) / "_delta_log"
    sorted(log.glob("*.json"))[-1].unlink()
    server.start()
    settle(server)
    report = ledger(server, "--verify")
    assert report["findings"] == [], report
    (incident,) = [one for one in report["incidents"] if "are gone" in one["what"]]
    assert (incident["hop"], incident["name"]) == ("table", "events")
    assert {row["id"] for row in server.query("select id from events")} == {f"e{n}" for n in range(30)}
    for incident in report["incidents"]:
        server.run("ledger", "accept", incident["number"], "--note", "deleted by hand")
    assert ledger(server, "--verify")["balanced"]

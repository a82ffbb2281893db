"""Replays with the command line, under kill -9, and their tables as other engines read them."""

import json
import random
import time

import deltalake
import duckdb
from conftest import until

SCHEMA = """{"type": "record", "name": "Order", "fields": [
  {"name": "id", "type": "long"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "amount", "type": "long"}]}"""

HCL = """
stream "orders" {
  schema = "order.avsc"
  time   = "at"
  id     = ["id", "at"]
  shards = 2
}
function "price" {
  on  = stream.orders
  sql = "select id, at, %s as amount from input"
  to  = table.prices
}
table "prices" {
  partition_by = "day(at)"
  buckets      = 2
  freshness    = "200ms"
}
table "raw" {
  from         = stream.orders
  partition_by = "day(at)"
  freshness    = "200ms"
}
"""

BEGIN = 1_767_225_600_000
HOUR = 3_600_000


def orders(ids) -> bytes:
    lines = (json.dumps({"id": n, "at": BEGIN + n * HOUR // 60, "amount": 10 * n}) for n in ids)
    return ("\n".join(lines) + "\n").encode()


def send(server, ids):
    status, report = server.post("/v1/streams/orders/records", orders(ids), {"content-type": "application/x-ndjson"})
    assert status == 200 and report["refused"] == 0, report


def amounts(server) -> dict:
    rows = server.query("select id, amount from prices")
    found = {row["id"]: row["amount"] for row in rows}
    assert len(found) == len(rows), "a row is there twice"
    return found


def outside(server, table="prices") -> dict:
    """The committed rows, as deltalake and duckdb read them."""
    rows = deltalake.DeltaTable(server.table_path(table)).to_pyarrow_table()
    found = duckdb.sql("select id, amount from rows").fetchall()
    assert len(dict(found)) == len(found), "a row is there twice"
    return dict(found)


def balanced(server):
    """Nothing is missing or doubled, as the ledger counts, the files read through."""
    report = json.loads(server.run("ledger", "--verify", "--json", check=False).stdout)
    assert report["balanced"] and report["findings"] == [], report


def mend(server, folder, amount):
    """Ends the server, changes the function, and starts it again."""
    assert server.stop() == 0
    (folder / "weir.hcl").write_text(HCL % amount)
    server.start()


def started(serve, folder, count):
    path = folder(weir__hcl=HCL % "amount", order__avsc=SCHEMA)
    server = serve(path)
    send(server, range(count))
    assert len(amounts(server)) == count
    return server, path


def test_a_mended_function_is_looked_at_replayed_and_read_alike_from_outside(serve, folder):
    count = 600
    server, path = started(serve, folder, count)
    mend(server, path, "case when amount % 20 = 0 then amount else -amount end")
    dry = server.run("replay", "--function", "price", "--dry-run")
    assert f"{count} records" in dry.stdout and "to table/prices: 600 rows in 1 partitions" in dry.stdout, dry.stdout
    assert "2026-01-01" in dry.stdout and "it would take about" in dry.stdout
    asked = server.run("replay", "--function", "price", check=False)
    assert asked.returncode == 1 and "--yes" in asked.stderr, asked.stderr
    assert amounts(server) == {n: 10 * n for n in range(count)}

    done = json.loads(server.run("replay", "--function", "price", "--yes", "--json").stdout)
    (target,) = done["targets"]
    assert done["state"] == "done" and target["target"] == "table/prices"
    assert (target["read"], target["replaced"], target["unchanged"], target["added"]) == (count, 300, 300, 0), target
    wanted = {n: 10 * n if n % 2 == 0 else -10 * n for n in range(count)}
    assert amounts(server) == wanted
    assert outside(server) == wanted
    listed = server.run("replay", "list").stdout
    assert done["id"] in listed and "100%" in listed, listed
    shown = server.run("replay", "show", done["id"][:14]).stdout
    assert "done" in shown and "300" in shown, shown
    # What arrives goes on beside it, and a second replay changes nothing.
    send(server, range(count, count + 10))
    again = json.loads(server.run("replay", "--to", "prices", "--yes", "--json").stdout)
    assert again["targets"][0]["unchanged"] == count + 10, again
    assert outside(server, "raw") == {n: 10 * n for n in range(count + 10)}
    balanced(server)
    assert server.stop() == 0
    assert outside(server) == {n: 10 * n if n % 2 == 0 else -10 * n for n in range(count + 10)}


def test_kills_at_any_moment_neither_double_nor_lose(serve, folder):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    count = 20_000
    server, path = started(serve, folder, count)
    mend(server, path, "amount + 1")
    begun = server.run("replay", "--function", "price", "--rate", "15000/s", "--yes", "--detach", "--json")
    run = json.loads(begun.stdout)["id"]
    for _ in range(5):
        time.sleep(chance.uniform(0.05, 0.5))
        server.kill()
        server.start()
        # From outside the table is whole at every moment: each order once, old or new.
        seen = outside(server)
        assert len(seen) == count and all(amount in (10 * n, 10 * n + 1) for n, amount in seen.items())
    server.run("replay", "rate", "none", run, check=False)
    ended = json.loads(server.run("replay", "watch", run, "--json").stdout)
    (target,) = ended["targets"]
    assert ended["state"] == "done" and target["read"] + target["untold"] == count, ended
    assert amounts(server) == {n: 10 * n + 1 for n in range(count)}
    balanced(server)
    assert server.stop() == 0
    assert outside(server) == {n: 10 * n + 1 for n in range(count)}


def test_a_replay_waits_goes_on_and_ends_when_it_is_told(serve, folder):
    server, path = started(serve, folder, 3_000)
    run = json.loads(
        server.run("replay", "--stream", "orders", "--to", "prices", "--rate", "500/s", "--yes", "--detach", "--json").stdout
    )["id"]
    show = lambda: json.loads(server.run("replay", "show", run, "--json").stdout)
    until(lambda: show()["behind"] > 0, "it does not begin")
    server.run("replay", "pause", run)
    until(lambda: show()["targets"][0]["durable"] == show()["behind"], "it does not settle")
    behind = show()["behind"]
    assert 0 < behind < 3_000 and show()["state"] == "paused"
    server.kill()
    server.start()
    assert (show()["state"], show()["behind"]) == ("paused", behind)
    server.run("replay", "rate", "none", run)
    server.run("replay", "resume", run)
    until(lambda: show()["state"] == "done", "it does not end")
    over = server.run("replay", "cancel", run, check=False)
    assert over.returncode == 1 and "is over" in over.stderr

    second = json.loads(
        server.run("replay", "--to", "prices", "--rate", "10/s", "--yes", "--detach", "--json").stdout
    )["id"]
    server.run("replay", "cancel", second)
    states = {one["id"]: one["state"] for one in json.loads(server.run("replay", "list", "--json").stdout)["replays"]}
    assert states == {run: "done", second: "cancelled"}


def test_what_can_not_be_replayed_is_refused_with_the_next_step(serve, folder):
    server, _ = started(serve, folder, 5)
    for args, told in [
        ((), "say what is to be replayed"),
        (("--function", "prize"), "did you mean `price`?"),
        (("--stream", "orders", "--from", "archive"), "has no archive"),
        (("--to", "raw", "--function", "price"), "is not fed by function `price`"),
        (("--stream", "orders", "--since", "soon"), "`since` is `soon`"),
    ]:
        refused = server.run("replay", *args, "--yes", check=False)
        assert refused.returncode == 1 and told in refused.stderr, (args, refused.stderr)
    unknown = server.run("replay", "show", "replay-none", check=False)
    assert unknown.returncode == 1 and "there is no replay" in unknown.stderr


HANDLER_HCL = """
stream "orders" {
  schema = "order.avsc"
  time   = "at"
  id     = ["id", "at"]
}
function "price" {
  on      = stream.orders
  code    = "price"
  handler = "price.handler"
  schema  = "order.avsc"
  to      = table.prices
}
table "prices" {
  unique_by    = ["id", "at"]
  partition_by = "day(at)"
  freshness    = "200ms"
}
"""

HANDLER = """import base64, json

def handler(event, context):
    rows = []
    for record in event["Records"]:
        order = json.loads(base64.b64decode(record["kinesis"]["data"]))
        order["amount"] = order["amount"] + %d
        rows.append(order)
    return {"records": rows}
"""


def test_a_mended_handler_replaces_its_rows(serve, folder):
    path = folder(weir__hcl=HANDLER_HCL, order__avsc=SCHEMA)
    (path / "price").mkdir()
    (path / "price" / "price.py").write_text(HANDLER % 0)
    server = serve(path)
    send(server, range(300))
    until(lambda: len(amounts(server)) == 300, "the handler does not make its rows")
    assert server.stop() == 0
    (path / "price" / "price.py").write_text(HANDLER % 7)
    server.start()
    done = json.loads(server.run("replay", "--function", "price", "--yes", "--json").stdout)
    (target,) = done["targets"]
    assert done["state"] == "done" and target["target"] == "function/price", done
    assert (target["read"], target["rows"], target["replaced"]) == (300, 300, 300), done
    assert amounts(server) == {n: 10 * n + 7 for n in range(300)}
    balanced(server)
    assert server.stop() == 0
    assert outside(server) == {n: 10 * n + 7 for n in range(300)}

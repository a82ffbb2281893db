"""Dead letters with the command line, and their tables as other engines read them."""

import json
import time

import deltalake
import duckdb

SCHEMA = """{"type": "record", "name": "Order", "fields": [
  {"name": "id", "type": "string"}, {"name": "amount", "type": "string"}]}"""

HCL = """
stream "orders" {
  schema = "order.avsc"
  shards = 2
}
function "price" {
  on  = stream.orders
  sql = "select id, cast(amount as bigint) as amount from input"
  to  = table.orders
}
table "orders" {
  unique_by = []
  freshness = "200ms"
}
"""

GOOD, POISON = 40, 30


def started(serve, folder):
    server = serve(folder(weir__hcl=HCL, order__avsc=SCHEMA))
    orders = [{"id": f"good-{n}", "amount": str(n)} for n in range(GOOD)]
    orders += [{"id": f"bad-{n}", "amount": f"{n} francs"} for n in range(POISON)]
    body = "".join(json.dumps(order) + "\n" for order in orders).encode()
    status, report = server.post("/v1/streams/orders/records", body, {"content-type": "application/x-ndjson"})
    assert status == 200 and report["stored"] == GOOD + POISON
    until_letters(server, POISON)
    return server


def letters(server, *args):
    return json.loads(server.run("dead", "list", "--json", "-n", "1000", *args).stdout)["letters"]


def until_letters(server, count):
    deadline = time.monotonic() + 60
    while len(letters(server)) != count:
        assert time.monotonic() < deadline, letters(server)
        time.sleep(0.05)


def test_poison_is_grouped_shown_edited_redriven_and_lands_once_over_a_kill(serve, folder):
    server = started(serve, folder)
    groups = json.loads(server.run("dead", "group", "--json").stdout)["groups"]
    # The numbers of the errors are not told apart.
    assert [(group["cause"], group["target"], group["count"]) for group in groups] == [
        ("function_failed", "table/orders", POISON)
    ], groups
    shown = json.loads(server.run("dead", "show", groups[0]["example"], "--json").stdout)
    assert shown["payload"]["json"]["amount"].endswith(" francs") and shown["taken"] is None
    told = server.run("dead", "show", groups[0]["example"]).stdout
    assert "function_failed" in told and "francs" in told

    done = server.run("dead", "redrive", check=False)
    assert done.returncode == 1 and "--all" in done.stderr
    dry = server.run("dead", "redrive", "--all", "--dry-run").stdout
    assert "table/orders" in dry and str(POISON) in dry
    assert len(letters(server)) == POISON

    wrong = server.run("dead", "redrive", "--all", "--edit", '{"amount": 5}', check=False)
    assert wrong.returncode == 1 and "amount" in wrong.stderr and ">table/orders" in wrong.stderr, wrong.stderr
    smuggled = server.run("dead", "drop", "--where", "true) or (true", check=False)
    assert smuggled.returncode == 1 and "condition" in smuggled.stderr, smuggled.stderr

    began = time.monotonic()
    done = server.run(
        "dead", "redrive", "--where", "sequence % 2 = 0", "--edit", '{"amount": "5"}', "--rate", "10/s", "--json"
    )
    even = json.loads(done.stdout)
    assert even["count"] + len(letters(server)) == POISON and even["refused"] == []
    assert time.monotonic() - began >= (even["count"] - 5) / 10
    server.kill()
    server.start()
    rest = json.loads(server.run("dead", "redrive", "--cause", "function_failed", "--edit", '{"amount": "6"}', "--json").stdout)
    assert even["count"] + rest["count"] == POISON
    assert letters(server) == []
    rows = server.query("select count(*) as n, count(distinct id) as ids from orders")
    assert rows == [{"n": GOOD + POISON, "ids": GOOD + POISON}]
    edited = server.query("select count(*) as n from dead_letter_actions where edited is not null and action = 'redriven'")
    assert edited[0]["n"] == POISON

    assert server.stop() == 0
    actions = deltalake.DeltaTable(server.table_path("dead_letter_actions")).to_pyarrow_table()
    dead = deltalake.DeltaTable(server.table_path("dead_letters")).to_pyarrow_table()
    runs = duckdb.sql(
        """select a.run, count(*) as n, count(distinct d.id) as letters from dead d join actions a on a.id = d.id
           where a.target = 'table/orders' and a.decided_at >= d.failed_at group by 1 order by n"""
    ).fetchall()
    wanted = sorted((answer["count"], answer["run"]) for answer in (even, rest))
    assert sorted((n, run) for run, n, _ in runs) == wanted and all(n == ids for _, n, ids in runs)
    orders = deltalake.DeltaTable(server.table_path("orders")).to_pyarrow_table()
    assert duckdb.sql("select count(*), count(distinct id) from orders").fetchone() == (GOOD + POISON,) * 2


def test_what_fails_again_is_a_new_letter_and_a_dropped_one_is_closed(serve, folder):
    server = started(serve, folder)
    first = {letter["id"] for letter in letters(server)}
    done = json.loads(server.run("dead", "redrive", "--all", "--json", "-n", "7").stdout)
    assert done["count"] == 7
    until_letters(server, POISON)
    again = [letter for letter in letters(server) if letter["id"] not in first]
    assert len(again) == 7
    assert {letter["headers"]["redrive-of"] for letter in again} <= first
    assert all(letter["source"] == "stream/_redrive-table-orders/0" for letter in again)
    # A run ends by itself: what fails again while it runs is left for another.
    done = json.loads(server.run("dead", "redrive", "--all", "--json").stdout)
    assert done["count"] == POISON
    until_letters(server, POISON)
    dropped = server.run("dead", "drop", "--source", "stream/_redrive-table-orders", "--since", "1h")
    assert f"{POISON} letters dropped by run-" in dropped.stderr, dropped.stderr
    assert server.run("dead", "list").stdout == "no dead letters\n"
    assert len(letters(server, "--state", "dropped")) == POISON
    assert len(letters(server, "--state", "any")) == 2 * POISON + 7
    assert "no dead letters" in server.run("dead", "group").stdout
    status, answer = server.post("/v1/dead-letters/redrive", b"{}", {"content-type": "application/json"})
    assert status == 400 and answer["error"]["code"] == "invalid_request", answer
    unknown = server.run("dead", "show", "nobody's", check=False)
    assert unknown.returncode == 1 and "there is no dead letter `nobody's`" in unknown.stderr


def test_nobody_but_weir_writes_its_own_streams(serve, folder):
    server = serve(folder(weir__hcl=HCL, order__avsc=SCHEMA))
    for stream in ("dead_letters", "dead_letter_actions"):
        path = f"/v1/streams/{stream}/records"
        status, answer = server.post(path, b"{}\n", {"content-type": "application/x-ndjson"})
        assert status == 400 and "weir's own" in answer["error"]["message"], answer

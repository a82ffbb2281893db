"""Rollups against DuckDB, which computes the same from the source's files: while records come, and after kill -9."""

import json
import random
import threading

import duckdb
from deltalake import DeltaTable

from conftest import JANUARY, until

SCHEMA = """{"type": "record", "name": "Sale", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "shop", "type": "string"},
  {"name": "cents", "type": "long"}]}"""

HCL = """
stream "sales" {
  schema = "sale.avsc"
  time   = "at"
  id     = ["id"]
  shards = 2
}
table "sales" {
  from         = stream.sales
  partition_by = "hour(at)"
  buckets      = 2
  freshness    = "100ms"
}
table "hourly" {
  sql = <<-SQL
    select date_trunc('hour', at) as hour, shop, count(*) as sales, sum(cents) as cents, max(cents) as most
    from sales group by 1, 2
  SQL
  partition_by = "hour(hour)"
  freshness    = "100ms"
}
table "daily" {
  sql          = "select cast(hour as date) as day, sum(sales) as sales, sum(cents) as cents from hourly group by 1"
  partition_by = "day(day)"
  freshness    = "100ms"
}
"""

# What each holds, and what DuckDB computes for it.
HOURLY = (
    "select epoch_us(hour), shop, sales, cents, most from rows",
    """select epoch_us(date_trunc('hour', "at")), shop, count(*)::bigint, sum(cents)::bigint, max(cents)
       from rows group by 1, 2""",
)
DAILY = (
    "select day, sales, cents from rows",
    "select date_trunc('day', \"at\")::date, count(*)::bigint, sum(cents)::bigint from rows group by 1",
)

# 2024-02-28, so that a leap day is among the days.
START = 1_709_078_400_000
HOUR = 3_600_000


def delta(server, name):
    """A table as deltalake reads it at one version, without the partition columns."""
    read = DeltaTable(server.table_path(name)).to_pyarrow_table()
    return read.drop_columns([column for column in read.column_names if column.startswith("_")])


def ask(table, sql):
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("rows", table)
    return sorted(connection.execute(sql).fetchall())


def agree(server):
    """Both rollups, as outside readers see them, are what DuckDB computes from the source's files."""
    server.run("table", "refresh", "daily")
    source = delta(server, "sales")
    for name, (held, computed) in {"hourly": HOURLY, "daily": DAILY}.items():
        assert ask(delta(server, name), held) == ask(source, computed), name
    return source.num_rows


def lines(dice, first, count):
    """Sales of some days; a tenth is sent before, a twentieth is late by up to 20 hours."""
    made = []
    for n in range(first, first + count):
        number = dice.randrange(max(1, n)) if dice.random() < 0.1 else n
        late = dice.randrange(20) if number % 20 == 0 else 0
        at = START + (number * 977 % 72 - late) * HOUR + number
        made.append(json.dumps({"id": f"s{number}", "at": at, "shop": f"shop {number % 5}", "cents": number * 37 % 1000}))
    return "\n".join(made).encode()


def test_rollups_are_what_duckdb_computes_under_kill_9(serve, project):
    seed = 20240229
    print(f"seed {seed}")
    dice = random.Random(seed)
    server = serve(project(HCL, {"sale.avsc": SCHEMA}))
    sent = [0]
    stop = threading.Event()

    def ingest():
        # A batch whose answer was lost is sent again: repeats are dropped by id.
        batches = random.Random(seed + 1)
        while not stop.is_set():
            body = lines(batches, sent[0], 200)
            while not stop.is_set():
                try:
                    headers = {"content-type": "application/x-ndjson"}
                    status, _ = server.post("/v1/streams/sales/records", body, headers)
                    if status == 200:
                        sent[0] += 200
                        break
                except OSError:
                    pass
                stop.wait(0.05)
            stop.wait(0.02)

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        for round in range(5):
            want = sent[0] + 400
            until(lambda: sent[0] >= want, "records go in")
            if round % 2 == 1:
                # A moment of its own: in the middle of a commit, a query, or a replacement.
                stop.wait(dice.random() * 0.5)
            server.kill()
            server.start()
    finally:
        stop.set()
        thread.join()
    before = agree(server)
    assert before > 1000
    # Late rows of one hour: one partition of each is computed, and they agree again.
    status = {table["name"]: table for table in server.status()["tables"]}
    made = {name: status[name]["rollup"]["computed"] for name in ("hourly", "daily")}
    late = json.dumps({"id": "late", "at": START + 5 * HOUR, "shop": "shop 1", "cents": 5}).encode()
    assert server.post("/v1/streams/sales/records", late, {"content-type": "application/x-ndjson"})[0] == 200
    assert agree(server) == before + 1
    status = {table["name"]: table for table in server.status()["tables"]}
    assert {name: status[name]["rollup"]["computed"] - count for name, count in made.items()} == {"hourly": 1, "daily": 1}
    assert all(status[name]["rollup"]["stale"] == 0 and status[name]["trouble"] is None for name in made)
    # Replaced partitions are booked as such: the ledger finds nothing amiss.
    server.run("ledger")
    assert server.stop() == 0


def test_the_example_counts_flights_by_hour(flights):
    flights.run("send", "flights", JANUARY)
    flights.run("table", "refresh", "flights_hourly")
    [found] = flights.query("select sum(flights) as flights, count(distinct hour) as hours from flights_hourly")
    [wanted] = flights.query("select count(*) as flights, count(distinct date_trunc('hour', time_hour)) as hours from flights")
    assert found == wanted and found["flights"] == 27004
    delays = "select origin, round(avg(dep_delay), 6) as delay from {} where {} = '2013-01-15T14:00:00Z' group by 1 order by 1"
    assert flights.query(delays.format("flights_hourly", "hour")) == flights.query(
        delays.format("flights", "date_trunc('hour', time_hour)")
    )


def test_a_refresh_of_nothing_is_told(flights):
    done = flights.run("table", "refresh", "nothing", check=False)
    assert done.returncode != 0 and "there is no table `nothing`" in done.stderr

"""A year of real flights, sent three times, once under kill -9: each flight is in the table once."""

import collections
import csv
import io
import os
import random
import signal
import subprocess
import time

import duckdb
import deltalake
import pytest

from conftest import JANUARY, WEIR, YEAR, read_csv_gz


@pytest.fixture(scope="module")
def source():
    return YEAR if YEAR.exists() else JANUARY


@pytest.fixture(scope="module")
def expected(source):
    """Counts and sums of distance per carrier and month of event time, from the CSV alone."""
    sums = collections.defaultdict(lambda: [0, 0])
    for row in csv.DictReader(io.StringIO(read_csv_gz(source))):
        entry = sums[row["carrier"], int(row["time_hour"][5:7])]
        entry[0] += 1
        entry[1] += int(row["distance"])
    return {key: tuple(value) for key, value in sums.items()}


BY_MONTH = """select carrier, cast(date_part('month', time_hour) as int) as month,
              count(*) as flights, cast(sum(distance) as bigint) as miles from {} group by 1, 2"""


def as_sums(rows):
    return {(carrier, month): (flights, miles) for carrier, month, flights, miles in rows}


def check(server, expected):
    rows = server.query(BY_MONTH.format("flights"))
    assert as_sums((r["carrier"], r["month"], r["flights"], r["miles"]) for r in rows) == expected
    # What outside readers see is what was committed: stopping commits the rest.
    assert server.stop() == 0
    table = deltalake.DeltaTable(server.table_path("flights"))
    arrow = table.to_pyarrow_table(columns=["carrier", "time_hour", "distance"])
    duck = duckdb.connect()
    duck.execute("set timezone = 'UTC'")
    duck.register("by_delta", arrow)
    assert as_sums(duck.execute(BY_MONTH.format("by_delta")).fetchall()) == expected
    files = [path if path.startswith("/") else f"{server.table_path('flights')}/{path}" for path in table.file_uris()]
    files = [path.removeprefix("file://") for path in files]
    by_files = f"read_parquet({files!r}, hive_partitioning = false)"
    assert as_sums(duck.execute(BY_MONTH.format(by_files)).fetchall()) == expected


def test_sent_twice_each_flight_is_there_once(flights, source, expected):
    total = sum(count for count, _ in expected.values())
    for _ in range(2):
        sent = flights.run("send", "flights", source, "--json")
        assert f'"stored":{total}' in sent.stdout
    check(flights, expected)


def test_killed_ten_times_each_flight_is_there_once(flights, source, expected):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print("seed", seed)
    send = [WEIR, "send", "flights", str(source), "--server", flights.url, "--producer", "year"]
    kills = 0
    sender = subprocess.Popen(send, stderr=subprocess.DEVNULL)
    while kills < 10:
        time.sleep(chance.uniform(0.1, 0.8))
        if sender.poll() is not None:
            assert sender.returncode == 0
            # It was faster than ten kills: once more, as another load.
            send[-1] = f"year-{kills}"
            sender = subprocess.Popen(send, stderr=subprocess.DEVNULL)
        if chance.random() < 0.4:
            os.kill(sender.pid, signal.SIGKILL)
            sender.wait()
            sender = subprocess.Popen(send, stderr=subprocess.DEVNULL)
        else:
            flights.kill()
            flights.start()
        kills += 1
    assert sender.wait(timeout=240) == 0
    check(flights, expected)

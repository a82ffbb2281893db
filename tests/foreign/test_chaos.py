"""Everything at once: readings sent twice, late and in no order, a schema that changes, kill -9 every few seconds, and an object store that
fails. At the end the table is the model, the ledger balances, files have the size that was asked for, and nothing is left over.

The length of the run is WEIR_CHAOS_SECONDS, its seed WEIR_CHAOS_SEED (printed, for a failure to be run again).
"""

import csv
import json
import os
import pathlib
import random
import shutil
import threading
import time

import deltalake
import duckdb
import polars
import pytest

from conftest import ROOT, WEIR, Server, until
from machines import Machines
from store import Faults, Store

EXAMPLE = ROOT / "examples" / "events"
SECONDS = float(os.environ.get("WEIR_CHAOS_SECONDS", "30"))
SEED = int(os.environ.get("WEIR_CHAOS_SEED", "0")) or random.randrange(1, 1 << 32)
FAULT_RATE = 0.1
PAUSE = 0.05  # between batches: what is sent must fit into memory here
BATCH = 500
TARGET = 1 << 20


def lake_config(folder: pathlib.Path) -> None:
    """The example, on an object store, with times that fit into a test."""
    shutil.copytree(EXAMPLE, folder)
    path = folder / "weir.hcl"
    text = path.read_text()
    for old, new in {
        'archive   = "400d"': 'archive   = "400d"\n  archive_location = "s3://lake/archive/raw"',
        'archive = "400d"': 'archive = "400d"\n  archive_location = "s3://lake/archive/processed"',
        "from         = stream.processed": 'from         = stream.processed\n  location = "s3://lake/tables/readings"\n'
        f'  freshness = "1s"\n  target_file_size = "{TARGET >> 20}MiB"',
        'partition_by = "day(day)"': 'partition_by = "day(day)"\n'
        '  location = "s3://lake/tables/readings_daily"\n  freshness = "2s"',
        'compact      = "1h"': 'compact      = "5s"',
    }.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


def add_firmware(folder: pathlib.Path) -> None:
    """A new version of both schemas, and of the SQL between them."""
    for name in ("raw.avsc", "processed.avsc"):
        schema = json.loads((folder / name).read_text())
        schema["fields"].append({"name": "firmware", "type": ["null", "string"], "default": None})
        (folder / name).write_text(json.dumps(schema))
    path = folder / "weir.hcl"
    text = path.read_text()
    assert "r.metric," in text
    path.write_text(text.replace("r.metric,", "r.metric, r.firmware,", 1))


class Killer:
    """Kills the server every few seconds, and starts it again."""

    def __init__(self, server: Server, seed: int):
        self.server, self.chance = server, random.Random(seed)
        self.kills, self.failure = 0, None
        self.stopping = threading.Event()
        self.between: list = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping.wait(self.chance.uniform(2, 5)):
                self.server.kill()
                self.kills += 1
                if self.between:
                    self.between.pop()()
                self.server.start()
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def stop(self):
        self.stopping.set()
        self.thread.join(timeout=120)
        assert self.failure is None, self.failure


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def test_nothing_is_lost_or_doubled(store, tmp_path, monkeypatch):
    print("seed", SEED)
    faults = Faults(store, SEED, FAULT_RATE)
    for name, value in store.options(faults.url).items():
        monkeypatch.setenv(name, value)
    folder, data = tmp_path / "events", tmp_path / "data" / "weir"
    data.parent.mkdir()
    lake_config(folder)
    server = Server(folder, data)
    try:
        machines = Machines(SEED, int(time.time() * 1000) - 60_000)
        killer = Killer(server, SEED)
        end = time.monotonic() + SECONDS
        batches = 0
        while time.monotonic() < end:
            assert killer.failure is None, killer.failure
            if not machines.has_firmware and time.monotonic() > end - SECONDS / 2:
                changed = threading.Event()
                killer.between.append(lambda: (add_firmware(folder), changed.set()))
                assert changed.wait(60)
                machines.has_firmware = True
            batches += 1
            # What was not acknowledged is sent again, under the same number; weir knows what it has.
            server.run("send", "raw", "-", "--producer", f"machines-{batches}", "--format", "ndjson",
                       "--retry-for", "60s",
                       input=machines.batch(BATCH).decode())
            time.sleep(PAUSE)
        killer.stop()
        faults.rate = 0
        assert killer.kills >= SECONDS / 10 and all(faults.planted.values()), (killer.kills, faults.planted)
        print("kills", killer.kills, "faults", faults.planted, "readings", len(machines.sent), "repeats", machines.repeats)

        check_table(server, machines, folder)
        check_ledger(server)
        check_files(server, store)
        check_readers(server, store, machines)
        assert server.stop() == 0
    except BaseException:
        print(server.tail())
        raise
    finally:
        if server.process.poll() is None:
            server.kill()
        server.log.close()
        faults.close()


def model_rows(machines: Machines, folder: pathlib.Path) -> dict[str, tuple]:
    devices = {row["device"]: row for row in csv.DictReader((folder / "devices.csv").open())}
    rows = {}
    for key, reading in machines.sent.items():
        device = devices.get(reading["device"], {})
        rows[key] = (reading["device"], reading["at"], reading["metric"], reading.get("firmware"),
                     float(reading["reading"]), device.get("site"), device.get("model"))
    return rows


ROWS = "select reading_id, device, epoch_ms(at) as at, metric, firmware, value, site, model from readings"


def check_table(server: Server, machines: Machines, folder: pathlib.Path) -> None:
    expected = model_rows(machines, folder)
    until(lambda: server.query("select count(*) as n from readings")[0]["n"] >= len(expected), "all readings arrive", 120)
    sql = ROWS.replace("epoch_ms(at)", "cast(at as bigint)")
    rows = server.query(sql)
    found = {row["reading_id"]: (row["device"], row["at"] // 1000 if row["at"] > 1 << 45 else row["at"], row["metric"],
                                 row.get("firmware"), row["value"], row.get("site"), row.get("model")) for row in rows}
    assert len(rows) == len(found), "a reading is there twice"
    assert found == expected
    # A bad reading that was sent twice is two letters, in two schemas at times; the payload begins with its id's length and the id.
    letters = "select count(distinct substr(encode(payload, 'hex'), 3, 36)) as n from dead_letters where cause = 'function_failed'"
    assert server.query(letters)[0]["n"] == len(machines.bad)


def check_ledger(server: Server) -> None:
    balanced = server.run("ledger", "--verify", "--json", check=False)
    assert balanced.returncode == 0, balanced.stdout + balanced.stderr


def check_files(server: Server, store: Store) -> None:
    """Few files, none too large, and none that nobody names."""
    server.run("table", "compact", "readings")
    server.run("table", "vacuum", "readings", "--keep", "0s")
    table = deltalake.DeltaTable("s3://lake/tables/readings", storage_options=store.options())
    named = {uri.split("s3://lake/")[-1] for uri in table.file_uris()}
    sizes = {key: size for key, size in store.keys("tables/readings/").items() if "/_delta_log/" not in key}
    assert set(sizes) == named, "files that no version names, or the other way round"
    assert all(size <= TARGET * 1.25 for size in sizes.values())
    places: dict[str, list[int]] = {}
    for key, size in sizes.items():
        places.setdefault(key.rsplit("/", 1)[0], []).append(size)
    for place, found in places.items():
        assert len(found) <= sum(found) // TARGET + 2, f"{place} has {len(found)} files of {sum(found)} bytes"


def check_readers(server: Server, store: Store, machines: Machines) -> None:
    """Readers that nobody here wrote see what weir answers."""
    table = deltalake.DeltaTable("s3://lake/tables/readings", storage_options=store.options())
    arrow = table.to_pyarrow_table()
    assert arrow.num_rows == len(machines.sent)
    duck = duckdb.connect()
    duck.register("readings", arrow)
    by_metric = "select metric, count(*) as n, min(reading_id) as least from readings group by 1 order by 1"
    theirs = [{"metric": m, "n": n, "least": least} for m, n, least in duck.execute(by_metric).fetchall()]
    assert server.query(by_metric) == theirs
    frame = polars.from_arrow(arrow)
    assert frame["reading_id"].n_unique() == len(machines.sent)
    daily = "select cast(day as varchar) as day, site, metric, readings from readings_daily order by 1, 2, 3"
    duck.execute("set timezone = 'UTC'")
    again = duck.execute(
        """select cast(date_trunc('day', "at") as date)::varchar, site, metric, count(*) from readings group by 1, 2, 3"""
    ).fetchall()
    expected = sorted((day, site or "", metric, n) for day, site, metric, n in again)

    def agrees():
        return sorted((r["day"][:10], r.get("site") or "", r["metric"], r["readings"]) for r in server.query(daily)) == expected

    until(agrees, "the rollup follows", 60)

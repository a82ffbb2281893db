"""A table that takes whole runs, seen by readers that nobody here wrote: every version has all of one run, whatever is killed when."""

import http.server
import json
import pathlib
import random
import threading
import time
import urllib.parse

import deltalake
import duckdb
import duckdb_extension_delta
import polars
import pytest

from conftest import until
from crawls import complete, is_over, start, status

EXTENSION = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
START = 1_700_000_000_000
GROUPS, PAGE, DEVICES = 12, 20, 50
DEVICE = json.dumps(
    {
        "type": "record",
        "name": "Device",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "run", "type": "long"},
        ],
    }
)
HCL = """
api "vendor" {
  base_url = "URL"
  budget { rate = "unlimited" }
}
crawl "devices" {
  api = api.vendor
  resource "group" { path = "/groups"  data_selector = "items" }
  resource "device" {
    path              = "/groups/{resources.group.id}/devices"
    data_selector     = "items"
    paginator "page_number" { base_page = 0  total_path = "pages" }
    primary_key       = "id"
    write_disposition = "replace"
    to                = table.devices
    schema            = "device.avsc"
  }
}
table "devices" {
  partition_by = "day(at)"
  freshness    = "100ms"
  TABLE
}
"""


class Vendor:
    """Answers with what `generation` says; each has its own number of devices."""

    def __init__(self):
        vendor = self
        self.generation, self.empty, self.pause = 1, False, 0.01

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                time.sleep(vendor.pause)
                body = json.dumps(vendor.answer(urllib.parse.urlparse(self.path))).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # who asked was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, url):
        if url.path == "/groups":
            return {"items": [] if self.empty else [{"id": f"g{n}"} for n in range(GROUPS)]}
        group = url.path.split("/")[2]
        page = int(urllib.parse.parse_qs(url.query).get("page", ["0"])[0])
        run, count = self.generation, DEVICES + self.generation
        numbers = range(count)[page * PAGE : (page + 1) * PAGE]
        items = [{"id": f"{group}-{n}", "at": START + (n + run) % 4 * 86_400_000, "run": run} for n in numbers]
        return {"items": items, "pages": -(-count // PAGE)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def rows_of(run: int) -> int:
    return GROUPS * (DEVICES + run)


def whole(rows: list[tuple], what: str):
    """All rows of one run, each once; or none, before the first."""
    runs = {run for _, run in rows}
    assert len(runs) <= 1, f"{what}: a mixture of {runs}"
    for run in runs:
        assert len(rows) == len(set(rows)) == rows_of(run), f"{what}: {len(rows)} rows of run {run}"
    return runs.pop() if runs else None


def with_deltalake(path: str, version=None) -> list[tuple]:
    table = deltalake.DeltaTable(path, version=version).to_pyarrow_table(columns=["id", "run"]).to_pylist()
    return [(row["id"], row["run"]) for row in table]


def with_duckdb(path: str) -> list[tuple]:
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"load '{EXTENSION}'")
    # Its partition columns too.
    found = connection.execute(f"""select id, run, _day, "at" from delta_scan('{path}')""").fetchall()
    assert all(day == at.date() for _, _, day, at in found)
    return [(id, run) for id, run, _, _ in found]


def with_polars(path: str) -> list[tuple]:
    return polars.scan_delta(path).select("id", "run").collect().rows()


READERS = [with_deltalake, with_duckdb, with_polars]


@pytest.fixture
def vendor():
    site = Vendor()
    yield site
    site.close()


def project_of(vendor, project, table=""):
    hcl = HCL.replace("URL", vendor.url).replace("TABLE", table)
    return project(hcl, {"device.avsc": DEVICE})


def test_every_version_has_all_of_one_run_whatever_is_killed(vendor, serve, project):
    server = serve(project_of(vendor, project))
    path, seed = server.table_path("devices"), random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    done, reads, wrong = threading.Event(), dict.fromkeys(range(len(READERS)), 0), []

    def keep_reading(index: int):
        last = 0
        while not (done.is_set() and reads[index]) and not wrong:
            try:
                run = whole(READERS[index](path), READERS[index].__name__) or 0
                assert run >= last, f"{READERS[index].__name__}: run {run} after {last}"
                last, reads[index] = run, reads[index] + 1
            except Exception as error:
                wrong.append(f"{error!r}")

    readers = [threading.Thread(target=keep_reading, args=(index,), daemon=True) for index in range(len(READERS))]
    for reader in readers:
        reader.start()
    kills = 0
    for run in range(1, 9):
        vendor.generation = run
        start(server, "devices")
        life = 0.1
        while not is_over(server, "devices"):
            server.kill()
            kills += 1
            server.start()
            # Lives grow, so that runs end on a slow machine too.
            life *= 1.3
            end = time.monotonic() + dice.uniform(0, life)
            while time.monotonic() < end and not is_over(server, "devices"):
                time.sleep(0.02)
        assert is_over(server, "devices")["state"] == "complete"
        # A kill where the end is known, and perhaps not what it brings.
        time.sleep(dice.uniform(0, 0.1))
        server.kill()
        kills += 1
        server.start()
        assert server.query("select distinct run from devices") == [{"run": run}]
        assert whole(with_deltalake(path), "after the run") == run
    done.set()
    for reader in readers:
        reader.join(timeout=60)
    assert not wrong, wrong
    print(kills, "kills;", "reads", {READERS[index].__name__: count for index, count in reads.items()})
    assert all(count > 3 for count in reads.values()), reads
    newest = deltalake.DeltaTable(path).version()
    seen = [whole(with_deltalake(path, version), f"version {version}") for version in range(newest + 1)]
    changes = [run for before, run in zip([None, *seen], seen) if run != before]
    assert changes == list(range(1, 9)), seen
    verified = server.run("ledger", "--verify", check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_cancelled_run_leaves_no_trace_and_an_empty_one_replaces_nothing(vendor, serve, project):
    server = serve(project_of(vendor, project))
    path = server.table_path("devices")
    start(server, "devices")
    complete(server, "devices")
    vendor.generation, vendor.pause = 2, 0.2
    start(server, "devices")
    until(lambda: (status(server, "devices")["current"] or {}).get("done", 0) > 3, "calls are made")
    told = until(lambda: next(table for table in server.status()["tables"] if table["run"])["run"]["run"], "gathered")
    assert told == 2
    code, answer = server.post("/v1/crawls/devices/cancel", b"{}", {"content-type": "application/json"})
    assert code in (200, 202), answer
    last = until(lambda: is_over(server, "devices"), "cancelled")
    assert last["state"] == "cancelled", last
    assert server.query("select distinct run from devices") == [{"run": 1}]
    vendor.pause, vendor.empty = 0.01, True
    start(server, "devices")
    complete(server, "devices")
    assert server.query("select distinct run from devices") == [{"run": 1}]
    table = until(
        lambda: next((one for one in server.status()["tables"] if "brought no row" in ((one["run"] or {}).get("note") or "")), None),
        "the status says so",
    )
    assert table["name"] == "devices" and "allow_empty" in server.run("status").stdout
    vendor.empty, vendor.generation = False, 3
    start(server, "devices")
    complete(server, "devices")
    assert server.query("select distinct run from devices") == [{"run": 3}]
    for read in READERS:
        assert whole(read(path), read.__name__) == 3
    # Neither weir's vacuum nor another one's takes what is named.
    server.run("table", "vacuum", "devices", "--keep", "0s")
    deltalake.DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    for read in READERS:
        assert whole(read(path), read.__name__) == 3
    files = {pathlib.Path(file.removeprefix("file://")) for file in deltalake.DeltaTable(path).file_uris()}
    left = {file for file in pathlib.Path(path).rglob("*.parquet") if "_delta_log" not in file.parts}
    assert left == files, "what was dropped and replaced is deleted"
    vendor.generation = 4
    start(server, "devices")
    complete(server, "devices")
    assert server.query("select distinct run from devices") == [{"run": 4}]
    verified = server.run("ledger", "--verify", check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_an_empty_run_empties_a_table_that_says_so(vendor, serve, project):
    server = serve(project_of(vendor, project, "allow_empty = true"))
    start(server, "devices")
    complete(server, "devices")
    assert server.query("select count(*) as n from devices") == [{"n": rows_of(1)}]
    vendor.empty = True
    start(server, "devices")
    complete(server, "devices")
    assert server.query("select count(*) as n from devices") == [{"n": 0}]
    assert with_duckdb(server.table_path("devices")) == []

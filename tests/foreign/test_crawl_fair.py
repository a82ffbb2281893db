"""Fairness and idleness: a small tenant behind a big one's backlog, and a weir whose crawls have nothing to do."""

import os
import pathlib
import time

import pytest

from conftest import until
from crawls import ITEM, READING, api, complete, fleet, secrets, start, status
from vendor import Vendor, calls_of

BACKLOG = int(os.environ.get("WEIR_CRAWL_BACKLOG", "5000"))
RATE = 40
SMALL = 50

LOTS = """
crawl "NAME" {
  api    = api.fleet
  TENANTS
  resource "item" {
    path          = "/lots/LOT/COUNT"
    data_selector = "items"
    paginator "offset" { limit = 10000 }
  }
  resource "value" {
    path   = "/lots/LOT/items/{resources.item.id}"
    to     = table.TABLE
    schema = "item.avsc"
  }
}
table "TABLE" { freshness = "1s" }
"""


def lots(name: str, table: str, lot="NAME", count="0", tenants="") -> str:
    text = LOTS.replace("TENANTS", tenants).replace("LOT", lot).replace("COUNT", str(count))
    return text.replace("NAME", name).replace("TABLE", table)


@pytest.fixture
def vendor(tmp_path):
    site = Vendor(log=tmp_path / "calls.log")
    yield site
    site.close()


@pytest.fixture(autouse=True)
def token(monkeypatch):
    secrets(monkeypatch)


def span_of(vendor, tmp_path, lot: str) -> tuple[float, int]:
    """Seconds from the first call of a lot's items to the last, and how many there were."""
    vendor.stats()
    times = [at for at, _, path in calls_of(tmp_path / "calls.log") if path.startswith(f"/v1/lots/{lot}/items/")]
    return times[-1] - times[0], len(times)


def check_fair(vendor, tmp_path, lot: str) -> None:
    seconds, calls = span_of(vendor, tmp_path, lot)
    assert calls == SMALL
    # Two want calls, so that each has half of the rate; the first call begins the span.
    fair = (SMALL - 1) / (RATE / 2)
    print(f"{lot}: {SMALL} calls behind {BACKLOG} in {seconds:.3f} s; fair are {fair:.3f} s")
    assert seconds <= fair * 1.05, (seconds, fair)


def test_a_small_crawl_ends_in_its_fair_time_behind_a_big_one(vendor, serve, project, tmp_path):
    hcl = api(vendor, f'rate = "{RATE}/s"  burst = 8')
    hcl += lots("big", "bigs", "big", BACKLOG) + lots("small", "smalls", "small", SMALL)
    server = serve(project(hcl, {"item.avsc": ITEM}))
    start(server, "big")
    until(lambda: (status(server, "big")["current"] or {}).get("waiting", 0) > BACKLOG * 0.9, "a backlog")
    start(server, "small")
    complete(server, "small", 60)
    check_fair(vendor, tmp_path, "small")
    assert status(server, "big")["current"]["waiting"] > BACKLOG / 2
    server.run("crawl", "cancel", "big")


def test_a_small_tenant_ends_in_its_fair_time_behind_a_big_one(vendor, serve, project, tmp_path):
    tenants = f"""
  tenant "big"   {{ params = {{ count = "{BACKLOG}" }} }}
  tenant "small" {{ params = {{ count = "{SMALL}" }} }}
"""
    hcl = api(vendor, f'rate = "{RATE}/s"  burst = 8')
    hcl += lots("all", "items", "{tenant.name}", "{tenant.count}", tenants)
    server = serve(project(hcl, {"item.avsc": ITEM}))
    start(server, "all")

    def small():
        tenants = (status(server, "all")["current"] or {}).get("tenants", [])
        return next((tenant for tenant in tenants if tenant["tenant"] == "small" and tenant["done"] == SMALL + 1), None)

    until(small, "the small tenant's end", 60)
    check_fair(vendor, tmp_path, "small")
    server.run("crawl", "cancel", "all")


def cost(process) -> tuple[dict[str, int], int]:
    """Voluntary context switches of each thread, and CPU ticks of all, so far."""
    switches = {}
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except OSError:
            continue  # it has just ended
        for line in text.splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                switches[task.name] = int(line.split()[1])
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return switches, int(fields[11]) + int(fields[12])


def spent(before, after) -> tuple[int, int]:
    """What was spent in between; threads that ended in between are left out."""
    return sum(count - before[0].get(task, 0) for task, count in after[0].items()), after[1] - before[1]


def test_idle_crawls_cost_nothing(vendor, serve, project):
    hcl = api(vendor, 'rate = "100/s"') + fleet('schedule = "cron(0 0 1 1 ? *)"')
    hcl += "".join(lots(f"idle{n}", f"idle{n}", f"idle{n}", 10) for n in range(20))
    with_crawls = serve(project(hcl, {"reading.avsc": READING, "item.avsc": ITEM}))
    # One that has worked is idle as well.
    start(with_crawls, "idle0")
    complete(with_crawls, "idle0")
    calls = vendor.stats()["calls"]
    folder = with_crawls.folder.parent / "bare"
    folder.mkdir()
    tables = ["readings"] + [f"idle{n}" for n in range(20)]
    streams = "".join(
        f'stream "{name}" {{\n  schema = "item.avsc"\n}}\ntable "{name}" {{\n  from = stream.{name}\n  freshness = "1s"\n}}\n'
        for name in tables
    )
    (folder / "weir.hcl").write_text(streams)
    (folder / "item.avsc").write_text(ITEM)
    bare = serve(folder)
    time.sleep(3)  # what starts, starts
    servers, seconds = (bare, with_crawls), 6
    before = [cost(server.process) for server in servers]
    time.sleep(seconds)
    after = [cost(server.process) for server in servers]
    (bare_switches, bare_ticks), (switches, ticks) = map(spent, before, after)
    print(f"in {seconds} s: {switches} switches and {ticks} ticks with 21 crawls, {bare_switches} and {bare_ticks} without")
    assert vendor.stats()["calls"] == calls, "an idle crawl calls"
    assert switches <= bare_switches * 1.25 + 5 * seconds, "an idle crawl wakes"
    assert ticks <= bare_ticks + 3, "an idle crawl works"

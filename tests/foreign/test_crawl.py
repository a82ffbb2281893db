"""A crawl against the vendor of `examples/fleet`, on its worst days: a limit that nobody told, errors, cut-off answers, an outage, and
kill -9 of weir. Every reading is in the table once, and the vendor's own log says whether its limit was kept.

Small by default. The whole is

    WEIR_CRAWL_CALLS=65000 WEIR_CRAWL_RATE=500 WEIR_CRAWL_OUTAGE=60

and WEIR_CRAWL_SEED repeats a run.
"""

import json
import os
import random
import time

import deltalake
import pytest

from conftest import until
from crawls import READING, Watch, api, complete, fleet, is_over, secrets, start, status
from vendor import Vendor, of_status

CALLS = int(os.environ.get("WEIR_CRAWL_CALLS", "3000"))
RATE = float(os.environ.get("WEIR_CRAWL_RATE", "300"))
OUTAGE = float(os.environ.get("WEIR_CRAWL_OUTAGE", "5"))
SEED = int(os.environ.get("WEIR_CRAWL_SEED", "0")) or random.randrange(1, 1 << 32)
IS_WHOLE = CALLS >= 20_000
CONCURRENCY = 32
KILLS = 3


@pytest.fixture
def vendor():
    """Starts vendors that end with the test."""
    vendors = []

    def start_one(**options) -> Vendor:
        vendors.append(Vendor(**options))
        return vendors[-1]

    yield start_one
    for one in vendors:
        one.close()


@pytest.fixture(autouse=True)
def token(monkeypatch):
    secrets(monkeypatch)


def rows(server, name="readings"):
    """What a reader that nobody here wrote finds in a table, after weir has stopped in good order."""
    assert server.stop() == 0, server.tail()
    return deltalake.DeltaTable(server.table_path(name)).to_pyarrow_table()


def check_readings(server, vendor) -> None:
    found = rows(server).column("id").to_pylist()
    expected = vendor.reading_ids()
    assert len(found) == len(set(found)), f"{len(found) - len(set(found))} readings are there more than once"
    assert set(found) == set(expected), (len(found), len(expected))


def test_every_reading_is_there_once_whatever_happens(vendor, serve, project):
    print("seed", SEED)
    chance = random.Random(SEED)
    site = vendor(size=CALLS, seed=SEED, rate=RATE, burst=RATE / 10, errors=0.02, cut=0.01, slow=0.002, slow_ms=1000)
    server = serve(project(api(site, f"concurrency = {CONCURRENCY}") + fleet(), {"reading.avsc": READING}))
    began = time.monotonic()
    start(server)
    watch = Watch(server)
    outage_at = chance.uniform(0.2, 0.6)
    kills = sorted(chance.uniform(0.1, 0.9) for _ in range(KILLS))
    learned = None
    limit = CALLS / RATE * 6 + OUTAGE * 4 + 120
    while not is_over(server):
        share = watch.done / site.calls
        if outage_at is not None and share > outage_at:
            outage_at = None
            site.away(OUTAGE)
        if kills and share > kills[0]:
            kills.pop(0)
            server.kill()
            server.start()
        if learned is None and share > 0.5:
            learned = site.stats()["next"]
        assert watch.failure is None, watch.failure
        assert time.monotonic() - began < limit, f"after {limit:.0f} s: {watch.seen[-1][1]}"
        time.sleep(0.02)
    seen = watch.stop()
    took = time.monotonic() - began
    last = complete(server)
    assert not kills and outage_at is None

    stats = site.stats()
    late = site.stats(since=learned)
    refused = of_status(late, 429) / late["calls"]
    print(f"{site.calls} calls in {took:.1f} s ({site.calls / RATE:.1f} s at the vendor's rate), {stats}")
    print(f"from the middle on {100 * refused:.3f} % were refused; {stats['repeated']} repeated; {len(seen)} statuses")
    # Every reading once, and every call that the vendor answered in full was of use, but for those under way at a kill.
    check_readings(server, site)
    assert stats["paths"] == site.calls
    assert stats["repeated"] <= (KILLS + 1) * 2 * CONCURRENCY, stats
    assert sum(step.get("x", 0) for step in last["counts"].values()) == 0, last
    assert refused < (0.001 if IS_WHOLE else 0.02), late


def test_a_limit_that_is_known_is_never_passed(vendor, serve, project):
    """Not in any window, nor over a restart, and not by much less either."""
    rate, burst = 200, 20
    site = vendor(size=1000, seed=SEED)
    server = serve(project(api(site, f'rate = "{rate}/s"  burst = {burst}') + fleet(), {"reading.avsc": READING}))
    start(server)
    watch = Watch(server)
    until(lambda: watch.done > 300, "a third")
    server.kill()
    server.start()
    complete(server)
    watch.stop()
    stats = site.stats(rate=rate)
    print(stats)
    assert stats["deepest"] <= burst, stats
    check_readings(server, site)


def test_the_budget_is_used(vendor, serve, project):
    """At a budget that is known, a run takes as long as its calls do at that rate, and at most 3 % more."""
    rate = 500 if IS_WHOLE else 200
    calls = CALLS if IS_WHOLE else 2000
    site = vendor(size=calls, seed=SEED, latency_ms=5)
    server = serve(project(api(site, f'rate = "{rate}/s"') + fleet(), {"reading.avsc": READING}))
    start(server)
    complete(server, seconds=calls / rate * 2 + 60)
    stats = site.stats(rate=rate)
    over = stats["seconds"] / (site.calls / rate)
    print(f"{stats['calls']} calls in {stats['seconds']:.2f} s: {over:.4f} of calls / rate")
    assert stats["calls"] == site.calls
    assert over <= 1.03, stats
    check_readings(server, site)


@pytest.mark.parametrize("headers, retry_after", [("draft", "seconds"), ("x", "date"), ("none", "none")])
def test_what_the_vendor_says_of_its_limit_is_heard(vendor, serve, project, headers, retry_after):
    site = vendor(size=1000, seed=SEED, rate=150, burst=15, headers=headers, retry_after=retry_after)
    server = serve(project(api(site) + fleet(), {"reading.avsc": READING}))
    start(server)
    complete(server)
    stats = site.stats()
    print(headers, retry_after, stats)
    assert stats["paths"] == site.calls
    assert of_status(stats, 429) < stats["calls"] * 0.1, stats
    check_readings(server, site)


def test_tokens_are_fetched_and_fetched_anew(vendor, serve, project):
    """OAuth 2.0's client credentials, with tokens that hold for two seconds; and the paginator that the fleet has no use for."""
    site = vendor(size=1000, seed=SEED, token_seconds=2)
    oauth = f"""oauth2_client_credentials {{
    access_token_url = "{site.url}/oauth/token"
    client_id        = "weir"
    client_secret    = secret("FLEET_SECRET")
  }}"""
    alerts = """
crawl "alerts" {
  api = api.fleet
  resource "alert" {
    path          = "/alerts"
    data_selector = "items"
    paginator     = "json_link"
    to            = table.alerts
    schema        = "alert.avsc"
  }
}
table "alerts" { freshness = "1s" }
"""
    fields = [{"name": "id", "type": "string"}, {"name": "severity", "type": "long"}]
    alert = json.dumps({"type": "record", "name": "Alert", "fields": fields})
    hcl = api(site, 'rate = "250/s"', auth=oauth) + fleet() + alerts
    server = serve(project(hcl, {"reading.avsc": READING, "alert.avsc": alert}))
    start(server)
    start(server, "alerts")
    complete(server)
    complete(server, "alerts")
    stats = site.stats()
    assert of_status(stats, 200) >= site.calls and of_status(stats, 401) <= 64, stats
    until(lambda: server.query("select count(distinct id) as n from alerts")[0]["n"] == site.alerts, "the alerts")
    check_readings(server, site)


def test_a_run_is_paused_resumed_and_cancelled(vendor, serve, project):
    site = vendor(size=1000, seed=SEED)
    server = serve(project(api(site, 'rate = "200/s"') + fleet(), {"reading.avsc": READING}))
    server.run("crawl", "run", "fleet")
    until(lambda: (status(server)["current"] or {}).get("done", 0) > 50, "it is under way")
    server.run("crawl", "pause", "fleet")
    until(lambda: status(server)["current"]["state"] == "paused" and status(server)["current"]["in_flight"] == 0, "paused")
    before = site.stats()["calls"]
    paused = json.loads(server.run("crawl", "status", "fleet", "--json").stdout)
    assert paused["current"]["state"] == "paused", paused
    server.kill()
    server.start()
    assert status(server)["current"]["state"] == "paused"
    assert site.stats()["calls"] == before, "a paused run calls"
    server.run("crawl", "resume", "fleet")
    until(lambda: site.stats()["calls"] > before + 50, "it goes on")
    server.run("crawl", "cancel", "fleet")
    last = until(lambda: is_over(server), "it is cancelled")
    assert last["state"] == "cancelled", last
    after = site.stats()["calls"]
    assert after < site.calls
    server.run("crawl", "run", "fleet")
    complete(server)
    assert site.stats()["calls"] >= after + site.calls


def test_rows_that_replace_are_seen_when_the_run_is_complete(vendor, serve, project):
    site = vendor(size=1000, seed=SEED)
    hcl = api(site, 'rate = "250/s"') + fleet(disposition="replace")
    server = serve(project(hcl, {"reading.avsc": READING}))
    count = "select count(*) as n, count(distinct id) as ids from readings"
    for _ in range(2):
        before = server.query(count)[0]["n"]
        start(server)
        watch = Watch(server)
        until(lambda: watch.done > site.calls / 2, "half of it")
        assert server.query(count)[0]["n"] == before, "a part of a run is seen"
        complete(server)
        watch.stop()
        until(lambda: server.query(count)[0] == {"n": site.readings, "ids": site.readings}, "the run's rows", 20)
    check_readings(server, site)


def test_the_range_holds_the_end(vendor, serve, project):
    """From a tenth of the calls on, in runs of different shapes."""
    runs, rate = int(os.environ.get("WEIR_CRAWL_ETA_RUNS", "4")), 200
    chance = random.Random(SEED)
    print("seed", SEED)
    held = []
    for index in range(runs):
        site = vendor(size=4000 if IS_WHOLE else 800, seed=chance.randrange(1 << 32))
        path = project(api(site, f'rate = "{rate}/s"') + fleet(), {"reading.avsc": READING})
        path = path.rename(path.with_name(f"project-{index}"))
        server = serve(path)
        start(server)
        watch = Watch(server)
        complete(server)
        seen, end = watch.stop(), time.monotonic()
        late = [(at, now["eta"]) for at, now in seen if now["done"] >= site.calls / 10]
        assert len(late) > 5, seen
        # Half a second is what finding the end out takes.
        inside = [
            eta is not None and at + eta["min_seconds"] - 0.5 <= end and (eta["max_seconds"] is None or end <= at + eta["max_seconds"] + 0.5)
            for at, eta in late
        ]
        held.append(sum(inside) / len(inside))
        server.kill()
    print("shares of moments whose range held the end:", held)
    assert sum(share >= 0.95 for share in held) >= runs * 0.9 - 1e-9 if runs >= 10 else min(held) > 0.5, held

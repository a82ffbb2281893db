"""Crawls as tests ask about them: a project that calls the vendor, the status over HTTP, and what must be true of it at any moment."""

import json
import threading
import time
import urllib.error
import urllib.request

from conftest import until
from vendor import TOKEN, Vendor

READING = json.dumps(
    {
        "type": "record",
        "name": "Reading",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "value", "type": "double"},
            {"name": "_data_group_id", "type": "string"},
        ],
    }
)
ITEM = json.dumps(
    {
        "type": "record",
        "name": "Item",
        "fields": [{"name": "lot", "type": "string"}, {"name": "id", "type": "string"}, {"name": "value", "type": "long"}],
    }
)

FLEET = """
crawl "fleet" {
  api = api.fleet
  CRAWL
  resource "group" {
    path          = "/groups"
    data_selector = "items"
    paginator     = "page_number"
  }
  resource "device" {
    path          = "/groups/{resources.group.id}/devices"
    data_selector = "items"
    paginator     = "cursor"
  }
  resource "data_group" {
    path          = "/devices/{resources.device.id}/data-groups"
    data_selector = "items"
    paginator "offset" { limit = 20 }
  }
  resource "reading" {
    path                = "/data-groups/{resources.data_group.id}/readings"
    paginator           = "header_link"
    include_from_parent = ["id"]
    write_disposition   = "DISPOSITION"
    to                  = table.readings
    schema              = "reading.avsc"
  }
}
table "readings" { freshness = "1s" }
"""


def api(vendor: Vendor, budget="", auth='auth = bearer(secret("FLEET_TOKEN"))', more="") -> str:
    block = f"  budget {{ {budget} }}\n" if budget else ""
    return f'api "fleet" {{\n  base_url = "{vendor.url}/v1"\n  {auth}\n  {more}\n{block}}}\n'


def fleet(crawl="", disposition="append") -> str:
    return FLEET.replace("CRAWL", crawl).replace("DISPOSITION", disposition)


def secrets(monkeypatch):
    monkeypatch.setenv("WEIR_SECRET_FLEET_TOKEN", TOKEN)
    monkeypatch.setenv("WEIR_SECRET_FLEET_SECRET", "fleet-secret")


def status(server, name="fleet") -> dict:
    with urllib.request.urlopen(f"{server.url}/v1/crawls/{name}", timeout=30) as response:
        return json.loads(response.read())


def start(server, name="fleet", **body) -> None:
    code, answer = server.post(f"/v1/crawls/{name}/runs", json.dumps(body).encode(), {"content-type": "application/json"})
    assert code in (200, 201, 202), (code, answer)


def is_over(server, name="fleet"):
    """The newest run, once it is over; None while one is under way."""
    now = status(server, name)
    return now["last"] if now["current"] is None and now["queued"] is None else None


def complete(server, name="fleet", seconds=120) -> dict:
    last = until(lambda: is_over(server, name), f"crawl {name} ends: {brief(server, name)}", seconds)
    assert last["state"] == "complete", last
    return last


def brief(server, name) -> str:
    try:
        current = status(server, name)["current"] or {}
        return json.dumps({key: current.get(key) for key in ("state", "tasks", "done", "waiting", "failed")})
    except OSError as error:
        return str(error)


def check_moment(current: dict) -> None:
    """What holds of a run's status whenever it is asked for."""
    steps = current["steps"]
    for part in [current, *steps, *current["tenants"]]:
        assert part["tasks"] == part["done"] + part["waiting"] + part["failed"] + part["dropped"], part
        assert part["rate"] >= 0, part
    for word in ("tasks", "done", "waiting", "failed", "dropped", "items", "calls", "throttled"):
        assert current[word] == sum(step[word] for step in steps), (word, current)
    for part in [current, *steps]:
        for waiting in part["waits_for"]:
            assert waiting["tasks"] >= 1, part
    for step in steps:
        expected = step["expected"]
        if expected is not None:
            assert expected["min"] <= expected["likely"], step
            assert expected["max"] is None or expected["likely"] <= expected["max"], step
    eta = current["eta"]
    if eta is not None:
        assert eta["text"], eta
        assert eta["min_seconds"] >= 0, eta
        if eta["seconds"] is not None:
            assert eta["min_seconds"] <= eta["seconds"], eta
            assert eta["max_seconds"] is None or eta["seconds"] <= eta["max_seconds"], eta


class Watch:
    """Asks for a crawl's status again and again, and keeps what it was told, with the time."""

    def __init__(self, server, name="fleet", pause=0.1):
        self.server, self.name, self.pause = server, name, pause
        self.seen: list[tuple[float, dict]] = []
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        done = 0
        try:
            while not self.stopping.wait(self.pause):
                try:
                    current = status(self.server, self.name)["current"]
                except (OSError, urllib.error.URLError, ValueError):
                    continue  # it was just killed
                if current is None:
                    continue
                check_moment(current)
                assert current["done"] >= done, f"{done} calls were done, and now {current['done']}"
                done = current["done"]
                self.seen.append((time.monotonic(), current))
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    @property
    def done(self) -> int:
        return self.seen[-1][1]["done"] if self.seen else 0

    def stop(self) -> list[tuple[float, dict]]:
        self.stopping.set()
        self.thread.join(timeout=60)
        if self.failure is not None:
            raise self.failure
        return self.seen

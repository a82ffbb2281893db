"""The made-up vendor of `examples/fleet`, as tests start it, tell it what to do, and ask what it saw."""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

WEIR = os.environ.get("WEIR", "")
# Built beside weir.
FLEET_VENDOR = os.environ.get("WEIR_VENDOR") or str(pathlib.Path(WEIR).parent / "fleet-vendor")
TOKEN = "fleet-token"


class Vendor:
    """A vendor that runs until it is closed. Its options are those of `fleet-vendor`, with `_` for `-`."""

    def __init__(self, **options):
        args = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self.process = subprocess.Popen(
            [FLEET_VENDOR, "--listen", "127.0.0.1:0", *args], stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        found = re.search(r"listens at (\S+), and /_vendor/ at (\S+)", line)
        assert found, line
        self.url, self.control = found.groups()
        self.process.stdout.readline()
        census = self.get("census")
        self.calls, self.readings = census["calls"], census["of"]["readings"]
        self.alerts = census["alerts"]

    def get(self, path: str):
        with urllib.request.urlopen(f"{self.control}/_vendor/{path}", timeout=60) as response:
            return json.loads(response.read())

    def post(self, path: str, **body):
        request = urllib.request.Request(f"{self.control}/_vendor/{path}", data=json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def change(self, **what):
        self.post("change", **what)

    def away(self, seconds: float, kind="refuse"):
        self.post("away", kind=kind, seconds=seconds)

    def stats(self, since=0, rate=None) -> dict:
        """What the calls from one on were like; `deepest` is against a limit of `rate` calls a second."""
        return self.get(f"stats?from={since}" + (f"&rate={rate}" if rate else ""))["of"]

    def reading_ids(self) -> list[str]:
        with urllib.request.urlopen(f"{self.control}/_vendor/readings", timeout=60) as response:
            return response.read().decode().split()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def of_status(stats: dict, *statuses: int) -> int:
    """How many calls were answered with one of these."""
    return sum(stats["by_status"].get(str(status), 0) for status in statuses)


def calls_of(log: pathlib.Path) -> list[tuple[float, int, str]]:
    """The vendor's log: seconds, status, path of each call."""
    calls = []
    for line in log.read_text().splitlines():
        at, status, path = line.split(" ", 2)
        calls.append((int(at) / 1e9, int(status.rstrip("!")), path))
    return calls

"""Drives the built `weir` as a user would. `cargo xtask test` sets WEIR to the binary and runs this."""

import gzip
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "flights"
JANUARY = EXAMPLE / "flights-2013-01.csv.gz"
# The whole year, where it is at hand; the example's January elsewhere.
YEAR = ROOT.parent / "shared" / "data" / "nycflights13" / "flights.csv.gz"
HANDLERS = pathlib.Path(__file__).resolve().parent / "handlers"
WEIR = os.environ.get("WEIR", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what: str, seconds=60):
    """Waits until a condition holds, and returns what it came to."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.05)


class Server:
    """A weir that runs in a folder, and can be killed and started again on the same port."""

    def __init__(self, folder: pathlib.Path, data: pathlib.Path):
        self.folder, self.data = folder, data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(data.parent / "weir.log", "ab")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [WEIR, "up", str(self.folder), "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        line = self.process.stdout.readline().decode()
        assert line.startswith("weir is ready at"), f"{line!r}; {self.tail()}"

    def tail(self) -> str:
        return (self.data.parent / "weir.log").read_text()[-3000:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        self.process.stdout.close()
        return code

    def dead(self, predicate="true") -> list[dict]:
        return self.query(f"select * from dead_letters where {predicate} order by source, sequence")

    def function(self, name: str) -> dict:
        listed = json.loads(self.run("function", "list", "--json").stdout)["functions"]
        return next(function for function in listed if function["name"] == name)

    def client(self, service: str, **config):
        """A boto3 client that asks once."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def memory(self) -> int:
        """The highest resident size so far, in bytes."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def run(self, *args, check=True, **kwargs) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [WEIR, *map(str, args), "--server", self.url], capture_output=True, text=True, timeout=300, **kwargs
        )
        assert not check or done.returncode == 0, f"{args}: {done.returncode}\n{done.stderr}\n{self.tail()}"
        return done

    def query(self, sql: str) -> list[dict]:
        return [json.loads(line) for line in self.run("query", sql, "--format", "ndjson").stdout.splitlines()]

    def status(self) -> dict:
        return json.loads(self.run("status", "--json").stdout)

    def table_path(self, name: str) -> str:
        return str(self.data / "tables" / name)

    def post(self, path: str, body, headers: dict, timeout=60):
        """Returns (status, JSON), whatever the status."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture
def serve(tmp_path):
    """Starts servers that end with the test."""
    servers = []

    def start(folder: pathlib.Path) -> Server:
        data = tmp_path / f"data{len(servers)}" / "weir"
        data.parent.mkdir()
        servers.append(Server(folder, data))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()
        server.log.close()


@pytest.fixture
def project(tmp_path):
    """Makes a configuration folder: `weir.hcl`, schemas by file name, and copies of handlers' folders."""

    def make(hcl: str, schemas=None, handlers=()) -> pathlib.Path:
        return write_project(tmp_path / "project", hcl, schemas or {}, handlers)

    return make


def write_project(path: pathlib.Path, hcl: str, schemas: dict[str, str], handlers) -> pathlib.Path:
    path.mkdir()
    (path / "weir.hcl").write_text(hcl)
    for name, text in schemas.items():
        (path / name).write_text(text)
    for name in handlers:
        shutil.copytree(HANDLERS / name, path / name)
    return path


@pytest.fixture
def flights(serve):
    return serve(EXAMPLE)


@pytest.fixture
def folder(tmp_path):
    """Makes a configuration folder from files' contents."""

    def make(**files: str) -> pathlib.Path:
        path = tmp_path / "config"
        path.mkdir()
        for name, content in files.items():
            (path / name.replace("__", ".")).write_text(content)
        return path

    return make


EVENT_SCHEMA = """{"type": "record", "name": "Event", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "n", "type": ["null", "long"], "default": null}]}"""

EVENT_HCL = """
stream "events" {
  schema = "event.avsc"
  time   = "at"
  id     = ["id", "at"]
}
table "events" {
  from         = stream.events
  partition_by = "day(at)"
  freshness    = "1s"
}
"""


@pytest.fixture
def events(serve, folder):
    return serve(folder(weir__hcl=EVENT_HCL, event__avsc=EVENT_SCHEMA))


def read_csv_gz(path: pathlib.Path) -> str:
    with gzip.open(path, "rt") as file:
        return file.read()


def copy_tree(source: pathlib.Path, target: pathlib.Path):
    shutil.copytree(source, target)

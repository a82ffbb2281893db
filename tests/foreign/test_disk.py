"""A disk that fills up: nothing acknowledged is lost, the error is clear, and room helps by itself."""

import json
import os
import pathlib
import subprocess

import pytest

from conftest import EVENT_HCL, EVENT_SCHEMA, Server


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "weir-test", str(path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_stops_acknowledging_and_recovers_by_itself(small_disk, folder):
    server = Server(folder(weir__hcl=EVENT_HCL, event__avsc=EVENT_SCHEMA), small_disk / "weir")
    try:
        padding = "x" * 1000
        acknowledged, full = 0, None
        for batch in range(400):
            lines = "".join(
                json.dumps({"id": f"{batch}-{n}-{padding}", "at": 1_700_000_000_000 + n}) + "\n" for n in range(500)
            )
            status, answer = server.post(
                "/v1/streams/events/records", lines.encode(), {"content-type": "application/x-ndjson"}
            )
            if status == 200:
                acknowledged += answer["stored"]
                continue
            full = answer
            acknowledged += answer["report"]["stored"]
            assert (status, answer["error"]["code"]) == (507, "disk_full"), answer
            assert "full" in answer["error"]["message"] and answer["error"]["retryable"]
            break
        assert full, "the disk never filled up"
        assert server.process.poll() is None, server.tail()
        # Room again: somebody else's files go. Here, the disk grows.
        subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
        status, answer = server.post(
            "/v1/streams/events/records", b'{"id":"after","at":1}\n', {"content-type": "application/x-ndjson"}
        )
        assert status == 200, answer
        assert server.query("select count(*) as n from events")[0]["n"] == acknowledged + 1
        most = "select max(n) as most from (select count(*) as n from events group by substr(id, 1, 12))"
        assert server.query(most)[0]["most"] == 1
        server.kill()
        server.start()
        assert server.query("select count(*) as n from events")[0]["n"] == acknowledged + 1
    finally:
        server.kill()
        server.log.close()

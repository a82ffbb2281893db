"""A flipped bit in the log: found and named, repaired, and never fewer records without a word."""

import json
import pathlib
import subprocess

from conftest import EVENT_SCHEMA, WEIR

STREAM_ONLY = """
stream "events" {
  schema = "event.avsc"
}
"""


def log(action: str, data: pathlib.Path):
    done = subprocess.run([WEIR, "log", action, "--data", str(data), "--json"], capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def test_a_flipped_bit_is_named_and_repair_keeps_the_rest(serve, folder):
    server = serve(folder(weir__hcl=STREAM_ONLY, event__avsc=EVENT_SCHEMA))
    batches = 30
    for batch in range(batches):
        lines = "".join(json.dumps({"id": f"{batch}-{n}", "at": n}) + "\n" for n in range(100)).encode()
        assert server.post("/v1/streams/events/records", lines, {"content-type": "application/x-ndjson"})[0] == 200
    assert server.stop() == 0
    code, report = log("verify", server.data)
    assert code == 0 and not report["damages"], report
    segment = max((server.data / "log").glob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    at = content.find(b"15-50")
    assert at > 0, "the record stands in the segment"
    content[at] ^= 1
    segment.write_bytes(content)
    code, report = log("verify", server.data)
    assert code == 6 and len(report["damages"]) == 1, report
    damage = report["damages"][0]
    assert damage["path"].endswith(segment.name) and damage["offset"] <= at < damage["offset"] + damage["bytes"]
    code, report = log("repair", server.data)
    assert code == 0, report
    lost = [loss for loss in report["losses"] if loss["log"] == "stream/events/0"]
    assert [(loss["from"], loss["to"]) for loss in lost] == [(1500, 1600)], report
    server.start()
    found = {json.loads(line)["id"] for line in server.run("tail", "events", "-n", 1500).stdout.splitlines()}
    assert found == {f"{batch}-{n}" for batch in range(15) for n in range(100)}
    after = {json.loads(line)["id"] for line in server.run("tail", "events", "--from", 1600).stdout.splitlines()}
    assert after == {f"{batch}-{n}" for batch in range(16, batches) for n in range(100)}
    # What is gone is told, and does not read as if it had never been.
    told = server.run("tail", "events", "--from", 1500, check=False)
    assert told.returncode == 1 and "1500" in told.stderr and "lost" in told.stderr, told.stderr

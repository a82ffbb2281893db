"""The archive, read by fastavro, which knows nothing of weir, while the server is killed again and again."""

import io
import json
import random

import fastavro
import pytest

from conftest import until

SCHEMA = """{"type": "record", "name": "Event", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "n", "type": ["null", "long"], "default": null}]}"""
NEWER = SCHEMA.replace('"default": null}]', '"default": null}, {"name": "note", "type": ["null", "string"], "default": null}]')

HCL = """
stream "events" {
  schema  = "event.avsc"
  id      = ["id", "at"]
  shards  = 2
  archive = "400d"
  archive_every = "1s"
  archive_codec = "%s"
}
table "events" {
  from      = stream.events
  freshness = "1s"
}
"""


def archived(server) -> list[dict]:
    """Every record of every file, as any reader finds them: by a glob."""
    records = []
    for path in sorted((server.data / "archive" / "events").glob("hour=*/shard=*/*.avro")):
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            assert reader.metadata["weir.stream"] == "events"
            found = list(reader)
            assert len(found) == int(reader.metadata["weir.records"]), path
            records.extend(found)
    return records


def state(server) -> dict:
    return next(stream for stream in server.status()["streams"] if stream["name"] == "events")["archive"]


def caught_up(server):
    archive = state(server)
    return archive["behind"] == 0 and archive


def send(server, number: int, events: list[dict], producer="loader"):
    lines = "".join(json.dumps(event) + "\n" for event in events)
    headers = {"content-type": "application/x-ndjson", "weir-producer-id": producer, "weir-batch-number": str(number)}
    return server.post("/v1/streams/events/records", lines.encode(), headers)


@pytest.mark.parametrize("codec", ["zstd", "snappy", "deflate", "none"])
def test_fastavro_reads_what_was_sent_in_every_codec(serve, project, codec):
    server = serve(project(HCL % codec, {"event.avsc": SCHEMA}))
    events = [{"id": f"e{n}", "at": 1_700_000_000_000 + n, "n": n if n % 3 else None} for n in range(5000)]
    status, answer = send(server, 1, events)
    assert status == 200 and answer["stored"] == 5000, answer
    archive = until(lambda: caught_up(server), "the archive did not catch up")
    assert archive["records"] == 5000 and archive["trouble"] is None
    found = {record["id"]: record["n"] for record in archived(server)}
    assert found == {event["id"]: event["n"] for event in events}
    assert server.run("archive", "verify", "events", "--records").stdout.startswith("archive of events: all as it was")


def test_each_record_is_in_one_file_over_kills_and_a_change_of_schema(serve, project):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    folder = project(HCL % "zstd", {"event.avsc": SCHEMA})
    server = serve(folder)
    sent = {}
    for number in range(1, 41):
        events = [{"id": f"b{number}-{n}", "at": 1_700_000_000_000 + n, "n": n} for n in range(chance.randrange(1, 400))]
        if number > 20:
            for event in events:
                event["note"] = f"note {event['n']}"
        sent.update({event["id"]: event for event in events})
        status, answer = send(server, number, events)
        assert status == 200, answer
        if number == 20:
            # From here on records of two schemas are in one chunk.
            (folder / "event.avsc").write_text(NEWER)
            server.kill()
            server.start()
        elif chance.random() < 0.3:
            server.kill()
            server.start()
    until(lambda: caught_up(server), "the archive did not catch up")
    records = archived(server)
    assert len(records) == len(sent), "a record is missing, or twice"
    for record in records:
        event = sent.pop(record["id"])
        assert (record["n"], record.get("note")) == (event["n"], event.get("note"))
    assert not sent
    assert server.query("select count(*) as n from events")[0]["n"] == len(records)
    done = server.run("archive", "verify", "events", "--records", "--json")
    verdict = json.loads(done.stdout)
    assert verdict["findings"] == [] and verdict["read"] == verdict["records"] == len(records)
    hours = json.loads(server.run("archive", "list", "events", "--json").stdout)
    assert sum(hour["totals"]["records"]["count"] for hour in hours["hours"]) == len(records)


def test_a_planted_fault_is_named_and_nothing_else(serve, project):
    server = serve(project(HCL % "zstd", {"event.avsc": SCHEMA}))
    for number in range(1, 4):
        send(server, number, [{"id": f"{number}-{n}", "at": n} for n in range(300)])
        until(lambda: caught_up(server), "the archive did not catch up")
    root = server.data / "archive" / "events"
    files = sorted(root.glob("hour=*/shard=*/*.avro"))
    good = {path: path.read_bytes() for path in files}

    def verify(*more) -> tuple[int, list[dict]]:
        done = server.run("archive", "verify", "events", "--json", *more, check=False)
        return done.returncode, json.loads(done.stdout)["findings"]

    assert verify() == (0, [])
    files[0].unlink()
    code, findings = verify()
    assert code == 6 and [f["finding"] for f in findings] == ["missing"] and findings[0]["path"].endswith(files[0].name)
    files[0].write_bytes(good[files[0]])

    files[-1].write_bytes(good[files[-1]][:-10])
    assert [f["finding"] for f in verify()[1]] == ["size"]
    files[-1].write_bytes(good[files[-1]])

    # A file of the same size with other records: only the sums can tell.
    with io.BytesIO(good[files[0]]) as file:
        reader = fastavro.reader(file)
        records, metadata = list(reader), dict(reader.metadata)
    assert len(records) > 1 and metadata["weir.records"] == str(len(records))
    changed = bytearray(good[files[0]])
    changed[-30] ^= 1
    files[0].write_bytes(bytes(changed))
    assert verify() == (0, [])
    code, findings = verify("--records")
    assert code == 6 and findings[0]["finding"] == "changed" and findings[0]["path"].endswith(files[0].name)
    files[0].write_bytes(good[files[0]])

    (files[0].parent / "00000000000000099999x.avro").write_bytes(good[files[0]])
    assert [f["finding"] for f in verify()[1]] == ["extra"]
    (files[0].parent / "00000000000000099999x.avro").unlink()
    assert verify("--records") == (0, [])

    # While weir is down, an older copy is put back.
    newest = sorted(root.glob("hour=*/shard=*/*.json"), key=lambda path: path.stat().st_mtime)[-1]
    server.kill()
    newest.unlink()
    for path in newest.parent.glob(f"{newest.stem}*.avro"):
        path.unlink()
    server.start()
    until(lambda: state(server)["archived_to"], "the archive did not open")
    code, findings = verify()
    assert code == 6 and "went_back" in [f["finding"] for f in findings], findings

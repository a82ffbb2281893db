"""Files of the past: all forms, bad records, folders and patterns, and kills of either side."""

import gzip
import json
import signal
import subprocess
import time

import deltalake
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import EVENT_SCHEMA, WEIR, until

DAY = 86_400_000
BEGIN = 1_500_000_000_000


def event(n: int) -> dict:
    return {"id": f"event-{n}", "at": BEGIN + (n % 400) * DAY // 8, "n": n}


def lines(ids) -> bytes:
    return b"".join(json.dumps(event(n)).encode() + b"\n" for n in ids)


def write_parquet(path, ids):
    rows = [event(n) for n in ids]
    table = pa.table(
        {
            "n": pa.array([row["n"] for row in rows], pa.int32()),
            "id": [row["id"] for row in rows],
            "at": pa.array([row["at"] for row in rows], pa.timestamp("ms", "UTC")),
        }
    )
    pq.write_table(table, path, row_group_size=5000)


def count(server) -> dict:
    return server.query("select count(*) as rows, count(distinct id) as ids from events")[0]


def test_folders_patterns_and_all_forms(events, tmp_path):
    past = tmp_path / "past"
    (past / "deep" / "er").mkdir(parents=True)
    (past / "a.ndjson").write_bytes(lines(range(0, 1000)))
    with gzip.open(past / "deep" / "b.jsonl.gz", "wb") as file:
        file.write(lines(range(1000, 2000)))
    csv = "id,at,n\n" + "".join(f"event-{n},{event(n)['at']},{n}\n" for n in range(2000, 3000))
    (past / "deep" / "c.csv").write_text(csv)
    (past / "deep" / "d.json").write_text(json.dumps([event(n) for n in range(3000, 4000)]))
    with open(past / "deep" / "er" / "e.avro", "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(json.loads(EVENT_SCHEMA)), [event(n) for n in range(4000, 5000)])
    write_parquet(past / "deep" / "er" / "f.parquet", range(5000, 25_000))
    (past / "notes.txt").write_text("nothing")
    (past / "_tmp").mkdir()
    (past / "_tmp" / "half.ndjson").write_text('{"id": "half')

    listed = events.run("backfill", "events", past, "--dry-run").stdout.splitlines()
    assert [line.rsplit("/", 1)[1] for line in listed] == ["a.ndjson", "b.jsonl.gz", "c.csv", "d.json", "e.avro", "f.parquet"]
    done = json.loads(events.run("backfill", "events", past, "--json", "--jobs", "3").stdout)
    assert (done["files"], done["stored"], done["refused"], done["failed"]) == (6, 25_000, 0, []), done
    assert count(events) == {"rows": 25_000, "ids": 25_000}
    # Once more, by a pattern, from another place: the server has it all.
    again = json.loads(events.run("backfill", "events", f"{past}/**/*.*", "--json", check=False).stdout)
    assert again["stored"] == 0, again
    tail = events.status()["streams"][0]
    assert sum(shard["tail"] for stream in events.status()["streams"] if stream["name"] == "events" for shard in stream["shards"]) == 25_000, tail
    assert events.stop() == 0
    rows = deltalake.DeltaTable(events.table_path("events")).to_pyarrow_table().to_pylist()
    assert {row["id"]: row["n"] for row in rows} == {f"event-{n}": n for n in range(25_000)}
    by_id = {row["id"]: row["at"].timestamp() * 1000 for row in rows}
    assert all(by_id[f"event-{n}"] == event(n)["at"] for n in range(0, 25_000, 97))


def test_bad_records_and_bad_files_are_named_and_the_rest_goes_on(events, tmp_path):
    good = [json.dumps(event(n)) for n in range(10)]
    good[3] = '{"id": "no time", "n": 1}'
    good[7] = "not json at all"
    (tmp_path / "bad.ndjson").write_text("\n".join(good) + "\n")
    table = pa.table({"id": ["p-0", None, "p-2"], "at": pa.array([1, 2, 3], pa.int64()), "n": pa.array([1, 2, 3], pa.int64())})
    pq.write_table(table, tmp_path / "rows.parquet")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "columns.parquet")
    with open(tmp_path / "cut.avro", "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(json.loads(EVENT_SCHEMA)), [event(n) for n in range(100, 200)])
        file.truncate(file.tell() - 20)
    (tmp_path / "whole.ndjson").write_bytes(lines(range(200, 300)))
    done = events.run("backfill", "events", tmp_path, "--json", check=False)
    assert done.returncode == 5, done.stderr
    summary = json.loads(done.stdout)
    assert "bad.ndjson:4" in done.stderr and "bad.ndjson:8" in done.stderr and "field `at`" in done.stderr, done.stderr
    assert "rows.parquet:2" in done.stderr and "field `id`" in done.stderr, done.stderr
    failed = {entry["file"].rsplit("/", 1)[1]: entry["reason"] for entry in summary["failed"]}
    assert set(failed) == {"columns.parquet", "cut.avro"} and "other" in failed["columns.parquet"], failed
    assert (summary["stored"], summary["refused"]) == (8 + 2 + 100, 3), summary
    nothing = events.run("backfill", "events", tmp_path / "none.csv", check=False)
    assert nothing.returncode == 1 and "none.csv" in nothing.stderr


def test_kills_of_client_and_server_store_nothing_twice(events, tmp_path):
    past = tmp_path / "past"
    past.mkdir()
    total = 0
    for index in range(4):
        ids = range(total, total + 40_000)
        total += 40_000
        if index % 2:
            write_parquet(past / f"{index}.parquet", ids)
        else:
            (past / f"{index}.ndjson").write_bytes(lines(ids))
    command = [WEIR, "backfill", "events", str(past), "--server", events.url, "--json", "--rate", "60000/s"]
    for round in range(4):
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.4)
        if round % 2:
            events.kill()
            events.start()
            time.sleep(0.2)
        client.send_signal(signal.SIGKILL)
        client.communicate()
    done = json.loads(events.run("backfill", "events", past, "--json", "--jobs", "1").stdout)
    assert done["failed"] == [] and done["refused"] == 0, done
    until(lambda: count(events)["rows"] == total, "rows are missing", 120)
    assert count(events) == {"rows": total, "ids": total}
    streams = {stream["name"]: stream for stream in events.status()["streams"]}
    assert sum(shard["tail"] for shard in streams["events"]["shards"]) == total

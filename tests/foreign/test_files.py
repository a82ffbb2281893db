"""Files arrive in a folder and in a bucket of S3, by every way that files are written, while the server is killed."""

import gzip
import json
import os
import random
import subprocess
import sys
import threading
import time

import boto3
import pytest

from conftest import free_port, until

SCHEMA = """{"type": "record", "name": "Row", "fields": [
  {"name": "id", "type": "long"},
  {"name": "word", "type": ["null", "string"], "default": null}]}"""

HCL = """
files "drops" {
  location = "%(location)s"
  format   = "%(format)s"
  schema   = "row.avsc"
  id       = ["id"]
  every    = "%(every)s"
  settle   = "%(settle)s"
%(more)s
}
table "rows" {
  from      = files.drops
  freshness = "200ms"
}
"""


def hcl(location, format="ndjson", every="1s", settle="0s", more=""):
    return HCL % {"location": location, "format": format, "every": every, "settle": settle, "more": more}


def lines(ids) -> str:
    return "".join(json.dumps({"id": n}) + "\n" for n in ids)


def ids(server) -> list[int]:
    return [row["id"] for row in server.query("select id from rows order by id")]


def arrive(server, count, seconds=60):
    until(lambda: len(ids(server)) >= count, f"{count} rows are there", seconds)


def letters(server) -> list[dict]:
    return server.query("select source, error, payload from dead_letters order by source")


def files_status(server) -> dict:
    return next(files for files in server.status()["files"] if files["name"] == "drops")


@pytest.fixture
def inbox(tmp_path):
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def drops(serve, folder, inbox):
    def start(text):
        return serve(folder(weir__hcl=text, row__avsc=SCHEMA))

    return start


def test_a_file_in_a_folder_is_taken_long_before_the_next_look(drops, inbox):
    server = drops(hcl(f"file://{inbox}", every="1h"))
    # The watch is there when a first file was found by it.
    (inbox / "0.json").write_text(lines([0]))
    arrive(server, 1)
    begun = time.monotonic()
    (inbox / ".hidden").write_text(lines([100]))
    os.rename(inbox / ".hidden", inbox / "1.json")
    arrive(server, 2)
    (inbox / "2024" / "05").mkdir(parents=True)
    (inbox / "2024" / "05" / "2.json").write_text(lines([2]))
    arrive(server, 3)
    assert time.monotonic() - begun < 30
    assert ids(server) == [0, 2, 100]


def test_what_is_being_written_is_not_taken(drops, inbox):
    server = drops(hcl(f"file://{inbox}", settle="1s"))
    for name in ["a.json.tmp", "b.json.part", "_SUCCESS", ".c.json", "d.json.crdownload"]:
        (inbox / name).write_text(lines([1]))
    (inbox / "_temporary").mkdir()
    (inbox / "_temporary" / "e.json").write_text(lines([1]))
    with open(inbox / "slow.json", "w") as slow:
        for n in range(10, 20):
            slow.write(lines([n]))
            slow.flush()
            time.sleep(0.3)
            # A growing file has never settled.
            assert ids(server) == []
    arrive(server, 10)
    os.rename(inbox / "a.json.tmp", inbox / "a.json")
    arrive(server, 11)
    assert ids(server) == [1, *range(10, 20)]
    assert letters(server) == []


def test_a_bad_file_is_a_dead_letter_whole_and_its_good_rows_go_on_if_asked(drops, inbox):
    server = drops(hcl(f"file://{inbox}", format="csv"))
    (inbox / "good.csv").write_text("id,word\n1,a\n2,b\n")
    (inbox / "row.csv").write_text("id,word\n3,a\nfour,b\n5,c\n")
    (inbox / "column.csv").write_text("id,wrod\n6,a\n")
    cut = gzip.compress("id,word\n".encode() + b"".join(f"{n},x\n".encode() for n in range(100, 5000)))
    (inbox / "cut.csv.gz").write_bytes(cut[: len(cut) // 2])
    until(lambda: files_status(server)["failed"] == 3, "three files are bad")
    arrive(server, 2)
    assert ids(server) == [1, 2]
    told = {letter["source"]: letter for letter in letters(server)}
    assert set(told) == {"files/drops/row.csv", "files/drops/column.csv", "files/drops/cut.csv.gz"}
    assert "line 3" in told["files/drops/row.csv"]["error"], told
    assert "wrod" in told["files/drops/column.csv"]["error"], told
    # Written again, a file is taken again.
    (inbox / "cut.csv.gz").write_bytes(cut)
    arrive(server, 2 + 4900)
    # Who asks for it gets the good rows.
    assert server.stop() == 0
    text = hcl(f"file://{inbox}", format="csv", more='  bad_rows = "skip"')
    (server.folder / "weir.hcl").write_text(text)
    server.start()
    os.utime(inbox / "row.csv")
    arrive(server, 2 + 4900 + 2)
    assert {3, 5} <= set(ids(server))
    assert any("four" in letter["error"] or "line 3" in letter["error"] for letter in letters(server))


def test_another_content_under_the_same_name_is_another_file(drops, inbox):
    server = drops(hcl(f"file://{inbox}"))
    (inbox / "a.json").write_text(lines([1, 2]))
    arrive(server, 2)
    (inbox / "a.json").write_text(lines([2, 3]))
    arrive(server, 3)
    os.rename(inbox / "a.json", inbox / "b.json")
    (inbox / "c.json").write_text(lines([4]))
    arrive(server, 4)
    assert ids(server) == [1, 2, 3, 4]
    assert letters(server) == []


def test_every_file_is_taken_once_while_the_server_is_killed(drops, inbox):
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    server = drops(hcl(f"file://{inbox}"))
    done = threading.Event()
    count = 400

    def write():
        for n in range(count):
            rows = lines(range(n * 50, n * 50 + 50))
            temporary = inbox / f".{n}"
            if n % 3 == 0:
                temporary = inbox / f"{n}.json.gz.tmp"
                temporary.write_bytes(gzip.compress(rows.encode()))
                os.rename(temporary, inbox / f"{n}.json.gz")
            else:
                temporary.write_text(rows)
                os.rename(temporary, inbox / f"{n}.json")
            time.sleep(0.01)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        time.sleep(dice.random())
        server.kill()
        server.start()
    writer.join()
    arrive(server, count * 50, 120)
    # Without an id in the way: the stream has each row once.
    tail = server.run("status", "--json").stdout
    stream = next(stream for stream in json.loads(tail)["streams"] if stream["name"] == "_files-drops")
    assert sum(shard["tail"] for shard in stream["shards"]) == count * 50, stream
    assert ids(server) == list(range(count * 50))
    assert letters(server) == []
    assert files_status(server)["taken"] == count


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of moto's S3, whose address weir finds in its environment."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )

    def up():
        try:
            client.create_bucket(Bucket="partner")
            return True
        except Exception:
            return False

    until(up, "moto answers")
    yield client
    process.kill()
    process.wait()


QUEUE = """
queue "arrivals" { max_receives = 3 }
"""


def event(key: str) -> str:
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "partner"}, "object": {"key": key, "size": 1}},
                }
            ]
        }
    )


def test_objects_of_s3_are_taken_at_once_when_a_queue_or_a_caller_tells_and_at_the_next_look_if_nobody_does(
    drops, bucket
):
    text = hcl("s3://partner/in/", every="5s", more="  notify = queue.arrivals") + QUEUE
    server = drops(text.replace('"5s"', '"1h"'))
    arrive(server, 0)
    until(lambda: files_status(server)["last_look"] is not None, "it has looked")
    put = lambda key, rows: bucket.put_object(Bucket="partner", Key=key, Body=lines(rows).encode())
    put("in/a b.json", [1])
    put("in/deep/b.json", [2])
    put("out/c.json", [3])
    sqs = server.client("sqs")
    address = sqs.get_queue_url(QueueName="arrivals")["QueueUrl"]
    sqs.send_message(QueueUrl=address, MessageBody=event("in/a+b.json"))
    sqs.send_message(QueueUrl=address, MessageBody=event("out/c.json"))
    arrive(server, 1)
    assert ids(server) == [1]
    # What was heard of is not in the queue any more; what is no event is given up by it.
    sqs.send_message(QueueUrl=address, MessageBody="hello")
    status, answer = server.post("/v1/files/drops/notifications", event("in/deep/b.json").encode(), {})
    assert (status, answer) == (202, {"files": 1})
    arrive(server, 2)
    assert server.post("/v1/files/drops/notifications", b"[]", {})[0] == 400
    assert server.post("/v1/files/none/notifications", b"", {})[0] == 404
    # Nobody tells of this one, but somebody asks for a look.
    put("in/c.json", [3])
    assert server.post("/v1/files/drops/notifications", b"", {})[0] == 202
    arrive(server, 3)
    # And of this one nobody says anything: the next look is the one that counts.
    put("in/d.json", [4])
    server.kill()
    (server.folder / "weir.hcl").write_text(text)
    server.start()
    arrive(server, 4)
    assert ids(server) == [1, 2, 3, 4]


def test_objects_of_s3_are_each_taken_once_while_the_server_is_killed(drops, bucket):
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    server = drops(hcl("s3://partner/in/"))
    for n in range(120):
        bucket.put_object(Bucket="partner", Key=f"in/{n}.json", Body=lines(range(n * 10, n * 10 + 10)).encode())
        if dice.random() < 0.06:
            server.kill()
            server.start()
    arrive(server, 1200, 120)
    assert ids(server) == list(range(1200))
    assert letters(server) == []
    stream = next(stream for stream in server.status()["streams"] if stream["name"] == "_files-drops")
    assert sum(shard["tail"] for shard in stream["shards"]) == 1200, stream

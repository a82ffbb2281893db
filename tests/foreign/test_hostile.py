"""Bodies and connections that mean no good: each gets its 4xx or its timeout, and the server serves on."""

import gzip
import json
import socket
import threading
import time

import pytest

GOOD = b'{"id":"good","at":1}\n'
MEMORY_MAX = 400 * 1024 * 1024


def post(server, body, content_type="application/x-ndjson", **headers):
    return server.post("/v1/streams/events/records", body, {"content-type": content_type, **headers})


def check_serves(server):
    assert post(server, GOOD)[1]["stored"] == 1
    assert server.query("select count(*) as n from events where id = 'good'")[0]["n"] == 1
    assert server.memory() < MEMORY_MAX


@pytest.mark.parametrize(
    "body, content_type, headers, status, code",
    [
        (gzip.compress(GOOD * 1000)[:-20], "application/x-ndjson", {"content-encoding": "gzip"}, 400, "invalid_body"),
        (b"not gzip at all", "application/x-ndjson", {"content-encoding": "gzip"}, 400, "invalid_body"),
        (b"x", "application/x-ndjson", {"content-encoding": "br"}, 415, "unsupported_media_type"),
        (b"x", "image/png", {}, 415, "unsupported_media_type"),
        (b"Obj\x01garbage", "application/avro", {}, 400, "invalid_body"),
        (b"PK\x03\x04", "application/avro", {}, 400, "invalid_body"),
        (b'[{"id":"a","at":1}, {"id"', "application/json", {}, 400, "invalid_body"),
        (b"who,knows\n1,2\n", "text/csv", {}, 400, "invalid_body"),
        (GOOD, "application/x-ndjson", {"weir-producer-id": "p"}, 400, "invalid_request"),
        (GOOD, "application/x-ndjson", {"weir-producer-id": "p", "weir-batch-number": "-1"}, 400, "invalid_request"),
    ],
    ids=["cut gzip", "no gzip", "brotli", "png", "garbage container", "zip", "cut array", "wrong header", "no number", "negative number"],
)
def test_bodies_that_are_not_what_they_say(events, body, content_type, headers, status, code):
    found, answer = post(events, body, content_type, **headers)
    assert (found, answer.get("error", {}).get("code")) == (status, code), answer
    assert len(answer["error"]["message"]) > 10
    check_serves(events)


@pytest.mark.parametrize(
    "body, content_type",
    [
        (b"[" * 100_000, "application/x-ndjson"),
        (b'{"id":' * 10_000, "application/x-ndjson"),
        (b'{"id":"\xff\xfe","at":1}', "application/x-ndjson"),
        (b'{"id":"a","at":1e400}', "application/x-ndjson"),
        (b'{"id":"a","id":"b","at":1}', "application/x-ndjson"),
        (b"\xc3\x01", "application/avro; form=single-object"),
        (b"\x01" * 100, "application/avro; form=envelope"),
    ],
    ids=["deep array", "deep object", "not UTF-8", "huge number", "two of a key", "cut message", "negative length"],
)
def test_records_that_mean_no_good_are_refused(events, body, content_type):
    status, report = post(events, body, content_type)
    assert status == 422 and report["stored"] == 0 and report["refused"] >= 1, report
    check_serves(events)


def raw(server, head: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(head)
    return connection


def test_a_line_of_a_gigabyte_is_refused_by_its_number_in_little_memory(events):
    length = 1 << 30
    head = f"POST /v1/streams/events/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length + 2 * len(GOOD)}\r\n\r\n"
    connection = raw(events, head.encode() + GOOD)
    chunk = b"x" * (1 << 20)
    for _ in range(length // len(chunk) - 1):
        connection.sendall(chunk)
    connection.sendall(b"x" * (len(chunk) - 1) + b"\n" + GOOD)
    answer = connection.recv(65536)
    connection.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    report = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert report["stored"] == 2 and report["refusals"][0]["line"] == 2, report
    check_serves(events)


def test_a_bomb_of_zeros_is_unpacked_in_little_memory(events):
    bomb = gzip.compress(b"\n" * (256 << 20))
    status, report = post(events, bomb, **{"content-encoding": "gzip"})
    assert status == 200 and report["received"] == 0, report
    check_serves(events)


def test_a_thousand_idle_connections_do_not_matter(events):
    idle = [socket.create_connection(("127.0.0.1", events.port)) for _ in range(1000)]
    half = [raw(events, b"POST /v1/streams/events/records HTTP/1.1\r\nhost: x\r\n") for _ in range(20)]
    check_serves(events)
    for connection in idle + half:
        connection.close()


def test_slow_writers_do_not_hold_up_the_others(events):
    head = b"POST /v1/streams/events/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 100000000\r\n\r\n"
    slow = [raw(events, head + GOOD[:10]) for _ in range(50)]
    stop = threading.Event()

    def drip():
        while not stop.is_set():
            for connection in slow:
                connection.sendall(b" ")
            stop.wait(0.2)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        started = time.monotonic()
        for number in range(20):
            assert post(events, b'{"id":"x%d","at":1}' % number)[1]["stored"] == 1
        assert time.monotonic() - started < 30
    finally:
        stop.set()
        thread.join()
        for connection in slow:
            connection.close()
    check_serves(events)


def test_wrong_paths_methods_and_queries_are_told(events):
    assert events.post("/v1/streams/nope/records", GOOD, {"content-type": "application/x-ndjson"})[0] == 404
    assert events.post("/v1/nope", b"", {})[0] == 404
    assert events.post("/v1/status", b"", {})[0] == 405
    status, answer = events.post("/v1/query", b"select nope from events", {})
    assert status == 400 and answer["error"]["column"] == 8, answer
    for sql in ("drop table events", "insert into events values (1)", "create table x as select 1", "copy events to '/tmp/x'", "set x = 1"):
        status, answer = events.post("/v1/query", sql.encode(), {})
        assert status == 400, (sql, answer)
    check_serves(events)

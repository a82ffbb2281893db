"""Every form of records, and what real writers make of it."""

import gzip
import hashlib
import io
import json
import struct
import urllib.request

import fastavro
import pyarrow.csv

from conftest import EVENT_SCHEMA

PARSED = fastavro.parse_schema(json.loads(EVENT_SCHEMA))
# An older version of the schema, without `n`.
OLD = {"type": "record", "name": "Event", "fields": PARSED["fields"][:2]}
AT = 1_700_000_000_000


def binary(record, schema=PARSED):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def event(number):
    return {"id": f"e{number}", "at": AT + number, "n": number}


def rabin(schema) -> bytes:
    """CRC-64-AVRO of the canonical form, little endian, as it stands in messages."""
    return bytes.fromhex(fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def container(records, codec):
    out = io.BytesIO()
    fastavro.writer(out, PARSED, records, codec=codec)
    return out.getvalue()


def post(server, body, content_type, **headers):
    return server.post("/v1/streams/events/records", body, {"content-type": content_type, **headers})


def ids(server):
    return {row["id"] for row in server.query("select id from events")}


def test_every_form_ends_in_the_same_table(events):
    register = events.post("/v1/schemas/events-value", json.dumps(OLD).encode(), {"content-type": "application/json"})
    assert register[0] in (200, 201), register
    old_id = register[1]["id"]
    lines = "".join(json.dumps({"id": f"e{n}", "at": "2023-11-14T22:13:20Z", "n": None}) + "\n" for n in range(10))
    bodies = [
        (lines.encode(), "application/x-ndjson", {}),
        (gzip.compress(json.dumps([event(n) for n in range(10, 20)]).encode()), "application/json", {"content-encoding": "gzip"}),
        (b"id,at,n\r\ne20,2023-11-14T22:13:20.5Z,\r\n\"e21\",1700000000001,7\r\n", "text/csv", {}),
        (container([event(n) for n in range(22, 30)], "deflate"), "application/avro", {}),
        (container([event(n) for n in range(30, 40)], "null"), "application/avro", {}),
        (b"\xc3\x01" + rabin(PARSED) + binary(event(40)), "application/avro; form=single-object", {}),
        (b"\x00" + struct.pack(">I", old_id) + binary({"id": "e41", "at": AT}, OLD), "application/avro; form=registry", {}),
        (hashlib.md5(fastavro.schema.to_parsing_canonical_form(PARSED).encode()).digest() + binary(event(42)), "application/avro; form=md5", {}),
    ]
    wrapper = {"type": "record", "name": "DataWrapper", "fields": [
        {"name": "dataType", "type": "string"}, {"name": "schemaFingerprint", "type": "long"}, {"name": "data", "type": "bytes"}]}
    fingerprint = struct.unpack("<q", rabin(PARSED))[0]
    wrapped = binary({"dataType": "Event", "schemaFingerprint": fingerprint, "data": binary(event(43))}, fastavro.parse_schema(wrapper))
    bodies.append((wrapped, "application/avro; form=envelope", {}))
    for body, content_type, headers in bodies:
        status, report = post(events, body, content_type, **headers)
        assert status == 200 and report["refused"] == 0 and report["dead_lettered"] == 0, (content_type, report)
    assert ids(events) == {f"e{n}" for n in range(44)}


def test_refusals_name_line_field_and_reason(events):
    body = b'{"id":"a","at":1}\n{"id":"b","at":"yesterday"}\n\n{"id":3,"at":1}\nnonsense\n{"id":"c","at":2,"m":1}\n{"id":"d","at":3}'
    status, report = post(events, body, "application/x-ndjson")
    assert status == 200 and report["stored"] == 2, report
    refused = {refusal["line"]: refusal for refusal in report["refusals"]}
    assert set(refused) == {2, 4, 5, 6}
    assert refused[2]["field"] == "at" and "yesterday" in refused[2]["reason"]
    assert refused[4]["field"] == "id"
    assert "m" in refused[6]["field"] or "`m`" in refused[6]["reason"]
    assert ids(events) == {"a", "d"}


def test_an_unknown_fingerprint_is_a_dead_letter_and_the_flow_goes_on(events):
    unknown = b"\xc3\x01" + b"\x01\x02\x03\x04\x05\x06\x07\x08" + b"payload"
    status, report = post(events, unknown, "application/avro; form=single-object")
    assert status == 200 and report["dead_lettered"] == 1, report
    assert post(events, b'{"id":"a","at":1}', "application/x-ndjson")[1]["stored"] == 1
    letters = events.query("select cause, target, error from dead_letters")
    assert [letter["cause"] for letter in letters] == ["unknown_schema"]
    assert letters[0]["target"] == "stream/events" and "0807060504030201" in letters[0]["error"]
    assert ids(events) == {"a"}


def test_answers_come_as_csv_and_arrow(events, tmp_path):
    post(events, "".join(json.dumps(event(n)) + "\n" for n in range(1000)).encode(), "application/x-ndjson")
    text = events.run("query", "select id, n from events order by n", "--format", "csv").stdout
    table = pyarrow.csv.read_csv(io.BytesIO(text.encode()))
    assert table.column("n").to_pylist() == list(range(1000))
    accept = {"accept": "application/vnd.apache.arrow.stream"}
    request = urllib.request.Request(events.url + "/v1/query", data=b"select * from events", headers=accept)
    with urllib.request.urlopen(request) as response:
        read = pyarrow.ipc.open_stream(response.read()).read_all()
    assert read.num_rows == 1000 and "_day" in read.column_names


def test_a_batch_is_stored_once_however_often_it_is_sent(events):
    body = "".join(json.dumps(event(n)) + "\n" for n in range(100)).encode()
    headers = {"weir-producer-id": "p", "weir-batch-number": "3"}
    assert post(events, body, "application/x-ndjson", **headers)[1]["stored"] == 100
    assert post(events, body, "application/x-ndjson", **headers)[1]["repeated"] == 100
    events.kill()
    events.start()
    assert post(events, body, "application/x-ndjson", **headers)[1]["repeated"] == 100
    headers["weir-batch-number"] = "2"
    status, refused = post(events, body, "application/x-ndjson", **headers)
    assert status == 409 and refused["error"]["last"] == 3, refused
    assert events.status()["streams"][-1]["records"] == 100

"""What a handler makes lands once: it fails on some records, dies at random, and the server is killed while it works.

100,000 records; a million with WEIR_LONG=1. The table has no rule of uniqueness: a row that landed twice would be there twice.
"""

import io
import json
import os

import deltalake
import duckdb
import fastavro
from conftest import until

RECORDS = 1_000_000 if os.environ.get("WEIR_LONG") else 100_000
SECONDS = 900 if os.environ.get("WEIR_LONG") else 240
BATCH = 10_000
POISON = sorted(RECORDS // 10 * n + n for n in range(10))
KILLS = 4
DIED = "Runtime exited with error: exit status 1"
DEATHS = 0.005 if os.environ.get("WEIR_LONG") else 0.02

NUMBER = """{"type": "record", "name": "Number", "fields": [{"name": "n", "type": "long"}]}"""
DOUBLED = """{"type": "record", "name": "Doubled", "fields": [
  {"name": "n", "type": "long"}, {"name": "doubled", "type": "long"}, {"name": "run", "type": "string"}]}"""

HCL = f"""
stream "numbers" {{
  schema = "number.avsc"
  shards = 2
}}
function "double" {{
  on          = stream.numbers
  code        = "fickle"
  handler     = "fickle.handler"
  environment = {{ POISON = "{json.dumps(POISON)}", DEATHS = "{DEATHS}" }}
  batch {{ size = 200 }}
  retry {{ attempts = 3 }}
  to     = table.doubled
  schema = "doubled.avsc"
}}
table "doubled" {{
  unique_by = []
  freshness = "1s"
}}
"""


def send(server, start):
    lines = "".join(f'{{"n":{n}}}\n' for n in range(start, start + BATCH))
    headers = {"content-type": "application/x-ndjson", "weir-producer-id": "test", "weir-batch-number": str(start + 1)}
    status, report = server.post("/v1/streams/numbers/records", lines.encode(), headers)
    assert status == 200 and report["stored"] + report["repeated"] == BATCH, report


def number_of(letter) -> int:
    """A record is Avro binary: here a long alone."""
    return fastavro.schemaless_reader(io.BytesIO(bytes.fromhex(letter["payload"])), json.loads(NUMBER))["n"]


def check_table(server, expected: set[int]):
    """Two foreign readers see each of the expected numbers once, and nothing else. Stops the server: that commits the rest."""
    assert server.query("select count(*) as n from doubled")[0]["n"] == len(expected)
    assert server.stop() == 0
    path = server.table_path("doubled")
    table = deltalake.DeltaTable(path)
    rows = table.to_pyarrow_table(columns=["n", "doubled", "run"])
    numbers = rows.column("n").to_pylist()
    assert len(numbers) == len(expected) and set(numbers) == expected
    assert rows.column("doubled").to_pylist() == [2 * n for n in numbers]
    files = [f"{path}/{uri}" if not uri.startswith(("/", "file:")) else uri.removeprefix("file://") for uri in table.file_uris()]
    counted = duckdb.sql(f"select count(*), count(distinct n), sum(doubled)::bigint from read_parquet({files!r})").fetchone()
    assert counted == (len(expected), len(expected), 2 * sum(expected))


def test_outputs_land_once_over_poison_deaths_and_kills(serve, project):
    server = serve(project(HCL, {"number.avsc": NUMBER, "doubled.avsc": DOUBLED}, ["fickle"]))
    sent = 0
    for kill in range(KILLS):
        while sent < RECORDS * (kill + 1) // KILLS:
            send(server, sent)
            sent += BATCH
        # In the middle of its work: some of what was just sent is done, and some is not.
        until(lambda: server.function("double")["items"] > 0, "the function works")
        assert server.function("double")["behind"] > 0, "a kill of something that is done shows nothing"
        server.kill()
        server.start()
    until(lambda: server.function("double")["behind"] == 0, "everything is worked off", SECONDS)
    letters = until(lambda: enough(server.dead("target = 'function/double'")), "the poison is in the dead letters")
    assert sorted(map(number_of, letters)) == POISON, letters
    for letter in letters:
        assert letter["cause"] == "function_failed" and letter["source"].startswith("stream/numbers/"), letter
        number = number_of(letter)
        told = f"the number {number} is poison" if number % 2 else "reported it as failed"
        # The last run of one may have died before it could say so.
        assert (told in letter["error"] or DIED in letter["error"]) and letter["attempts"] >= 4, letter
    assert sum(DIED not in letter["error"] for letter in letters) >= 6, letters
    check_table(server, set(range(RECORDS)) - set(POISON))
    assert DIED in (server.data.parent / "weir.log").read_text(), "it died at random"

    code = server.folder / "fickle" / "fickle.py"
    code.write_text(code.read_text().replace("FIXED = False", "FIXED = True"))
    server.start()
    server.run("dead", "redrive", "--target", "function/double")
    until(lambda: server.query("select count(*) as n from doubled")[0]["n"] >= RECORDS, "the redriven are there too")
    check_table(server, set(range(RECORDS)))


def enough(letters):
    return letters if len(letters) >= len(POISON) else None

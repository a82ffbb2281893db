"""Lookups from the databases themselves: their types, their failures, and what becomes of weir while they are away."""

import functools
import http.server
import json
import os
import subprocess
import threading
import urllib.request

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import EVENT_SCHEMA, WEIR, until
from databases import PASSWORD, MariaDb, Postgres


@pytest.fixture(scope="module", params=[Postgres, MariaDb], ids=["postgres", "mariadb"])
def shared(request):
    """One server for all tests that only ask it."""
    database = request.param()
    try:
        database.make_user()
        yield database
    finally:
        database.remove()


@pytest.fixture(params=[Postgres, MariaDb], ids=["postgres", "mariadb"])
def own(request):
    """A server that a test may kill."""
    database = request.param()
    try:
        database.make_user()
        yield database
    finally:
        database.remove()


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("WEIR_SECRET_DB", PASSWORD)


def lookup(name: str, url: str, query: str, more="") -> str:
    return (
        f'lookup "{name}" {{\n  database = "{url}"\n  password = secret("DB")\n'
        f"  query = <<-SQL\n    {query}\n  SQL\n{more}\n}}\n"
    )


def checked(folder, *more):
    """Runs `weir check`; no password may be in what it says."""
    done = subprocess.run([WEIR, "check", str(folder), *more], capture_output=True, text=True, timeout=120)
    assert PASSWORD not in done.stdout + done.stderr
    return done


def state(weir, name: str) -> dict:
    return next(lookup for lookup in weir.status()["lookups"] if lookup["name"] == name)


def metric(weir, name: str, lookup: str) -> int:
    with urllib.request.urlopen(weir.url + "/metrics") as response:
        lines = response.read().decode().splitlines()
    prefix = f'{name}{{lookup="{lookup}"}} '
    return next(int(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))


def types(weir, name: str) -> dict:
    shown = json.loads(weir.run("lookup", "show", name, "--json").stdout)
    return {column["name"]: column["type"] for column in shown["columns"]}


POSTGRES_TYPES = """
create type mood as enum ('sad', 'ok');
create domain code as varchar(3);
create table types (id int primary key, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
  n numeric(10, 2), free numeric, t text, v varchar(5), c char(3), m mood, d code, u uuid, j json, jb jsonb, x bytea,
  day date, at timestamptz, local timestamp, time time, tags text[], nums int[]);
insert into types values
  (1, true, -32768, 9223372036854775807, 1.5, 1e300, 12345678.90, 0.000000000000000001, 'h\u00e9 ''q''', 'abc', 'ab', 'ok', 'xyz',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, 2]}', '\\x00ff', '1969-12-31', '2026-01-31 12:00:00.123456+02',
   '2026-01-31 12:00:00.5', '23:59:59.25', array['a', null, 'b'], array[]::int[]),
  (2, null, null, null, null, null, -0.05, -12345678901234567890.5, null, null, null, null, null, null, null, null, null,
   null, null, null, null, null, null);
"""

MARIADB_TYPES = """
create table shop.types (id int primary key, b boolean, i1 tinyint, u1 tinyint unsigned, i2 smallint, i3 mediumint,
  u4 int unsigned, i8 bigint, u8 bigint unsigned, f4 float, f8 double, n decimal(10, 2), big decimal(38, 10), t text,
  v varchar(5), e enum('sad', 'ok'), s set('a', 'b'), j json, x varbinary(4), bits bit(9), bit1 bit(1), y year, day date,
  at timestamp(6) null, local datetime(3), time time(2), zero date, zerotime datetime);
set time_zone = '+00:00';
insert into shop.types values
  (1, true, -128, 255, -32768, -8388608, 4294967295, -9223372036854775808, 18446744073709551615, 16777216, 1e300, 12345678.90,
   1234567890123456789012345678.0123456789, 'h\u00e9 ''q''', 'abc', 'ok', 'a,b', '{"a": 1}', x'00ff', b'100000001', b'1', 2026,
   '1969-12-31', '2026-01-31 10:00:00.123456', '2026-01-31 12:00:00.5', '-838:59:59.25', '0000-00-00', '0000-00-00 00:00:00'),
  (2, null, null, null, null, null, null, null, null, null, null, -0.05, null, null, null, null, null, null, null, null, null,
   null, null, null, null, null, null, null);
"""


def test_values_of_every_type_are_those_of_the_database(shared, serve, folder):
    if shared.scheme == "postgres":
        shared.sql(POSTGRES_TYPES)
        query = "select * from types"
        wanted = {
            "b": (True, "Boolean"),
            "i2": (-32768, "Int32"),
            "i8": (9223372036854775807, "Int64"),
            "f4": (1.5, "Float32"),
            "f8": (1e300, "Float64"),
            "n": ("12345678.90", "Decimal128(10, 2)"),
            "free": ("0.000000000000000001", "Decimal128(38, 18)"),
            "t": ("hé 'q'", "Utf8"),
            "v": ("abc", "Utf8"),
            "c": ("ab ", "Utf8"),
            "m": ("ok", "Utf8"),
            "d": ("xyz", "Utf8"),
            "u": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "Utf8"),
            "j": ('{"a": 1}', "Utf8"),
            "jb": ('{"b": [1, 2]}', "Utf8"),
            "x": ("00ff", "Binary"),
            "day": ("1969-12-31", "Date32"),
            "at": ("2026-01-31T10:00:00.123456Z", 'Timestamp(µs, "UTC")'),
            "local": ("2026-01-31T12:00:00.500", "Timestamp(µs)"),
            "time": ("23:59:59.250000", "Utf8"),
        }
        second = {"n": "-0.05", "free": "-12345678901234567890.500000000000000000"}
    else:
        shared.sql(MARIADB_TYPES)
        query = "select * from types"
        wanted = {
            "b": (True, "Boolean"),
            "i1": (-128, "Int32"),
            "u1": (255, "Int32"),
            "i2": (-32768, "Int32"),
            "i3": (-8388608, "Int32"),
            "u4": (4294967295, "Int64"),
            "i8": (-9223372036854775808, "Int64"),
            "u8": ("18446744073709551615", "Decimal128(20, 0)"),
            "f4": (16777216, "Float32"),
            "f8": (1e300, "Float64"),
            "n": ("12345678.90", "Decimal128(10, 2)"),
            "big": ("1234567890123456789012345678.0123456789", "Decimal128(38, 10)"),
            "t": ("hé 'q'", "Utf8"),
            "v": ("abc", "Utf8"),
            "e": ("ok", "Utf8"),
            "s": ("a,b", "Utf8"),
            "j": ('{"a": 1}', "Utf8"),
            "x": ("00ff", "Binary"),
            "bits": (257, "Int64"),
            "bit1": (True, "Boolean"),
            "y": (2026, "Int32"),
            "day": ("1969-12-31", "Date32"),
            "at": ("2026-01-31T10:00:00.123456Z", 'Timestamp(µs, "UTC")'),
            "local": ("2026-01-31T12:00:00.500", "Timestamp(µs)"),
            "time": ("-838:59:59.250000", "Utf8"),
            "zero": (None, "Date32"),
            "zerotime": (None, "Timestamp(µs)"),
        }
        second = {"n": "-0.05"}
    weir = serve(folder(weir__hcl=lookup("types", shared.url(), query)))
    found_types = types(weir, "types")
    assert {name: found_types[name] for name in wanted} == {name: of for name, (_, of) in wanted.items()}
    # As texts where JSON's numbers would lose digits.
    shown = [
        f"encode({name}, 'hex') as {name}" if of == "Binary" else f"cast({name} as varchar) as {name}" if "Decimal" in of else name
        for name, (_, of) in wanted.items()
    ]
    first, last = weir.query(f"select {', '.join(shown)} from types order by id")
    assert {name: first.get(name) for name in wanted} == {name: value for name, (value, _) in wanted.items()}
    assert {name: value for name, value in last.items() if value is not None} == second
    if shared.scheme == "postgres":
        assert found_types["tags"].startswith("List(") and found_types["nums"].startswith("List(")
        lists = weir.query("select id, tags, nums from types where id = 1")
        assert lists == [{"id": 1, "tags": ["a", None, "b"], "nums": []}]


def test_what_has_no_type_is_refused_by_name_with_what_to_write(shared, folder):
    refused = {
        "postgres": {
            "interval '1 day'": "(thing)::text",
            "'1.2.3.4'::inet": "(thing)::text",
            "5::money": "(thing)::numeric(20, 2)",
            "1::numeric(50, 10)": "(thing)::numeric(38, 10)",
        },
        "mysql": {
            "point(1, 2)": "st_astext(thing)",
            "cast(1 as decimal(50, 10))": "cast(thing as decimal(38, 10))",
        },
    }[shared.scheme]
    path = folder(weir__hcl="")
    for expression, mend in refused.items():
        (path / "weir.hcl").write_text(lookup("odd", shared.url(), f"select {expression} as thing"))
        done = checked(path)
        assert done.returncode != 0 and "column `thing`" in done.stderr and mend in done.stderr, done.stderr
    values = {
        "postgres": ["'infinity'::date", "'NaN'::numeric", "1e30::numeric", "array[[1], [2]]"],
        "mysql": ["cast('2026-00-15' as date)"],
    }[shared.scheme]
    for expression in values:
        (path / "weir.hcl").write_text(lookup("odd", shared.url(), f"select {expression} as thing"))
        if shared.scheme == "mysql":
            shared.sql("create or replace table shop.odd (thing date); insert into shop.odd values ('2026-00-15')")
            (path / "weir.hcl").write_text(lookup("odd", shared.url(), "select thing from odd"))
        done = subprocess.run(
            [WEIR, "up", str(path), "--data", str(path / "data"), "--listen", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode != 0 and "row 1, column `thing`" in done.stderr, done.stderr
        assert PASSWORD not in done.stderr


def test_a_query_that_is_wrong_is_told_in_the_databases_words(shared, folder):
    path = folder(weir__hcl=lookup("wrong", shared.url(), "select nothing from nowhere"))
    done = checked(path)
    assert done.returncode != 0 and "nowhere" in done.stderr, done.stderr
    (path / "weir.hcl").write_text(lookup("wrong", shared.url(), "select 1 as a").replace('secret("DB")', 'secret("NO")'))
    assert "secret `NO` is not set" in checked(path).stderr
    # A password in the text of the configuration is hidden in the very complaint.
    (path / "weir.hcl").write_text(f'lookup "x" {{\n  database = "postgres://weir:hunter2@h/d"\n  query = "select 1"\n}}\n')
    told = checked(path).stderr
    assert "password in plain text" in told and "hunter2" not in told


def test_connections_are_as_secure_as_the_url_says(shared, serve, folder, monkeypatch):
    if shared.scheme == "postgres":
        query = "select ssl as secure from pg_stat_ssl where pid = pg_backend_pid()"
    else:
        query = "select cast(variable_value <> '' as signed) = 1 as secure from information_schema.session_status where variable_name = 'Ssl_cipher'"
    roots = f"&sslrootcert={shared.root}"
    urls = {
        "prefer": (shared.url(), 1),
        "off": (shared.url("?sslmode=disable"), 0),
        "require": (shared.url("?sslmode=require"), 1),
        "full": (shared.url("?sslmode=verify-full" + roots), 1),
        "ca": (shared.url("?sslmode=verify-ca" + roots, host="127.0.0.1"), 1),
        "socket": (shared.socket_url(), 0),
    }
    weir = serve(folder(weir__hcl="".join(lookup(name, url, query) for name, (url, _) in urls.items())))
    for name, (_, secure) in urls.items():
        assert [int(row["secure"]) for row in weir.query(f"select * from {name}")] == [secure], name
    # Not from a root that is trusted, and not the host's.
    path = weir.folder.parent / "wrong"
    path.mkdir()
    for url in [shared.url("?sslmode=verify-full"), shared.url("?sslmode=verify-full" + roots, host="127.0.0.1")]:
        (path / "weir.hcl").write_text(lookup("x", url, query))
        done = checked(path)
        assert done.returncode != 0 and "ertificate" in done.stderr, done.stderr
    # The URL may hold the password, percent-encoded.
    encoded = urllib.request.quote(PASSWORD, safe="")
    monkeypatch.setenv("WEIR_SECRET_ENCODED", encoded)
    url = shared.url().replace("weir@", 'weir:${secret("ENCODED")}@')
    (path / "weir.hcl").write_text(lookup("x", url, query).replace('  password = secret("DB")\n', ""))
    assert checked(path).returncode == 0
    monkeypatch.setenv("WEIR_SECRET_DB", "wrong")
    (path / "weir.hcl").write_text(lookup("x", shared.url(), query))
    done = checked(path)
    assert done.returncode != 0 and encoded not in done.stderr
    assert "authentication failed" in done.stderr or "Access denied" in done.stderr, done.stderr


def test_a_slow_query_and_a_large_answer_fail_alone(shared, serve, folder):
    sleep, numbers = {
        "postgres": ("pg_sleep(30)::text", "generate_series(1, 100000)"),
        "mysql": ("cast(sleep(30) as char)", "seq_1_to_100000"),
    }[shared.scheme]
    hcl = lookup("slow", shared.url(), f"select {sleep} as s", '  timeout = "1s"\n  columns = { s = "string" }')
    hcl += lookup("large", shared.url(), f"select 1 as n from {numbers}", '  rows_max = 1000\n  columns = { n = "long" }')
    path = folder(weir__hcl=hcl)
    # With `columns` nobody is asked.
    assert checked(path).returncode == 0
    for name, wanted in [("slow", "was not read within 1s"), ("large", "more than 1000 rows")]:
        kept = hcl.split("lookup ")[1 if name == "slow" else 2]
        (path / "weir.hcl").write_text("lookup " + kept)
        done = subprocess.run(
            [WEIR, "up", str(path), "--data", str(path / "data"), "--listen", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        told = done.stderr
        stopped = any(words in told for words in [wanted, "statement timeout", "max_statement_time", "interrupted"])
        assert done.returncode != 0 and stopped and PASSWORD not in told, told


JOINED = """
stream "events" {
  schema = "event.avsc"
  time   = "at"
  id     = ["id", "at"]
}
function "name" {
  on  = stream.events
  sql = "select e.id, e.at, e.n, r.name from input e left join rates r on e.n = r.id"
  to  = table.named
}
table "named" {
  partition_by = "day(at)"
  freshness    = "1s"
}
"""


def test_a_database_that_dies_leaves_its_last_good_rows(own, serve, folder):
    schema = "" if own.scheme == "postgres" else "shop."
    own.sql(f"create table {schema}rates (id bigint primary key, name varchar(20))")
    own.sql(f"insert into {schema}rates values (1, 'one'), (2, 'two')")
    hcl = JOINED + lookup("rates", own.url(), "select id, name from rates", '  key = "id"\n  refresh = "1s"')
    weir = serve(folder(weir__hcl=hcl, event__avsc=EVENT_SCHEMA))
    named = lambda: {row["id"]: row.get("name") for row in weir.query("select id, name from named")}
    send = lambda id, n: weir.post(
        "/v1/streams/events/records",
        json.dumps({"id": id, "at": 1767225600000, "n": n}).encode(),
        {"content-type": "application/json"},
    )
    assert send("a", 1)[0] == 200 and named() == {"a": "one"}
    assert state(weir, "rates")["version"]["number"] == 1

    own.sql(f"update {schema}rates set name = 'uno' where id = 1")
    until(lambda: state(weir, "rates")["version"]["number"] == 2, "the new rows are seen")
    assert send("b", 1)[0] == 200 and named() == {"a": "one", "b": "uno"}
    # The order of rows is no change.
    version = state(weir, "rates")["version"]

    own.kill()
    until(lambda: state(weir, "rates")["failing"], "the failure is told")
    until(lambda: metric(weir, "weir_lookup_age_seconds", "rates") >= 2, "the age grows")
    assert metric(weir, "weir_lookup_failures_total", "rates") >= 1
    assert state(weir, "rates")["version"] == version
    assert send("c", 2)[0] == 200 and named()["c"] == "two"
    refused = weir.run("lookup", "refresh", "rates", check=False)
    assert refused.returncode != 0 and "its last good rows stay" in refused.stderr and PASSWORD not in refused.stderr

    # A kill of weir as well: it starts from the snapshot, and tells its age.
    weir.kill()
    weir.start()
    assert state(weir, "rates")["version"] == version and state(weir, "rates")["failing"]
    assert "last good snapshot" in weir.tail()
    assert send("d", 1)[0] == 200 and named()["d"] == "uno"

    own.start()
    until(lambda: not state(weir, "rates")["failing"], "it is read again", 90)
    assert state(weir, "rates")["version"] == version
    # A key that repeats is kept out, and so are columns that are gone; an added one waits.
    until(lambda: state(weir, "rates")["age_seconds"] < 2, "it is fresh")
    if own.scheme == "postgres":
        own.sql("alter table rates drop constraint rates_pkey")
    else:
        own.sql("alter table shop.rates drop primary key")
    own.sql(f"insert into {schema}rates values (2, 'zwei')")
    until(lambda: "more than one row" in (state(weir, "rates")["failing"] or ""), "the repeated key is told")
    assert state(weir, "rates")["version"] == version
    own.sql(f"delete from {schema}rates where name = 'zwei'")
    until(lambda: not state(weir, "rates")["failing"], "it is read again", 90)
    assert PASSWORD not in weir.tail() and PASSWORD not in json.dumps(weir.status())
    listed = weir.run("lookup", "list").stdout
    assert "rates" in listed and "│" in listed


def test_a_start_without_source_and_snapshot_says_which_lookup(own, folder):
    own.sql("create table rates (id int)" if own.scheme == "postgres" else "create table shop.rates (id int)")
    hcl = lookup("rates", own.url(), "select id from rates", '  columns = { id = "long" }')
    own.kill()
    path = folder(weir__hcl=hcl)
    done = subprocess.run(
        [WEIR, "up", str(path), "--data", str(path / "data"), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0 and "lookup `rates` can't be read, and there is no snapshot" in done.stderr, done.stderr
    (path / "weir.hcl").write_text(lookup("rates", own.url(), "select id from rates"))
    done = checked(path)
    assert done.returncode != 0 and "start the database, or say them" in done.stderr, done.stderr


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_files_of_all_kinds_are_read_near_and_far(serve, folder, tmp_path):
    import gzip

    remote = tmp_path / "remote"
    remote.mkdir()
    pq.write_table(pa.table({"id": [1, 2], "rate": [1.5, None]}), remote / "rates.parquet")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=remote))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        path = folder(weir__hcl="")
        days = path / "days"
        (days / "2026").mkdir(parents=True)
        (days / "a.csv").write_text("id,day\n1,2026-01-31\n")
        (days / "2026" / "b.csv.gz").write_bytes(gzip.compress(b"id,day\n2,2026-02-01\n"))
        (days / "README").write_text("no table")
        (path / "tags.ndjson").write_text('{"id": 1, "tag": "x"}\n{"id": 2}\n')
        (path / "weir.hcl").write_text(
            f'lookup "rates" {{ file = "http://127.0.0.1:{server.server_port}/rates.parquet"  refresh = "1s" }}\n'
            'lookup "days" { file = "days/"  key = "id"  refresh = "1s" }\n'
            'lookup "tags" {\n  file = "tags.ndjson"\n  columns = { tag = "string", id = "int" }\n}\n'
        )
        weir = serve(path)
        joined = "select d.id, cast(d.day as varchar) as day, r.rate, t.tag from days d join rates r using (id) join tags t using (id) order by 1"
        first, second = weir.query(joined)
        assert first == {"id": 1, "day": "2026-01-31", "rate": 1.5, "tag": "x"}
        assert {name: value for name, value in second.items() if value is not None} == {"id": 2, "day": "2026-02-01"}
        assert types(weir, "tags") == {"tag": "Utf8", "id": "Int32"}

        (days / "c.csv").write_text("id,day\n3,2026-02-02\n")
        until(lambda: state(weir, "days")["rows"] == 3, "the new file is seen")
        (days / "c.csv").write_text("id,day\n3,never\n")
        until(lambda: "never" in (state(weir, "days")["failing"] or ""), "the value that does not fit is told")
        assert state(weir, "days")["rows"] == 3
        pq.write_table(pa.table({"id": [1, 2], "rate": [2.5, 3.5]}), remote / "new")
        os.replace(remote / "new", remote / "rates.parquet")
        until(lambda: weir.query("select sum(rate) as s from rates") == [{"s": 6.0}], "the new file is seen")
    finally:
        server.shutdown()
        server.server_close()
    weir.kill()
    (days / "c.csv").unlink()
    weir.start()
    assert weir.query("select sum(rate) as s from rates") == [{"s": 6.0}]
    assert "127.0.0.1" in state(weir, "rates")["failing"]

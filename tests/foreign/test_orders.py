"""The example `orders`, walked through as its README says."""

import json
import os
import shutil
import subprocess
import sys

import deltalake
import pytest
from conftest import ROOT, WEIR, until

ORDERS = ROOT / "examples" / "orders"
KEY = "the shop's own key"


@pytest.fixture
def orders(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIR_SECRET_SHOP_KEY", KEY)
    folder = tmp_path / "orders"
    shutil.copytree(ORDERS, folder, ignore=shutil.ignore_patterns(".weir"))
    return serve(folder)


def shop(server) -> subprocess.CompletedProcess:
    call = [sys.executable, server.folder / "shop.py", server.folder / "orders.ndjson", server.url]
    return subprocess.run(call, capture_output=True, text=True, timeout=120)


def open_letters(server):
    return json.loads(server.run("dead", "list", "--json").stdout)["letters"]


def test_orders_are_booked_and_poison_is_redriven_after_the_fix(orders):
    done = shop(orders)
    assert done.stdout == "40 of 40 orders accepted\n", done.stderr
    letters = until(lambda: len(open_letters(orders)) == 2 and open_letters(orders), "dead letters")
    errors = sorted(letter["error"] for letter in letters)
    assert any("ConversionSyntax" in error for error in errors) and any("currency DOGE" in error for error in errors), errors
    assert orders.query("select count(*) as n from orders")[0]["n"] == 38

    code = orders.folder / "functions" / "book" / "book.py"
    code.write_text(code.read_text().replace("Decimal(order.amount)", 'Decimal(order.amount.replace(",", "."))'))
    orders.run("function", "deploy", "book")
    orders.run("dead", "redrive", "--target", "function/book")
    until(lambda: orders.query("select count(*) as n from orders")[0]["n"] == 39, "the mended order")
    row = orders.query("select amount, currency from orders where order_id = '1017'")[0]
    assert float(row["amount"]) == 19.90
    # The other one fails again: it is a new dead letter.
    again = until(lambda: [letter for letter in open_letters(orders) if "DOGE" in letter["error"]], "the other letter")
    orders.run("dead", "drop", "--id", again[0]["id"])
    assert open_letters(orders) == []

    # The shop sends everything again: nothing changes.
    assert shop(orders).returncode == 0
    until(lambda: orders.function("book")["behind"] == 0, "worked off")
    assert orders.query("select count(*) as n from orders")[0]["n"] == 39

    event = {"time": "2026-03-02T01:00:00Z"}
    orders.run("function", "invoke", "report", json.dumps(event), "--later")
    until(lambda: orders.query("select * from reports"), "the report")
    reported = orders.query("select sum(orders) as orders, cast(sum(amount) as double) as amount from reports")[0]
    booked = orders.query("select count(*) as orders, cast(sum(amount) as double) as amount from orders where placed_at < '2026-03-02'")[0]
    assert reported == booked and booked["orders"] == 20
    assert orders.stop() == 0
    assert deltalake.DeltaTable(orders.table_path("orders")).to_pyarrow_table().num_rows == 39


def test_a_call_without_the_shops_signature_is_refused(orders, monkeypatch):
    monkeypatch.setenv("WEIR_SECRET_SHOP_KEY", "another key")
    done = shop(orders)
    assert done.returncode != 0 and "401" in done.stderr, done
    assert orders.function("book")["items"] == 0


def test_the_secret_is_named_when_it_is_missing():
    variables = {name: value for name, value in os.environ.items() if name != "WEIR_SECRET_SHOP_KEY"}
    done = subprocess.run([WEIR, "check", ORDERS], env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "WEIR_SECRET_SHOP_KEY" in done.stderr, done.stderr

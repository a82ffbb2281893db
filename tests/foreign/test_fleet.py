"""The example `fleet`, walked through as its README says."""

import json
import shutil
import subprocess

import deltalake
import pytest

from conftest import ROOT, WEIR, until
from crawls import is_over, secrets, status
from vendor import Vendor, of_status

FLEET = ROOT / "examples" / "fleet"


@pytest.fixture
def vendor():
    site = Vendor(size=1500, rate=200, burst=50, errors=0.02, cut=0.01)
    yield site
    site.close()


@pytest.fixture
def fleet(serve, tmp_path, monkeypatch, vendor):
    secrets(monkeypatch)
    folder = tmp_path / "fleet"
    shutil.copytree(FLEET, folder, ignore=shutil.ignore_patterns(".weir", "vendor"))
    text = (folder / "weir.hcl").read_text()
    assert "http://127.0.0.1:4600" in text
    (folder / "weir.hcl").write_text(text.replace("http://127.0.0.1:4600", vendor.url))
    return serve(folder)


def test_the_readings_come_all_at_once_and_a_bad_day_is_survived(fleet, vendor):
    checked = subprocess.run([WEIR, "check", fleet.folder], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    fleet.run("crawl", "run", "fleet")
    until(lambda: (status(fleet)["current"] or {}).get("done", 0) > 100, "calls are made")
    shown = fleet.run("crawl", "status", "fleet").stdout
    assert all(step in shown for step in ("group", "device", "data_group", "reading")), shown
    assert fleet.query("select count(*) as n from readings") == [{"n": 0}]
    vendor.change(rate=100)
    vendor.away(2, "close")
    fleet.run("crawl", "pause", "fleet")
    fleet.run("crawl", "resume", "fleet")
    fleet.kill()
    fleet.start()
    fleet.run("crawl", "status", "fleet", "--watch")
    last = is_over(fleet)
    assert last and last["state"] == "complete", last
    found = until(lambda: fleet.query("select count(*) as n, count(distinct id) as ids from readings")[0]["n"] and
                  fleet.query("select count(*) as n, count(distinct id) as ids from readings")[0], "the readings")
    assert found == {"n": vendor.readings, "ids": vendor.readings}
    by_metric = fleet.query(
        "select _data_group_metric as metric, count(*) as readings, avg(value) as mean from readings group by 1 order by 1"
    )
    assert [row["metric"] for row in by_metric] == ["power", "pressure", "speed", "temperature"]
    stats = vendor.stats()
    assert stats["paths"] == vendor.calls and of_status(stats, 500, 502) > 0 and stats["cut"] > 0, stats
    assert fleet.stop() == 0
    ids = deltalake.DeltaTable(fleet.table_path("readings")).to_pyarrow_table().column("id").to_pylist()
    assert sorted(ids) == sorted(vendor.reading_ids())


def test_the_schema_that_is_pinned_is_what_the_vendor_shows(vendor, tmp_path, monkeypatch):
    secrets(monkeypatch)
    folder = tmp_path / "fleet"
    shutil.copytree(FLEET, folder, ignore=shutil.ignore_patterns(".weir", "vendor"))
    path = folder / "weir.hcl"
    path.write_text(path.read_text().replace("http://127.0.0.1:4600", vendor.url))
    (folder / "reading.avsc").unlink()
    done = subprocess.run([WEIR, "crawl", "infer", "fleet", "--dir", folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "reading.avsc").read_text())
    pinned = json.loads((FLEET / "reading.avsc").read_text())
    assert [field["name"] for field in written["fields"]] == [field["name"] for field in pinned["fields"]]


def test_the_secret_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.delenv("WEIR_SECRET_FLEET_TOKEN", raising=False)
    done = subprocess.run([WEIR, "check", FLEET], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "WEIR_SECRET_FLEET_TOKEN" in done.stderr, done.stderr

"""Crawls of APIs that nobody here wrote, behind a limit of nginx's that the configuration does not know."""

import collections
import json

import pytest

from crawls import complete, start
from real_apis import Nginx, start_datasette, start_pygeoapi, two_ports

RATE, BURST = 20, 4


@pytest.fixture
def closing():
    """What is added to it is closed when the test ends."""
    opened = []
    yield opened.append
    for one in reversed(opened):
        one.close()


def schema(**fields: str) -> str:
    return json.dumps(
        {"type": "record", "name": "Row", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    )


def check_calls(nginx: Nginx, calls: int) -> None:
    """Every call was of use, but for those that nginx refused."""
    seen = nginx.calls()
    statuses = collections.Counter(status for _, status, _ in seen)
    print(len(seen), "calls in", f"{seen[-1][0] - seen[0][0]:.1f} s:", dict(statuses))
    good = [path for _, status, path in seen if status == 200]
    assert len(good) == len(set(good)) == calls, collections.Counter(good).most_common(3)
    assert set(statuses) <= {200, 429}, statuses
    assert statuses[429] <= 0.15 * calls + 5, statuses


@pytest.mark.parametrize("retry_after", [None, 1])
def test_datasette_by_urls_in_the_body_and_by_link_headers(closing, serve, project, tmp_path, retry_after):
    port, behind = two_ports()
    program, sold = start_datasette(tmp_path / "datasette", behind)
    closing(program)
    nginx = Nginx(tmp_path / "nginx", port, behind, RATE, BURST, retry_after)
    closing(nginx)
    hcl = f"""
api "trade" {{ base_url = "{nginx.url}/trade" }}
""" + """
crawl "trade" {
  api = api.trade
  resource "shop" {
    path          = "/shops.json"
    params        = { _shape = "objects", _size = 20 }
    data_selector = "rows"
    paginator "json_link" { next_url_path = "next_url" }
    to     = table.shops
    schema = "shop.avsc"
  }
  resource "sale" {
    path      = "/sales.json"
    params    = { _shape = "array", _size = 10, shop__exact = "{resources.shop.id}" }
    paginator = "header_link"
    to        = table.sales
    schema    = "sale.avsc"
  }
}
table "shops" { freshness = "1s" }
table "sales" { freshness = "1s" }
"""
    shop, sale = schema(id="long", name="string"), schema(id="long", shop="long", amount="double")
    server = serve(project(hcl, {"shop.avsc": shop, "sale.avsc": sale}))
    start(server, "trade")
    complete(server, "trade")
    check_calls(nginx, 3 + sum(max(1, -(-count // 10)) for count in sold.values()))
    assert server.query("select count(*) as n, count(distinct id) as ids from shops") == [{"n": 60, "ids": 60}]
    found = server.query("select shop, count(*) as n, count(distinct id) as ids from sales group by shop")
    assert {row["shop"]: (row["n"], row["ids"]) for row in found} == {k: (n, n) for k, n in sold.items() if n}


@pytest.mark.parametrize(
    "paginator, pages",
    [
        ('params = { limit = 10 }\n    paginator "json_link" { next_url_path = "links[?(@.rel == \'next\')].href" }', lambda count: count // 10 + 1),
        ('paginator "offset" {\n      limit = 10\n      total_path = "numberMatched"\n    }', lambda count: -(-count // 10)),
    ],
    ids=["link", "offset"],
)
def test_pygeoapi_by_a_link_among_others_and_by_offset(closing, serve, project, tmp_path, paginator, pages):
    # pygeoapi links to a next page behind one that is full, also where that was the last.
    port, behind = two_ports()
    program, counts = start_pygeoapi(tmp_path / "pygeoapi", port, behind)
    closing(program)
    nginx = Nginx(tmp_path / "nginx", port, behind, RATE, BURST, 1)
    closing(nginx)
    hcl = f"""
api "geo" {{
  base_url = "{nginx.url}"
  headers  = {{ Accept = "application/json" }}
}}
""" + """
crawl "geo" {
  api = api.geo
  resource "collection" {
    path          = "/collections"
    data_selector = "collections"
    paginator     = "single_page"
  }
  resource "feature" {
    path                = "/collections/{resources.collection.id}/items"
    data_selector       = "features[*].properties"
    include_from_parent = ["id"]
    PAGINATOR
    to     = table.features
    schema = "feature.avsc"
  }
}
table "features" { freshness = "1s" }
""".replace("PAGINATOR", paginator)
    feature = schema(code="string", depth="double", _collection_id="string")
    server = serve(project(hcl, {"feature.avsc": feature}))
    start(server, "geo")
    complete(server, "geo")
    found = server.query("select _collection_id as c, count(*) as n, count(distinct code) as codes from features group by 1")
    assert {row["c"]: (row["n"], row["codes"]) for row in found} == {name: (n, n) for name, n in counts.items()}
    check_calls(nginx, 1 + sum(map(pages, counts.values())))

"""Crawls the vendor of `examples/fleet` with dlt's rest_api source, or with Scrapy, within a budget of calls a second.

    crawl_peer.py dlt|scrapy URL TOKEN RATE FOLDER

As somebody writes it who knows the tool: many calls at once, the budget kept by what the tool has for that, or by what is
usual with it, retries of 429 and 5xx, and a destination on disk. Prints one JSON object.

- dlt: `rest_api_source` with dependent resources, `parallelized` with 32 workers; dlt limits no rate, so that calls go through a
  session of requests-ratelimiter (a leaky bucket; `burst=1`) under dlt's own retries; loaded into a DuckDB file.
- Scrapy: a spider that follows pages; `DOWNLOAD_DELAY` of 1 / rate, not randomized, 64 requests at once, retries
  of 429 and 5xx; items as JSON lines.
"""

import json
import os
import resource
import sys
import time


def usage():
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in spent),
        "peak_mib": spent[0].ru_maxrss / 1024,
    }


def with_dlt(url, token, rate, folder):
    os.environ["DLT_DATA_DIR"] = folder
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    os.environ["EXTRACT__WORKERS"] = "32"
    os.environ["EXTRACT__MAX_PARALLEL_ITEMS"] = "64"
    import dlt
    import requests_ratelimiter
    from dlt.sources.helpers import requests
    from dlt.sources.rest_api import rest_api_source

    # dlt's client has the retries; its session's adapters carry the calls.
    session = requests.Client(raise_for_status=False).session
    adapter = requests_ratelimiter.LimiterAdapter(per_second=rate, burst=1, pool_maxsize=64, pool_connections=64)
    session.mount("http://", adapter)
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{url}/v1/",
                "auth": {"type": "bearer", "token": token},
                "session": session,
            },
            "resource_defaults": {"write_disposition": "replace", "parallelized": True},
            "resources": [
                {
                    "name": "group",
                    "selected": False,
                    "endpoint": {
                        "path": "groups",
                        "data_selector": "items",
                        "paginator": {"type": "page_number", "base_page": 0, "total_path": "total"},
                    },
                },
                {
                    "name": "device",
                    "selected": False,
                    "endpoint": {
                        "path": "groups/{resources.group.id}/devices",
                        "data_selector": "items",
                        "paginator": {"type": "cursor", "cursor_path": "cursors.next", "cursor_param": "cursor"},
                    },
                },
                {
                    "name": "data_group",
                    "selected": False,
                    "endpoint": {
                        "path": "devices/{resources.device.id}/data-groups",
                        "data_selector": "items",
                        "paginator": {"type": "offset", "limit": 20, "total_path": "total"},
                    },
                },
                {
                    "name": "reading",
                    "include_from_parent": ["id"],
                    "endpoint": {
                        "path": "data-groups/{resources.data_group.id}/readings",
                        "paginator": {"type": "header_link"},
                    },
                },
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name="fleet",
        pipelines_dir=os.path.join(folder, "pipelines"),
        destination=dlt.destinations.duckdb(os.path.join(folder, "fleet.duckdb")),
        dataset_name="vendor",
    )
    began = time.monotonic()
    pipeline.extract(source)
    extracted = time.monotonic() - began
    pipeline.normalize()
    pipeline.load(raise_on_failed_jobs=True)
    with pipeline.sql_client() as client:
        rows = client.execute_sql("select count(*), count(distinct id) from reading")[0]
    return {"version": dlt.__version__, "extract_seconds": extracted, "rows": rows[0], "ids": rows[1]}


def with_scrapy(url, token, rate, folder):
    import scrapy
    from scrapy.crawler import CrawlerProcess

    out = os.path.join(folder, "readings.jsonl")

    class Fleet(scrapy.Spider):
        name = "fleet"

        def call(self, path, then, **more):
            target = path if path.startswith("http") else f"{url}/v1{path}"
            return scrapy.Request(target, callback=then, headers={"Authorization": f"Bearer {token}"}, **more)

        async def start(self):
            yield self.call("/groups?page=0", self.groups)

        def groups(self, response):
            page = response.json()
            for group in page["items"]:
                yield self.call(f"/groups/{group['id']}/devices", self.devices, cb_kwargs={"group": group["id"]})
            if page["page"] + 1 < page["total"]:
                yield self.call(f"/groups?page={page['page'] + 1}", self.groups)

        def devices(self, response, group):
            page = response.json()
            for device in page["items"]:
                yield self.call(
                    f"/devices/{device['id']}/data-groups?offset=0&limit=20",
                    self.data_groups,
                    cb_kwargs={"device": device["id"], "offset": 0},
                )
            cursor = page["cursors"]["next"]
            if cursor:
                yield self.call(f"/groups/{group}/devices?cursor={cursor}", self.devices, cb_kwargs={"group": group})

        def data_groups(self, response, device, offset):
            page = response.json()
            for found in page["items"]:
                yield self.call(
                    f"/data-groups/{found['id']}/readings", self.readings, cb_kwargs={"data_group": found["id"]}
                )
            offset += 20
            if offset < page["total"]:
                yield self.call(
                    f"/devices/{device}/data-groups?offset={offset}&limit=20",
                    self.data_groups,
                    cb_kwargs={"device": device, "offset": offset},
                )

        def readings(self, response, data_group):
            for reading in response.json():
                yield {**reading, "_data_group_id": data_group}
            link = response.headers.get("Link", b"").decode()
            if link:
                target = link[link.index("<") + 1 : link.index(">")]
                yield self.call(target, self.readings, cb_kwargs={"data_group": data_group})

    process = CrawlerProcess(
        {
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
            "ROBOTSTXT_OBEY": False,
            "CONCURRENT_REQUESTS": 64,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
            "DOWNLOAD_DELAY": 1 / rate,
            "RANDOMIZE_DOWNLOAD_DELAY": False,
            "RETRY_HTTP_CODES": [429, 500, 502, 503],
            "RETRY_TIMES": 10,
            "FEEDS": {out: {"format": "jsonlines", "overwrite": True}},
        }
    )
    process.crawl(Fleet)
    process.start()
    ids = [json.loads(line)["id"] for line in open(out)]
    return {"version": scrapy.__version__, "rows": len(ids), "ids": len(set(ids))}


def main():
    tool, url, token, rate, folder = sys.argv[1:6]
    os.makedirs(folder, exist_ok=True)
    run = {"dlt": with_dlt, "scrapy": with_scrapy}[tool]
    began = time.monotonic()
    report = run(url, token, float(rate), folder)
    print(json.dumps({**report, "seconds": time.monotonic() - began, **usage()}))


main()

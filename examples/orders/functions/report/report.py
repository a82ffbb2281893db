"""Counts a day's orders, with a query to the weir that runs it."""

import json
import os
import urllib.request
from datetime import datetime, timedelta

SQL = """
select currency, count(*) as orders, cast(sum(amount) as varchar) as amount
from orders where cast(placed_at as date) = date '{day}' group by currency order by currency
"""


def query(sql):
    url = os.environ["AWS_ENDPOINT_URL"] + "/v1/query"
    request = urllib.request.Request(url, data=sql.encode(), headers={"accept": "application/x-ndjson"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return [json.loads(line) for line in response]


def handler(event, context):
    # EventBridge's event: `time` is when it was due, however late it runs.
    due = datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    day = event.get("day") or (due - timedelta(days=1)).date().isoformat()
    datetime.fromisoformat(day)
    return [{"day": day, **row} for row in query(SQL.format(day=day))]

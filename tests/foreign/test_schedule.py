"""Schedules: a time that comes runs once, and one that passed while nothing ran is caught up."""

import datetime
import time

from conftest import until

ROW = """{"type": "record", "name": "Run", "fields": [
  {"name": "name", "type": "string"}, {"name": "due", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"""

HANDLER = '''
def handler(event, context):
    return [{"name": event["resources"][0].split("/")[-1], "due": event["time"]}]
'''

INPUT = '''
def handler(event, context):
    return [{"name": event["name"], "due": 0}]
'''


def plan(missed, at, more=""):
    return f"""
schedule "soon" {{
  when   = "at({at:%Y-%m-%dT%H:%M:%S})"
  missed = "{missed}"
  {more}
}}
function "run" {{
  on      = schedule.soon
  code    = "code"
  handler = "run.handler"
  to      = table.runs
  schema  = "run.avsc"
}}
table "runs" {{
  unique_by = []
  freshness = "500ms"
}}
"""


def make(project, missed, at, handler=HANDLER, more=""):
    folder = project(plan(missed, at, more), {"run.avsc": ROW})
    (folder / "code").mkdir()
    (folder / "code" / "run.py").write_text(handler)
    return folder


def soon(seconds):
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=seconds)


def runs(server):
    return server.query("select name, cast(due as varchar) as due from runs")


def test_a_time_that_comes_runs_once(serve, project):
    at = soon(6)
    server = serve(make(project, "once", at))
    assert runs(server) == [] and soon(0) < at
    found = until(lambda: runs(server), "the schedule ran")
    assert soon(0) >= at, "not before its time"
    assert [run["name"] for run in found] == ["soon"] and found[0]["due"].startswith(f"{at:%Y-%m-%dT%H:%M:%S}"), found
    server.kill()
    server.start()
    time.sleep(1)
    assert len(runs(server)) == 1, "it does not run again after a restart"


def test_a_time_that_passed_while_nothing_ran_is_caught_up(serve, project):
    at = soon(6)
    server = serve(make(project, "once", at))
    server.kill()
    assert soon(0) < at
    time.sleep(max(0, at.timestamp() - time.time() + 0.5))
    server.start()
    found = until(lambda: runs(server), "the schedule ran")
    assert found[0]["due"].startswith(f"{at:%Y-%m-%dT%H:%M:%S}"), "it is told when it was due"


def test_an_input_is_given_as_it_is(serve, project):
    more = 'input = { name = "as given" }'
    server = serve(make(project, "once", soon(3), handler=INPUT, more=more))
    assert until(lambda: runs(server), "the schedule ran")[0]["name"] == "as given"

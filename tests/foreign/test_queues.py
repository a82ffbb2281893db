"""Queues with handlers behind them: order, dead letters, redrive, kills, and nothing that runs while nothing is there."""

import json
import os
import pathlib
import random
import time

import deltalake
from conftest import until

ROW = """{"type": "record", "name": "Row", "fields": [
  {"name": "n", "type": "long"}, {"name": "source", "type": "string"}]}"""

TABLE = """
function "work" {{
  on      = queue.{queue}
  code    = "work"
  handler = "work.handler"
  timeout = "10s"
  {more}
  to     = table.done
  schema = "row.avsc"
}}
table "done" {{
  unique_by = []
  freshness = "500ms"
}}
"""


def hcl(queues, queue, more=""):
    return queues + TABLE.format(queue=queue, more=more)


def send(server, queue, bodies):
    lines = "".join(json.dumps(body) + "\n" for body in bodies)
    server.run("queue", "send", queue, "-", "--lines", input=lines)


def numbers(server):
    return [row["n"] for row in server.query("select n from done order by n")]


def counts(server, queue):
    listed = json.loads(server.run("queue", "list", "--json").stdout)["queues"]
    return next(found for found in listed if found["name"] == queue)


def test_messages_become_rows_and_poison_becomes_dead_letters(serve, project):
    server = serve(project(hcl('queue "tasks" {\n  max_receives = 3\n}\n', "tasks"), {"row.avsc": ROW}, ["work"]))
    bodies = [{"n": n} for n in range(100)]
    bodies[17]["poison"], bodies[60]["raise"], bodies[71]["fail"], bodies[72]["raise"] = True, 9, 2, 2
    send(server, "tasks", bodies)
    letters = until(lambda: two(server.dead("source = 'queue/tasks'")), "dead letters")
    assert sorted(json.loads(bytes.fromhex(letter["payload"]))["n"] for letter in letters) == [17, 60]
    assert {letter["target"] for letter in letters} == {"function/work"}
    assert {letter["attempts"] for letter in letters} == {3}
    assert any("message 60 fails at its receive 3" in letter["error"] for letter in letters)
    until(lambda: len(numbers(server)) == 98, "rows")
    assert numbers(server) == [n for n in range(100) if n not in (17, 60)]
    assert counts(server, "tasks")["ready"] == counts(server, "tasks")["in_flight"] == 0


def two(letters):
    return letters if len(letters) >= 2 else None


def test_poison_goes_to_the_dead_letter_queue_and_back_after_the_fix(serve, project):
    queues = 'queue "dead" {}\nqueue "tasks" {\n  max_receives = 2\n  dead_letter = queue.dead\n}\n'
    server = serve(project(hcl(queues, "tasks"), {"row.avsc": ROW}, ["work"]))
    send(server, "tasks", [{"n": n, "poison": n % 4 == 0} for n in range(20)])
    until(lambda: counts(server, "dead")["ready"] == 5, "dead letters")
    assert server.dead() == [], "they are in the queue that was named for them"
    shown = json.loads(server.run("queue", "peek", "dead", "--json").stdout)["messages"]
    assert sorted(json.loads(message["body"])["n"] for message in shown) == [0, 4, 8, 12, 16]
    for message in shown:
        assert message["headers"]["weir-source"] == "queue/tasks" and message["headers"]["weir-cause"] == "function_failed"
        assert message["headers"]["weir-attempts"] == "2"
    # A client of SQS sees them as SQS has them.
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName="dead")["QueueUrl"]
    names = ["DeadLetterQueueSourceArn"]
    seen = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=5, VisibilityTimeout=0, MessageSystemAttributeNames=names)
    for message in seen["Messages"]:
        assert json.loads(message["Body"])["n"] % 4 == 0
        assert message["Attributes"]["DeadLetterQueueSourceArn"] == "arn:aws:sqs:us-east-1:000000000000:tasks"

    code = server.folder / "work" / "work.py"
    code.write_text(code.read_text().replace('body.get("poison")', "False"))
    server.run("function", "deploy", "work")
    server.run("queue", "redrive", "dead")
    until(lambda: len(numbers(server)) == 20, "all rows")
    assert numbers(server) == list(range(20))
    moved = json.loads(server.run("queue", "moves", "dead", "--json").stdout)["moves"][0]
    assert moved["status"] == "completed" and moved["moved"] == 5


FIFO = """
queue "steps" {
  fifo               = true
  visibility_timeout = "10s"
  max_receives       = 9
}
stream "steps" {
  schema = "row.avsc"
  key    = "source"
}
function "work" {
  on      = queue.steps
  code    = "work"
  handler = "work.handler"
  timeout = "10s"
  batch { size = 5 }
  to = stream.steps
}
"""


def test_a_group_of_a_fifo_queue_stays_in_order_over_failures_and_kills(serve, project):
    server = serve(project(FIFO, {"row.avsc": ROW}, ["work"]))
    chance = random.Random(5)
    groups = {f"g{group}": list(range(40)) for group in range(5)}
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName="steps.fifo")["QueueUrl"]
    for n in range(40):
        entries = []
        for group in groups:
            body = {"n": n, "sleep": 0.01, chance.choice(["fail", "raise"]): chance.choice([0, 0, 0, 0, 1, 2])}
            entries.append({"Id": group, "MessageBody": json.dumps(body), "MessageGroupId": group, "MessageDeduplicationId": f"{group}-{n}"})
        # Twice: the second is a repeat, which the queue drops.
        for _ in range(2):
            assert "Failed" not in sqs.send_message_batch(QueueUrl=url, Entries=entries)
        if n == 20:
            server.kill()
            server.start()
    until(lambda: len(steps(server)) >= 200, "all steps", 120)
    seen = {group: [] for group in groups}
    for step in steps(server):
        seen[step["source"]].append(step["n"])
    assert seen == groups


def steps(server):
    return [json.loads(line) for line in server.run("tail", "steps").stdout.splitlines()]


def test_no_message_is_lost_and_no_row_comes_twice_over_kills(serve, project):
    more = 'batch { size = 20 }'
    queues = 'queue "tasks" {\n  visibility_timeout = "10s"\n}\n'
    server = serve(project(hcl(queues, "tasks", more), {"row.avsc": ROW}, ["work"]))
    for part in range(3):
        send(server, "tasks", [{"n": n, "sleep": 0.002} for n in range(1000 * part, 1000 * (part + 1))])
        until(lambda: server.function("work")["items"] > 0, "the function works")
        assert server.function("work")["behind"] > 0, "a kill of something that is done shows nothing"
        server.kill()
        server.start()
    until(lambda: server.function("work")["behind"] == 0, "everything is worked off", 180)
    assert numbers(server) == list(range(3000))
    assert server.stop() == 0
    table = deltalake.DeltaTable(server.table_path("done")).to_pyarrow_table(columns=["n"])
    assert sorted(table.column("n").to_pylist()) == list(range(3000))


def children(process: int) -> list[int]:
    """Every process below one."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [process]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def cpu_seconds(process: int) -> float:
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_nothing_runs_while_nothing_is_there_and_the_first_message_wakes_it(serve, project):
    server = serve(project(hcl('queue "tasks" {}\n', "tasks", 'keep_warm = "1s"'), {"row.avsc": ROW}, ["work"]))
    process = server.process.pid
    assert children(process) == []
    for message in range(2):
        sent = time.monotonic()
        send(server, "tasks", [{"n": message}])
        until(lambda: len(numbers(server)) == message + 1, "the message is a row")
        assert time.monotonic() - sent < 10
        assert children(process) != [] or message == 1
        until(lambda: children(process) == [], "the environment has ended", 20)
        # What was left to commit is committed.
        time.sleep(2)
        before = cpu_seconds(process)
        time.sleep(10)
        used = cpu_seconds(process) - before
        assert used < 0.2 and children(process) == [], f"{used} s of CPU in 10 idle seconds"

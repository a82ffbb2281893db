"""Lambda handlers as people have them, with the clients that people use: nothing here knows of weir but the configuration."""

import base64
import concurrent.futures
import json
import os
import shutil
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from conftest import HANDLERS, Server, until, write_project

ROW = """{"type": "record", "name": "Row", "fields": [
  {"name": "n", "type": "long"}, {"name": "source", "type": "string"}]}"""

EVENT = """{"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "key", "type": "string"}]}"""

HCL = """
function "echo" {
  code        = "python"
  handler     = "echo.handler"
  timeout     = "2s"
  memory      = "160MiB"
  environment = { LEVEL = "info" }
}
function "ric" {
  code    = "ric"
  handler = "echo.handler"
  timeout = "5s"
}
function "lone" {
  code        = "python"
  handler     = "echo.handler"
  timeout     = "10s"
  concurrency = 1
}
function "node" {
  code    = "node"
  handler = "index.handler"
}
function "callback" {
  code    = "node"
  handler = "index.callback"
}
function "rust" {
  code = "rust"
}
function "web" {
  code    = "web"
  handler = "web.handler"
  to      = table.web
  schema  = "row.avsc"
}
table "web" {
  unique_by = []
  freshness = "500ms"
}

queue "items" {
  max_receives = 3
}
function "messages" {
  on      = queue.items
  code    = "powertools"
  handler = "batches.messages"
  to      = table.messages
  schema  = "row.avsc"
}
table "messages" {
  unique_by = []
  freshness = "500ms"
}

stream "events" {
  schema = "event.avsc"
  key    = "key"
}
function "records" {
  on      = stream.events
  code    = "powertools"
  handler = "batches.records"
  batch { size = 20 }
  retry { attempts = 1 }
  to     = table.records
  schema = "row.avsc"
}
table "records" {
  unique_by = []
  freshness = "500ms"
}
function "sql" {
  on  = stream.events
  sql = "select n, key as source from input"
  to  = table.plain
}
table "plain" {
  unique_by = []
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("functions")
    schemas = {"row.avsc": ROW, "event.avsc": EVENT}
    project = write_project(root / "project", HCL, schemas, ["python", "ric", "powertools", "node", "web"])
    shutil.copy(HANDLERS / "python" / "echo.py", project / "ric")
    shutil.copytree(os.environ["WEIR_COMPILED_HANDLER"], project / "rust")
    (root / "data").mkdir()
    server = Server(project, root / "data" / "weir")
    yield server
    assert server.stop() == 0, server.tail()
    server.log.close()


@pytest.fixture(scope="module")
def aws(server):
    client = server.client("lambda", max_pool_connections=20)
    yield client
    client.close()


def invoke(aws, name, event, **kwargs):
    """Returns what a function answered, with the response."""
    response = aws.invoke(FunctionName=name, Payload=json.dumps(event), **kwargs)
    return json.loads(response["Payload"].read()), response


def refused(call, code):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == code, error.value.response
    return error.value.response


@pytest.mark.parametrize("name", ["echo", "ric"])
def test_a_python_handler_runs_on_weirs_own_client_and_on_awss(aws, name):
    event = {"text": "gänse", "number": 1.5, "list": [None, True]}
    answer, response = invoke(aws, name, event, LogType="Tail")
    assert response["StatusCode"] == 200 and response["ExecutedVersion"] == "1" and "FunctionError" not in response
    assert answer["event"] == event and answer["function"] == name and answer["version"] == "1"
    assert answer["ric"] == (name == "ric"), "awslambdaric runs exactly where the code brings it"
    assert answer["memory"] == (160 if name == "echo" else 256)
    assert 0 < answer["remaining"] <= (2000 if name == "echo" else 5000)
    assert answer["arn"] == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert answer["request"] == response["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(response["LogResult"]).decode()
    assert "seen by echo" in log and "logged by echo" in log and f"START RequestId: {answer['request']}" in log, log


@pytest.mark.parametrize("name", ["echo", "ric", "node", "rust"])
def test_a_handler_stays_for_the_next_event(server, aws, name):
    requests = {invoke(aws, name, {"n": n})[0]["request"] for n in range(20)}
    assert len(requests) == 20
    if name in ("echo", "ric"):
        assert len({invoke(aws, name, {})[0]["process"] for _ in range(5)}) == 1


def test_a_clients_context_arrives(aws):
    context = base64.b64encode(json.dumps({"custom": {"a": "1"}}).encode()).decode()
    assert invoke(aws, "echo", {}, ClientContext=context)[0]["custom"] == {"a": "1"}


@pytest.mark.parametrize("name", ["echo", "ric"])
def test_an_exception_is_told_as_lambda_tells_it(aws, name):
    error, response = invoke(aws, name, {"action": "raise", "message": "no «good»"})
    assert response["StatusCode"] == 200 and response["FunctionError"] == "Unhandled"
    assert error["errorMessage"] == "no «good»" and error["errorType"] == "Mistake"
    assert any("echo.py" in frame for frame in error["stackTrace"])


def test_node_handlers_answer_by_promise_and_by_callback(aws):
    answer, response = invoke(aws, "node", {"a": [1, "ü"]}, LogType="Tail")
    assert answer["event"] == {"a": [1, "ü"]} and answer["function"] == "node" and answer["memory"] == 256
    assert "seen by node" in base64.b64decode(response["LogResult"]).decode()
    error, response = invoke(aws, "node", {"action": "raise", "message": "oh"})
    assert response["FunctionError"] == "Unhandled" and error["errorType"] == "TypeError" and error["errorMessage"] == "oh"
    assert invoke(aws, "callback", {"b": 2})[0] == {"called": {"b": 2}}
    error, response = invoke(aws, "callback", {"fail": "called off"})
    assert response["FunctionError"] == "Unhandled" and error["errorMessage"] == "called off"


def test_a_handler_on_the_rust_runtime_runs(aws):
    answer, _ = invoke(aws, "rust", {"a": [1, "ü"]})
    assert answer["echo"] == {"a": [1, "ü"]} and answer["function"] == "rust"
    error, response = invoke(aws, "rust", {"fail": "no such luck"})
    assert response["FunctionError"] == "Unhandled" and error["errorMessage"] == "no such luck"


def test_a_handler_that_hangs_or_dies_is_told_and_the_next_event_runs(aws):
    error, response = invoke(aws, "echo", {"action": "sleep", "seconds": 60})
    assert response["FunctionError"] == "Unhandled" and "timed out after 2.00 seconds" in error["errorMessage"]
    assert error["errorType"] == "Sandbox.Timedout"
    for name in ["echo", "ric", "node"]:
        error, response = invoke(aws, name, {"action": "exit", "status": 3})
        assert response["FunctionError"] == "Unhandled" and error["errorType"] == "Runtime.ExitError", error
        assert "exit status 3" in error["errorMessage"]
        assert invoke(aws, name, {"n": 1})[0]["event"] == {"n": 1}


def test_answers_and_events_have_a_limit(aws):
    assert len(invoke(aws, "echo", {"action": "large", "bytes": 6_000_000})[0]) == 6_000_000
    error, response = invoke(aws, "echo", {"action": "large", "bytes": 7_000_000})
    assert response["FunctionError"] == "Unhandled" and error["errorType"] == "Function.ResponseSizeTooLarge"
    text = "x" * (7 * 1024 * 1024)
    assert refused(lambda: invoke(aws, "echo", {"text": text}), "RequestTooLargeException")["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert invoke(aws, "echo", {"n": 1})[0]["event"] == {"n": 1}


def test_what_cannot_be_invoked_is_refused_by_the_codes_that_clients_know(aws):
    assert refused(lambda: invoke(aws, "nobody", {}), "ResourceNotFoundException")["ResponseMetadata"]["HTTPStatusCode"] == 404
    refused(lambda: invoke(aws, "sql", {}), "InvalidParameterValueException")
    refused(lambda: aws.invoke(FunctionName="echo", Payload=b"{no json"), "InvalidRequestContentException")
    refused(lambda: invoke(aws, "echo", {}, Qualifier="99"), "ResourceNotFoundException")
    refused(lambda: invoke(aws, "nobody", {}, InvocationType="DryRun"), "ResourceNotFoundException")
    assert aws.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204
    arn = "arn:aws:lambda:us-east-1:000000000000:function:echo:1"
    assert invoke(aws, arn, {"n": 1})[1]["ExecutedVersion"] == "1"


def test_reserved_concurrency_throttles(aws):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        invoke(aws, "lone", {})
        long = pool.submit(invoke, aws, "lone", {"action": "sleep", "seconds": 4})
        until(lambda: not long.done(), "the first one runs")
        # A turn is waited for, a second, and then it is refused.
        until(lambda: throttled(aws), "a second call was throttled", 10)
        assert long.result()[0]["event"]["action"] == "sleep"


def throttled(aws):
    try:
        invoke(aws, "lone", {})
        return False
    except ClientError as error:
        return error.response["Error"]["Code"] == "TooManyRequestsException"


def test_an_event_for_later_runs_and_a_failing_one_becomes_a_dead_letter(server, aws):
    assert invoke_later(aws, "echo", {"mark": "later"}) == 202
    until(lambda: server.function("echo")["items"] >= 1, "the event ran")
    invoke_later(aws, "echo", {"action": "raise", "message": "never"})
    letter = until(lambda: server.dead("target = 'function/echo'"), "a dead letter")[0]
    assert letter["cause"] == "function_failed" and "never" in letter["error"] and letter["attempts"] == 3


def invoke_later(aws, name, event):
    return aws.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))["StatusCode"]


def test_a_handler_sees_the_variables_that_lambda_sets_and_none_of_the_servers(server, aws):
    variables = invoke(aws, "echo", {"action": "variables"})[0]
    assert variables["LEVEL"] == "info" and variables["_HANDLER"] == "echo.handler" and variables["TZ"] == ":UTC"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "echo" and variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "160"
    assert variables["AWS_ENDPOINT_URL"] == server.url and variables["AWS_REGION"] == "us-east-1"
    assert not [name for name in variables if name.startswith("WEIR")], variables


def request(server, path, data=None, method=None, **headers):
    call = urllib.request.Request(server.url + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_a_functions_url_serves_pages(server):
    status, headers, body = request(server, "/functions/web/plain?a=1&b=2", cookie="x=1; y=2")
    assert status == 200 and headers["content-type"] == "application/json"
    assert json.loads(body) == {"seen": ["GET", {"a": "1", "b": "2"}, ["x=1", "y=2"]]}
    status, headers, body = request(server, "/functions/web/picture")
    assert status == 201 and headers["content-type"] == "image/x-test" and body == bytes(range(256))
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert request(server, "/functions/web")[0] == 404
    assert request(server, "/functions/nobody")[0] == 404
    status, _, body = request(server, "/functions/web/raise")
    # Anybody may call a URL: what failed is for the log.
    assert status == 502 and "no such luck" not in body.decode() and "ValueError: no such luck" in server.tail(), body


def test_records_of_a_page_are_durable_when_it_answers_and_ones_that_do_not_fit_are_no_success(server):
    for n in range(5):
        assert request(server, "/functions/web/keep", data=str(n).encode(), method="POST")[0] == 202
    rows = server.query("select n from web order by n")
    assert [row["n"] for row in rows] == [0, 1, 2, 3, 4]
    assert request(server, "/functions/web/wrong", data=b"", method="POST")[0] == 502
    assert "record 1 for output" in server.tail()


def test_powertools_batches_of_a_queue_run_unmodified(server):
    sqs = server.client("sqs")
    url = sqs.get_queue_url(QueueName="items")["QueueUrl"]
    origin = {"origin": {"DataType": "String", "StringValue": "boto3"}}
    for start in range(0, 40, 10):
        entries = [
            {"Id": str(n), "MessageBody": json.dumps({"n": n}), "MessageAttributes": origin} for n in range(start, start + 10)
        ]
        assert "Failed" not in sqs.send_message_batch(QueueUrl=url, Entries=entries)
    poison = [n for n in range(40) if n % 7 == 3]
    letters = until(lambda: enough(server.dead("source = 'queue/items'"), len(poison)), "dead letters")
    assert sorted(json.loads(payload(letter))["n"] for letter in letters) == poison
    assert all(letter["cause"] == "function_failed" and letter["attempts"] == 3 for letter in letters), letters
    assert all("boto3" in letter["headers"] for letter in letters)
    rows = server.query("select n, source from messages order by n")
    assert rows == [{"n": n, "source": "boto3"} for n in range(40) if n % 7 != 3]


def test_powertools_batches_of_a_stream_run_unmodified(server):
    lines = "".join(json.dumps({"n": n, "key": f"k{n % 3}"}) + "\n" for n in range(60))
    assert server.post("/v1/streams/events/records", lines.encode(), {"content-type": "application/x-ndjson"})[0] == 200
    poison = [n for n in range(60) if n % 7 == 3]
    letters = until(lambda: enough(server.dead("target = 'function/records'"), len(poison)), "dead letters")
    assert len(letters) == len(poison) and {letter["cause"] for letter in letters} == {"function_failed"}
    good = [n for n in range(60) if n % 7 != 3]
    rows = until(lambda: enough(server.query("select n, source from records order by n"), len(good)), "rows")
    assert rows == [{"n": n, "source": f"k{n % 3}"} for n in good]


def enough(found, count):
    return found if len(found) >= count else None


def payload(letter) -> bytes:
    return bytes.fromhex(letter["payload"])


def test_the_command_line_lists_invokes_and_shows_logs(server):
    listed = {f["name"]: f for f in json.loads(server.run("function", "list", "--json").stdout)["functions"]}
    assert listed["echo"]["kind"] == "handler" and listed["messages"]["on"] == "queue/items", listed
    assert "echo" in server.run("function", "list").stdout
    answer = json.loads(server.run("function", "invoke", "echo", '{"n": 7}').stdout)
    assert answer["event"] == {"n": 7}
    done = server.run("function", "invoke", "echo", '{"action": "raise", "message": "told"}', check=False)
    assert done.returncode != 0 and json.loads(done.stdout)["errorMessage"] == "told"
    logged = server.run("function", "logs", "echo", "--request", answer["request"], "--json").stdout.splitlines()
    texts = [json.loads(line)["text"] for line in logged]
    assert "seen by echo" in texts and {json.loads(line)["request_id"] for line in logged} == {answer["request"]}
    done = server.run("function", "invoke", "nobody", check=False)
    assert done.returncode != 0 and "there is no function `nobody`" in done.stderr
    assert "enforced" in server.run("function", "list", "--confinement").stdout


def test_new_code_is_deployed_and_rolled_back(server, aws):
    code = server.folder / "node" / "index.mjs"
    old = code.read_text()
    code.write_text(old.replace("return {", "return { deployed: 2,"))
    try:
        assert "deployed" not in invoke(aws, "node", {})[0], "code changes when it is deployed"
        server.run("function", "deploy", "node")
        answer, response = invoke(aws, "node", {})
        assert answer["deployed"] == 2 and response["ExecutedVersion"] == "2"
        assert "deployed" not in invoke(aws, "node", {}, Qualifier="1")[0]
        versions = json.loads(server.run("function", "versions", "node", "--json").stdout)["versions"]
        assert [(v["version"], v["live"]) for v in versions] == [(1, False), (2, True)]
        server.run("function", "rollback", "node")
        answer, response = invoke(aws, "node", {})
        assert "deployed" not in answer and response["ExecutedVersion"] == "1"
        code.write_text("export const handler = async () => {")
        server.run("function", "deploy", "node")
        error, response = invoke(aws, "node", {})
        assert response["FunctionError"] == "Unhandled" and error["errorType"] == "Runtime.UserCodeSyntaxError", error
        server.run("function", "rollback", "node", "--to", "1")
        assert invoke(aws, "node", {"n": 1})[0]["event"] == {"n": 1}
    finally:
        code.write_text(old)

"""boto3 against the SQS API: unmodified, in both of its protocols.

This file runs twice: with a current boto3, which speaks AWS JSON, and with one from before November 2023 (its own environment,
requirements-query.txt), which speaks the query protocol. WEIR_SQS_ENDPOINT points it at a server that runs already.
"""

import concurrent.futures
import hashlib
import json
import os
import socket
import struct
import threading
import time
import urllib.parse
import uuid

import boto3
import botocore
import botocore.config
import pytest
from conftest import EVENT_HCL, EVENT_SCHEMA, Server

ACCOUNT = "000000000000"
ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}"
CODE = "AWS.SimpleQueueService."


@pytest.fixture(scope="module")
def sqs_endpoint(tmp_path_factory):
    if os.environ.get("WEIR_SQS_ENDPOINT"):
        yield os.environ["WEIR_SQS_ENDPOINT"]
        return
    root = tmp_path_factory.mktemp("sqs")
    plan = root / "config"
    plan.mkdir()
    (plan / "weir.hcl").write_text(EVENT_HCL)
    (plan / "event.avsc").write_text(EVENT_SCHEMA)
    (root / "data").mkdir()
    server = Server(plan, root / "data" / "weir")
    yield server.url
    server.stop()
    server.log.close()


def connect(endpoint, **kwargs):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=32, **kwargs)
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=config,
    )


@pytest.fixture
def sqs(sqs_endpoint):
    client = connect(sqs_endpoint)
    yield client
    client.close()


@pytest.fixture
def make(sqs):
    """Makes queues that end with the test."""
    urls = []

    def make(suffix="", **attributes):
        name = f"q-{uuid.uuid4().hex}{suffix}"
        if suffix == ".fifo":
            attributes["FifoQueue"] = "true"
        urls.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return urls[-1]

    yield make
    for url in urls:
        try:
            sqs.delete_queue(QueueUrl=url)
        except sqs.exceptions.QueueDoesNotExist:
            pass


def name_of(url):
    return url.rsplit("/", 1)[1]


def arn_of(url):
    return f"{ARN}:{name_of(url)}"


def receive(sqs, url, wait=5, **kwargs):
    kwargs = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": wait, "AttributeNames": ["All"], **kwargs}
    return sqs.receive_message(QueueUrl=url, **kwargs).get("Messages", [])


def failure(call, **kwargs):
    """The error of a call: its class's name, code, status and message."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**kwargs)
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return type(caught.value).__name__, response["Error"]["Code"], status, response["Error"]["Message"]


def attribute(sqs, url, name):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name]).get("Attributes", {}).get(name)


def eventually(check, seconds=20):
    """Asks again and again until the answer is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def md5_of_attributes(attributes):
    digest = hashlib.md5()

    def put(data):
        digest.update(struct.pack(">I", len(data)) + data)

    for name in sorted(attributes):
        one = attributes[name]
        put(name.encode())
        put(one["DataType"].encode())
        if "BinaryValue" in one:
            digest.update(b"\x02")
            put(one["BinaryValue"])
        else:
            digest.update(b"\x01")
            put(one["StringValue"].encode())
    return digest.hexdigest()


def test_the_client_speaks_the_protocol_it_is_here_for(sqs):
    old = tuple(map(int, botocore.__version__.split(".")[:2])) < (1, 32)
    assert sqs.meta.service_model.metadata["protocol"] == ("query" if old else "json")


def test_queues_are_made_found_listed_and_deleted(sqs, make, sqs_endpoint):
    url = make(VisibilityTimeout="40")
    assert url == f"{sqs_endpoint}/{ACCOUNT}/{name_of(url)}"
    assert sqs.get_queue_url(QueueName=name_of(url))["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name_of(url), Attributes={"VisibilityTimeout": "40"})["QueueUrl"] == url
    assert url in sqs.list_queues(QueueNamePrefix=name_of(url)[:5])["QueueUrls"]
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="nothing-begins-so")
    assert failure(sqs.create_queue, QueueName=name_of(url), Attributes={"VisibilityTimeout": "41"}) == (
        "QueueNameExists",
        "QueueAlreadyExists",
        400,
        "A queue already exists with the same name and a different value for attribute VisibilityTimeout",
    )
    sqs.delete_queue(QueueUrl=url)
    none = ("QueueDoesNotExist", CODE + "NonExistentQueue", 400, "The specified queue does not exist.")
    assert failure(sqs.get_queue_url, QueueName=name_of(url)) == none
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="x") == none
    assert failure(sqs.delete_queue, QueueUrl=url) == none
    url = sqs.create_queue(QueueName=name_of(url))["QueueUrl"]
    sqs.delete_queue(QueueUrl=url)


def test_a_host_in_a_queue_s_url_does_not_matter(sqs, make, sqs_endpoint):
    port = urllib.parse.urlparse(sqs_endpoint).port
    url = make()
    by_name = f"http://localhost:{port}/{ACCOUNT}/{name_of(url)}"
    assert sqs.send_message(QueueUrl=by_name, MessageBody="x")["MessageId"]
    assert connect(f"http://localhost:{port}").get_queue_url(QueueName=name_of(url))["QueueUrl"] == by_name


def test_queues_are_listed_in_pages(sqs):
    prefix = f"page-{uuid.uuid4().hex[:8]}-"
    urls = [sqs.create_queue(QueueName=f"{prefix}{n}")["QueueUrl"] for n in range(5)]
    pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2}))
    assert [len(page["QueueUrls"]) for page in pages] == [2, 2, 1]
    assert [url for page in pages for url in page["QueueUrls"]] == urls
    for url in urls:
        sqs.delete_queue(QueueUrl=url)


def test_attributes_and_tags(sqs, make):
    url = make(DelaySeconds="1", MaximumMessageSize="2048", MessageRetentionPeriod="600")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "3"})
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    created, modified = int(found.pop("CreatedTimestamp")), int(found.pop("LastModifiedTimestamp"))
    assert abs(time.time() - created) < 60 and created <= modified
    assert found == {
        "QueueArn": arn_of(url),
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "2048",
        "MessageRetentionPeriod": "600",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "3",
        "SqsManagedSseEnabled": "false",
    }
    assert failure(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Color"])[:2] == ("InvalidAttributeName",) * 2
    assert failure(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Color": "red"})[:3] == (
        "InvalidAttributeName",
        "InvalidAttributeName",
        400,
    )
    # Older clients know no class for this one.
    for name, value in [("DelaySeconds", "901"), ("KmsMasterKeyId", "alias/x"), ("SqsManagedSseEnabled", "true")]:
        assert failure(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value})[1] == "InvalidAttributeValue"
    sqs.tag_queue(QueueUrl=url, Tags={"team": "data", "cost center": "7 & 8"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"cost center": "7 & 8"}
    tagged = sqs.create_queue(QueueName=f"{name_of(url)}-t", tags={"a": "b"})["QueueUrl"]
    assert sqs.list_queue_tags(QueueUrl=tagged)["Tags"] == {"a": "b"}
    sqs.delete_queue(QueueUrl=tagged)


def test_a_message_goes_through_whole(sqs, make):
    url = make()
    body = "é<&>\"'\r\n\t \U0010ffff%+=&a=b" + "x" * 100_000
    attributes = {
        "text": {"DataType": "String", "StringValue": "ü & <"},
        "number": {"DataType": "Number.int", "StringValue": "-17"},
        "bytes": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    }
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    sent = sqs.send_message(
        QueueUrl=url, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=system, MessageGroupId="tenant"
    )
    assert sent["MD5OfMessageBody"] == md5(body)
    assert sent["MD5OfMessageAttributes"] == md5_of_attributes(attributes)
    assert sent["MD5OfMessageSystemAttributes"] == md5_of_attributes(system)
    assert uuid.UUID(sent["MessageId"])
    assert "SequenceNumber" not in sent
    (message,) = receive(sqs, url, MessageAttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == body and message["MD5OfBody"] == md5(body)
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == md5_of_attributes(attributes)
    found = message["Attributes"]
    assert found["SenderId"] == ACCOUNT and found["ApproximateReceiveCount"] == "1"
    assert found["AWSTraceHeader"] == header and found["MessageGroupId"] == "tenant"
    assert abs(time.time() * 1000 - int(found["SentTimestamp"])) < 60_000
    assert int(found["ApproximateFirstReceiveTimestamp"]) >= int(found["SentTimestamp"])
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "1"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "0"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_attributes_of_a_message_are_chosen(sqs, make):
    url = make(VisibilityTimeout="0")
    text = {"DataType": "String", "StringValue": "v"}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={"a.one": text, "a.two": text, "b": text})
    for names, found in [
        ([], set()),
        (["b", "none"], {"b"}),
        (["a.*"], {"a.one", "a.two"}),
        ([".*"], {"a.one", "a.two", "b"}),
    ]:
        (message,) = receive(sqs, url, MessageAttributeNames=names, AttributeNames=[])
        assert set(message.get("MessageAttributes", {})) == found
        assert "Attributes" not in message
    (message,) = receive(sqs, url, AttributeNames=["SenderId"])
    assert set(message["Attributes"]) == {"SenderId"}


def test_messages_outside_of_the_limits_are_refused(sqs, make):
    url = make(MaximumMessageSize="1024")
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="x" * 1025)[1:] == (
        "InvalidParameterValue",
        400,
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
    )
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="\x01")[:2] == ("InvalidMessageContents",) * 2
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="")[1] == "MissingParameter"
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="x", DelaySeconds=901)[1] == "InvalidParameterValue"
    bad = {"AWS.mine": {"DataType": "String", "StringValue": "v"}}
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="x", MessageAttributes=bad)[1] == "InvalidParameterValue"
    for wrong in [{"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"VisibilityTimeout": 43201}]:
        assert failure(sqs.receive_message, QueueUrl=url, **wrong)[1] == "InvalidParameterValue"
    assert failure(sqs.delete_message, QueueUrl=url, ReceiptHandle="garbled")[:3] == (
        "ReceiptHandleIsInvalid",
        "ReceiptHandleIsInvalid",
        404,
    )
    assert failure(sqs.delete_queue, QueueUrl=url + "/more")[1] in ("InvalidAddress", CODE + "NonExistentQueue")


def test_batches(sqs, make):
    url = make()
    entries = [{"Id": f"m{n}", "MessageBody": f"body {n}"} for n in range(9)]
    entries.append({"Id": "bad", "MessageBody": "\x00", "DelaySeconds": 0})
    sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in sent["Successful"]] == [f"m{n}" for n in range(9)]
    assert [one["MD5OfMessageBody"] for one in sent["Successful"]] == [md5(f"body {n}") for n in range(9)]
    (failed,) = sent["Failed"]
    assert (failed["Id"], failed["SenderFault"], failed["Code"]) == ("bad", True, "InvalidMessageContents")
    messages = []
    while len(messages) < 9:
        got = receive(sqs, url)
        assert got
        messages += got
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 100} for entry in entries]
    )
    assert len(changed["Successful"]) == 9 and "Failed" not in changed
    entries.append({"Id": "bad", "ReceiptHandle": "garbled"})
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert len(deleted["Successful"]) == 9
    assert [(one["Id"], one["Code"]) for one in deleted["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "0"
    one = {"Id": "a", "MessageBody": "x"}
    for entries, name in [
        ([one, one], "BatchEntryIdsNotDistinct"),
        ([{**one, "Id": f"{n}"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{**one, "Id": "a b"}], "InvalidBatchEntryId"),
        ([{"Id": f"{n}", "MessageBody": "x" * 400_000} for n in range(3)], "BatchRequestTooLong"),
    ]:
        assert failure(sqs.send_message_batch, QueueUrl=url, Entries=entries)[:3] == (name, CODE + name, 400)


def test_an_empty_batch_is_refused(sqs, make):
    url = make()
    kind, code, status, _ = failure(sqs.send_message_batch, QueueUrl=url, Entries=[])
    assert (kind, code, status) == ("EmptyBatchRequest", CODE + "EmptyBatchRequest", 400)


def test_visibility_and_fenced_receipts(sqs, make):
    url = make(VisibilityTimeout="600")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (first,) = receive(sqs, url)
    assert receive(sqs, url, wait=0) == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (second,) = receive(sqs, url)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "1"
    stale = {"QueueUrl": url, "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 0}
    assert failure(sqs.change_message_visibility, **stale)[1] == "InvalidParameterValue"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "0"
    sqs.send_message(QueueUrl=url, MessageBody="y")
    (third,) = receive(sqs, url, VisibilityTimeout=1)
    (again,) = receive(sqs, url)
    assert third["MessageId"] == again["MessageId"]


def test_delays(sqs, make):
    url = make()
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    assert attribute(sqs, url, "ApproximateNumberOfMessagesDelayed") == "1"
    assert receive(sqs, url, wait=0) == []
    (message,) = receive(sqs, url)
    assert message["Body"] == "later"


def test_a_long_poll_wakes_at_once(sqs, make):
    url = make(ReceiveMessageWaitTimeSeconds="20")
    received = {}

    def poll():
        received["messages"] = sqs.receive_message(QueueUrl=url)["Messages"]
        received["at"] = time.monotonic()

    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.3)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sent = time.monotonic()
    thread.join(20)
    assert received["messages"][0]["Body"] == "x"
    assert received["at"] - sent < 0.5


def test_a_poll_whose_client_went_away_takes_nothing(sqs, make, sqs_endpoint):
    url = make()
    target = urllib.parse.urlparse(sqs_endpoint)
    form = urllib.parse.urlencode({"Action": "ReceiveMessage", "QueueUrl": url, "WaitTimeSeconds": 20})
    polls = []
    for _ in range(5):
        poll = socket.create_connection((target.hostname, target.port))
        poll.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
        )
        polls.append(poll)
    # They wait by the time a poll that began after them has come back with nothing.
    assert receive(sqs, url, wait=1) == []
    for poll in polls:
        poll.close()
    time.sleep(0.2)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_fifo_queues(sqs, make):
    url = make(".fifo", ContentBasedDeduplication="true")
    sent = {}
    for n in range(4):
        for group in ["a", "b"]:
            sent[group, n] = sqs.send_message(QueueUrl=url, MessageBody=f"{group}{n}", MessageGroupId=group)
    numbers = [one["SequenceNumber"] for one in sent.values()]
    assert numbers == sorted(numbers) and len(set(numbers)) == 8
    repeat = sqs.send_message(QueueUrl=url, MessageBody="a0", MessageGroupId="a")
    assert repeat["MessageId"] == sent["a", 0]["MessageId"]
    assert repeat["SequenceNumber"] == sent["a", 0]["SequenceNumber"]
    taken = []
    while len(taken) < 8:
        messages = receive(sqs, url, MaxNumberOfMessages=3)
        assert messages
        # While these are in flight, nothing else of their groups is.
        groups = {message["Attributes"]["MessageGroupId"] for message in messages}
        others = receive(sqs, url, wait=0, VisibilityTimeout=0)
        assert groups.isdisjoint(message["Attributes"]["MessageGroupId"] for message in others)
        for message in messages:
            taken.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    for group in ["a", "b"]:
        assert [body for body in taken if body[0] == group] == [f"{group}{n}" for n in range(4)]
    assert failure(sqs.send_message, QueueUrl=url, MessageBody="x")[1] == "MissingParameter"
    assert attribute(sqs, url, "FifoQueue") == "true"
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    )
    assert attribute(sqs, url, "FifoThroughputLimit") == "perMessageGroupId"
    plain = make(".fifo")
    assert failure(sqs.send_message, QueueUrl=plain, MessageBody="x", MessageGroupId="g")[1] == "InvalidParameterValue"


def test_an_attempt_that_is_repeated_gets_the_same_messages(sqs, make):
    url = make(".fifo")
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1")
    (first,) = receive(sqs, url, ReceiveRequestAttemptId="attempt")
    (again,) = receive(sqs, url, ReceiveRequestAttemptId="attempt")
    assert first["MessageId"] == again["MessageId"]
    assert receive(sqs, url, wait=0, ReceiveRequestAttemptId="another") == []
    standard = make()
    assert failure(receive, sqs=sqs, url=standard, ReceiveRequestAttemptId="a")[1] == "InvalidParameterValue"


def test_dead_letters_and_the_way_back(sqs, make):
    dead, other = make(), make()
    policy = json.dumps({"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 2})
    url = make(RedrivePolicy=policy, VisibilityTimeout="0")
    assert json.loads(attribute(sqs, url, "RedrivePolicy")) == json.loads(policy)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    text = {"DataType": "String", "StringValue": "kept"}
    sent = sqs.send_message(QueueUrl=url, MessageBody="poison", MessageAttributes={"a": text})
    for _ in range(2):
        assert len(receive(sqs, url)) == 1
    assert receive(sqs, url, wait=0) == []
    (letter,) = receive(sqs, dead, MessageAttributeNames=["All"], VisibilityTimeout=0)
    assert (letter["Body"], letter["MessageId"]) == ("poison", sent["MessageId"])
    assert letter["MessageAttributes"] == {"a": text}
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == arn_of(url)

    def moved():
        (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"]
        return task if task["Status"] == "COMPLETED" else None

    assert sqs.start_message_move_task(SourceArn=arn_of(dead))["TaskHandle"]
    task = eventually(moved)
    assert (task["SourceArn"], task["ApproximateNumberOfMessagesMoved"]) == (arn_of(dead), 1)
    assert "DestinationArn" not in task and "TaskHandle" not in task
    (back,) = receive(sqs, url, VisibilityTimeout=600)
    assert back["Body"] == "poison"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=back["ReceiptHandle"])

    # Slowly to another queue, and cancelled on the way.
    sqs.send_message_batch(QueueUrl=dead, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(10)])
    start = {"SourceArn": arn_of(dead), "DestinationArn": arn_of(other), "MaxNumberOfMessagesPerSecond": 1}
    handle = sqs.start_message_move_task(**start)["TaskHandle"]
    assert failure(sqs.start_message_move_task, **start)[1] == "InvalidParameterValue"
    newest, older = sqs.list_message_move_tasks(SourceArn=arn_of(dead), MaxResults=10)["Results"]
    assert (newest["Status"], newest["TaskHandle"], newest["DestinationArn"]) == ("RUNNING", handle, arn_of(other))
    assert older["Status"] == "COMPLETED"
    assert sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] < 10
    eventually(lambda: sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"][0]["Status"] == "CANCELLED")
    left = [int(attribute(sqs, queue, "ApproximateNumberOfMessages")) for queue in (dead, other)]
    assert sum(left) == 10
    assert failure(sqs.start_message_move_task, SourceArn=arn_of(other))[1:3] == ("InvalidParameterValue", 400)
    assert failure(sqs.start_message_move_task, SourceArn=f"{ARN}:none")[:3] == (
        "ResourceNotFoundException",
        "ResourceNotFoundException",
        404,
    )
    assert failure(sqs.cancel_message_move_task, TaskHandle="?")[1] == "InvalidParameterValue"
    wrong = json.dumps({"deadLetterTargetArn": f"{ARN}:none", "maxReceiveCount": 2})
    assert failure(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": wrong})[1] == "InvalidParameterValue"
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})})
    assert failure(sqs.set_queue_attributes, QueueUrl=other, Attributes={"RedrivePolicy": policy})[1] == "InvalidParameterValue"


def test_a_purge_empties_the_queue_once_a_minute(sqs, make):
    url = make()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.purge_queue(QueueUrl=url)
    assert receive(sqs, url, wait=0) == []
    assert failure(sqs.purge_queue, QueueUrl=url) == (
        "PurgeQueueInProgress",
        CODE + "PurgeQueueInProgress",
        403,
        f"Only one PurgeQueue operation on {name_of(url)} is allowed every 60 seconds.",
    )


def test_permissions_are_refused(sqs, make):
    url = make()
    add = {"QueueUrl": url, "Label": "l", "AWSAccountIds": ["111111111111"], "Actions": ["*"]}
    for call, kwargs in [(sqs.add_permission, add), (sqs.remove_permission, {"QueueUrl": url, "Label": "l"})]:
        assert failure(call, **kwargs)[:3] == ("UnsupportedOperation", CODE + "UnsupportedOperation", 400)
    assert failure(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": "{}"})[1] == "InvalidAttributeValue"


def test_unsigned_requests_are_taken(make, sqs_endpoint):
    client = connect(sqs_endpoint, signature_version=botocore.UNSIGNED)
    url = make()
    client.send_message(QueueUrl=url, MessageBody="x")
    assert receive(client, url)[0]["Body"] == "x"


def test_the_resource_interface_works(make, sqs_endpoint):
    resource = boto3.resource(
        "sqs", endpoint_url=sqs_endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="a"
    )
    queue = resource.get_queue_by_name(QueueName=name_of(make()))
    queue.send_message(MessageBody="x", MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}})
    (message,) = queue.receive_messages(WaitTimeSeconds=5, MessageAttributeNames=["n"])
    assert message.message_attributes["n"]["StringValue"] == "1"
    message.change_visibility(VisibilityTimeout=60)
    message.delete()
    queue.load()
    assert queue.attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_many_senders_and_receivers_lose_nothing(sqs, make):
    url = make(VisibilityTimeout="600")
    total, seen, lock = 2000, [], threading.Lock()

    def send(first):
        entries = [{"Id": str(n), "MessageBody": str(first + n)} for n in range(10)]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10

    def consume(_):
        while True:
            messages = receive(sqs, url, wait=1)
            with lock:
                seen.extend(message["Body"] for message in messages)
                done = len(seen) >= total
            if messages:
                entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
                assert len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(messages)
            elif done:
                return

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        consumers = [pool.submit(consume, n) for n in range(6)]
        senders = [pool.submit(send, first) for first in range(0, total, 10)]
        for future in senders + consumers:
            future.result(timeout=120)
    assert sorted(map(int, seen)) == list(range(total))
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")

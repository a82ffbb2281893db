"""The AWS CLI against the SQS API, unmodified."""

import json
import os
import pathlib
import subprocess
import sys
import uuid

import pytest
from test_sqs import ARN, md5, name_of
from test_sqs import sqs_endpoint as sqs_endpoint

AWS = pathlib.Path(sys.executable).parent / "aws"


@pytest.fixture
def aws(sqs_endpoint, tmp_path):
    def run(*args, fails=False):
        env = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_PAGER": "",
        }
        command = [AWS, "sqs", *map(str, args), "--endpoint-url", sqs_endpoint, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
        assert (done.returncode != 0) == fails, f"{args}: {done.stdout}{done.stderr}"
        if fails:
            return done.stderr.strip()
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_a_queue_s_life_from_the_command_line(aws):
    name = f"cli-{uuid.uuid4().hex}"
    url = aws("create-queue", "--queue-name", name, "--attributes", "VisibilityTimeout=600", "--tags", "team=data")["QueueUrl"]
    assert name_of(url) == name
    assert aws("get-queue-url", "--queue-name", name)["QueueUrl"] == url
    assert aws("list-queues", "--queue-name-prefix", name)["QueueUrls"] == [url]
    assert aws("list-queue-tags", "--queue-url", url)["Tags"] == {"team": "data"}
    attribute = '{"city": {"DataType": "String", "StringValue": "Köln"}}'
    sent = aws("send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes", attribute)
    assert sent["MD5OfMessageBody"] == md5("hello")
    received = aws(
        "receive-message", "--queue-url", url, "--wait-time-seconds", 5, "--attribute-names", "All", "--message-attribute-names", "All"
    )
    (message,) = received["Messages"]
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    assert message["MessageAttributes"]["city"]["StringValue"] == "Köln"
    receipt = message["ReceiptHandle"]
    aws("change-message-visibility", "--queue-url", url, "--receipt-handle", receipt, "--visibility-timeout", 60)
    aws("delete-message", "--queue-url", url, "--receipt-handle", receipt)
    assert aws("receive-message", "--queue-url", url) is None
    attributes = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert (attributes["QueueArn"], attributes["VisibilityTimeout"]) == (f"{ARN}:{name}", "600")
    aws("purge-queue", "--queue-url", url)
    assert "AWS.SimpleQueueService.PurgeQueueInProgress" in aws("purge-queue", "--queue-url", url, fails=True)
    aws("delete-queue", "--queue-url", url)
    error = aws("get-queue-url", "--queue-name", name, fails=True)
    assert "(AWS.SimpleQueueService.NonExistentQueue)" in error and "The specified queue does not exist." in error

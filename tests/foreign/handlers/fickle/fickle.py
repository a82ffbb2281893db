"""Doubles numbers; fails on some, and dies at random. Each row says which run made it: a second one would be seen."""

import base64
import json
import os
import random

POISON = set(json.loads(os.environ["POISON"]))
DEATHS = float(os.environ["DEATHS"])
FIXED = False


def handler(event, context):
    # Before it has done anything, or after it has done everything: both leave no answer.
    early, late = random.random() < DEATHS / 2, random.random() < DEATHS / 2
    if early:
        os._exit(1)
    rows, failures = [], []
    for record in event["Records"]:
        number = json.loads(base64.b64decode(record["kinesis"]["data"]))["n"]
        if number in POISON and not FIXED:
            if number % 2:
                raise ValueError(f"the number {number} is poison")
            failures.append({"itemIdentifier": record["kinesis"]["sequenceNumber"]})
            continue
        rows.append({"n": number, "doubled": 2 * number, "run": context.aws_request_id})
    if late:
        os._exit(1)
    return {"records": rows, "batchItemFailures": failures}

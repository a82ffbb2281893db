"""Works off messages: {"n": 1} is a row. "fail": 2 reports the first two receives as failed, "raise": 2 raises in them;
with "poison" it fails whenever it comes."""

import json
import time


def handler(event, context):
    rows, failures = [], []
    for message in event["Records"]:
        body = json.loads(message["body"])
        attempt = int(message["attributes"]["ApproximateReceiveCount"])
        time.sleep(body.get("sleep", 0))
        if attempt <= body.get("raise", 0):
            raise ValueError(f"message {body['n']} fails at its receive {attempt}")
        if body.get("poison") or attempt <= body.get("fail", 0):
            # In order within a group: what stands behind a failure has failed too.
            failures.append({"itemIdentifier": message["messageId"]})
            if "MessageGroupId" in message["attributes"]:
                rest = event["Records"][event["Records"].index(message) + 1 :]
                failures += [{"itemIdentifier": later["messageId"]} for later in rest]
                break
            continue
        rows.append({"n": body["n"], "source": message["attributes"].get("MessageGroupId", "")})
    return {"records": rows, "batchItemFailures": failures}

"""What the shop calls. It checks the signature and hands the order on; the queue keeps it before the shop has its answer."""

import base64
import hashlib
import hmac
import json
import os

KEY = os.environ["SHOP_KEY"].encode()


def answer(status, **body):
    headers = {"content-type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


def handler(event, context):
    body = event.get("body") or ""
    body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    signature = event["headers"].get("x-shop-signature", "")
    if not hmac.compare_digest(hmac.new(KEY, body, hashlib.sha256).hexdigest(), signature):
        return answer(401, error="the signature is not the shop's")
    try:
        order = json.loads(body)
    except ValueError as error:
        return answer(400, error=f"this is no JSON: {error}")
    # `records` go to the function's target, beside what is answered.
    return answer(202, accepted=True) | {"records": [order]}

"""Plays the shop: signs each order of a file and calls the webhook with it.

    python3 shop.py orders.ndjson [URL]
"""

import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request

KEY = os.environ["WEIR_SECRET_SHOP_KEY"].encode()


def call(url, order):
    signature = hmac.new(KEY, order, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-shop-signature": signature}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=order, headers=headers), timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        sys.exit(f"{json.loads(order)['id']}: {error.code} {error.read().decode()}")


def main(path, url="http://127.0.0.1:4566"):
    with open(path, "rb") as file:
        statuses = [call(f"{url}/functions/webhook", line.strip()) for line in file]
    print(f"{statuses.count(202)} of {len(statuses)} orders accepted")


main(*sys.argv[1:])

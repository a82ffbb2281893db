"""An object store that fails: moto's S3 behind a proxy that refuses, dawdles, forgets to answer, and cuts answers short."""

import contextlib
import http.client
import http.server
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request

ANSWER_MAX = 64  # MiB of one body that the proxy holds
SLOW_MAX = 1.5  # seconds

ERROR = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>%s</Code><Message>a planted fault</Message></Error>"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Store:
    """moto's server as a process of its own, with one bucket."""

    bucket = "lake"

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                request = urllib.request.Request(f"{self.url}/{self.bucket}", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                return
            assert time.monotonic() < end, "moto's server does not answer"
            time.sleep(0.1)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)

    def options(self, url: str | None = None) -> dict[str, str]:
        """What clients of the store are configured with."""
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )

    def keys(self, prefix: str) -> dict[str, int]:
        """Sizes of all objects below a prefix, by key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that was killed is not the proxy's trouble."""


class Faults:
    """A proxy in front of a store, with faults by seeded chance."""

    def __init__(self, store: Store, seed: int, rate: float):
        self.store, self.rate = store, rate
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.planted = {"refused": 0, "slow": 0, "lost": 0, "cut": 0, "conflict": 0}
        self.server = Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _draw(self, method: str, conditional: bool) -> tuple[str | None, float]:
        with self.lock:
            if self.chance.random() >= self.rate:
                return None, 0.0
            kinds = ["refused", "slow", "lost"]
            if method == "GET":
                kinds.append("cut")
            if conditional:
                kinds.append("conflict")
            kind = self.chance.choice(kinds)
            self.planted[kind] += 1
            return kind, self.chance.uniform(0.1, SLOW_MAX)

    def _handler(proxy):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _answer(self, status: int, headers, body: bytes, cut=False):
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                        self.send_header(name, value)
                # What HEAD tells is the object's length, not that of the answer.
                length = dict((n.lower(), v) for n, v in headers).get("content-length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if cut:
                    self.wfile.write(body[: len(body) // 2])
                    self._hang_up()
                elif self.command != "HEAD":
                    self.wfile.write(body)

            def _hang_up(self):
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)

            def _serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                assert length <= ANSWER_MAX << 20
                body = self.rfile.read(length)
                kind, wait = proxy._draw(self.command, self.headers.get("If-None-Match") == "*")
                if kind == "refused":
                    return self._answer(503, [("Content-Type", "application/xml")], ERROR % b"SlowDown")
                if kind == "conflict":
                    return self._answer(409, [("Content-Type", "application/xml")], ERROR % b"ConditionalRequestConflict")
                if kind == "slow":
                    time.sleep(wait)
                upstream = http.client.HTTPConnection("127.0.0.1", proxy.store.port, timeout=60)
                try:
                    headers = {n: v for n, v in self.headers.items() if n.lower() != "connection"}
                    upstream.request(self.command, self.path, body, headers)
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                if kind == "lost":
                    return self._hang_up()
                return self._answer(answer.status, answer.getheaders(), content, cut=kind == "cut" and len(content) > 1)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

        return Handler

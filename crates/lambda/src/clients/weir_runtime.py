"""Runs a Python handler by the AWS Lambda Runtime API. Python 3.8 and later; standard library alone.

Its start is a part of every cold start, so that it imports next to nothing: HTTP over a bare socket, `traceback` and
`decimal` when they are needed, `logging` set up when (and if) the handler's code imports it.
"""

import json
import os
import sys
import time

try:  # The module beneath `socket`, which takes three milliseconds to import.
    import _socket as socket
except ImportError:
    import socket

ROOT = "/2018-06-01/runtime/"


class Fault(Exception):
    """An error that is the runtime's to name."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, trace or []


class Api:
    """The Runtime API, over one connection."""

    def __init__(self, address):
        host, _, port = address.partition(":")
        self.head = "HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-python/1\r\n" % address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.connect((host, int(port)))
        # 6 is TCP, 1 is TCP_NODELAY: a request in two writes must not wait for an acknowledgement.
        self.socket.setsockopt(6, 1, 1)
        self.next_request = ("GET %sinvocation/next %s\r\n" % (ROOT, self.head)).encode()

    def next(self):
        self.socket.sendall(self.next_request)
        status, headers, body = self.answer()
        if status != 200:
            raise SystemExit("weir: the Runtime API answered %d to `next`: %s" % (status, body[:1000]))
        return headers, body

    def post(self, path, body, kind=None):
        head = "POST %s%s %sContent-Type: application/json\r\nContent-Length: %d\r\n" % (ROOT, path, self.head, len(body))
        if kind:
            head += "Lambda-Runtime-Function-Error-Type: %s\r\n" % kind.encode("ascii", "replace").decode().replace("\n", " ")
        head = (head + "\r\n").encode()
        if len(body) < 65536:
            self.socket.sendall(head + body)
        else:
            self.socket.sendall(head)
            self.socket.sendall(body)
        return self.answer()

    def answer(self):
        data = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            data += self.receive(65536)
        lines = data[:end].decode("utf-8", "surrogateescape").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        parts, left = [data[end + 4:]], length - (len(data) - end - 4)
        while left > 0:
            part = self.receive(min(left, 1 << 20))
            parts.append(part)
            left -= len(part)
        return int(lines[0].split(" ", 2)[1]), headers, b"".join(parts)

    def receive(self, size):
        part = self.socket.recv(size)
        if not part:
            raise SystemExit("weir: the Runtime API has closed the connection")
        return part


class Identity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, text):
        identity = json.loads(text) if text else {}
        self.cognito_identity_id = identity.get("cognitoIdentityId")
        self.cognito_identity_pool_id = identity.get("cognitoIdentityPoolId")

    def __repr__(self):
        return "CognitoIdentity([cognito_identity_id=%s,cognito_identity_pool_id=%s])" % (
            self.cognito_identity_id, self.cognito_identity_pool_id)


class Client:
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __init__(self, client):
        for name in self.__slots__:
            setattr(self, name, client.get(name))


class ClientContext:
    __slots__ = ("custom", "env", "client")

    def __init__(self, context):
        self.custom, self.env = context.get("custom"), context.get("env")
        self.client = Client(context["client"]) if context.get("client") else None


class Context:
    """What a handler is given as its second argument: AWS's names."""

    def __init__(self, headers):
        variables = os.environ
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.log_group_name = variables.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = variables.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = variables.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = variables.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = variables.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        context = headers.get("lambda-runtime-client-context")
        self.client_context = ClientContext(json.loads(context)) if context else None
        self.identity = Identity(headers.get("lambda-runtime-cognito-identity"))
        self._deadline_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        names = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
                 "function_version", "invoked_function_arn", "client_context", "identity")
        return "LambdaContext([%s])" % ",".join("%s=%s" % (name, getattr(self, name)) for name in names)


class Current:
    """The invocation that runs, for log records."""
    request_id = None


def set_up_logging(logging):
    """Lets records go to the output, with level, time and request id, as AWS's runtime does."""

    class Formatter(logging.Formatter):
        converter = time.gmtime

    class Filter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = Current.request_id or ""
            record.tenant_id = None
            return True

    class LambdaLoggerHandler(logging.StreamHandler):
        # Whatever `sys.stdout` is when a record is written: handlers' tests replace it.
        def __init__(self):
            logging.Handler.__init__(self)

        @property
        def stream(self):
            return sys.stdout

    handler = LambdaLoggerHandler()
    handler.setFormatter(Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(Filter())
    logging.root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    if level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
        logging.root.setLevel({"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level, level))


class LoggingFinder:
    """Sets logging up right after its first import, before whoever imports it sees it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(LoggingFinder)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                run = spec.loader.exec_module

                def run_and_set_up(module):
                    run(module)
                    set_up_logging(module)

                spec.loader.exec_module = run_and_set_up
                return spec
        return None


def load(handler):
    """Returns the function that `file.function` names; the file may be `folder/file`."""
    if "." not in handler:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % handler)
    module_name, function = handler.rsplit(".", 1)
    module_name = module_name.replace("/", ".").lstrip(".")
    try:
        __import__(module_name)
        module = sys.modules[module_name]
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error),
                    trace_of(error, own_only=True))
    except SyntaxError as error:
        trace = ["  File \"%s\" Line %s\n    %s" % (error.filename, error.lineno, error.text)]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, error), trace)
    try:
        return getattr(module, function)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module_name))


def trace_of(error, own_only=False):
    """Returns the frames of an error's stack, without this file's and the importer's own."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames
              if frame.filename != __file__ and not (own_only and frame.filename.startswith("<frozen importlib"))]
    return traceback.format_list(frames)


def describe(error, request_id):
    """Returns the error's type and its report, and writes it to the output."""
    if isinstance(error, Fault):
        kind, message, trace = error.kind, error.message, error.trace
    else:
        kind, message, trace = type(error).__name__, str(error), trace_of(error)
    text = "[ERROR] %s: %s" % (kind, message)
    if trace:
        text += "\nTraceback (most recent call last):\n" + "".join(trace).rstrip("\n")
    sys.stdout.write(text + "\n")
    report = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return kind, json.dumps(report).encode()


def plain(value):
    """What JSON lacks: decimals are numbers."""
    if type(value).__name__ == "Decimal" and hasattr(value, "as_tuple"):
        if value.is_nan():
            return float("nan")
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent >= 0 else float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def marshal(value):
    """As AWS: NaN is written, though it is no JSON; text is escaped up to Python 3.11."""
    try:
        return json.dumps(value, ensure_ascii=sys.version_info < (3, 12), default=plain).encode()
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def unmarshal(body):
    try:
        return json.loads(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)


def flush():
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # A handler may have closed or replaced them.
        pass


def serve(api, handler):
    while True:
        headers, body = api.next()
        request_id = Current.request_id = headers["lambda-runtime-aws-request-id"]
        trace = headers.get("lambda-runtime-trace-id")
        if trace:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        try:
            answer, kind = marshal(handler(unmarshal(body), Context(headers))), None
        except Exception as error:
            kind, answer = describe(error, request_id)
        flush()
        api.post("invocation/%s/%s" % (request_id, "error" if kind else "response"), answer, kind)


def main():
    sys.argv = ["bootstrap"]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    if "logging" in sys.modules:
        set_up_logging(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, LoggingFinder)
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        kind, report = describe(error, "")
        flush()
        api.post("init/error", report, kind)
        sys.exit(1)
    serve(api, handler)

"""Does what its event asks for, and tells what it saw."""

import logging
import os
import sys
import time

logger = logging.getLogger()
logger.setLevel(os.environ.get("LEVEL", "INFO").upper())


class Mistake(Exception):
    pass


def handler(event, context):
    print("seen by echo")
    logger.info("logged by echo")
    match event.get("action") if isinstance(event, dict) else None:
        case "raise":
            raise Mistake(event["message"])
        case "exit":
            os._exit(event.get("status", 3))
        case "sleep":
            time.sleep(event["seconds"])
        case "large":
            return "x" * event["bytes"]
        case "variables":
            return dict(os.environ)
        case "write":
            with open(event["path"], "w") as file:
                file.write("x")
    custom = context.client_context.custom if context.client_context else None
    return {
        "event": event,
        "request": context.aws_request_id,
        "function": context.function_name,
        "version": context.function_version,
        "memory": int(context.memory_limit_in_mb),
        "arn": context.invoked_function_arn,
        "remaining": context.get_remaining_time_in_millis(),
        "custom": custom,
        "ric": "awslambdaric" in sys.modules,
        "process": os.getpid(),
    }

"""A web page, told by the request's path; and records for the function's target."""

import base64


def handler(event, context):
    http = event["requestContext"]["http"]
    match event["rawPath"]:
        case "/plain":
            return {"seen": [http["method"], event.get("queryStringParameters"), event.get("cookies")]}
        case "/picture":
            data = base64.b64encode(bytes(range(256))).decode()
            return {"statusCode": 201, "headers": {"content-type": "image/x-test"}, "cookies": ["a=1", "b=2"], "body": data, "isBase64Encoded": True}
        case "/keep":
            body = event["body"]
            return {"statusCode": 202, "body": "kept", "records": [{"n": int(body), "source": "web"}]}
        case "/wrong":
            return {"statusCode": 202, "body": "kept", "records": [{"n": "no number"}]}
        case "/raise":
            raise ValueError("no such luck")
    return {"statusCode": 404, "body": "nothing here"}

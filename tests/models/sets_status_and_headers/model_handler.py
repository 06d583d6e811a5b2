"""Sets the status and the headers that the body has as JSON, valid or not."""

import json


def handle(data, context):
    if data is None:
        return None
    wanted = json.loads(bytes(data[0]["body"]))
    context.set_response_status(wanted.get("status", 200), wanted.get("phrase", ""), idx=0)
    for name, value in wanted.get("headers", {}).items():
        context.set_response_header(0, name, value)
    return ["set"]

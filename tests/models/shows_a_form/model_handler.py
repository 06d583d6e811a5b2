"""Returns the fields of each request, as JSON."""

import json


def handle(data, context):
    if data is None:
        return None
    return [json.dumps({name: bytes(value).decode() for name, value in item.items()}) for item in data]

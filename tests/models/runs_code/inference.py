"""Calls a function whose source is in the request, and returns what it returns or raises."""

import json
import traceback
from typing import Any


def model_fn(model_dir: str) -> None:
    return None


def transform_fn(model: None, body: str | bytes, content_type: str, accept: str) -> tuple[str, str]:
    request = json.loads(body)
    namespace: dict[str, Any] = {"__name__": "sent"}
    exec(request["source"], namespace)
    try:
        outcome = {"returned": namespace[request["function"]](**request["arguments"])}
    except BaseException as error:
        outcome = {"raised": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return json.dumps(outcome), "application/json"

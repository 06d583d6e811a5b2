"""Calls of a model as the worker's process makes them."""

import json

from polyhost.container.worker.model import Model
from polyhost.container.worker.types import Request, Response


def request(body: bytes = b"", /, number: int = 1, headers: dict[str, str] | None = None) -> Request:
    return Request(f"r{number}", headers or {}, {"body": bytearray(body)})


def respond(model: Model, body: bytes = b"", **headers: str) -> Response:
    (response,) = model.predict([request(body, headers=headers)])
    return response


def failure(response: Response) -> tuple[int, str, str]:
    content = json.loads(response.body)
    assert content["code"] == response.status
    assert response.headers == {"content-type": "application/json"}
    return response.status, content["type"], content["message"]
